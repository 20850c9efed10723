//! What takes long, begun and carried on in slices.

use std::collections::VecDeque;
use std::mem;

use super::write::Pending;
use super::{Disk, scratch};
use crate::base::bitfield::Bitfield;
use crate::base::buffer::Buffer;
use crate::base::ids::Piece;
use crate::disk::content::Content;
use crate::disk::error;
use crate::disk::files::Files;
use crate::disk::jobs::{Check, Digests};
use crate::disk::resume::{StateFiles, World};
use crate::engine::io::{DiskDone, DiskError, DiskErrorKind, TorrentId};

impl<F: Files, S: StateFiles> Disk<F, S> {
    pub(super) fn begin_check(&mut self, torrent: TorrentId, done: &mut VecDeque<DiskDone>) {
        self.checks.retain(|job| job.torrent != torrent);
        let Some(known) = self.torrents.get_mut(&torrent) else {
            return done.push_back(DiskDone::CheckEnded {
                torrent,
                error: Some(error::unknown("a torrent")),
            });
        };
        let first = mem::take(&mut known.fresh);
        let looked = match first {
            true => Ok(()),
            false => self.files.survey(torrent),
        };
        if let Err(error) = looked {
            return done.push_back(DiskDone::CheckEnded {
                torrent,
                error: Some(error),
            });
        }
        // Nobody goes on with what was begun before.
        known.running.clear();
        known.suspects.clear();
        known.is_meddled = false;
        self.behind.retain(|(of, _)| *of != torrent);
        self.proofs.retain(|job| job.torrent != torrent);
        let (mut trusted, mut samples) = (Bitfield::default(), Vec::new());
        if let Some(resume) = &mut known.resume {
            let world = &mut World {
                files: &mut self.files,
                state: &mut self.state,
                warnings: &mut self.warnings,
                written: &mut self.state_written,
                torrent,
            };
            // Who asks again within a run does so because it is not believed.
            trusted = resume.handle_survey(world, known.recheck || !first);
            samples = resume.samples(world.state);
        }
        self.checks.push_back(Check::new(torrent, trusted, samples));
    }

    pub(super) fn begin_digest(
        &mut self,
        torrent: TorrentId,
        piece: Piece,
        done: &mut VecDeque<DiskDone>,
    ) {
        let known = self.torrents.get(&torrent);
        if known.is_some_and(|known| known.meta.geometry.has_piece(piece)) {
            self.digests.push_back(Digests::new(torrent, piece));
        } else {
            let blocks = Vec::new();
            done.push_back(DiskDone::Digests {
                torrent,
                piece,
                blocks,
            });
        }
    }

    /// Brings digests to their end whose piece is about to be overwritten: operations keep their order.
    pub(super) fn finish_digests(&mut self, run: &[Pending], done: &mut VecDeque<DiskDone>) {
        let touches = |job: &Digests| {
            let mut blocks = run.iter();
            blocks.any(|p| p.torrent == job.torrent && p.block.piece == job.piece)
        };
        while let Some(at) = self.digests.iter().position(touches) {
            self.digests.swap(0, at);
            let mut all = usize::MAX;
            self.work_digest(&mut all, done);
        }
    }

    pub(super) fn work_digest(&mut self, budget: &mut usize, done: &mut VecDeque<DiskDone>) {
        let Some(mut job) = self.digests.pop_front() else {
            return;
        };
        let torrent = job.torrent;
        let Some(known) = self.torrents.get(&torrent) else {
            return;
        };
        let mut content = Content::new(&mut self.files, torrent, &known.meta);
        if !job.slice(
            &mut content,
            scratch(&mut self.scratch, self.read_back),
            budget,
            done,
        ) {
            self.digests.push_front(job);
        }
    }

    pub(super) fn work_proof(&mut self, budget: &mut usize, done: &mut VecDeque<DiskDone>) {
        let Some(mut job) = self.proofs.pop_front() else {
            return;
        };
        let (torrent, piece) = (job.torrent, job.piece);
        let Some(known) = self.torrents.get_mut(&torrent) else {
            return;
        };
        let mut content = Content::new(&mut self.files, torrent, &known.meta);
        match job.slice(
            &mut content,
            scratch(&mut self.scratch, self.read_back),
            budget,
        ) {
            None => self.proofs.push_front(job),
            // It was lost and is being written anew.
            Some(_) if known.running.contains_key(&piece) => {}
            Some(Ok(true)) => {
                if let Some(resume) = &mut known.resume {
                    resume.handle_good(piece);
                }
            }
            Some(Ok(false) | Err(_)) => done.push_back(DiskDone::ReadFailed {
                torrent,
                block: known.meta.geometry.block(piece, 0),
                error: DiskError {
                    kind: DiskErrorKind::Changed,
                    message: format!("piece {piece} went away with the disk"),
                },
            }),
        }
    }

    pub(super) fn work_check(
        &mut self,
        budget: &mut usize,
        done: &mut VecDeque<DiskDone>,
        enough: usize,
    ) {
        let Some(mut job) = self.checks.pop_front() else {
            return;
        };
        let torrent = job.torrent;
        let Some(known) = self.torrents.get_mut(&torrent) else {
            return;
        };
        let mut content = Content::new(&mut self.files, torrent, &known.meta);
        let said = done.len();
        let over = job.slice(
            &mut content,
            scratch(&mut self.scratch, self.check_read),
            budget,
            done,
            enough,
        );
        if let Some(resume) = &mut known.resume {
            if let Some(piece) = job.take_bad_sample() {
                let world = &mut World {
                    files: &mut self.files,
                    state: &mut self.state,
                    warnings: &mut self.warnings,
                    written: &mut self.state_written,
                    torrent,
                };
                resume.handle_bad_sample(world, piece);
            }
            for done in done.iter().skip(said) {
                if let DiskDone::Checked {
                    piece, good: true, ..
                } = done
                {
                    resume.handle_good(*piece);
                }
            }
        }
        if !over {
            // Several checks take turns, a slice each.
            self.checks.push_back(job);
        } else if self.checks.is_empty() {
            // What comes later reads less, and seldom.
            self.scratch = Buffer::default();
        }
    }
}
