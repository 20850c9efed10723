//! A peer's requests: queued while it is unchoked, turned into data as its socket takes it.

use std::collections::VecDeque;

use crate::base::ids::{Block, Piece};
use crate::base::limits;

/// The requests of one peer that wait to be answered.
#[derive(Default)]
pub struct Upload {
    queue: VecDeque<Block>,
}

impl Upload {
    /// Queues a request; false if the queue is full ([`limits::REQQ`]), and then it is not queued.
    pub fn push(&mut self, block: Block) -> bool {
        if self.queue.len() >= limits::REQQ {
            return false;
        }
        self.queue.push_back(block);
        true
    }

    /// The next request to answer.
    pub fn pop(&mut self) -> Option<Block> {
        self.queue.pop_front()
    }

    /// Forgets a request; false if it is not waiting (any more).
    pub fn cancel(&mut self, block: Block) -> bool {
        let at = self.queue.iter().position(|queued| *queued == block);
        at.and_then(|at| self.queue.remove(at)).is_some()
    }

    /// Takes out the requests for a piece.
    pub fn take(&mut self, piece: Piece) -> Vec<Block> {
        let (taken, kept) = self.drain().partition(|block| block.piece == piece);
        self.queue = kept;
        Vec::from(taken)
    }

    /// Takes all requests out: the peer is choked.
    pub fn drain(&mut self) -> impl Iterator<Item = Block> {
        std::mem::take(&mut self.queue).into_iter()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Pieces that a peer may ask for while it is choked (BEP 6), and how much of them.
#[derive(Default)]
pub struct FastGrant {
    pieces: Vec<Piece>,
    left: u64,
}

impl FastGrant {
    /// Grants a piece of `len` bytes: so many may be asked for beside what was granted before.
    pub fn add(&mut self, piece: Piece, len: u32) {
        self.pieces.push(piece);
        self.left += u64::from(len);
    }

    /// Whether nothing was ever granted.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether a request is covered, and then takes it off what is left: what was granted is given once.
    pub fn admits(&mut self, block: Block) -> bool {
        let admitted = self.pieces.contains(&block.piece) && self.left >= u64::from(block.len);
        if admitted {
            self.left -= u64::from(block.len);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Piece;

    #[test]
    fn the_newest_request_above_the_limit_is_the_one_refused() {
        let mut upload = Upload::default();
        let block = |n| Block {
            piece: Piece(n),
            begin: 0,
            len: 1,
        };
        assert!((0..2000).all(|n| upload.push(block(n))));
        assert!(!upload.push(block(2000)));
        assert!(upload.cancel(block(0)) && !upload.cancel(block(0)));
        assert!(upload.push(block(2000)));
        assert_eq!(upload.pop(), Some(block(1)));
        assert_eq!(upload.drain().count(), 1999);
        assert!(upload.is_empty());
    }
}
