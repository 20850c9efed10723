//! What the DHT wants of the world, and what the world may ask about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::base::ids::InfoHash;
use crate::wire::krpc::NodeId;

/// One thing that [`super::Dht`] wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send this.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// What, at most 1200 bytes.
        bytes: Vec<u8>,
        /// Whether somebody asked for it and waits; sent seconds late it is worth nothing.
        is_answer: bool,
    },
    /// Peers of a torrent that is searched for. Ourselves may be among them.
    Peers {
        /// The torrent.
        info_hash: InfoHash,
        /// Peers that this search has not named before.
        peers: Vec<SocketAddr>,
    },
    /// A search has asked everyone it could and announced us, if that was wanted. It begins again by itself.
    LookupDone {
        /// The torrent.
        info_hash: InfoHash,
    },
    /// What a scrape has found (BEP 33): about how many peers there are, at most 10,000 of each kind.
    Scraped {
        /// The torrent.
        info_hash: InfoHash,
        /// Peers that have everything.
        seeds: u32,
        /// Peers that don't.
        leechers: u32,
    },
    /// Look up a name and answer by [`super::Dht::handle_resolved`].
    Resolve {
        /// The name.
        name: String,
    },
    /// Something a person should know.
    Warning(Warning),
}

/// What can be wrong without being anyone's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning {
    /// The saved nodes are not what was saved: they are ignored.
    SavedNodes,
    /// Nobody has answered; it is tried again.
    NoNodes,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SavedNodes => write!(f, "the saved DHT nodes are damaged and ignored"),
            Self::NoNodes => write!(f, "no DHT node answers; trying again"),
        }
    }
}

/// Where the DHT begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Router {
    /// At a node.
    Address(SocketAddr),
    /// At a name that has to be resolved.
    Name {
        /// The name.
        name: String,
        /// The port.
        port: u16,
    },
}

/// How a node behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Whether there is IPv4.
    pub ipv4: bool,
    /// Whether there is IPv6 (BEP 32).
    pub ipv6: bool,
    /// Whether we only ask and never answer (BEP 43): for those who can't be reached.
    pub read_only: bool,
    /// Whether peers shall connect to the port our datagrams come from, not to the one we name: right where
    /// both are one behind a NAT (uTP).
    pub implied_port: bool,
    /// Where to begin, at most 16 are used.
    pub routers: Vec<Router>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ipv4: true,
            ipv6: false,
            read_only: false,
            implied_port: false,
            routers: Vec::new(),
        }
    }
}

/// How things stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Our ids, over IPv4 and IPv6.
    pub ids: [NodeId; 2],
    /// Our addresses as most others see them (BEP 42).
    pub external: [Option<IpAddr>; 2],
    /// Nodes in the tables.
    pub nodes: [usize; 2],
    /// Of those, the ones heard of in the last 15 minutes.
    pub good: [usize; 2],
    /// Queries that wait for an answer.
    pub in_flight: usize,
    /// Lookups under way.
    pub lookups: usize,
    /// Torrents that are searched for.
    pub searches: usize,
    /// Torrents and peers that others have announced to us.
    pub stored: (usize, usize),
    /// Queries that came, and how many of them we answered.
    pub queries: (u64, u64),
    /// Places that asked too much and are blocked.
    pub blocked: usize,
    /// Bytes of all datagrams in and out.
    pub bytes: (u64, u64),
}
