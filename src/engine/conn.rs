//! A connection of a session, from the dial to the close.
//!
//! ```text
//! dial ---> Dialling --connected--> Greeting --handshake--> Peer
//!                \--connected--> Tracker (one announce over HTTP)
//! accept -> Greeting | Served (an announce to us)
//! ```

use std::net::SocketAddr;

use super::io::TorrentId;
use super::peer::inbox::Inbox;
use super::peer::outbox::Outbox;
use super::peer::{Direction, Peer};
use super::tracker::call::TrackerCall;
use crate::base::time::Instant;
use crate::net::http_serve::HttpServe;

/// A connection.
pub struct Conn {
    /// The other side.
    pub address: SocketAddr,
    /// When it was dialled or accepted.
    pub since: Instant,
    /// What it is.
    pub kind: Kind,
}

/// What a connection is.
pub enum Kind {
    /// Being connected, to greet a peer.
    Dialling {
        /// For this torrent.
        torrent: TorrentId,
    },
    /// Connected; the peer's handshake is not all there.
    Greeting(Greeting),
    /// Exchanging messages.
    Peer {
        /// About this torrent.
        torrent: TorrentId,
        /// The cut message, if any.
        inbox: Inbox,
        /// The peer.
        peer: Box<Peer>,
    },
    /// A call to a tracker, from the dial to the reply.
    Tracker(Box<TrackerCall>),
    /// Somebody else's announce, to the small tracker in this session.
    Served(Box<HttpServe>),
}

/// A connection whose handshake is not all there.
pub struct Greeting {
    /// Who opened it.
    pub direction: Direction,
    /// The torrent, if we opened it.
    pub torrent: Option<TorrentId>,
    /// What has come of the handshake.
    pub received: Vec<u8>,
    /// Our own handshake, on its way.
    pub outbox: Outbox,
}
