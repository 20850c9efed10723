//! What is wanted of one torrent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::select::Choice;
use crate::disk::Place;
use crate::disk::files::Allocate;
use crate::engine::command::Aim;

/// What is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// Fetch what is missing, then be done.
    Download,
    /// Fetch what is missing, then seed.
    DownloadAndSeed,
    /// Seed what is there, if it is complete; never fetch.
    Seed,
    /// Hash what is there: no peer, no tracker, nothing written.
    Check,
}

impl Goal {
    pub(super) fn aim(self) -> Aim {
        match self {
            Self::Download | Self::DownloadAndSeed => Aim::Download,
            Self::Seed => Aim::Seed,
            Self::Check => Aim::Check,
        }
    }

    /// Whether files are only read.
    pub(crate) fn only_reads(self) -> bool {
        matches!(self, Self::Seed | Self::Check)
    }
}

/// What is wanted of one torrent, and when it is over.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is wanted.
    pub goal: Goal,
    /// Where the files go.
    pub output_dir: PathBuf,
    /// Addresses of peers known beforehand.
    pub peers: Vec<SocketAddr>,
    /// How new files get their blocks.
    pub allocate: Allocate,
    /// Whether existing files that are too long are cut.
    pub force: bool,
    /// Whether everything that is there is hashed, whatever earlier runs remember.
    pub recheck: bool,
    /// The files that are wanted; none named: all of them.
    pub select: Vec<Choice>,
    /// The files that come before the others.
    pub first: Vec<Choice>,
    /// Whether pieces are fetched in their order.
    pub sequential: bool,
    /// Where a torrent file is written when it becomes known what a magnet link stands for; a directory: in it, under
    /// the torrent's name. What is there already is replaced only by `force`.
    pub save_torrent: Option<PathBuf>,
    /// Seeding ends when so many times what is there was sent in this run.
    pub seed_ratio: Option<f64>,
    /// Seeding ends after so long.
    pub seed_time: Option<Duration>,
    /// Whether a full disk ends it, rather than makes it wait.
    pub exit_on_full: bool,
    /// Whether a piece is hashed before any of it is sent, unless nobody touched its files since it was hashed last.
    pub verify_on_upload: bool,
    /// Give up when nothing has moved for so long.
    pub stop_timeout: Option<Duration>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            goal: Goal::Download,
            output_dir: ".".into(),
            peers: Vec::new(),
            allocate: Allocate::Sparse,
            force: false,
            recheck: false,
            select: Vec::new(),
            first: Vec::new(),
            sequential: false,
            save_torrent: None,
            seed_ratio: None,
            seed_time: None,
            exit_on_full: false,
            verify_on_upload: false,
            stop_timeout: None,
        }
    }
}

impl Plan {
    /// The place of the torrent's files; what is there is remembered below `state_dir`.
    pub(super) fn place(&self, state_dir: Option<&PathBuf>) -> Place {
        Place {
            allocate: self.allocate,
            force: self.force,
            recheck: self.recheck,
            read_only: self.goal.only_reads(),
            verify_on_upload: self.verify_on_upload,
            // A check believes nothing, and may run beside a download.
            state_dir: state_dir.filter(|_| self.goal != Goal::Check).cloned(),
            ..Place::new(&self.output_dir)
        }
    }
}
