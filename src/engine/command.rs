//! What a person or a program asks of a session, and what it asks with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::dht::Router;
use super::io::TorrentId;
use crate::base::bitfield::Bitfield;
use crate::base::ids::{InfoHash, PeerId};
use crate::base::limits;
use crate::net::resolver::Families;
use crate::wire::metainfo::Metainfo;

/// How a session behaves; the same for all its torrents.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name: `-MI` and the version, then random letters and digits (BEP 20).
    pub peer_id: PeerId,
    /// The name and version told to peers (BEP 10) and HTTP trackers, under 64 bytes.
    pub user_agent: String,
    /// The port that peers reach us at, as announced; 0 if we don't listen.
    pub port: u16,
    /// Peers connected at once, both directions together.
    pub max_peers: usize,
    /// Connections being opened or greeted at once.
    pub half_open: usize,
    /// Bytes a second that all peers together may send us, above zero; `None` is no limit.
    pub max_download_rate: Option<u64>,
    /// Bytes a second that all peers together may be sent, above zero; `None` is no limit.
    pub max_upload_rate: Option<u64>,
    /// Which addresses are dialled and announced to.
    pub families: Families,
    /// Skip UDP trackers.
    pub tcp_only: bool,
    /// A connection that takes longer to open and to greet is given up.
    pub connect_timeout: Duration,
    /// The shortest time between two sweeps.
    pub sweep: Duration,
    /// Requests in flight to a peer, whatever its `reqq`.
    pub requests: usize,
    /// Answer announces of other clients on the listening port, as a small tracker.
    pub serve_tracker: bool,
    /// Take part in the DHT (BEP 5), on the UDP port of the same number as the listening one.
    pub dht: bool,
    /// Where the DHT begins.
    pub dht_routers: Vec<Router>,
    /// Nodes of an earlier run ([`super::Session::dht_nodes`]).
    pub dht_nodes: Vec<u8>,
    /// Whether another process is in the DHT under the ids of that run.
    pub dht_is_second: bool,
    /// Look for peers in the neighbourhood (BEP 14).
    pub lsd: bool,
    /// Exchange peers with peers (BEP 11).
    pub pex: bool,
    /// Show pieces one by one while nobody else has them all (BEP 16).
    pub super_seed: bool,
}

impl Settings {
    /// Whether `address` is of a family that is spoken.
    pub fn speaks(&self, address: SocketAddr) -> bool {
        match self.families {
            Families::Both => true,
            Families::V4 => address.ip().to_canonical().is_ipv4(),
            Families::V6 => address.ip().to_canonical().is_ipv6(),
        }
    }

    /// The usual settings under this name.
    pub fn new(peer_id: PeerId) -> Self {
        Self {
            peer_id,
            user_agent: concat!("minitorrent/", env!("CARGO_PKG_VERSION")).into(),
            port: 0,
            max_peers: limits::PEERS,
            half_open: limits::HALF_OPEN,
            max_download_rate: None,
            max_upload_rate: None,
            families: Families::Both,
            tcp_only: false,
            connect_timeout: limits::GREETING_TIMEOUT,
            sweep: limits::SWEEP,
            requests: limits::REQQ,
            serve_tracker: false,
            dht: false,
            dht_routers: Vec::new(),
            dht_nodes: Vec::new(),
            dht_is_second: false,
            lsd: false,
            pex: true,
            super_seed: false,
        }
    }
}

/// A command from the person who runs the program, or the program that links the library.
#[derive(Debug)]
pub enum Command {
    /// Take up a torrent. It is checked first ([`super::io::DiskOp::Check`]), then fetched or seeded.
    /// Answered by [`Reply::Added`]; the store must know the torrent before the outputs are drained.
    Add(AddTorrent),
    /// Take up a torrent of which only the info-hash is known (a magnet link): `metainfo` is a stand-in
    /// ([`Metainfo::stand_in`]). Its metadata comes from peers ([`super::io::Event::Metadata`]).
    AddUndescribed(AddTorrent),
    /// Here is what an undescribed torrent is; the store must know it before the outputs are drained.
    Describe {
        /// Which torrent.
        torrent: TorrentId,
        /// What it is.
        metainfo: Arc<Metainfo>,
    },
    /// Tell a torrent of more addresses.
    AddPeers {
        /// Which torrent.
        torrent: TorrentId,
        /// The addresses.
        peers: Vec<SocketAddr>,
    },
    /// Close the torrent's peers and ask for nothing until `Resume`.
    Pause(TorrentId),
    /// Go on.
    Resume(TorrentId),
    /// Believe nothing of what is there: close the torrent's peers, hash all of it, and go on from what is found, as
    /// after [`Command::Add`]. Nothing happens while it is being hashed anyway.
    Recheck(TorrentId),
    /// Close the torrent's peers, tell its trackers, and forget it: [`super::io::Event::Removed`] follows within
    /// [`limits::GOODBYE`], and until then the store must know it.
    Remove(TorrentId),
    /// There is more or less room from now on ([`Settings::max_peers`], [`Settings::requests`]). Peers that are
    /// there already stay.
    Resize {
        /// Peers connected at once.
        max_peers: usize,
        /// Requests in flight to a peer that is new.
        requests: usize,
    },
    /// Want other pieces, or in another order; at any time. Pieces that are begun are finished.
    Select {
        /// Which torrent.
        torrent: TorrentId,
        /// What is wanted of it.
        selection: Selection,
    },
    /// Connect to nobody and take nobody in while announces go on (`true`), or do so again (`false`). Who is
    /// connected stays so.
    Hold(bool),
    /// Say goodbye: trackers are told, peers are closed; [`super::io::Event::Stopped`] follows within
    /// [`limits::GOODBYE`].
    Shutdown,
}

impl Command {
    /// The torrent that it is about, if it is about one that is there.
    pub fn torrent(&self) -> Option<TorrentId> {
        match self {
            Self::Describe { torrent, .. }
            | Self::AddPeers { torrent, .. }
            | Self::Pause(torrent)
            | Self::Resume(torrent)
            | Self::Recheck(torrent)
            | Self::Remove(torrent)
            | Self::Select { torrent, .. } => Some(*torrent),
            Self::Add(_)
            | Self::AddUndescribed(_)
            | Self::Hold(_)
            | Self::Resize { .. }
            | Self::Shutdown => None,
        }
    }
}

/// A torrent to take up.
#[derive(Debug)]
pub struct AddTorrent {
    /// What it is.
    pub metainfo: Arc<Metainfo>,
    /// What is wanted of it.
    pub aim: Aim,
    /// Addresses known beforehand (`--peers`).
    pub peers: Vec<SocketAddr>,
}

/// Which pieces are wanted, and in what order.
#[derive(Clone, Default, Debug)]
pub struct Selection {
    /// These pieces; `None`: all of them.
    pub pieces: Option<Bitfield>,
    /// These pieces before all others; `None`: no piece comes before others.
    pub first: Option<Bitfield>,
    /// From the first to the last, rather than the rarest first.
    pub sequential: bool,
}

/// What is wanted of a torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aim {
    /// Fetch what is missing and serve what is there.
    Download,
    /// Serve what is there; never fetch.
    Seed,
    /// Only hash what is there: no peer, no tracker.
    Check,
    /// Only ask the trackers what they count: no disk, no peer, no announce.
    Scrape,
}

/// The answer to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The torrent was taken up under this name.
    Added(TorrentId),
    /// Done.
    Done,
}

/// Why a command was refused: told to whoever gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// The session has that torrent already.
    Duplicate(InfoHash),
    /// No such torrent.
    Unknown,
    /// The session is shutting down.
    Stopping,
}
