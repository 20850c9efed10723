//! How a client is set up.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;
use super::select::Choice;
use super::torrent_client::TorrentClient;
use crate::base::ids::PeerId;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::disk::Place;
use crate::disk::files::Allocate;
use crate::engine::dht::Router;
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
    /// Which address families are listened on, connected to and announced over.
    pub families: Families,
    /// Whether no datagrams are sent, for proxies that carry TCP only: no UDP trackers, no DHT, no neighbourhood.
    pub tcp_only: bool,
    /// Whether peers of public torrents are looked for in the DHT (BEP 5).
    pub dht: bool,
    /// Where the DHT begins, instead of at the well-known nodes; none named: at those.
    pub dht_entry_points: Vec<Router>,
    /// Whether peers of public torrents are looked for in the neighbourhood (BEP 14).
    pub lsd: bool,
    /// Whether peers of public torrents are exchanged with peers (BEP 11).
    pub pex: bool,
    /// How new files get their blocks.
    pub allocate: Allocate,
    /// Where it is remembered what is there, so that the next start need not hash it, and that a process has the
    /// torrent; `None`: nowhere. Below it each torrent has a directory of its own.
    pub state_dir: Option<PathBuf>,
    /// Whether existing files that are too long are cut.
    pub force: bool,
    /// The largest torrent file read.
    pub max_torrent_size: usize,
    /// The name and version that peers and trackers are told: visible ASCII, under 64 bytes.
    pub user_agent: String,
    /// How our peer id begins, at most [`PEER_ID_PREFIX_MAX`] bytes; the rest is random (BEP 20).
    pub peer_id_prefix: String,
    /// A connection to a peer or a tracker that takes longer to open is given up.
    pub connect_timeout: Duration,
    /// Connections being opened at once.
    pub half_open: usize,
    /// The shortest time between two looks at what has to be done without being asked for.
    pub sweep: Duration,
    /// The files that are wanted; none named: all of them.
    pub select: Vec<Choice>,
    /// Whether pieces are fetched in their order.
    pub sequential: bool,
    /// Bytes a second that all peers together may send us.
    pub max_download_rate: Option<u64>,
    /// Bytes a second that all peers together may be sent.
    pub max_upload_rate: Option<u64>,
    /// Seeding ends when so many times what is there was sent in this run.
    pub seed_ratio: Option<f64>,
    /// Seeding ends after so long.
    pub seed_time: Option<Duration>,
    /// Whether a full disk ends the client, rather than makes it wait.
    pub exit_on_full: bool,
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
            families: Families::Both,
            tcp_only: false,
            dht: true,
            dht_entry_points: Vec::new(),
            lsd: true,
            pex: true,
            allocate: Allocate::Sparse,
            state_dir: None,
            force: false,
            max_torrent_size: limits::TORRENT_FILE_MAX,
            user_agent: USER_AGENT.into(),
            peer_id_prefix: DEFAULT_PREFIX.into_iter().map(char::from).collect(),
            connect_timeout: limits::GREETING_TIMEOUT,
            half_open: limits::HALF_OPEN,
            sweep: limits::SWEEP,
            select: Vec::new(),
            sequential: false,
            max_download_rate: None,
            max_upload_rate: None,
            seed_ratio: None,
            seed_time: None,
            exit_on_full: false,
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
            // A check believes nothing, and may run beside a download.
            state_dir: self.state_dir.clone().filter(|_| self.goal != Goal::Check),
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

    /// Where it is remembered what is there, so that the next start need not hash it; nowhere if nothing is said.
    #[must_use]
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config.state_dir = Some(dir.into());
        self
    }

    /// What is wanted; [`Goal::Download`] if nothing is said.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.config.goal = goal;
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

/// A fresh name for a client: `prefix`, of which [`PEER_ID_PREFIX_MAX`] bytes count, then random letters and digits
/// (BEP 20).
pub fn peer_id(prefix: &str, rng: &mut Rng) -> PeerId {
    let prefix = prefix.as_bytes();
    let prefix = &prefix[..prefix.len().min(PEER_ID_PREFIX_MAX)];
    let mut id = [0; 20];
    id[..prefix.len()].copy_from_slice(prefix);
    for letter in &mut id[prefix.len()..] {
        *letter = ALPHABET[rng.below(ALPHABET.len())];
    }
    PeerId(id)
}

/// `-MI`, a digit for each part of the version, `0-`.
const fn default_prefix() -> [u8; 8] {
    let mut id = *b"-MI0000-";
    let version = [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ];
    let mut part = 0;
    while part < version.len() {
        let (digits, mut number, mut at) = (version[part].as_bytes(), 0, 0);
        while at < digits.len() {
            number = number * 10 + (digits[at] - b'0') as usize;
            at += 1;
        }
        // Beyond 9 come letters, and beyond those nothing.
        let last = ALPHABET.len() - 1;
        id[3 + part] = ALPHABET[if number < last { number } else { last }];
        part += 1;
    }
    id
}

/// How a peer id begins if nothing is said.
pub(crate) const DEFAULT_PREFIX: [u8; 8] = default_prefix();
/// Bytes of a peer id that can be chosen: eight stay random, so that two clients never share one.
pub const PEER_ID_PREFIX_MAX: usize = 12;
/// What trackers and peers are told if nothing else is said.
pub(crate) const USER_AGENT: &str = concat!("minitorrent/", env!("CARGO_PKG_VERSION"));
/// The ports that users know from the original, and from older clients.
pub(crate) const DEFAULT_PORTS: RangeInclusive<u16> = 6881..=6889;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_names_the_version_and_differs_from_the_next() {
        let mut rng = Rng::new([3; 32]);
        let prefix = Config::default().peer_id_prefix;
        let (one, two) = (peer_id(&prefix, &mut rng), peer_id(&prefix, &mut rng));
        assert_eq!(&one.0[..8], b"-MI0100-");
        assert!(one.0[8..].iter().all(u8::is_ascii_alphanumeric));
        assert_ne!(one, two);
    }

    #[test]
    fn a_long_prefix_leaves_eight_bytes_to_chance() {
        let mut rng = Rng::new([3; 32]);
        let id = peer_id("-XY1234-abcdefghijkl", &mut rng);
        assert_eq!(&id.0[..12], b"-XY1234-abcd");
        assert_ne!(&id.0[12..], b"efghijkl");
    }
}
