//! What the disk layer asks of files: the seam between its logic and the operating system.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::io::{DiskError, TorrentId};
use crate::wire::metainfo::Metainfo;

/// The files of several torrents. Pad files and symlinks are never asked for.
pub trait Files {
    /// Makes a torrent's files known and looks at what is there: the root is made if it is to be written
    /// to; every target that exists must be a regular file, reached through no symlink, and no longer
    /// than the torrent says unless `place.force`. A root that can't be written to will do if no file is
    /// missing. Makes no file. On an error nothing is known.
    fn add(
        &mut self,
        torrent: TorrentId,
        meta: &Arc<Metainfo>,
        place: Place,
    ) -> Result<(), DiskError>;

    /// Keeps others from writing the same files until they are let go, at once if there is something to write to
    /// already, else with the first write. A torrent that is only read takes nothing.
    ///
    /// # Errors
    ///
    /// [`DiskErrorKind::Locked`](crate::engine::io::DiskErrorKind::Locked) if another has them.
    fn claim(&mut self, _torrent: TorrentId) -> Result<(), DiskError> {
        Ok(())
    }

    /// Closes and forgets a torrent's files.
    fn remove(&mut self, torrent: TorrentId);

    /// Looks again at what is there, as [`Files::add`] does.
    fn survey(&mut self, torrent: TorrentId) -> Result<(), DiskError>;

    /// Writes `parts` one behind the other from `offset`, making the file first if need be, and says how
    /// many bytes went; fewer than all is no error.
    fn write_at(
        &mut self,
        file: FileId,
        parts: &[IoSlice<'_>],
        offset: u64,
    ) -> Result<usize, DiskError>;

    /// Reads from `offset` and says how many bytes came: 0 at and behind the end, or if there is no file.
    fn read_at(&mut self, file: FileId, out: &mut [u8], offset: u64) -> Result<usize, DiskError>;

    /// As [`Files::read_at`], and the system is asked to read nothing behind it before somebody asks for it.
    fn read_without_readahead(
        &mut self,
        file: FileId,
        out: &mut [u8],
        offset: u64,
    ) -> Result<usize, DiskError> {
        self.read_at(file, out, offset)
    }

    /// Bytes in the file now, 0 if there is none.
    fn len(&mut self, file: FileId) -> Result<u64, DiskError>;

    /// Whether the file has no data at all in this range, only a hole that reads as zeros. `false` if
    /// that can't be told cheaply.
    fn is_hole(&mut self, file: FileId, offset: u64, len: u64) -> bool;

    /// Makes what no write made, the empty files, and cuts the files that are too long if that was allowed. What was
    /// kept of unwanted files is removed if all of them are there. Looks at all files as [`Files::survey`] does, with its
    /// errors, and fails with [`DiskErrorKind::Changed`](crate::engine::io::DiskErrorKind::Changed) if another program
    /// had a hand in them: a wanted file is not there any more under its name, has another length, or any is not as it
    /// was left.
    fn finish(&mut self, torrent: TorrentId) -> Result<(), DiskError>;

    /// Whether another program was seen to have a hand in the files since they were last looked at: to have changed,
    /// cut or replaced one that was to be written to. Not everywhere can this be seen.
    fn is_meddled(&self, _torrent: TorrentId) -> bool {
        false
    }

    /// Whether somebody else may have touched `file` since this was asked last; true when it is asked first. A change
    /// counts even if length and time were put back, where the file system notes when that was done.
    fn is_touched(&mut self, _file: FileId) -> bool {
        false
    }

    /// How `file` was found when the files were last looked at ([`Files::add`], [`Files::survey`]); `None` if it
    /// was not there, or if these files have no times.
    fn stamp(&self, _file: FileId) -> Option<Stamp> {
        None
    }

    /// How `file` would have been found, had it not become wanted: as what is kept of unwanted files is. `None` if it is
    /// there, or nothing is kept.
    fn stamp_apart(&self, _file: FileId) -> Option<Stamp> {
        None
    }

    /// Whether `file` was made only now, of what was kept of it while it was unwanted.
    fn is_gathered(&self, _file: FileId) -> bool {
        false
    }

    /// Brings what was written to `file`, its name and its time to the disk, and says how it is then; `None` if
    /// it is not there. It takes as long as the disk takes.
    fn sync(&mut self, _file: FileId) -> Result<Option<Stamp>, DiskError> {
        Ok(None)
    }

    /// A number that differs between file systems that are there at the same time.
    fn device(&self, _torrent: TorrentId) -> u64 {
        0
    }

    /// Bytes that the torrent still needs and bytes that are free, as found when the files were last looked at;
    /// `None` if that can't be told.
    fn room(&self, _torrent: TorrentId) -> Option<Room> {
        None
    }

    /// An error for `file` whose verified bytes are there no longer; what is held open is let go, so that
    /// the next call sees what the path names then.
    fn changed(&mut self, file: FileId) -> DiskError;
}

/// A file of a torrent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileId {
    /// Whose.
    pub torrent: TorrentId,
    /// Its number in the torrent's list, from 0.
    pub file: u32,
}

/// What tells whether a file was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Its length in bytes.
    pub size: u64,
    /// When its content was last changed, in nanoseconds since 1970.
    pub modified: i64,
}

/// Space on a file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// What the torrent's files still need.
    pub wanted: u64,
    /// What this user may still use.
    pub free: u64,
}

/// Where a torrent's files go, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The output directory.
    pub root: PathBuf,
    /// Whether blocks are reserved when a file is made.
    pub allocate: Allocate,
    /// Whether existing files that are longer than the torrent says are cut in the end.
    pub force: bool,
    /// Whether the files are only read: nothing is made, and the root need not be writable.
    pub read_only: bool,
    /// The directory below which each torrent has its lock and journal; `None`: nothing is remembered.
    pub state_dir: Option<PathBuf>,
    /// Whether everything is hashed, whatever the journal says.
    pub recheck: bool,
    /// Whether a piece is hashed before any of it is sent, unless nobody touched its files since it was hashed last.
    pub verify_on_upload: bool,
    /// Files that are not wanted, by their numbers in the torrent's list. Those that are not there are not made:
    /// what pieces at their borders bring of them is kept in one hidden file, `.NAME.parts`, until they are wanted.
    pub unwanted: BTreeSet<u32>,
}

impl Place {
    /// Sparse files below `root`, never cutting a longer one.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            allocate: Allocate::Sparse,
            force: false,
            read_only: false,
            state_dir: None,
            recheck: false,
            verify_on_upload: false,
            unwanted: BTreeSet::new(),
        }
    }
}

/// How a new file gets its blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allocate {
    /// As they are written.
    Sparse,
    /// All at once where the file system can, else as they are written.
    Full,
}
