//! A disk without bytes: it keeps the rules of the boundary, and answers as the fuzzer wants.

use std::collections::{BTreeSet, VecDeque};

use minitorrent::base::geometry::Geometry;
use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::io::{BlockData, DiskDone, DiskError, DiskErrorKind, DiskOp, TorrentId};

/// What was asked and not answered yet, and what that has come to.
pub(super) struct ModelDisk {
    geometry: Geometry,
    jobs: VecDeque<Job>,
    /// Blocks that were to be written since their piece was last verified or forgotten.
    claimed: BTreeSet<Block>,
    written: BTreeSet<Block>,
    /// Pieces whose hash was right.
    pub(super) verified: BTreeSet<Piece>,
    /// Torrents that were removed: what they still have to hear comes late, and means nothing.
    removed: BTreeSet<TorrentId>,
}

enum Job {
    Checked(TorrentId, Piece),
    CheckEnded(TorrentId),
    Write {
        torrent: TorrentId,
        block: Block,
        buffer: Option<Vec<u8>>,
        counts: bool,
    },
    Verify(TorrentId, Piece),
    Digest(TorrentId, Piece),
}

impl ModelDisk {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            jobs: VecDeque::new(),
            claimed: BTreeSet::new(),
            written: BTreeSet::new(),
            verified: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }

    /// Forgets a torrent. What it asked for is still answered.
    pub(super) fn remove(&mut self, torrent: TorrentId) {
        assert!(self.removed.insert(torrent), "it is removed twice");
        (self.claimed, self.written) = Default::default();
        self.verified.clear();
        for job in &mut self.jobs {
            if let Job::Write { counts, .. } = job {
                *counts = false;
            }
        }
    }

    /// Takes an operation; `received` is what the session was lent last.
    pub(super) fn handle(&mut self, op: DiskOp, received: &[u8]) {
        let (DiskOp::Check { torrent }
        | DiskOp::Write { torrent, .. }
        | DiskOp::Forget { torrent, .. }
        | DiskOp::Digest { torrent, .. }) = &op;
        assert!(!self.removed.contains(torrent), "of a removed torrent");
        match op {
            DiskOp::Check { torrent } => {
                // What was begun or known before is nothing now.
                (self.claimed, self.written) = Default::default();
                self.verified.clear();
                self.jobs.retain(|job| !matches!(job, Job::Verify(..)));
                for job in &mut self.jobs {
                    if let Job::Write { counts, .. } = job {
                        *counts = false;
                    }
                }
                let pieces = (0..self.geometry.pieces()).map(Piece);
                self.jobs
                    .extend(pieces.map(|piece| Job::Checked(torrent, piece)));
                self.jobs.push_back(Job::CheckEnded(torrent));
            }
            DiskOp::Write {
                torrent,
                block,
                data,
            } => {
                assert!(self.geometry.block_index(block).is_some(), "{block:?}");
                assert!(!self.verified.contains(&block.piece), "it is there");
                assert!(self.claimed.insert(block), "{block:?} is written twice");
                let (len, buffer) = match data {
                    BlockData::Received(range) => (received[range].len(), None),
                    BlockData::Joined { buffer, range } => (buffer[range].len(), Some(buffer)),
                };
                assert_eq!(len, block.len as usize);
                self.jobs.push_back(Job::Write {
                    torrent,
                    block,
                    buffer,
                    counts: true,
                });
            }
            DiskOp::Forget { piece: gone, .. } => {
                self.claimed.retain(|block| block.piece != gone);
                self.written.retain(|block| block.piece != gone);
                self.jobs
                    .retain(|job| !matches!(job, Job::Verify(_, piece) if *piece == gone));
                for job in &mut self.jobs {
                    if let Job::Write { block, counts, .. } = job
                        && block.piece == gone
                    {
                        *counts = false;
                    }
                }
            }
            DiskOp::Digest { torrent, piece } => {
                self.jobs.push_back(Job::Digest(torrent, piece));
            }
        }
    }

    /// Whether something waits for its answer.
    pub(super) fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Answers what was asked first; `mood` decides how.
    pub(super) fn answer(&mut self, mood: u8) -> Option<DiskDone> {
        let error = error(mood);
        Some(match self.jobs.pop_front()? {
            Job::Checked(torrent, piece) => {
                let good = mood & 1 == 1;
                if good && !self.removed.contains(&torrent) {
                    self.verified.insert(piece);
                }
                DiskDone::Checked {
                    torrent,
                    piece,
                    good,
                }
            }
            Job::CheckEnded(torrent) => DiskDone::CheckEnded {
                torrent,
                error: (mood >= FAILS).then_some(error),
            },
            Job::Write {
                torrent,
                block,
                buffer,
                counts,
            } => {
                if mood >= FAILS {
                    if counts {
                        self.claimed.remove(&block);
                    }
                    return Some(DiskDone::WriteFailed {
                        torrent,
                        block,
                        buffer,
                        error,
                    });
                }
                if counts {
                    self.written.insert(block);
                    let there = self.written.iter().filter(|b| b.piece == block.piece);
                    if there.count() == self.geometry.blocks(block.piece) as usize {
                        self.jobs.push_back(Job::Verify(torrent, block.piece));
                    }
                }
                DiskDone::Wrote {
                    torrent,
                    block,
                    buffer,
                }
            }
            Job::Verify(torrent, piece) => {
                let good = mood & 7 != 0;
                if !self.removed.contains(&torrent) {
                    self.claimed.retain(|block| block.piece != piece);
                    self.written.retain(|block| block.piece != piece);
                    self.verified.extend(good.then_some(piece));
                }
                DiskDone::Verified {
                    torrent,
                    piece,
                    good,
                }
            }
            Job::Digest(torrent, piece) => {
                let count = self.geometry.blocks(piece);
                let digest = |n| [mood.wrapping_mul(n as u8) & 3; 20];
                let blocks = if mood >= FAILS {
                    Vec::new()
                } else {
                    (0..count).map(digest).collect()
                };
                DiskDone::Digests {
                    torrent,
                    piece,
                    blocks,
                }
            }
        })
    }

    /// A verified piece turns out to be gone.
    pub(super) fn lose(&mut self, torrent: TorrentId, block: Block, mood: u8) -> DiskDone {
        self.verified.remove(&block.piece);
        DiskDone::ReadFailed {
            torrent,
            block,
            error: error(mood),
        }
    }
}

fn error(mood: u8) -> DiskError {
    use DiskErrorKind::{Changed, Denied, Full, Gone, Io, Longer, NotRegular, TooBig};
    let kinds = [Full, Denied, Gone, NotRegular, Longer, Changed, TooBig, Io];
    DiskError {
        kind: kinds[usize::from(mood % 8)],
        message: String::from("as the fuzzer wants"),
    }
}

/// From this mood on, operations fail.
const FAILS: u8 = 230;
