//! Fetching the metadata of a torrent that is known by its info-hash alone (BEP 9).
//!
//! What peers say of its size can't be checked, so every size gets a buffer of its own, at most three, and
//! nothing is allocated but the pieces that came. The bytes count when their SHA-1 is the info-hash; if it is
//! not, and one peer sent them all, that peer lied; else they are fetched again, from one peer at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use sha1::{Digest, Sha1};

use crate::base::ids::InfoHash;
use crate::base::time::Instant;
use crate::engine::io::ConnId;

/// The metadata as far as it has come.
pub struct Collector {
    info_hash: InfoHash,
    buffers: Vec<Buffer>,
    sources: BTreeMap<ConnId, Source>,
}

/// The pieces of one size.
struct Buffer {
    size: usize,
    pieces: Vec<Option<(Box<[u8]>, ConnId)>>,
    /// After a mix of peers gave wrong bytes: all of it from this one.
    alone: bool,
    only: Option<ConnId>,
}

/// A peer that takes part.
struct Source {
    size: usize,
    asked: Option<(usize, Instant)>,
    rests_until: Instant,
    faults: u32,
}

/// What came of a peer's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Go on.
    Progress,
    /// All of it is there, and it is right.
    Complete(Vec<u8>),
    /// These peers sent wrong bytes: never speak to them again.
    Guilty(ConnId),
    /// This peer breaks the rules too often: close it.
    Faulty,
}

impl Collector {
    /// Nothing is known yet.
    pub fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            buffers: Vec::new(),
            sources: BTreeMap::new(),
        }
    }

    /// A peer takes part and names the size. False if it can't be one (1 byte to 32 MiB), or there are three
    /// other sizes already: then nothing is asked of this peer.
    pub fn handle_size(&mut self, now: Instant, conn: ConnId, size: i64) -> bool {
        let Some(size) = usize::try_from(size)
            .ok()
            .filter(|s| (1..=SIZE_MAX).contains(s))
        else {
            return false;
        };
        let known = self.buffers.iter().any(|buffer| buffer.size == size);
        if !known {
            self.buffers.retain(|buffer| {
                buffer.pieces.iter().any(Option::is_some)
                    || self
                        .sources
                        .values()
                        .any(|source| source.size == buffer.size)
            });
            if self.buffers.len() >= SIZES_MAX {
                return false;
            }
            let pieces = vec![None; size.div_ceil(PIECE)];
            self.buffers.push(Buffer {
                size,
                pieces,
                alone: false,
                only: None,
            });
        }
        let source = Source {
            size,
            asked: None,
            rests_until: now,
            faults: 0,
        };
        self.sources.entry(conn).or_insert(source);
        true
    }

    /// The piece to ask a peer for now, if any; it is asked for then.
    pub fn ask(&mut self, now: Instant, conn: ConnId) -> Option<u32> {
        let source = self.sources.get(&conn)?;
        if source.asked.is_some() || source.rests_until > now {
            return None;
        }
        let size = source.size;
        let in_flight: Vec<usize> = self
            .sources
            .values()
            .filter(|source| source.size == size)
            .filter_map(|source| source.asked.map(|(piece, _)| piece))
            .collect();
        let buffer = self.buffers.iter_mut().find(|buffer| buffer.size == size)?;
        if buffer.alone && *buffer.only.get_or_insert(conn) != conn {
            return None;
        }
        let mut missing = (0..buffer.pieces.len()).filter(|at| buffer.pieces[*at].is_none());
        let piece = missing.find(|at| !in_flight.contains(at))?;
        self.sources.get_mut(&conn)?.asked = Some((piece, now));
        u32::try_from(piece).ok()
    }

    /// A peer sent a piece.
    pub fn handle_data(
        &mut self,
        now: Instant,
        conn: ConnId,
        piece: i64,
        total_size: Option<i64>,
        data: &[u8],
    ) -> Outcome {
        let Some(source) = self.sources.get_mut(&conn) else {
            return Outcome::Progress;
        };
        let size = source.size;
        let Some(buffer) = self.buffers.iter_mut().find(|buffer| buffer.size == size) else {
            return Outcome::Progress;
        };
        let asked = source.asked.map(|(piece, _)| piece);
        let wanted = usize::try_from(piece)
            .ok()
            .filter(|piece| Some(*piece) == asked);
        let fits = wanted.filter(|piece| {
            let len = PIECE.min(size - piece * PIECE);
            data.len() == len && total_size.is_none_or(|total| total == size as i64)
        });
        let Some(piece) = fits else {
            source.faults += 1;
            return if source.faults >= FAULTS_MAX {
                Outcome::Faulty
            } else {
                Outcome::Progress
            };
        };
        source.asked = None;
        buffer.pieces[piece] = Some((data.into(), conn));
        if buffer.pieces.iter().any(Option::is_none) {
            return Outcome::Progress;
        }
        self.judge(now, size)
    }

    /// A peer does not have what it was asked for, or won't give it: it is left alone for a minute.
    pub fn handle_reject(&mut self, now: Instant, conn: ConnId) {
        self.rest(now, conn);
    }

    /// A peer is gone.
    pub fn handle_left(&mut self, conn: ConnId) {
        self.sources.remove(&conn);
        for buffer in &mut self.buffers {
            buffer.only.take_if(|only| *only == conn);
        }
    }

    /// Peers that have been silent too long are left alone for a minute.
    pub fn handle_timeout(&mut self, now: Instant) {
        let late = |source: &Source| source.asked.is_some_and(|(_, at)| now - at >= SILENCE);
        let late: Vec<ConnId> = self
            .sources
            .iter()
            .filter(|(_, s)| late(s))
            .map(|(conn, _)| *conn)
            .collect();
        late.into_iter().for_each(|conn| self.rest(now, conn));
    }

    /// Pieces there, and pieces in all, of the size that has come furthest; zeros while no size is known.
    pub fn progress(&self) -> (u32, u32) {
        let have = |buffer: &Buffer| buffer.pieces.iter().flatten().count() as u32;
        let furthest = self.buffers.iter().max_by_key(|buffer| have(buffer));
        furthest.map_or((0, 0), |buffer| (have(buffer), buffer.pieces.len() as u32))
    }

    fn rest(&mut self, now: Instant, conn: ConnId) {
        if let Some(source) = self.sources.get_mut(&conn) {
            source.asked = None;
            source.rests_until = now + REST;
        }
        for buffer in &mut self.buffers {
            buffer.only.take_if(|only| *only == conn);
        }
    }

    /// Everything of this size is there: is it what was looked for?
    fn judge(&mut self, now: Instant, size: usize) -> Outcome {
        let Some(at) = self.buffers.iter().position(|buffer| buffer.size == size) else {
            return Outcome::Progress;
        };
        let buffer = &mut self.buffers[at];
        let bytes: Vec<u8> = buffer
            .pieces
            .iter()
            .flatten()
            .flat_map(|(data, _)| data.iter().copied())
            .collect();
        if Sha1::digest(&bytes).as_slice() == self.info_hash.0 {
            return Outcome::Complete(bytes);
        }
        let mut senders: Vec<ConnId> = buffer.pieces.iter().flatten().map(|(_, c)| *c).collect();
        senders.sort_unstable();
        senders.dedup();
        buffer.pieces.fill(None);
        buffer.alone = true;
        buffer.only = None;
        match senders[..] {
            [one] => {
                self.handle_left(one);
                Outcome::Guilty(one)
            }
            _ => {
                // Each of them gets its turn alone; the one that has just spoken last begins.
                senders.into_iter().for_each(|conn| {
                    if let Some(source) = self.sources.get_mut(&conn) {
                        source.rests_until = now;
                    }
                });
                Outcome::Progress
            }
        }
    }
}

/// Pieces of metadata (BEP 9).
pub const PIECE: usize = 16 * 1024;
/// The longest metadata fetched: as long as the longest .torrent read.
const SIZE_MAX: usize = crate::base::limits::TORRENT_FILE_MAX;
/// Sizes believed at once.
const SIZES_MAX: usize = 3;
/// Messages that break the rules before a peer is closed.
const FAULTS_MAX: u32 = 3;
/// A peer that has not answered for so long is asked no more for a while.
const SILENCE: Duration = Duration::from_secs(10);
/// For so long.
const REST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ConnId = ConnId::from_bits(1);
    const BOB: ConnId = ConnId::from_bits(2);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn metadata() -> (Vec<u8>, InfoHash) {
        let bytes: Vec<u8> = (0..40_000u32).map(|n| (n * 7 + n / 256) as u8).collect();
        let hash = InfoHash(Sha1::digest(&bytes).into());
        (bytes, hash)
    }

    fn part(bytes: &[u8], piece: u32) -> &[u8] {
        let from = piece as usize * PIECE;
        &bytes[from..bytes.len().min(from + PIECE)]
    }

    fn give(c: &mut Collector, now: Instant, conn: ConnId, piece: u32, bytes: &[u8]) -> Outcome {
        let total = bytes.len() as i64;
        c.handle_data(now, conn, i64::from(piece), Some(total), part(bytes, piece))
    }

    #[test]
    fn two_peers_share_the_pieces_and_the_last_one_completes_it() {
        let (bytes, hash) = metadata();
        let mut c = Collector::new(hash);
        assert_eq!(c.progress(), (0, 0));
        assert!(c.handle_size(at(0), ANN, 40_000) && c.handle_size(at(0), BOB, 40_000));
        assert_eq!((c.ask(at(0), ANN), c.ask(at(0), BOB)), (Some(0), Some(1)));
        assert_eq!(c.ask(at(0), ANN), None);
        assert_eq!(give(&mut c, at(0), BOB, 1, &bytes), Outcome::Progress);
        assert_eq!(c.ask(at(0), BOB), Some(2));
        assert_eq!(give(&mut c, at(0), BOB, 2, &bytes), Outcome::Progress);
        assert_eq!(c.progress(), (2, 3));
        assert_eq!(
            give(&mut c, at(0), ANN, 0, &bytes),
            Outcome::Complete(bytes)
        );
    }

    #[test]
    fn sizes_that_can_not_be_and_a_fourth_size_are_not_believed() {
        let mut c = Collector::new(InfoHash([0; 20]));
        for bad in [0, -1, 1 << 31, i64::MAX, (32 << 20) + 1] {
            assert!(!c.handle_size(at(0), ANN, bad), "{bad}");
        }
        for n in 1..=3 {
            assert!(c.handle_size(at(0), ConnId::from_bits(n), n as i64 * 1000));
        }
        assert!(!c.handle_size(at(0), ConnId::from_bits(4), 4000));
        c.handle_left(ConnId::from_bits(3));
        assert!(c.handle_size(at(0), ConnId::from_bits(4), 4000));
    }

    #[test]
    fn one_liar_is_named_and_a_mix_is_fetched_again_from_one_at_a_time() {
        let (bytes, hash) = metadata();
        let wrong: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        let mut c = Collector::new(hash);
        c.handle_size(at(0), ANN, 40_000);
        c.handle_size(at(0), BOB, 40_000);
        assert_eq!((c.ask(at(0), ANN), c.ask(at(0), BOB)), (Some(0), Some(1)));
        give(&mut c, at(0), ANN, 0, &wrong);
        give(&mut c, at(0), BOB, 1, &bytes);
        assert_eq!(c.ask(at(0), BOB), Some(2));
        assert_eq!(give(&mut c, at(0), BOB, 2, &bytes), Outcome::Progress);
        assert_eq!(c.progress(), (0, 3));
        for piece in 0..3 {
            assert_eq!(c.ask(at(1), ANN), Some(piece));
            assert_eq!(c.ask(at(1), BOB), None);
            let want = if piece == 2 {
                Outcome::Guilty(ANN)
            } else {
                Outcome::Progress
            };
            assert_eq!(give(&mut c, at(1), ANN, piece, &wrong), want);
        }
        for piece in 0..3 {
            assert_eq!(c.ask(at(2), BOB), Some(piece));
            let outcome = give(&mut c, at(2), BOB, piece, &bytes);
            assert_eq!(matches!(outcome, Outcome::Complete(_)), piece == 2);
        }
    }

    #[test]
    fn a_silent_or_refusing_peer_rests_a_minute_and_another_is_asked() {
        let (_, hash) = metadata();
        let mut c = Collector::new(hash);
        c.handle_size(at(0), ANN, 40_000);
        c.handle_size(at(0), BOB, 40_000);
        assert_eq!(c.ask(at(0), ANN), Some(0));
        c.handle_timeout(at(9));
        assert_eq!(c.ask(at(9), BOB), Some(1));
        c.handle_reject(at(9), BOB);
        c.handle_timeout(at(10));
        assert_eq!((c.ask(at(69), ANN), c.ask(at(68), BOB)), (None, None));
        assert_eq!((c.ask(at(70), ANN), c.ask(at(70), BOB)), (Some(0), Some(1)));
    }

    #[test]
    fn what_was_not_asked_for_is_a_fault_and_the_third_closes() {
        let (bytes, hash) = metadata();
        let mut c = Collector::new(hash);
        c.handle_size(at(0), ANN, 40_000);
        c.ask(at(0), ANN);
        assert_eq!(
            c.handle_data(at(0), ANN, 1, None, part(&bytes, 1)),
            Outcome::Progress
        );
        assert_eq!(c.handle_data(at(0), ANN, -1, None, b""), Outcome::Progress);
        let short = c.handle_data(at(0), ANN, 0, None, b"short");
        assert_eq!(short, Outcome::Faulty);
    }
}
