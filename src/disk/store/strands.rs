//! Hashing what a batch has brought: the blocks of two pieces at once, as long as there are two.
//!
//! ```text
//! the batch   A A A B B B B B C C C
//!
//! hashed      B B B A C B     those of the two pieces that have most left, again and again:
//! beside      C A C B A       what is hashed alone is what one piece has more than all others
//! ```

use std::mem;

use super::Disk;
use super::write::{Pending, bytes};
use crate::base::ids::Piece;
use crate::disk::files::Files;
use crate::disk::resume::StateFiles;
use crate::disk::verify::Running;
use crate::engine::io::TorrentId;

/// The blocks of one piece in a batch, as far as they are not hashed yet.
pub(super) struct Strand {
    of: (TorrentId, Piece),
    running: Running,
    /// Where in the batch the next of them may be.
    at: usize,
    left: usize,
}

impl<F: Files, S: StateFiles> Disk<F, S> {
    /// Hashes what was written and stands in order.
    pub(super) fn hash(&mut self, written: &[Pending], received: &[u8]) {
        let mut strands = mem::take(&mut self.strands);
        for (at, pending) in written.iter().enumerate() {
            let of = pending.piece();
            match strands.iter_mut().rfind(|strand| strand.of == of) {
                Some(strand) => strand.left += 1,
                None => strands.push(Strand {
                    of,
                    running: self.running_mut(of).map(mem::take).unwrap_or_default(),
                    at,
                    left: 1,
                }),
            }
        }
        while let Some((one, other)) = two_longest(&mut strands) {
            let of_one = one.next(written, received);
            match other {
                Some(other) => {
                    let of_other = other.next(written, received);
                    Running::advance_both(
                        (&mut one.running, of_one),
                        (&mut other.running, of_other),
                    );
                }
                None => one.running.advance(of_one),
            }
        }
        for strand in strands.drain(..) {
            if let Some(place) = self.running_mut(strand.of) {
                *place = strand.running;
            }
        }
        self.strands = strands;
    }

    fn running_mut(&mut self, (torrent, piece): (TorrentId, Piece)) -> Option<&mut Running> {
        self.torrents.get_mut(&torrent)?.running.get_mut(&piece)
    }
}

impl Strand {
    /// Its next block that is the next of its piece to be hashed, and none if there is none.
    fn next<'a>(&mut self, written: &'a [Pending], received: &'a [u8]) -> &'a [u8] {
        while self.left > 0 {
            let pending = &written[self.at];
            self.at += 1;
            if pending.piece() != self.of {
                continue;
            }
            self.left -= 1;
            if pending.is_as_written && self.running.is_next(pending.block) {
                return bytes(&pending.data, received).unwrap_or_default();
            }
        }
        &[]
    }
}

/// The strand with most left, and the one with most beside it; `None` when nothing is left.
fn two_longest(strands: &mut [Strand]) -> Option<(&mut Strand, Option<&mut Strand>)> {
    for place in 0..strands.len().min(2) {
        let longest = (place..strands.len()).max_by_key(|at| strands[*at].left)?;
        strands.swap(place, longest);
    }
    let (one, rest) = strands.split_first_mut()?;
    let other = rest.first_mut().filter(|other| other.left > 0);
    (one.left > 0).then_some((one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks hashed beside one of another piece, and alone, of pieces with so many blocks in a batch.
    fn together_and_alone(lens: &[usize]) -> (usize, usize) {
        let strand = |left| Strand {
            of: (TorrentId::from_bits(0), Piece(0)),
            running: Running::default(),
            at: 0,
            left,
        };
        let mut strands: Vec<Strand> = lens.iter().map(|len| strand(*len)).collect();
        let (mut together, mut alone) = (0, 0);
        while let Some((one, other)) = two_longest(&mut strands) {
            one.left -= 1;
            alone += usize::from(other.is_none());
            if let Some(other) = other {
                other.left -= 1;
                together += 2;
            }
        }
        (together, alone)
    }

    #[test]
    fn hashed_alone_is_what_one_piece_has_more_than_all_others_and_one_if_they_are_odd() {
        assert_eq!(together_and_alone(&[]), (0, 0));
        assert_eq!(together_and_alone(&[5]), (0, 5));
        assert_eq!(together_and_alone(&[16, 16]), (32, 0));
        // What a full buffer holds of pieces of 16 blocks, wherever it begins.
        (1..16).for_each(|n| assert_eq!(together_and_alone(&[n, 16, 16 - n]), (32, 0)));
        assert_eq!(together_and_alone(&[3, 20, 4]), (14, 13));
        assert_eq!(together_and_alone(&[1, 1, 1]), (2, 1));
    }
}
