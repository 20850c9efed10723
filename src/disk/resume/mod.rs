//! State that survives: which pieces are there, remembered from one run to the next.
//!
//! Below the state directory each torrent has a directory named by its info-hash, with a `lock` (held by `flock`,
//! so a dead process leaves none) and a [`Journal`]. If the same torrent is at work in another output directory,
//! the second place has a directory of its own within the first, named by a fingerprint of its path.
//!
//! ```text
//! verified ──(each second, no sync)──> written ──(a round of syncs: 64 MiB or 30 s)──> durable
//! ```
//!
//! *Written* is believed while boot id and device are those it was written under: a killed process loses nothing
//! that the kernel has. *Durable* is believed always. Both only while the file looks as it should:
//!
//! * A **clean** file, one that we have finished with for now, must have the very size and time of its stamp, which
//!   was taken after a sync. Whoever edits a finished file changes its time, and it is hashed again.
//! * A **dirty** file may have been written by us since its stamp. This is noted, and synced where a stamp would be
//!   held against us, before the first write of a run, for all files that are not complete, at once. Its time
//!   must lie between that moment and shortly after the last *beat*, the moment we last noted that we write: each
//!   second while we do, and before the first write after a pause. So what happens between the last note and a
//!   `kill -9` costs nothing, and an edit later on is seen. Under another boot id an older time will do, and one
//!   somewhat later: a power cut may take back the time, or the last notes, but never what was synced.
//! * In either case every byte of the piece must be there, and a few pieces picked by chance are hashed at
//!   each start: if one is wrong, all are hashed.
//!
//! Complete files become clean with the round of syncs that makes their pieces durable, the others with a stop in
//! good order. If the state directory can't be written to, the work goes on without.

mod crc;
pub mod files;
pub mod journal;
#[cfg(test)]
mod mem;
mod open;
pub mod os;
mod trust;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::journal::{Epoch, Expected, Kind};
use self::open::{Found, find};
use self::trust::{BEAT_SLACK, CUT_SLACK};
use crate::base::bitfield::Bitfield;
use crate::base::ids::{Block, Piece};
use crate::base::time::{Instant, earliest};
use crate::disk::error::DiskWarning;
use crate::disk::files::{FileId, Files, Place};
use crate::disk::sha1::sha1;
use crate::engine::io::{DiskError, DiskErrorKind, TorrentId};
use crate::wire::metainfo::{FileKind, Metainfo};

pub use self::files::StateFiles;
pub use self::journal::{Journal, Totals};
pub use self::os::OsState;

/// What is remembered of one torrent, and what of it is on its way to the disk.
pub(super) struct Resume {
    torrent: TorrentId,
    meta: Arc<Metainfo>,
    /// Where each file begins in the content.
    starts: Vec<u64>,
    dir: PathBuf,
    expected: Expected,
    /// What is to be remembered; the file may be a little behind.
    journal: Journal,
    /// Whether the journal was of this very epoch when it was read.
    same_epoch: bool,
    /// Bytes of the journal's file; 0 if there is none.
    len: u64,
    /// The same when it was last written anew.
    base: u64,
    /// Pieces that the file doesn't know yet.
    fresh: Vec<Piece>,
    /// Records that wait for the next append.
    records: Vec<u8>,
    /// Whether the file says something that is true no longer.
    rewrite: bool,
    /// Whether this process has synced the journal and its name: one that was killed may have left that undone.
    settled: bool,
    /// Whether the files that may be written to are marked as dirty.
    begun: bool,
    /// Whether content was written since the last beat.
    wrote: bool,
    /// The counters as they were when this run began, and whether they have changed since they were noted.
    totals_before: Totals,
    totals_changed: bool,
    /// Bytes of pieces verified since the last round began.
    unsynced: u64,
    round: Option<Round>,
    flushing: bool,
    append_at: Option<Instant>,
    sync_at: Option<Instant>,
    totals_at: Option<Instant>,
    complained: bool,
}

/// A round of syncs, a file at a time; then its pieces are durable.
struct Round {
    pieces: Bitfield,
    files: Vec<u32>,
}

/// What a round, a check or an opening needs of the world.
pub(super) struct World<'a, F, S> {
    pub(super) files: &'a mut F,
    pub(super) state: &'a mut S,
    pub(super) warnings: &'a mut VecDeque<DiskWarning>,
    /// Bytes of state written so far.
    pub(super) written: &'a mut u64,
    /// Whose state it is.
    pub(super) torrent: TorrentId,
}

impl Resume {
    /// Locks and reads what is remembered of a torrent; `None` if nothing is to be, or can be. It has its files.
    ///
    /// # Errors
    ///
    /// [`DiskErrorKind::Locked`] if another process has the torrent in this place.
    pub(super) fn open<F: Files, S: StateFiles>(
        world: &mut World<'_, F, S>,
        torrent: TorrentId,
        meta: &Arc<Metainfo>,
        place: &Place,
    ) -> Result<Option<Self>, DiskError> {
        let Some(state_dir) = &place.state_dir else {
            return Ok(None);
        };
        let root = world.state.resolve(&place.root);
        let expected = Expected {
            info_hash: meta.info_hash,
            geometry: meta.geometry,
            files: meta.files.len() as u32,
            place: fingerprint(&root),
        };
        let main = state_dir.join(meta.info_hash.to_string());
        let second = main.join(format!("{:016x}", expected.place));
        let found = match find(world, main, &expected, false) {
            Ok(Found::Elsewhere) => find(world, second, &expected, true),
            found => found,
        };
        let (dir, journal, len) = match found {
            Ok(Found::Here { dir, journal, len }) => (dir, journal, len),
            Ok(Found::Elsewhere) => return Ok(None),
            Err(error) if error.kind == DiskErrorKind::Locked => return Err(error),
            Err(error) => {
                let message = format!("{}; nothing will be remembered", error.message);
                world.warn("state.write", message);
                return Ok(None);
            }
        };
        let epoch = Epoch {
            boot: world.state.boot().unwrap_or_default(),
            device: world.files.device(torrent),
        };
        let starts = meta.files.iter().scan(0, |at, file| {
            let start = *at;
            *at += file.length;
            Some(start)
        });
        let mut resume = Self {
            torrent,
            meta: Arc::clone(meta),
            starts: starts.collect(),
            dir,
            expected,
            same_epoch: journal.epoch.is_surely(&epoch),
            rewrite: journal.whole as u64 != len,
            totals_before: journal.totals,
            journal,
            len,
            base: len,
            fresh: Vec::new(),
            records: Vec::new(),
            settled: false,
            begun: false,
            wrote: false,
            totals_changed: false,
            unsynced: 0,
            round: None,
            flushing: false,
            append_at: None,
            sync_at: None,
            totals_at: None,
            complained: false,
        };
        if !resume.same_epoch && len > 0 {
            journal::put_epoch(&mut resume.records, &epoch);
        }
        resume.journal.enter(epoch);
        Ok(Some(resume))
    }

    // ------------------------------------------------------------------------------- what happened

    /// A piece was verified, or found good by a check.
    pub(super) fn handle_good(&mut self, piece: Piece) {
        if self.journal.written.insert(piece) {
            self.fresh.push(piece);
            self.unsynced += u64::from(self.meta.geometry.piece_len(piece));
        }
    }

    /// A range that was verified is not there: neither is any other piece of its files sure.
    pub(super) fn handle_changed(&mut self, block: Block) {
        let (at, len) = (self.meta.geometry.offset(block), u64::from(block.len));
        let files: Vec<u32> = self.meta.table.spans(at, len).map(|s| s.file).collect();
        files
            .into_iter()
            .for_each(|file| self.lose_file(file, false));
    }

    /// Somebody else is at work among the files: nothing of what we remember is believed any more.
    pub(super) fn handle_strangers(&mut self) {
        for piece in (0..self.meta.geometry.pieces()).map(Piece) {
            self.lose(piece);
        }
    }

    /// The disk has gone or failed: what was not synced may have gone with it. Gives those pieces.
    pub(super) fn handle_trouble(&mut self) -> Vec<Piece> {
        let doubtful: Vec<Piece> = self
            .journal
            .written
            .iter_without(&self.journal.durable)
            .collect();
        doubtful.iter().for_each(|piece| self.lose(*piece));
        self.round = None;
        doubtful
    }

    /// Content is about to be written: what the journal says must stay true whatever comes of it.
    pub(super) fn handle_writing<F: Files, S: StateFiles>(&mut self, world: &mut World<'_, F, S>) {
        if self.rewrite && self.len > 0 {
            // A journal that promises what may be gone is worse than none.
            if let Err(error) = self.write_anew(world) {
                self.complain(world, &error);
                self.rewrite = world.state.remove(&self.path(JOURNAL)).is_err();
                self.len = 0;
            }
        }
        let wall = world.state.wall();
        let idle = wall.saturating_sub(self.journal.beat);
        let (mut note, mut sync) = (false, false);
        if !std::mem::replace(&mut self.begun, true) {
            let open = self.open_files();
            let stamped = |file: &u32| self.journal.files[*file as usize].stamp.is_some();
            sync = open.iter().any(stamped);
            note = sync;
            journal::put_dirty(&mut self.records, wall, open.iter().copied());
            for file in open {
                self.journal.files[file as usize].dirty(wall);
            }
        }
        note |= idle > BEAT_SLACK / 3;
        sync |= idle > CUT_SLACK / 3;
        self.wrote = true;
        if note && self.len > 0 {
            if let Err(error) = self.append(world, sync) {
                self.complain(world, &error);
            }
            self.wrote = true;
        }
    }

    /// A piece is not there any longer, or is about to be overwritten.
    pub(super) fn lose(&mut self, piece: Piece) {
        if self.journal.lose(piece) {
            // The journal's file may not know it yet, but then the rewrite does no harm.
            self.fresh.retain(|fresh| *fresh != piece);
            self.rewrite = true;
            self.begun = false;
            if let Some(round) = &mut self.round {
                round.pieces.remove(piece);
            }
        }
    }

    /// Payload moved in this run so far.
    pub(super) fn handle_totals(&mut self, downloaded: u64, uploaded: u64) {
        let before = self.totals_before;
        let totals = Totals {
            downloaded: before.downloaded.saturating_add(downloaded),
            uploaded: before.uploaded.saturating_add(uploaded),
        };
        self.totals_changed |= totals != self.journal.totals;
        self.journal.totals = totals;
    }

    /// Appends and syncs what is due. At most one file is synced, and none if `quick`; true if one was.
    pub(super) fn handle_timeout<F: Files, S: StateFiles>(
        &mut self,
        now: Instant,
        world: &mut World<'_, F, S>,
        quick: bool,
    ) -> bool {
        if self.is_behind() {
            self.append_at.get_or_insert(now + APPEND_EVERY);
        }
        if self.totals_changed {
            self.totals_at.get_or_insert(now + TOTALS_EVERY);
        }
        if self.append_at.take_if(|at| *at <= now).is_some()
            | self.totals_at.take_if(|at| *at <= now).is_some()
        {
            match self.append(world, false) {
                Ok(()) => self.complained = false,
                Err(error) => {
                    self.complain(world, &error);
                    self.append_at = Some(now + REST);
                }
            }
        }
        let undurable = self.journal.written.count() > self.journal.durable.count();
        if undurable && self.round.is_none() {
            self.sync_at.get_or_insert(now + SYNC_EVERY);
            let due = self.sync_at.is_some_and(|at| at <= now);
            if due || self.is_round_due() {
                self.sync_at = None;
                self.begin_round(false);
            }
        }
        if self.round.is_none() || quick {
            return false;
        }
        self.sync_one(world);
        true
    }

    /// Syncs one file of what is left for a stop in good order; true if more is left. Repeated until false, all that
    /// was written is durable and all files are clean.
    pub(super) fn flush<F: Files, S: StateFiles>(&mut self, world: &mut World<'_, F, S>) -> bool {
        if !std::mem::replace(&mut self.flushing, true) {
            // First of all what takes no time, should there be none for the rest.
            if let Err(error) = self.append(world, false) {
                self.complain(world, &error);
            }
            self.begin_round(true);
        }
        self.sync_one(world);
        self.flushing = self.round.is_some();
        if !self.flushing
            && !self.settled
            && self.len > 0
            && let Err(error) = self.settle(world)
        {
            self.complain(world, &error);
        }
        self.flushing
    }

    /// Notes what is left to note, and gives the lock back.
    pub(super) fn close<F: Files, S: StateFiles>(mut self, world: &mut World<'_, F, S>) {
        if (self.is_behind() || self.totals_changed)
            && let Err(error) = self.append(world, false)
        {
            self.complain(world, &error);
        }
        world.state.unlock(&self.dir);
    }

    // ----------------------------------------------------------------------------------- questions

    /// When [`Resume::handle_timeout`] is to be called; a moment long past if it was not told of the last change.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let undurable = self.journal.written.count() > self.journal.durable.count();
        if self.round.is_some() || undurable && self.is_round_due() {
            return Some(Instant::default());
        }
        let wish = |wanted: bool, at: Option<Instant>| wanted.then(|| at.unwrap_or_default());
        let append = wish(self.is_behind(), self.append_at);
        let sync = wish(undurable, self.sync_at);
        let totals = wish(self.totals_changed, self.totals_at);
        earliest(append, earliest(sync, totals))
    }

    /// Whether `piece` is remembered as there.
    pub(super) fn has(&self, piece: Piece) -> bool {
        self.journal.written.has(piece)
    }

    /// Payload moved in all runs.
    pub(super) fn totals(&self) -> Totals {
        self.journal.totals
    }

    fn is_behind(&self) -> bool {
        self.rewrite && self.len > 0
            || self.wrote
            || !self.fresh.is_empty()
            || !self.records.is_empty()
    }

    /// Whether a round is worth its while before its time.
    fn is_round_due(&self) -> bool {
        self.unsynced >= SYNC_BYTES || self.journal.written.is_full()
    }

    fn file(&self, file: u32) -> FileId {
        FileId {
            torrent: self.torrent,
            file,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn offset(&self, piece: Piece) -> u64 {
        u64::from(piece.0) * u64::from(self.meta.geometry.piece_length())
    }

    /// The files of `pieces` that are written to.
    fn files_of(&self, pieces: impl Iterator<Item = Piece>) -> BTreeSet<u32> {
        let geometry = self.meta.geometry;
        let spans = pieces.flat_map(|piece| {
            let len = u64::from(geometry.piece_len(piece));
            self.meta.table.spans(self.offset(piece), len)
        });
        let files = spans.map(|span| span.file);
        files
            .filter(|file| self.meta.files[*file as usize].kind == FileKind::Regular)
            .collect()
    }

    /// The files that are not complete and not marked as dirty.
    fn open_files(&self) -> BTreeSet<u32> {
        let written = &self.journal.written;
        let missing = (0..written.pieces())
            .map(Piece)
            .filter(|piece| !written.has(*piece));
        let mut files = self.files_of(missing);
        files.retain(|file| self.journal.files[*file as usize].dirty_since.is_none());
        files
    }

    /// The pieces that have a part in `file`.
    fn pieces_of(&self, file: u32) -> impl Iterator<Item = Piece> + use<> {
        let length = self.meta.files[file as usize].length;
        let start = self.starts[file as usize];
        let size = u64::from(self.meta.geometry.piece_length());
        let end = if length == 0 { start } else { start + length };
        let range = (start / size) as u32..end.div_ceil(size) as u32;
        range.map(Piece).filter(move |_| length > 0)
    }

    // ---------------------------------------------------------------------------------------- syncs

    /// Begins a round for all pieces that are not durable; `all`: and for all dirty files.
    fn begin_round(&mut self, all: bool) {
        let mut pieces = Bitfield::new(self.journal.written.pieces());
        for piece in self.journal.written.iter_without(&self.journal.durable) {
            pieces.insert(piece);
        }
        let mut files = self.files_of(pieces.iter());
        if all {
            let dirty = (0..).zip(&self.journal.files);
            files.extend(dirty.filter_map(|(at, file)| file.dirty_since.map(|_| at)));
        }
        self.unsynced = 0;
        let files = files.into_iter().rev().collect();
        self.round = Some(Round { pieces, files });
    }

    /// Syncs the next file of the round; with the last, its pieces are durable.
    fn sync_one<F: Files, S: StateFiles>(&mut self, world: &mut World<'_, F, S>) {
        let Some(round) = &mut self.round else {
            return;
        };
        if let Some(file) = round.files.pop() {
            self.sync_file(world, file);
        }
        let Some(round) = self.round.take_if(|round| round.files.is_empty()) else {
            return;
        };
        for piece in round.pieces.iter() {
            self.journal.durable.insert(piece);
        }
        journal::put_pieces(&mut self.records, Kind::Durable, round.pieces.iter());
        if let Err(error) = self.append(world, true) {
            self.complain(world, &error);
        }
    }

    fn sync_file<F: Files, S: StateFiles>(&mut self, world: &mut World<'_, F, S>, file: u32) {
        match world.files.sync(self.file(file)) {
            Ok(Some(stamp)) => {
                let written = &self.journal.written;
                let whole = self.pieces_of(file).all(|piece| written.has(piece));
                // Not one that we go on to write to: it would not look like that for long.
                if whole || self.flushing {
                    self.journal.files[file as usize].clean(stamp);
                    journal::put_clean(&mut self.records, [(file, stamp)].into_iter());
                    self.begun &= whole;
                }
            }
            Ok(None) => self.lose_file(file, false),
            Err(error) => {
                // What the kernel could not write it may have dropped, and it says so only once.
                self.lose_file(file, true);
                world.warn("disk.sync", error.message);
            }
        }
    }

    /// Forgets the pieces of a file, but not the durable ones if `keep_durable`.
    fn lose_file(&mut self, file: u32, keep_durable: bool) {
        for piece in self.pieces_of(file) {
            if !(keep_durable && self.journal.durable.has(piece)) {
                self.lose(piece);
            }
        }
    }

    // ------------------------------------------------------------------------------------- the file

    /// Brings the journal's file up to date.
    fn append<F: Files, S: StateFiles>(
        &mut self,
        world: &mut World<'_, F, S>,
        sync: bool,
    ) -> Result<(), DiskError> {
        if !self.is_behind() && !self.totals_changed {
            return Ok(());
        }
        if self.wrote {
            self.journal.beat = world.state.wall();
        }
        if self.rewrite || self.len == 0 {
            return self.write_anew(world);
        }
        let mut bytes = self.records.clone();
        self.fresh.sort_unstable();
        journal::put_pieces(&mut bytes, Kind::Written, self.fresh.iter().copied());
        if self.wrote {
            journal::put_beat(&mut bytes, self.journal.beat);
        }
        if self.totals_changed {
            journal::put_totals(&mut bytes, self.journal.totals);
        }
        let path = self.path(JOURNAL);
        world.state.append(&path, self.len, &bytes)?;
        *world.written += bytes.len() as u64;
        self.len += bytes.len() as u64;
        self.noted();
        if sync && self.settled {
            world.state.sync(&path)?;
        } else if sync {
            self.settle(world)?;
        }
        if self.len > 2 * self.base + COMPACT_LEAST {
            // Should this fail, the long one is as good: it is tried again when it has doubled once more.
            self.base = self.len;
            self.write_anew(world)?;
        }
        Ok(())
    }

    /// Puts a new journal in the place of the old one, so that there is always one of them.
    fn write_anew<F: Files, S: StateFiles>(
        &mut self,
        world: &mut World<'_, F, S>,
    ) -> Result<(), DiskError> {
        let bytes = self.journal.encode(&self.expected);
        let (new, path) = (self.path(NEW), self.path(JOURNAL));
        let state = &mut *world.state;
        let made = state
            .create(&new, &bytes)
            .and_then(|()| state.sync(&new))
            .and_then(|()| state.rename(&new, &path));
        if let Err(error) = made {
            // A part of it would only take up room.
            let _ = state.remove(&new);
            return Err(error);
        }
        *world.written += bytes.len() as u64;
        self.len = bytes.len() as u64;
        self.base = self.len;
        world.state.sync_names(&self.dir)?;
        self.settled = true;
        self.rewrite = false;
        self.noted();
        Ok(())
    }

    /// Syncs the journal and its name.
    fn settle<F: Files, S: StateFiles>(
        &mut self,
        world: &mut World<'_, F, S>,
    ) -> Result<(), DiskError> {
        world.state.sync(&self.path(JOURNAL))?;
        world.state.sync_names(&self.dir)?;
        self.settled = true;
        Ok(())
    }

    fn noted(&mut self) {
        self.records.clear();
        self.fresh.clear();
        self.wrote = false;
        self.totals_changed = false;
        self.totals_at = None;
    }

    fn complain<F, S>(&mut self, world: &mut World<'_, F, S>, error: &DiskError) {
        if !std::mem::replace(&mut self.complained, true) {
            let message = format!("{}; the download goes on", error.message);
            world.warn("state.write", message);
        }
    }
}

impl<F, S> World<'_, F, S> {
    fn warn(&mut self, kind: &'static str, message: String) {
        self.warnings.push_back(DiskWarning {
            torrent: self.torrent,
            kind,
            message,
        });
    }
}

fn fingerprint(root: &Path) -> u64 {
    let hash = sha1(root.as_os_str().as_encoded_bytes());
    hash.iter()
        .take(8)
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

const JOURNAL: &str = "journal";
const NEW: &str = "journal.new";

/// How soon a verified piece is noted.
const APPEND_EVERY: Duration = Duration::from_secs(1);
/// How soon bytes sent are noted while nothing else is.
const TOTALS_EVERY: Duration = Duration::from_secs(300);
/// How long a state directory that can't be written to is left alone.
const REST: Duration = Duration::from_secs(30);
/// How long a piece may wait to become durable.
const SYNC_EVERY: Duration = Duration::from_secs(30);
/// How many bytes may wait to become durable.
const SYNC_BYTES: u64 = 64 << 20;
/// Growth below which a journal is not written anew.
const COMPACT_LEAST: u64 = 64 << 10;

#[cfg(test)]
mod tests;
