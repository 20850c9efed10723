//! Exit statuses: the contract that scripts rely on.

use std::process::ExitCode;

use crate::client::{DiskErrorKind, Error};

/// How the process ends. Of several torrents the highest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Exit {
    /// Done; everything is verified.
    Complete = 0,
    /// The program or the system failed.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A torrent can't be read or is none.
    Torrent = 3,
    /// The disk is full, unwritable or gone.
    Disk = 4,
    /// No peers, or nothing moved.
    GaveUp = 5,
    /// A signal; run again to resume.
    Interrupted = 6,
    /// Another process has the torrent there.
    Running = 7,
    /// `check` or `seed` found data missing.
    Incomplete = 8,
}

impl Exit {
    /// The status for an error.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Torrent { .. } => Self::Torrent,
            Error::Disk(error) if error.kind == DiskErrorKind::Locked => Self::Running,
            Error::Disk(_) | Error::CreateDisk { .. } => Self::Disk,
            Error::NoSource | Error::NoTracker | Error::NoAnswer | Error::Stalled => Self::GaveUp,
            Error::Duplicate(_)
            | Error::Clash { .. }
            | Error::Create { .. }
            | Error::Unselected { .. }
            | Error::Memory { .. } => Self::Usage,
            Error::Incomplete => Self::Incomplete,
            Error::Interrupted => Self::Interrupted,
            Error::Stopped | Error::System { .. } => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
