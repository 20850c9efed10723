//! Who sent wrong bytes.
//!
//! A bad piece with one source names it at once. With several, the blocks are hashed one by one, the piece is
//! fetched again, and when it is right the blocks that differ name who lied.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::base::ids::Piece;
use crate::base::limits;
use crate::base::time::Instant;

/// The pieces that failed their hash, and what is known of them.
#[derive(Default)]
pub struct Blame {
    failed: BTreeMap<Piece, Failed>,
}

#[derive(Default)]
struct Failed {
    times: u32,
    /// Who sent each block of the attempt whose digests have been asked for.
    waiting: Option<Vec<SocketAddr>>,
    /// Digest and sender of each block of earlier attempts.
    attempts: Vec<Vec<([u8; 20], SocketAddr)>>,
}

/// What follows from a bad hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// This peer sent all of it.
    Guilty(SocketAddr),
    /// One of several: ask for the digests of the blocks, and fetch the piece again when they are there.
    Unclear,
}

impl Blame {
    /// A piece failed its hash; `givers` sent some of it, `each` names the sender of every block.
    pub fn handle_failure(
        &mut self,
        piece: Piece,
        givers: &[SocketAddr],
        each: Vec<SocketAddr>,
    ) -> Verdict {
        let failed = self.failed.entry(piece).or_default();
        failed.times += 1;
        match givers {
            [one] => Verdict::Guilty(*one),
            _ => {
                failed.waiting = Some(each);
                Verdict::Unclear
            }
        }
    }

    /// A piece passed its hash: true if its digests should be asked for, to compare.
    pub fn handle_success(&mut self, piece: Piece) -> bool {
        let Some(failed) = self.failed.get_mut(&piece) else {
            return false;
        };
        failed.waiting = None;
        let compare = !failed.attempts.is_empty();
        if !compare {
            self.failed.remove(&piece);
        }
        compare
    }

    /// The digests are there. Of a good piece, they name those who sent other bytes before.
    pub fn handle_digests(
        &mut self,
        piece: Piece,
        digests: &[[u8; 20]],
        good: bool,
    ) -> Vec<SocketAddr> {
        if good {
            let attempts = self.failed.remove(&piece).map(|failed| failed.attempts);
            let mut guilty: Vec<_> = attempts
                .into_iter()
                .flatten()
                .flat_map(|attempt| attempt.into_iter().zip(digests))
                .filter(|((digest, _), right)| digest != *right)
                .map(|((_, sender), _)| sender)
                .collect();
            guilty.sort_unstable();
            guilty.dedup();
            return guilty;
        }
        if let Some(failed) = self.failed.get_mut(&piece)
            && let Some(each) = failed.waiting.take()
            && failed.attempts.len() < ATTEMPTS_KEPT
        {
            failed
                .attempts
                .push(digests.iter().copied().zip(each).collect());
        }
        Vec::new()
    }

    /// Whether the piece has failed and should come from one peer alone.
    pub fn is_suspect(&self, piece: Piece) -> bool {
        self.failed.contains_key(&piece)
    }

    /// When a piece may be fetched again: at once, unless it has failed too often.
    pub fn rests_until(&self, now: Instant, piece: Piece) -> Option<Instant> {
        let failed = self.failed.get(&piece)?;
        (failed.times >= limits::PIECE_FAILURES_MAX).then(|| now + limits::PIECE_REST)
    }
}

/// Failed attempts at one piece whose digests are kept.
const ATTEMPTS_KEPT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], n))
    }

    #[test]
    fn a_single_source_is_guilty_at_once() {
        let mut blame = Blame::default();
        let verdict = blame.handle_failure(Piece(0), &[peer(1)], vec![peer(1); 2]);
        assert_eq!(verdict, Verdict::Guilty(peer(1)));
        assert!(!blame.handle_success(Piece(0)));
        assert!(!blame.is_suspect(Piece(0)));
    }

    #[test]
    fn of_several_sources_those_whose_blocks_differ_are_guilty() {
        let mut blame = Blame::default();
        let each = vec![peer(1), peer(2), peer(1), peer(3)];
        let verdict = blame.handle_failure(Piece(7), &[peer(1), peer(2), peer(3)], each);
        assert_eq!(verdict, Verdict::Unclear);
        let bad = [[0; 20], [9; 20], [2; 20], [8; 20]];
        assert!(blame.handle_digests(Piece(7), &bad, false).is_empty());
        assert!(blame.is_suspect(Piece(7)));
        assert!(blame.handle_success(Piece(7)));
        let good = [[0; 20], [1; 20], [2; 20], [3; 20]];
        assert_eq!(
            blame.handle_digests(Piece(7), &good, true),
            [peer(2), peer(3)]
        );
        assert!(!blame.is_suspect(Piece(7)));
    }

    #[test]
    fn a_piece_that_fails_five_times_rests_a_minute() {
        let mut blame = Blame::default();
        let now = Instant::from_micros(5);
        for _ in 0..4 {
            blame.handle_failure(Piece(0), &[peer(1)], vec![]);
            assert_eq!(blame.rests_until(now, Piece(0)), None);
        }
        blame.handle_failure(Piece(0), &[peer(1)], vec![]);
        assert_eq!(
            blame.rests_until(now, Piece(0)),
            Some(now + limits::PIECE_REST)
        );
    }
}
