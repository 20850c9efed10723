//! The requests in flight to one peer, packed: a busy peer has hundreds of them, and there are many peers.

use std::collections::VecDeque;

use crate::base::ids::{Block, Piece};
use crate::base::limits;
use crate::base::time::Instant;

/// Requests in the order they were sent, 8 bytes each. When they were sent is told once for all that went out together.
#[derive(Default)]
pub(super) struct InFlight {
    requests: VecDeque<Packed>,
    trains: VecDeque<Train>,
}

/// A request that was in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Request {
    /// When it was sent.
    pub(super) at: Instant,
    /// An earlier request for the same block may still be answered: the time of this one tells nothing.
    pub(super) again: bool,
}

/// Requests behind each other that were sent at the same moment.
struct Train {
    at: Instant,
    /// How many of them are still in flight: one at least.
    left: u32,
}

/// A block as we ask for it, and one bit: `piece << 32 | index << 15 | (len - 1) << 1 | bit`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed(u64);

impl InFlight {
    /// Puts a request behind the others.
    pub(super) fn push(&mut self, now: Instant, block: Packed, again: bool) {
        self.requests.push_back(block.with(again));
        match self.trains.back_mut() {
            Some(train) if train.at == now => train.left += 1,
            Some(_) | None => self.trains.push_back(Train { at: now, left: 1 }),
        }
    }

    /// Takes out the oldest request for `block`, if there is one. Answers come in the order of the requests but for a
    /// few: this looks at the front first.
    pub(super) fn take(&mut self, block: Packed) -> Option<Request> {
        let found = |request: &Packed| request.with(false) == block;
        let index = self.requests.iter().position(found)?;
        let again = self.requests.remove(index)?.bit();
        let mut before = index as u32;
        let of = self.trains.iter().position(|train| {
            let is_its = before < train.left;
            before = before.saturating_sub(train.left);
            is_its
        })?;
        let train = self.trains.get_mut(of)?;
        let at = train.at;
        train.left -= 1;
        if train.left == 0 {
            self.trains.remove(of);
        }
        Some(Request { at, again })
    }

    /// Takes all out, and the memory with them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Packed> {
        let requests = std::mem::take(self).requests;
        requests.into_iter().map(|request| request.with(false))
    }

    /// The blocks, in order.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.requests.iter().map(|request| request.block())
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

impl Packed {
    /// Packs a block, its bit clear; `None` for a range that we never ask for: one that does not begin at a block's
    /// border, or is longer than a block, or lies behind the end of the longest piece.
    pub(super) fn new(block: Block) -> Option<Self> {
        let Block { piece, begin, len } = block;
        let index = begin / limits::BLOCK;
        let is_ours = begin.is_multiple_of(limits::BLOCK)
            && begin < limits::PIECE_LENGTH_MAX
            && (1..=limits::BLOCK).contains(&len);
        let low = index << LEN_BITS | len.wrapping_sub(1);
        is_ours.then(|| Self(u64::from(piece.0) << 32 | u64::from(low) << 1))
    }

    pub(super) fn block(self) -> Block {
        let low = self.0 as u32 >> 1;
        Block {
            piece: Piece((self.0 >> 32) as u32),
            begin: (low >> LEN_BITS) * limits::BLOCK,
            len: low % limits::BLOCK + 1,
        }
    }

    fn with(self, bit: bool) -> Self {
        Self(self.0 & !1 | u64::from(bit))
    }

    fn bit(self) -> bool {
        self.0 & 1 != 0
    }
}

const LEN_BITS: u32 = limits::BLOCK.trailing_zeros();
const _: () = assert!(limits::BLOCK.is_power_of_two());
const _: () = assert!(limits::PIECE_LENGTH_MAX / limits::BLOCK <= 1 << (31 - LEN_BITS));

#[cfg(test)]
mod tests {
    use super::*;

    fn block(piece: u32, index: u32, len: u32) -> Block {
        let begin = index * limits::BLOCK;
        let piece = Piece(piece);
        Block { piece, begin, len }
    }

    fn packed(block: Block) -> Packed {
        Packed::new(block).expect("as we ask")
    }

    #[test]
    fn a_block_is_unpacked_as_it_was_and_what_we_never_ask_for_is_not_packed() {
        let last = limits::PIECE_LENGTH_MAX / limits::BLOCK - 1;
        for piece in [0, 1, u32::MAX] {
            for index in [0, 1, 1000, last] {
                for len in [1, 2, 16_383, 16_384] {
                    let block = block(piece, index, len);
                    assert_eq!(packed(block).block(), block);
                    assert_eq!(packed(block).with(true).block(), block);
                }
            }
        }
        let odd = |begin, len| {
            let piece = Piece(0);
            Packed::new(Block { piece, begin, len }).is_none()
        };
        assert!(odd(0, 0) && odd(0, 16_385) && odd(1, 100) && odd(16_383, 1));
        assert!(odd(limits::PIECE_LENGTH_MAX, 1) && odd(u32::MAX, u32::MAX));
    }

    #[test]
    fn a_request_keeps_the_time_it_was_sent_whichever_others_are_taken_out_before() {
        // Six requests, two at a time; taken out in every order of a few.
        let orders = [
            [0, 1, 2, 3, 4, 5],
            [5, 4, 3, 2, 1, 0],
            [2, 3, 0, 5, 1, 4],
            [3, 0, 4, 2, 5, 1],
        ];
        for order in orders {
            let mut in_flight = InFlight::default();
            for n in 0..6 {
                let now = Instant::from_micros(u64::from(n / 2));
                in_flight.push(now, packed(block(n, 0, 16_384)), n == 3);
            }
            for (gone, n) in order.into_iter().enumerate() {
                let at = Instant::from_micros(u64::from(n / 2));
                let again = n == 3;
                let taken = in_flight.take(packed(block(n, 0, 16_384)));
                assert_eq!(taken, Some(Request { at, again }), "{order:?}");
                assert_eq!(in_flight.len(), 5 - gone);
                assert_eq!(in_flight.take(packed(block(n, 0, 16_384))), None);
            }
            assert!(in_flight.is_empty() && in_flight.trains.is_empty());
        }
    }
}
