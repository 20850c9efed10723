//! How a client is set up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;
use super::torrent_client::TorrentClient;
use crate::base::ids::PeerId;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::disk::Place;
use crate::disk::files::Allocate;
use crate::wire::metainfo::Metainfo;

/// Where a torrent comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A torrent file; `-` is standard input.
    File(PathBuf),
    /// Read already.
    Metainfo(Box<Metainfo>),
}

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

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is wanted.
    pub goal: Goal,
    /// Where the files go.
    pub output_dir: PathBuf,
    /// Peers connected at once, both directions together.
    pub max_peers: usize,
    /// Addresses of peers known beforehand.
    pub peers: Vec<SocketAddr>,
    /// Ports to listen on: the first free one.
    pub ports: RangeInclusive<u16>,
    /// The address to listen at.
    pub listen_at: IpAddr,
    /// How new files get their blocks.
    pub allocate: Allocate,
    /// Whether existing files that are too long are cut.
    pub force: bool,
    /// The largest torrent file read.
    pub max_torrent_size: usize,
    /// Give up when nothing has moved for so long.
    pub stop_timeout: Option<Duration>,
    /// Bytes of memory to keep within, by smaller buffers and fewer peers: see `docs/PERFORMANCE.md`.
    pub mem_limit: Option<u64>,
    /// Whether SIGINT and SIGTERM are caught and end the client in good order.
    pub catch_signals: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            goal: Goal::Download,
            output_dir: ".".into(),
            max_peers: limits::PEERS,
            peers: Vec::new(),
            ports: DEFAULT_PORTS,
            listen_at: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            allocate: Allocate::Sparse,
            force: false,
            max_torrent_size: limits::TORRENT_FILE_MAX,
            stop_timeout: None,
            mem_limit: None,
            catch_signals: false,
        }
    }
}

impl Config {
    /// The place of the torrent's files.
    pub(super) fn place(&self) -> Place {
        Place {
            allocate: self.allocate,
            force: self.force,
            read_only: matches!(self.goal, Goal::Seed | Goal::Check),
            ..Place::new(&self.output_dir)
        }
    }
}

/// Sets up a [`TorrentClient`], one thing after the other.
#[derive(Clone, Debug)]
pub struct Builder {
    source: Source,
    config: Config,
}

impl Builder {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            config: Config::default(),
        }
    }

    /// Replaces everything set so far.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The directory that the files go to, `.` if nothing is said; it is made if need be.
    #[must_use]
    pub fn output_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config.output_dir = dir.into();
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
        self.config.peers.extend(peers);
        self
    }

    /// Ports to listen on: the first free one, else any.
    #[must_use]
    pub fn ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.config.ports = ports;
        self
    }

    /// What is wanted; [`Goal::Download`] if nothing is said.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.config.goal = goal;
        self
    }

    /// Give up when nothing has moved for so long; never if nothing is said.
    #[must_use]
    pub fn stop_timeout(mut self, after: Duration) -> Self {
        self.config.stop_timeout = Some(after);
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
        TorrentClient::new(self.source, self.config)
    }
}

/// A fresh name for a client: `-MI`, four digits of the version, then twelve random letters and digits (BEP 20).
pub fn peer_id(rng: &mut Rng) -> PeerId {
    let mut id = *b"-MI0000-____________";
    let version = [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ];
    for (digit, part) in id[3..].iter_mut().zip(version) {
        let number: usize = part.parse().unwrap_or(0);
        *digit = ALPHABET[number.min(ALPHABET.len() - 1)];
    }
    for letter in &mut id[8..] {
        *letter = ALPHABET[rng.below(ALPHABET.len())];
    }
    PeerId(id)
}

/// The ports that users know from the original, and from older clients.
pub(crate) const DEFAULT_PORTS: RangeInclusive<u16> = 6881..=6889;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_names_the_version_and_differs_from_the_next() {
        let mut rng = Rng::new([3; 32]);
        let (one, two) = (peer_id(&mut rng), peer_id(&mut rng));
        assert!(one.0.starts_with(b"-MI0") && one.0[7] == b'-');
        assert!(one.0[8..].iter().all(u8::is_ascii_alphanumeric));
        assert_ne!(one, two);
    }
}
