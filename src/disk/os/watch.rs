//! Whether somebody else has a hand in files that are being downloaded.
//!
//! What we left behind is looked at before each write and at the end, and after each write it is noted anew: so a file
//! that was cut and grew again by later writes, that was written over, or that another was put in the place of, is not
//! taken for what was verified. That costs two `fstat` a write, a few tenths of a per cent; where these may go over a
//! network or through another process, and where numbers and times of files are not lasting, nothing is noted.
//!
//! Where what is sent is hashed first, each file that is read is looked at as well ([`Look`]).

use rustix::fs::{self, Stat};
use std::os::fd::{AsFd, OwnedFd};

use super::tree::stamp_of;
use crate::disk::files::Stamp;

/// A file as it was left, or found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Left {
    /// Its number in the file system.
    inode: u64,
    pub(super) stamp: Stamp,
}

impl Left {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            stamp: stamp_of(stat),
        }
    }

    /// The same, but of another length.
    pub(super) fn of_length(self, size: u64) -> Self {
        let stamp = Stamp { size, ..self.stamp };
        Self { stamp, ..self }
    }

    /// How an open file is now; `None` if that can't be told.
    pub(super) fn now(fd: impl AsFd) -> Option<Self> {
        fs::fstat(fd).ok().as_ref().map(Self::of)
    }
}

/// A file as it was when somebody asked whether it was touched: also when it was, which nobody can put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Look {
    left: Left,
    /// Seconds and nanoseconds of the last change of whatever kind.
    changed: (i64, i64),
}

impl Look {
    /// How an open file is now; `None` if that can't be told.
    pub(super) fn now(fd: impl AsFd) -> Option<Self> {
        let stat = fs::fstat(fd).ok()?;
        Some(Self {
            left: Left::of(&stat),
            changed: (
                stat.st_ctime,
                i64::try_from(stat.st_ctime_nsec).unwrap_or(0),
            ),
        })
    }
}

/// Whether files of this file system can be watched for next to nothing.
pub(super) fn is_watchable(root: &OwnedFd) -> bool {
    fs::fstatfs(root).is_ok_and(|stat| LOCAL.contains(&(stat.f_type as u64)))
}

/// Whether files of this file system are there after a power cut, if they were synced.
pub(super) fn is_lasting(root: &OwnedFd) -> bool {
    !fs::fstatfs(root).is_ok_and(|stat| stat.f_type as u64 == TMPFS)
}

/// The `f_type` of a file system in memory.
const TMPFS: u64 = 0x0102_1994;

/// The `f_type` of ext2 to ext4, XFS, Btrfs, F2FS, UBIFS, tmpfs and overlayfs.
const LOCAL: [u64; 7] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0xf2f5_2010,
    0x2405_1905,
    TMPFS,
    0x794c_7630,
];
