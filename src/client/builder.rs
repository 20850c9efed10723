//! Setting up a client for one torrent, one thing after the other.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::config::Config;
use super::error::Error;
use super::load::{Target, load_target};
use super::plan::{Goal, Plan};
use super::torrent_client::TorrentClient;
use crate::net::resolver::Families;
use crate::wire::metainfo::Metainfo;

/// Where a torrent comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A torrent file; `-` is standard input.
    File(PathBuf),
    /// Read already.
    Metainfo(Box<Metainfo>),
}

/// Sets up a [`TorrentClient`], one thing after the other.
#[derive(Clone, Debug)]
pub struct Builder {
    source: Source,
    config: Config,
    plan: Plan,
}

impl Builder {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            config: Config::default(),
            plan: Plan::default(),
        }
    }

    /// Replaces everything set so far of the process.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Replaces everything set so far of the torrent.
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }

    /// The directory that the files go to, `.` if nothing is said; it is made if need be.
    #[must_use]
    pub fn output_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.plan.output_dir = dir.into();
        self
    }

    /// Peers connected at once, both directions together; 12 if nothing is said.
    #[must_use]
    pub fn max_peers(mut self, peers: usize) -> Self {
        self.config.max_peers = peers;
        self
    }

    /// Addresses of peers known beforehand.
    #[must_use]
    pub fn peers(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.plan.peers.extend(peers);
        self
    }

    /// Ports to listen on: the first free one, else any.
    #[must_use]
    pub fn ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.config.ports = Some(ports);
        self
    }

    /// Where it is remembered what is there, so that the next start need not hash it; nowhere if nothing is said.
    #[must_use]
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config.state_dir = Some(dir.into());
        self
    }

    /// What is wanted; [`Goal::Download`] if nothing is said.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.plan.goal = goal;
        self
    }

    /// Whether peers of public torrents are looked for in the DHT; they are if nothing is said.
    #[must_use]
    pub fn dht(mut self, is_on: bool) -> Self {
        self.config.dht = is_on;
        self
    }

    /// Whether peers of public torrents are looked for in the neighbourhood; they are if nothing is said.
    #[must_use]
    pub fn lsd(mut self, is_on: bool) -> Self {
        self.config.lsd = is_on;
        self
    }

    /// Which address families are listened on, connected to and announced over; both if nothing is said.
    #[must_use]
    pub fn families(mut self, families: Families) -> Self {
        self.config.families = families;
        self
    }

    /// Give up when nothing has moved for so long; never if nothing is said.
    #[must_use]
    pub fn stop_timeout(mut self, after: Duration) -> Self {
        self.plan.stop_timeout = Some(after);
        self
    }

    /// Bytes of memory to keep within; as much as it takes if nothing is said.
    #[must_use]
    pub fn mem_limit(mut self, bytes: u64) -> Self {
        self.config.mem_limit = Some(bytes);
        self
    }

    /// Reads the torrent and binds the port; nothing is sent and no file is touched yet.
    ///
    /// # Errors
    ///
    /// [`Error::Torrent`] and [`Error::System`].
    pub fn build(self) -> Result<TorrentClient, Error> {
        let target = match self.source {
            Source::File(path) => load_target(&path, &self.config)?,
            Source::Metainfo(metainfo) => Target::from(*metainfo),
        };
        TorrentClient::new(target, self.config, self.plan)
    }
}
