//! Writing: neighbouring blocks in one call, then hashed from the bytes that they came in (`strands.rs`), and each piece
//! judged when it is through.

use std::collections::{BTreeSet, VecDeque};
use std::io::IoSlice;
use std::mem;
use std::ops::Range;

use super::{Disk, scratch};
use crate::base::ids::{Block, Piece};
use crate::base::memory;
use crate::disk::content::{BLOCKS_MAX, Content};
use crate::disk::error;
use crate::disk::files::Files;
use crate::disk::jobs::Proof;
use crate::disk::resume::{Resume, StateFiles, World};
use crate::disk::verify::Running;
use crate::engine::io::{BlockData, DiskDone, DiskError, DiskErrorKind, TorrentId};

/// A block that is to be written.
pub(super) struct Pending {
    pub(super) torrent: TorrentId,
    pub(super) block: Block,
    pub(super) index: u32,
    pub(super) offset: u64,
    pub(super) data: BlockData,
    /// How the writing went; `Ok` before.
    outcome: Result<(), DiskError>,
    /// Whether the bytes in memory are what was written, and can be hashed.
    pub(super) is_as_written: bool,
}

impl Pending {
    /// The piece that it is of, and of which torrent.
    pub(super) fn piece(&self) -> (TorrentId, Piece) {
        (self.torrent, self.block.piece)
    }
}

impl<F: Files, S: StateFiles> Disk<F, S> {
    /// Takes a write among the pending ones, or answers at once what is no block or was written before.
    pub(super) fn claim(
        &mut self,
        torrent: TorrentId,
        block: Block,
        data: BlockData,
        received: &[u8],
        done: &mut VecDeque<DiskDone>,
    ) {
        let Some(known) = self.torrents.get_mut(&torrent) else {
            let error = error::unknown("a torrent");
            return done.push_back(answer(torrent, block, data, Err(error)));
        };
        known.fresh = false;
        let geometry = known.meta.geometry;
        let fits = bytes(&data, received).is_some_and(|bytes| bytes.len() == block.len as usize);
        let Some(index) = geometry.block_index(block).filter(|_| fits) else {
            let error = error::unknown("a block");
            return done.push_back(answer(torrent, block, data, Err(error)));
        };
        let running = known.running.entry(block.piece).or_insert_with(|| {
            Running::new(
                geometry.piece_len(block.piece),
                geometry.blocks(block.piece),
            )
        });
        if let Some(resume) = known.resume.as_mut()
            && resume.has(block.piece)
        {
            resume.lose(block.piece);
        }
        if let Some(vouched) = &mut known.vouched {
            vouched.remove(block.piece);
            self.vouching
                .retain(|job| job.torrent != torrent || job.piece != block.piece);
        }
        if !running.claim(index) {
            // One writer a block: what was hashed is what is on the disk.
            return done.push_back(answer(torrent, block, data, Ok(())));
        }
        self.pending.push(Pending {
            torrent,
            block,
            index,
            offset: geometry.offset(block),
            data,
            outcome: Ok(()),
            is_as_written: false,
        });
    }

    /// Writes what is pending, a run of neighbours at a time. `late` bytes may be read back on the way.
    pub(super) fn flush(
        &mut self,
        received: &[u8],
        late: &mut usize,
        done: &mut VecDeque<DiskDone>,
    ) {
        let mut pending = mem::take(&mut self.pending);
        let mut from = 0;
        while from < pending.len() {
            let to = run_end(&pending, from);
            let run = &mut pending[from..to];
            self.finish_digests(run, done);
            self.write_run(run, received);
            from = to;
        }
        // Of the shortest blocks a batch may have ten thousands, and each step looks at all pieces.
        for part in pending.chunks(BLOCKS_MAX) {
            self.hash(part, received);
        }
        done.extend(pending.iter_mut().map(answer_pending));
        // Only now is every claimed block on the disk, or given back.
        self.hash_late(&pending, late, done);
        pending.clear();
        self.pending = pending;
    }

    /// Writes blocks that lie one behind the other, and notes of each how it went.
    fn write_run(&mut self, run: &mut [Pending], received: &[u8]) {
        let torrent = run[0].torrent;
        let Some(known) = self.torrents.get_mut(&torrent) else {
            return;
        };
        let mut slices = [IoSlice::new(&[]); BLOCKS_MAX];
        for (slice, pending) in slices.iter_mut().zip(run.iter()) {
            *slice = IoSlice::new(bytes(&pending.data, received).unwrap_or(&[]));
        }
        if let Some(resume) = &mut known.resume {
            resume.handle_writing(&mut World {
                files: &mut self.files,
                state: &mut self.state,
                warnings: &mut self.warnings,
                written: &mut self.state_written,
                torrent,
            });
        }
        let mut content = Content::new(&mut self.files, torrent, &known.meta);
        let first = run[0].offset;
        let (written, result) = content.write(first, &slices[..run.len()]);
        match &result {
            Ok(()) if mem::take(&mut known.gone) => {
                let running = &known.running;
                let (wait, now): (BTreeSet<_>, BTreeSet<_>) = mem::take(&mut known.suspects)
                    .into_iter()
                    .partition(|piece| running.contains_key(piece));
                known.suspects = wait;
                let proofs = now.into_iter().map(|piece| Proof::new(torrent, piece));
                self.proofs.extend(proofs);
            }
            Err(error) if matches!(error.kind, DiskErrorKind::Gone | DiskErrorKind::Io) => {
                let doubtful = known.resume.as_mut().map(Resume::handle_trouble);
                known.suspects.extend(doubtful.into_iter().flatten());
                known.suspects.extend(known.running.keys());
                known.gone = true;
            }
            Ok(()) | Err(_) => {}
        }
        for pending in run {
            let Pending { block, offset, .. } = *pending;
            let end = offset - first + u64::from(block.len);
            if end > written {
                pending.outcome = result.clone();
            }
            if let Some(running) = known.running.get_mut(&block.piece) {
                if pending.outcome.is_ok() {
                    running.wrote(pending.index);
                    // What counts as padding is zeros, whatever was sent: it is read back as zeros.
                    pending.is_as_written =
                        !(known.padded && content.has_padding(offset, u64::from(block.len)));
                } else {
                    running.release(pending.index);
                }
            }
        }
        if !known.is_meddled && self.files.is_meddled(torrent) {
            known.distrust();
        }
    }

    /// Hashes what these writes have left behind, at once while `late` lasts, else as a job, and judges
    /// each of their pieces that is through.
    fn hash_late(&mut self, written: &[Pending], late: &mut usize, done: &mut VecDeque<DiskDone>) {
        for group in written.chunk_by(|one, next| one.piece() == next.piece()) {
            let (torrent, piece) = group[0].piece();
            if !self.catch_up(torrent, piece, late, done) {
                continue;
            }
            let known = self.torrents.get_mut(&torrent);
            if let Some(running) = known.and_then(|known| known.running.get_mut(&piece))
                && !mem::replace(&mut running.queued, true)
            {
                self.behind.push_back((torrent, piece));
            }
        }
    }

    /// Reads back and hashes what is written behind a gap that has closed, until `budget` is used up, and
    /// judges the piece if it is through. True if there is more to read back.
    pub(super) fn catch_up(
        &mut self,
        torrent: TorrentId,
        piece: Piece,
        budget: &mut usize,
        done: &mut VecDeque<DiskDone>,
    ) -> bool {
        let Some(known) = self.torrents.get_mut(&torrent) else {
            return false;
        };
        let Some(running) = known.running.get_mut(&piece) else {
            return false;
        };
        while running.is_behind() {
            if *budget == 0 {
                return true;
            }
            let scratch = scratch(&mut self.scratch, self.read_back);
            let (begin, len) = running.behind();
            let len = len.min(scratch.len() as u32);
            let block = Block { piece, begin, len };
            let out = &mut scratch[..len as usize];
            let mut content = Content::new(&mut self.files, torrent, &known.meta);
            match content.read_exact(known.meta.geometry.offset(block), out) {
                Ok(()) => running.advance(out),
                Err(error) => {
                    running.spoil();
                    done.push_back(DiskDone::ReadFailed {
                        torrent,
                        block,
                        error,
                    });
                }
            }
            *budget = budget.saturating_sub(len as usize);
        }
        if running.is_over()
            && let Some(running) = known.running.remove(&piece)
        {
            let good = running.judge(known.meta.hash(piece));
            if known.suspects.remove(&piece) {
                // Its first blocks may have gone with the disk, whatever their hash was.
                let proof = good.then(|| Proof::new(torrent, piece));
                self.proofs.extend(proof);
            } else if good
                && !known.is_meddled
                && let Some(resume) = &mut known.resume
            {
                resume.handle_good(piece);
            }
            done.push_back(DiskDone::Verified {
                torrent,
                piece,
                good,
            });
        }
        false
    }
}

/// The end of the run that begins at `from`: blocks of one torrent, each where the one before ends.
fn run_end(pending: &[Pending], from: usize) -> usize {
    let rest = &pending[from..];
    let joined = rest.windows(2).take(BLOCKS_MAX - 1).take_while(|pair| {
        pair[0].torrent == pair[1].torrent
            && pair[0].offset + u64::from(pair[0].block.len) == pair[1].offset
    });
    from + 1 + joined.count()
}

/// The bytes of a block, wherever they are; `None` if its range lies outside of them.
pub(super) fn bytes<'a>(data: &'a BlockData, received: &'a [u8]) -> Option<&'a [u8]> {
    let (from, range): (&[u8], &Range<usize>) = match data {
        BlockData::Received(range) => (received, range),
        BlockData::Joined { buffer, range } => (buffer, range),
    };
    from.get(range.clone())
}

fn answer_pending(pending: &mut Pending) -> DiskDone {
    let data = mem::replace(&mut pending.data, BlockData::Received(0..0));
    let outcome = mem::replace(&mut pending.outcome, Ok(()));
    answer(pending.torrent, pending.block, data, outcome)
}

fn answer(
    torrent: TorrentId,
    block: Block,
    data: BlockData,
    outcome: Result<(), DiskError>,
) -> DiskDone {
    let buffer = match data {
        BlockData::Received(_) => None,
        BlockData::Joined { buffer, .. } => Some(buffer),
    };
    match outcome {
        Ok(()) => DiskDone::Wrote {
            torrent,
            block,
            buffer,
        },
        Err(error) => DiskDone::WriteFailed {
            torrent,
            block,
            buffer,
            error,
        },
    }
}

/// Bytes read back at once when a gap closes, so that the blocks that follow in order are hashed from
/// memory again; more is left to the jobs.
pub(super) const LATE_AT_ONCE: usize = memory::BUFFER;
