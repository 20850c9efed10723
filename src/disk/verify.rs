//! The running hash of a piece that is being written.

use crate::base::ids::Block;
use crate::base::limits;
use crate::disk::sha1::{Sha1, update_both};

/// A piece on its way: which blocks are written, and the SHA-1 of those that stand in order.
///
/// ```text
/// [ hashed | behind: written, not hashed yet | gap | written | gap ]
/// ```
#[derive(Default)]
pub(super) struct Running {
    sha: Sha1,
    hashed: u32,
    len: u32,
    missing: u32,
    claimed: Box<[u64]>,
    /// Those of the claimed whose bytes are in place: only they can be read back.
    written: Box<[u64]>,
    spoiled: bool,
    /// Whether a job that reads back what is behind is queued.
    pub(super) queued: bool,
}

impl Running {
    /// A piece of `len` bytes in `blocks` blocks, nothing of it written.
    pub(super) fn new(len: u32, blocks: u32) -> Self {
        let none = vec![0; blocks.div_ceil(64) as usize];
        Self {
            sha: Sha1::default(),
            hashed: 0,
            len,
            missing: blocks,
            claimed: none.clone().into(),
            written: none.into(),
            spoiled: false,
            queued: false,
        }
    }

    /// Claims block `index` for writing. False if it is written or claimed already.
    pub(super) fn claim(&mut self, index: u32) -> bool {
        let (word, bit) = (index as usize / 64, 1u64 << (index % 64));
        let new = self.claimed[word] & bit == 0;
        self.claimed[word] |= bit;
        self.missing -= u32::from(new);
        new
    }

    /// A claimed block is in place.
    pub(super) fn wrote(&mut self, index: u32) {
        self.written[index as usize / 64] |= 1u64 << (index % 64);
    }

    /// Gives back a claimed block that could not be written.
    pub(super) fn release(&mut self, index: u32) {
        let (word, bit) = (index as usize / 64, 1u64 << (index % 64));
        if self.claimed[word] & bit != 0 {
            self.claimed[word] &= !bit;
            self.missing += 1;
        }
    }

    /// Whether `block` is the one that all before it are hashed of.
    pub(super) fn is_next(&self, block: Block) -> bool {
        block.begin == self.hashed
    }

    /// Hashes the next bytes of the piece.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.hashed += bytes.len() as u32;
    }

    /// Hashes the next bytes of two pieces, in less time than those of one and then of the other.
    pub(super) fn advance_both(one: (&mut Self, &[u8]), other: (&mut Self, &[u8])) {
        let ((a, of_a), (b, of_b)) = (one, other);
        update_both((&mut a.sha, of_a), (&mut b.sha, of_b));
        a.hashed += of_a.len() as u32;
        b.hashed += of_b.len() as u32;
    }

    /// The bytes that are written in one stretch behind what is hashed: the first, and how many.
    pub(super) fn behind(&self) -> (u32, u32) {
        let first = self.hashed / limits::BLOCK;
        let blocks = self.len.div_ceil(limits::BLOCK);
        let end = (first..blocks).find(|&index| !self.is_written(index));
        let end = end.map_or(self.len, |index| index * limits::BLOCK);
        (self.hashed, end.saturating_sub(self.hashed))
    }

    /// Gives the hash up: bytes that were written can't be read back.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// Whether there is something to read back for the hash.
    pub(super) fn is_behind(&self) -> bool {
        !self.spoiled && self.hashed < self.len && self.is_written(self.hashed / limits::BLOCK)
    }

    /// Whether every block is written and the hash is through or given up.
    pub(super) fn is_over(&self) -> bool {
        self.missing == 0 && (self.spoiled || self.hashed == self.len)
    }

    /// The verdict at the end: whether the whole piece has the hash `wanted`.
    pub(super) fn judge(mut self, wanted: [u8; 20]) -> bool {
        self.is_over() && !self.spoiled && self.sha.finish() == wanted
    }

    fn is_written(&self, index: u32) -> bool {
        self.written[index as usize / 64] & (1 << (index % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Piece;
    use crate::disk::sha1::sha1;

    const LEN: u32 = 3 * limits::BLOCK + 100;

    fn block(index: u32) -> Block {
        let begin = index * limits::BLOCK;
        Block {
            piece: Piece(0),
            begin,
            len: (LEN - begin).min(limits::BLOCK),
        }
    }

    fn part(bytes: &[u8], index: u32) -> &[u8] {
        let block = block(index);
        &bytes[block.begin as usize..][..block.len as usize]
    }

    #[test]
    fn blocks_in_order_are_hashed_at_once_and_others_wait_behind() {
        let bytes: Vec<u8> = (0..LEN).map(|at| (at / 7) as u8).collect();
        let mut piece = Running::new(LEN, 4);
        for index in [0, 2, 3] {
            assert!(piece.claim(index) && !piece.claim(index));
            piece.wrote(index);
            assert_eq!(piece.is_next(block(index)), index == 0);
            if index == 0 {
                piece.advance(part(&bytes, index));
            }
        }
        assert_eq!(piece.behind(), (limits::BLOCK, 0));
        assert!(!piece.is_behind() && !piece.is_over());
        assert!(piece.claim(1));
        assert!(!piece.is_behind());
        piece.wrote(1);
        assert!(piece.is_next(block(1)));
        let mut other = Running::new(LEN, 4);
        Running::advance_both((&mut piece, part(&bytes, 1)), (&mut other, &bytes[..99]));
        assert_eq!(other.behind(), (99, 0));
        assert_eq!(piece.behind(), (2 * limits::BLOCK, LEN - 2 * limits::BLOCK));
        assert!(piece.is_behind() && !piece.is_over());
        piece.advance(&bytes[2 * limits::BLOCK as usize..]);
        assert!(!piece.is_behind() && piece.is_over());
        assert!(piece.judge(sha1(&bytes)));
    }

    #[test]
    fn a_released_block_is_missing_again_and_a_spoiled_piece_is_never_good() {
        let bytes = vec![0; 100];
        let mut piece = Running::new(100, 1);
        assert!(piece.claim(0));
        piece.release(0);
        piece.release(0);
        assert!(!piece.is_over() && piece.claim(0));
        piece.spoil();
        assert!(piece.is_over() && !piece.is_behind());
        assert!(!piece.judge(sha1(&bytes)));
    }
}
