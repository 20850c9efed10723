//! What is set for the whole process.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::ids::PeerId;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::engine::dht::Router;
use crate::net::resolver::Families;

/// What is set for the whole process: shared by all its torrents. What is wanted of each of them is a
/// [`Plan`](super::Plan).
#[derive(Clone, Debug)]
pub struct Config {
    /// Peers connected at once, both directions and all torrents together.
    pub max_peers: usize,
    /// Ports to listen on: the first free one; `None`: nobody can reach us.
    pub ports: Option<RangeInclusive<u16>>,
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
    /// Where it is remembered what is there, so that the next start need not hash it, and that a process has the
    /// torrent; `None`: nowhere. Below it each torrent has a directory of its own.
    pub state_dir: Option<PathBuf>,
    /// The certificate authorities that are trusted, in PEM, and no others; `None`: the system's, else those that are
    /// built in.
    pub ca_file: Option<PathBuf>,
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
    /// Bytes a second that all peers together may send us.
    pub max_download_rate: Option<u64>,
    /// Bytes a second that all peers together may be sent.
    pub max_upload_rate: Option<u64>,
    /// As the only seed of a torrent, show its pieces one by one until one copy is around (BEP 16).
    pub super_seed: bool,
    /// Bytes of memory to keep within, by smaller buffers and fewer peers: see `docs/PERFORMANCE.md`.
    pub mem_limit: Option<u64>,
    /// Whether SIGINT and SIGTERM are caught and end the client in good order.
    pub catch_signals: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_peers: limits::PEERS,
            ports: Some(DEFAULT_PORTS),
            families: Families::Both,
            tcp_only: false,
            dht: true,
            dht_entry_points: Vec::new(),
            lsd: true,
            pex: true,
            state_dir: None,
            ca_file: None,
            max_torrent_size: limits::TORRENT_FILE_MAX,
            user_agent: USER_AGENT.into(),
            peer_id_prefix: DEFAULT_PREFIX.into_iter().map(char::from).collect(),
            connect_timeout: limits::GREETING_TIMEOUT,
            half_open: limits::HALF_OPEN,
            sweep: limits::SWEEP,
            max_download_rate: None,
            max_upload_rate: None,
            super_seed: false,
            mem_limit: None,
            catch_signals: false,
        }
    }
}

impl Config {
    /// The same for who speaks with nobody: to check what is there.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            ports: None,
            dht: false,
            lsd: false,
            pex: false,
            ..self
        }
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
