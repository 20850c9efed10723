//! How a torrent's part of a run ended.

use super::error::Error;
use crate::engine::io::DiskError;

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything is there and verified.
    Complete,
    /// Some of it is not there, and it was not to be fetched.
    Incomplete,
    /// A signal asked the process to stop.
    Interrupted,
    /// No one is known who could be asked.
    NoSource,
    /// Nothing moved for as long as was allowed.
    Stalled,
    /// Peers gave metadata whose hash is right, but it is no torrent that can be used.
    BadMetadata(String),
    /// Its files would lie where another torrent's do: that shows late with a magnet link.
    Clash(String),
    /// None of its files is among those to be fetched.
    Unselected(String),
    /// It does not fit into the memory limit.
    Memory {
        /// Bytes that were allowed.
        limit: u64,
        /// Bytes that would do.
        least: u64,
    },
    /// The disk can't be used, and that won't change by itself.
    Disk(DiskError),
}

impl Outcome {
    /// The outcome as an error, unless it is [`Outcome::Complete`].
    ///
    /// # Errors
    ///
    /// The variant of the same name.
    pub fn into_result(self) -> Result<(), Error> {
        match self {
            Self::Complete => Ok(()),
            Self::Incomplete => Err(Error::Incomplete),
            Self::Interrupted => Err(Error::Interrupted),
            Self::NoSource => Err(Error::NoSource),
            Self::Stalled => Err(Error::Stalled),
            Self::Disk(error) => Err(Error::Disk(error)),
            Self::Unselected(message) => Err(Error::Unselected { message }),
            Self::Memory { limit, least } => Err(Error::Memory { limit, least }),
            Self::Clash(message) => Err(Error::Clash { message }),
            Self::BadMetadata(message) => Err(Error::Torrent {
                kind: "magnet.bad-metadata",
                message,
            }),
        }
    }
}
