//! The store: carries out the engine's disk operations on the files of several torrents.

mod strands;
mod vouch;
mod work;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use self::strands::Strand;
use self::write::{LATE_AT_ONCE, Pending};
use crate::base::bitfield::Bitfield;
use crate::base::buffer::Buffer;
use crate::base::escape::escape;
use crate::base::ids::{Block, Piece};
use crate::base::time::{Instant, earliest};
use crate::base::{limits, memory};
use crate::disk::content::Content;
use crate::disk::error::{self, DiskWarning};
use crate::disk::files::{Files, Place, Room};
use crate::disk::jobs::{Check, DONE_MAX, Digests, Proof};
use crate::disk::resume::{OsState, Resume, StateFiles, Totals, World};
use crate::disk::verify::Running;
use crate::engine::io::{DiskDone, DiskError, DiskErrorKind, DiskOp, TorrentId};
use crate::wire::metainfo::{FileKind, Metainfo};

/// What the reactor, or a simulated world, asks of a disk.
pub trait Store {
    /// Makes a torrent known and looks at what is there: the root must be (or be made) a directory that
    /// can be written to; every target that exists must be a regular file no longer than the torrent says
    /// (unless `place.force`), reached through no symlink. Files are made when they are first written. Then
    /// the torrent's state below `place.state_dir` is locked and read, if there is such a directory;
    /// [`DiskErrorKind::Locked`] if another process has it. On an error nothing is known, and it may be
    /// tried again.
    fn add(
        &mut self,
        torrent: TorrentId,
        meta: Arc<Metainfo>,
        place: Place,
    ) -> Result<(), DiskError>;

    /// Forgets a torrent, its jobs and its files, and gives its lock back; what it was still asked is never
    /// answered. For a stop in good order, [`Store::flush`] comes first.
    fn remove(&mut self, torrent: TorrentId);

    /// Takes the operations of one drain or several, in order, with the buffer that their ranges name; leaves `ops`
    /// empty. Writes are carried out before it returns, the rest in slices by [`Store::work`].
    fn handle(&mut self, ops: &mut Vec<DiskOp>, received: &[u8], done: &mut VecDeque<DiskDone>);

    /// Goes on with checks, digests and late hashing for about `budget`, or until there is enough to be heard; true
    /// if more is left.
    fn work(&mut self, budget: Budget, done: &mut VecDeque<DiskDone>) -> bool;

    /// Reads a range within a verified piece for a peer, neighbouring blocks as one if wished; `out` is as long as
    /// `block`. [`DiskErrorKind::Changed`] if part of it is gone. False if its piece is hashed first
    /// ([`Place::verify_on_upload`]): to be asked again after [`Store::work`], which answers with
    /// [`DiskDone::ReadFailed`] if the piece is not what was verified.
    fn read(&mut self, torrent: TorrentId, block: Block, out: &mut [u8])
    -> Result<bool, DiskError>;

    /// For a torrent that is complete: makes its empty files, cuts longer ones if that was allowed, and sees whether
    /// all are still there. Errors: as [`Files::finish`].
    fn finish(&mut self, torrent: TorrentId) -> Result<(), DiskError>;

    /// Notes in the journals what was verified, and syncs at most one file. To be called when
    /// [`Store::poll_timeout`] says so.
    fn handle_timeout(&mut self, now: Instant);

    /// When [`Store::handle_timeout`] is to be called; a moment long past for *at once*.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Something odd that a person should know.
    fn poll_warning(&mut self) -> Option<DiskWarning>;

    /// For a stop in good order: syncs one file of a torrent and says whether more is left. Once it is false, all
    /// that was verified is durable. To stop before that costs a re-hash after a power cut, nothing else.
    fn flush(&mut self, torrent: TorrentId) -> bool;

    /// Payload of a torrent moved in this run so far, to be remembered.
    fn handle_totals(&mut self, torrent: TorrentId, downloaded: u64, uploaded: u64);

    /// Payload of a torrent moved in all runs, as far as is remembered.
    fn totals(&self, torrent: TorrentId) -> Totals;
}

/// How much a call may do: bytes read and hashed. 2 MiB are about 2 ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget(
    /// Bytes; overrun by at most one read of 256 KiB.
    pub usize,
);

/// A [`Store`] on files of any kind, with its state in files of any kind.
#[derive(Default)]
pub struct Disk<F, S = OsState> {
    files: F,
    state: S,
    warnings: VecDeque<DiskWarning>,
    state_written: u64,
    torrents: BTreeMap<TorrentId, Torrent>,
    /// Writes that are gathered to go out together; empty between calls, kept for its capacity.
    pending: Vec<Pending>,
    /// What is being hashed of them; empty between calls, too.
    strands: Vec<Strand>,
    behind: VecDeque<(TorrentId, Piece)>,
    digests: VecDeque<Digests>,
    checks: VecDeque<Check>,
    proofs: VecDeque<Proof>,
    /// Pieces that are hashed before any of them is read for a peer.
    vouching: VecDeque<Proof>,
    /// What is read back goes through here; empty until the first job.
    scratch: Buffer,
    /// Bytes read back at once.
    read_back: usize,
    /// Bytes that a check reads at once.
    check_read: usize,
}

struct Torrent {
    meta: Arc<Metainfo>,
    padded: bool,
    /// Whether nothing was checked or written since the files were looked at.
    fresh: bool,
    recheck: bool,
    running: BTreeMap<Piece, Running>,
    resume: Option<Resume>,
    /// Pieces that were not synced when the disk went away: they are hashed when it is back.
    suspects: BTreeSet<Piece>,
    gone: bool,
    /// Whether another program was seen to have a hand in the files since they were looked at.
    is_meddled: bool,
    /// What was hashed for upload and not touched since; `None` if that is not asked for.
    vouched: Option<Bitfield>,
}

impl<F: Files, S: StateFiles + Default> Disk<F, S> {
    /// A store without torrents on `files`.
    pub fn new(files: F) -> Self {
        Self::with_state(files, S::default())
    }
}

impl<F: Files, S: StateFiles> Disk<F, S> {
    /// A store without torrents on `files`, whose lasting state is in `state`.
    pub fn with_state(files: F, state: S) -> Self {
        Self {
            files,
            state,
            warnings: VecDeque::new(),
            state_written: 0,
            torrents: BTreeMap::new(),
            pending: Vec::new(),
            strands: Vec::new(),
            behind: VecDeque::new(),
            digests: VecDeque::new(),
            checks: VecDeque::new(),
            proofs: VecDeque::new(),
            vouching: VecDeque::new(),
            scratch: Buffer::default(),
            read_back: memory::BUFFER,
            check_read: 2 * memory::BUFFER,
        }
    }

    /// Reads back at most so many bytes at once, and at most so many for a check: a block at least.
    pub fn set_reads(&mut self, read_back: usize, check: usize) {
        self.read_back = read_back.max(limits::BLOCK as usize);
        self.check_read = check.max(limits::BLOCK as usize);
        self.scratch = Buffer::default();
    }

    /// The files below.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// The files below, to make them misbehave in a simulated world.
    pub fn files_mut(&mut self) -> &mut F {
        &mut self.files
    }

    /// Where the lasting state is.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Where the lasting state is, to make it misbehave in a simulated world.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Bytes of state written in this run: what flash memory has to take beside the content.
    pub fn state_written(&self) -> u64 {
        self.state_written
    }
}

impl<F: Files, S: StateFiles> Store for Disk<F, S> {
    fn add(
        &mut self,
        torrent: TorrentId,
        meta: Arc<Metainfo>,
        place: Place,
    ) -> Result<(), DiskError> {
        self.files.add(torrent, &meta, place.clone())?;
        let before = self.torrents.remove(&torrent);
        if let Some(resume) = before.and_then(|known| known.resume) {
            resume.close(&mut world(self, torrent));
        }
        let mut world = world(self, torrent);
        if let Some(room) = world
            .files
            .room(torrent)
            .filter(|room| room.wanted > room.free)
        {
            let Room { wanted, free } = room;
            let root = escape(place.root.as_os_str().as_encoded_bytes(), 400);
            world.warnings.push_back(DiskWarning {
                torrent,
                kind: "disk.space",
                message: format!("{wanted} bytes are wanted and {free} are free at {root}"),
            });
        }
        let resume = Resume::open(&mut world, torrent, &meta, &place);
        let resume = resume.inspect_err(|_| world.files.remove(torrent))?;
        if let Err(error) = world.files.claim(torrent) {
            if let Some(resume) = resume {
                resume.close(&mut world);
            }
            world.files.remove(torrent);
            return Err(error);
        }
        let padded = meta.files.iter().any(|file| match file.kind {
            FileKind::Regular => false,
            FileKind::Pad | FileKind::Symlink => true,
        });
        let vouched = place
            .verify_on_upload
            .then(|| Bitfield::new(meta.geometry.pieces()));
        let known = Torrent {
            meta,
            padded,
            fresh: true,
            recheck: place.recheck,
            running: BTreeMap::new(),
            resume,
            suspects: BTreeSet::new(),
            gone: false,
            is_meddled: false,
            vouched,
        };
        self.torrents.insert(torrent, known);
        Ok(())
    }

    fn remove(&mut self, torrent: TorrentId) {
        if let Some(resume) = self
            .torrents
            .remove(&torrent)
            .and_then(|known| known.resume)
        {
            resume.close(&mut world(self, torrent));
        }
        self.behind.retain(|(of, _)| *of != torrent);
        self.digests.retain(|job| job.torrent != torrent);
        self.checks.retain(|job| job.torrent != torrent);
        self.proofs.retain(|job| job.torrent != torrent);
        self.vouching.retain(|job| job.torrent != torrent);
        self.files.remove(torrent);
        if self.checks.is_empty() {
            // A check's buffer is the largest.
            self.scratch = Buffer::default();
        }
    }

    fn handle(&mut self, ops: &mut Vec<DiskOp>, received: &[u8], done: &mut VecDeque<DiskDone>) {
        let mut late = LATE_AT_ONCE;
        for op in ops.drain(..) {
            match op {
                DiskOp::Write {
                    torrent,
                    block,
                    data,
                } => self.claim(torrent, block, data, received, done),
                DiskOp::Forget { torrent, piece } => {
                    self.flush(received, &mut late, done);
                    if let Some(known) = self.torrents.get_mut(&torrent) {
                        known.running.remove(&piece);
                        if let Some(resume) = &mut known.resume {
                            resume.lose(piece);
                        }
                    }
                }
                DiskOp::Digest { torrent, piece } => {
                    self.flush(received, &mut late, done);
                    self.begin_digest(torrent, piece, done);
                }
                DiskOp::Check { torrent } => {
                    self.flush(received, &mut late, done);
                    self.begin_check(torrent, done);
                }
            }
        }
        self.flush(received, &mut late, done);
    }

    fn work(&mut self, budget: Budget, done: &mut VecDeque<DiskDone>) -> bool {
        let mut budget = budget.0;
        let enough = done.len() + DONE_MAX;
        while budget > 0 && done.len() < enough {
            if let Some(&(torrent, piece)) = self.behind.front() {
                if !self.catch_up(torrent, piece, &mut budget, done) {
                    self.behind.pop_front();
                    let known = self.torrents.get_mut(&torrent);
                    if let Some(running) = known.and_then(|known| known.running.get_mut(&piece)) {
                        running.queued = false;
                    }
                }
            } else if !self.digests.is_empty() {
                self.work_digest(&mut budget, done);
            } else if !self.vouching.is_empty() {
                self.work_vouching(&mut budget, done);
            } else if !self.proofs.is_empty() {
                self.work_proof(&mut budget, done);
            } else if !self.checks.is_empty() {
                self.work_check(&mut budget, done, enough);
            } else {
                return false;
            }
        }
        let last = self.checks.is_empty() && self.proofs.is_empty() && self.vouching.is_empty();
        !(self.behind.is_empty() && self.digests.is_empty() && last)
    }

    fn read(
        &mut self,
        torrent: TorrentId,
        block: Block,
        out: &mut [u8],
    ) -> Result<bool, DiskError> {
        let known = self.torrents.get(&torrent);
        let known = known.ok_or_else(|| error::unknown("a torrent"))?;
        if !known.meta.geometry.contains(block) || out.len() != block.len as usize {
            return Err(error::unknown("a block"));
        }
        if !self.vouches(torrent, block.piece) {
            return Ok(false);
        }
        let Some(known) = self.torrents.get_mut(&torrent) else {
            return Err(error::unknown("a torrent"));
        };
        let meta = &known.meta;
        let files = &mut self.files;
        let mut content = Content::new(files, torrent, meta);
        let result = content.read_exact(meta.geometry.offset(block), out);
        if let (Err(error), Some(resume)) = (&result, &mut known.resume)
            && error.kind == DiskErrorKind::Changed
        {
            resume.handle_changed(block);
        }
        result?;
        Ok(!self.is_touched(torrent, block.piece) || self.vouches(torrent, block.piece))
    }

    fn finish(&mut self, torrent: TorrentId) -> Result<(), DiskError> {
        let result = self.files.finish(torrent);
        let of_others = |kind| {
            use DiskErrorKind::{Changed, Longer, NotRegular};
            matches!(kind, Changed | Longer | NotRegular)
        };
        if let Err(error) = &result
            && of_others(error.kind)
            && let Some(known) = self.torrents.get_mut(&torrent)
        {
            known.distrust();
        }
        result
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut synced = false;
        for (&torrent, known) in &mut self.torrents {
            if let Some(resume) = &mut known.resume {
                let world = &mut World {
                    files: &mut self.files,
                    state: &mut self.state,
                    warnings: &mut self.warnings,
                    written: &mut self.state_written,
                    torrent,
                };
                synced |= resume.handle_timeout(now, world, synced);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let resumes = self
            .torrents
            .values()
            .filter_map(|known| known.resume.as_ref());
        resumes.fold(None, |sooner, resume| {
            earliest(sooner, resume.poll_timeout())
        })
    }

    fn poll_warning(&mut self) -> Option<DiskWarning> {
        self.warnings.pop_front()
    }

    fn flush(&mut self, torrent: TorrentId) -> bool {
        let known = self.torrents.get_mut(&torrent);
        let Some(resume) = known.and_then(|known| known.resume.as_mut()) else {
            return false;
        };
        resume.flush(&mut World {
            files: &mut self.files,
            state: &mut self.state,
            warnings: &mut self.warnings,
            written: &mut self.state_written,
            torrent,
        })
    }

    fn handle_totals(&mut self, torrent: TorrentId, downloaded: u64, uploaded: u64) {
        let known = self.torrents.get_mut(&torrent);
        if let Some(resume) = known.and_then(|known| known.resume.as_mut()) {
            resume.handle_totals(downloaded, uploaded);
        }
    }

    fn totals(&self, torrent: TorrentId) -> Totals {
        let known = self.torrents.get(&torrent);
        let resume = known.and_then(|known| known.resume.as_ref());
        resume.map_or_else(Totals::default, Resume::totals)
    }
}

impl Torrent {
    /// Another program had a hand in the files: nothing is remembered as being there until all is hashed again.
    fn distrust(&mut self) {
        self.is_meddled = true;
        if let Some(resume) = &mut self.resume {
            resume.handle_strangers();
        }
    }
}

/// What a torrent's state needs of its store.
fn world<F, S>(disk: &mut Disk<F, S>, torrent: TorrentId) -> World<'_, F, S> {
    World {
        files: &mut disk.files,
        state: &mut disk.state,
        warnings: &mut disk.warnings,
        written: &mut disk.state_written,
        torrent,
    }
}

/// As much of the buffer for reading back, which is made when it is first used.
fn scratch(buffer: &mut Buffer, bytes: usize) -> &mut [u8] {
    if buffer.len() < bytes {
        buffer.resize(bytes);
    }
    &mut buffer[..bytes]
}

#[cfg(test)]
mod tests;
