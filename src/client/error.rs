//! Why a client can't do what it was asked for.

use std::fmt;
use std::io;

use crate::base::ids::InfoHash;
use crate::engine::io::{DiskError, DiskErrorKind};

/// Why a client can't go on.
#[derive(Debug)]
pub enum Error {
    /// The torrent can't be read or is none.
    Torrent {
        /// The kind, as in `torrent.open`.
        kind: &'static str,
        /// What and where, on one escaped line.
        message: String,
    },
    /// No torrent can be made of what was named.
    Create {
        /// What and where, on one escaped line.
        message: String,
    },
    /// What a torrent is to be made of can't be read, or what was made can't be written.
    CreateDisk {
        /// What and where, on one escaped line.
        message: String,
    },
    /// The files can't be used.
    Disk(DiskError),
    /// Neither a tracker nor a peer is known, so there is no one to ask.
    NoSource,
    /// The torrent names no tracker that could be asked.
    NoTracker,
    /// No tracker has answered.
    NoAnswer,
    /// Nothing has moved for as long as was allowed.
    Stalled,
    /// The torrent is there already.
    Duplicate(InfoHash),
    /// Its files would lie where another torrent's do.
    Clash {
        /// Where, and which other.
        message: String,
    },
    /// None of its files is among those to be fetched.
    Unselected {
        /// How many there are and what was asked for, on one escaped line.
        message: String,
    },
    /// The program can't keep within so little memory.
    Memory {
        /// Bytes that were allowed.
        limit: u64,
        /// Bytes that would do.
        least: u64,
    },
    /// Some of the content is not there, and it was not to be fetched.
    Incomplete,
    /// A signal asked the process to stop.
    Interrupted,
    /// The client was told to stop, and is no more.
    Stopped,
    /// The system refused what a program needs.
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl Error {
    /// The kind in brackets of an error line.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Torrent { kind, .. } => kind,
            Self::Create { .. } => "create",
            Self::CreateDisk { .. } => "create.disk",
            Self::Disk(error) => disk_kind(error.kind),
            Self::NoSource => "peers.none",
            Self::NoTracker => "tracker.absent",
            Self::NoAnswer => "tracker.none",
            Self::Stalled => "peers.stalled",
            Self::Duplicate(_) => "torrent.twice",
            Self::Clash { .. } => "torrent.clash",
            Self::Unselected { .. } => "torrent.select",
            Self::Memory { .. } => "memory.limit",
            Self::Incomplete => "data.incomplete",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
            Self::System { .. } => "system",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torrent { message, .. }
            | Self::Create { message }
            | Self::CreateDisk { message }
            | Self::Clash { message }
            | Self::Unselected { message } => f.write_str(message),
            Self::Memory { limit, least } => {
                let (limit, least) = (limit.div_ceil(1024), least.div_ceil(1024));
                write!(
                    f,
                    "{limit} KiB of memory are not enough, it takes {least} KiB"
                )
            }
            Self::Duplicate(hash) => write!(f, "the torrent {hash} is there already"),
            Self::Disk(error) => f.write_str(&error.message),
            Self::NoSource => f.write_str("there is no tracker and no peer to ask"),
            Self::NoTracker => f.write_str("it has no tracker that could be asked"),
            Self::NoAnswer => f.write_str("no tracker has answered"),
            Self::Stalled => f.write_str("nothing has moved for the time allowed"),
            Self::Incomplete => f.write_str("some of the data is not there"),
            Self::Interrupted => f.write_str("interrupted by a signal"),
            Self::Stopped => f.write_str("the client has stopped"),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The kind in brackets of a line about the disk.
pub(crate) fn disk_kind(kind: DiskErrorKind) -> &'static str {
    match kind {
        DiskErrorKind::Full => "disk.full",
        DiskErrorKind::Denied => "disk.denied",
        DiskErrorKind::Gone => "disk.gone",
        DiskErrorKind::NotRegular => "disk.not-regular",
        DiskErrorKind::Longer => "disk.longer",
        DiskErrorKind::Changed => "disk.changed",
        DiskErrorKind::TooBig => "disk.file-too-big",
        DiskErrorKind::Locked => "state.locked",
        DiskErrorKind::Io => "disk.io",
    }
}

/// Whether the cause can go away by itself, so that waiting is better than giving up.
pub(crate) fn can_recover(kind: DiskErrorKind) -> bool {
    match kind {
        DiskErrorKind::Full | DiskErrorKind::Gone | DiskErrorKind::Changed => true,
        DiskErrorKind::Denied
        | DiskErrorKind::NotRegular
        | DiskErrorKind::Longer
        | DiskErrorKind::TooBig
        | DiskErrorKind::Locked
        | DiskErrorKind::Io => false,
    }
}
