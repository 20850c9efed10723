//! Plain values for every face of the program: progress bar, lines, JSON, library.

use std::net::SocketAddr;

use super::io::{DiskError, TorrentId};
use crate::base::ids::InfoHash;

/// A session as it stands.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Its torrents.
    pub torrents: Vec<TorrentSnapshot>,
    /// Its peers, of all torrents.
    pub peers: Vec<PeerSnapshot>,
}

/// A torrent as it stands. Sizes in bytes, rates in bytes a second.
#[derive(Clone, Debug)]
pub struct TorrentSnapshot {
    /// Which torrent.
    pub torrent: TorrentId,
    /// Its identity.
    pub info_hash: InfoHash,
    /// What it is doing.
    pub phase: Phase,
    /// Pieces verified.
    pub pieces_have: u32,
    /// Pieces in all.
    pub pieces: u32,
    /// Pieces of the metadata that are there, and in all, while it is fetched.
    pub metadata: (u32, u32),
    /// Pieces looked at by the check that runs, or that ran.
    pub pieces_checked: u32,
    /// Bytes verified.
    pub bytes_have: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Payload received in this run, wasted bytes included.
    pub downloaded: u64,
    /// Payload sent in this run.
    pub uploaded: u64,
    /// Payload received that did not count: duplicates, failed pieces.
    pub wasted: u64,
    /// Payload coming in, bytes a second.
    pub down_rate: u64,
    /// Payload going out, bytes a second.
    pub up_rate: u64,
    /// Peers connected.
    pub peers: u32,
    /// Those among them that have everything.
    pub seeds: u32,
    /// Connections being opened or greeted.
    pub half_open: u32,
    /// Addresses known.
    pub addresses: u32,
    /// Whether any tracker, peer address or other source could still give peers.
    pub has_source: bool,
    /// What is wrong with the disk, while something is.
    pub disk: Option<DiskError>,
    /// Whether the disk takes less than peers send.
    pub is_disk_behind: bool,
    /// Whether the limit of what all peers may send us holds something back.
    pub is_limited: bool,
    /// Peers that have something that is missing.
    pub useful: u32,
    /// Peers that let us request.
    pub unchoked_us: u32,
    /// Requests in flight to all of them.
    pub in_flight: u32,
    /// A piece that is missing and that no peer has, and how many such pieces there are.
    pub unavailable: Option<(u32, u32)>,
    /// Whether peers are looked for in the DHT or the neighbourhood.
    pub is_sought: bool,
    /// Whether trackers were asked and none has answered yet.
    pub is_announcing: bool,
    /// The tracker that failed last and what went wrong, until one answers; escaped.
    pub tracker_trouble: Option<(String, String)>,
    /// Whether a peer of it was banned for wrong bytes: its address is not among those known any more.
    pub knew_banned: bool,
}

impl TorrentSnapshot {
    /// A torrent of which nothing is there and nothing known.
    pub fn empty(torrent: TorrentId, info_hash: InfoHash) -> Self {
        Self {
            torrent,
            info_hash,
            phase: Phase::Paused,
            pieces_have: 0,
            pieces: 0,
            metadata: (0, 0),
            pieces_checked: 0,
            bytes_have: 0,
            bytes: 0,
            downloaded: 0,
            uploaded: 0,
            wasted: 0,
            down_rate: 0,
            up_rate: 0,
            peers: 0,
            seeds: 0,
            half_open: 0,
            addresses: 0,
            has_source: false,
            disk: None,
            is_disk_behind: false,
            is_limited: false,
            useful: 0,
            unchoked_us: 0,
            in_flight: 0,
            unavailable: None,
            is_sought: false,
            is_announcing: false,
            tracker_trouble: None,
            knew_banned: false,
        }
    }
}

/// What a torrent is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Fetching the metadata from peers.
    Describing,
    /// Hashing what is there.
    Checking,
    /// Fetching.
    Downloading,
    /// Everything is there; serving.
    Seeding,
    /// Serving part of it, not fetching, or checked only.
    Idle,
    /// Stopped by command.
    Paused,
    /// Waiting for its disk.
    DiskTrouble,
}

/// A peer as it stands.
#[derive(Clone, Debug)]
pub struct PeerSnapshot {
    /// Of which torrent.
    pub torrent: TorrentId,
    /// Its address.
    pub address: SocketAddr,
    /// Its own name, escaped; empty if it gave none.
    pub client: String,
    /// Pieces it has.
    pub pieces_have: u32,
    /// It lets us request.
    pub unchoked_us: bool,
    /// We let it request.
    pub unchoked: bool,
    /// Requests in flight to it.
    pub in_flight: u32,
    /// Bytes a second from it.
    pub down_rate: u64,
    /// Bytes a second to it.
    pub up_rate: u64,
}
