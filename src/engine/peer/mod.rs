//! A peer: what it has, what it lets us do, what is in flight to it and from it.
//!
//! It knows neither torrents nor sockets: `Inbox` cuts bytes into messages, `Pipeline` remembers our requests,
//! `Upload` the peer's, `Outbox` is what goes out next.

pub mod flood;
mod in_flight;
pub mod inbox;
pub mod outbox;
pub mod pex;
pub mod pipeline;
pub mod upload;

use std::net::SocketAddr;
use std::time::Duration;

use self::flood::Flood;
use self::outbox::Outbox;
use self::pex::PeerExchange;
use self::pipeline::Pipeline;
use self::upload::{FastGrant, Upload};
use crate::base::bitfield::Bitfield;
use crate::base::ids::{PeerId, Piece};
use crate::base::rate::Meter;
use crate::base::time::Instant;
use crate::wire::handshake::Reserved;
use crate::wire::message::Message;

/// A peer that has greeted us.
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// Who opened the connection.
    pub direction: Direction,
    /// What else it can do.
    pub reserved: Reserved,
    /// Its id; an inbound one may come later than the greeting.
    pub id: Option<PeerId>,
    /// Its own name, escaped.
    pub client: String,
    /// The pieces it has.
    pub has: Availability,
    /// Pieces that it has and we want.
    pub useful: u32,
    /// It does not answer our requests now.
    pub choking_us: bool,
    /// We don't answer its requests now.
    pub choked: bool,
    /// It wants something of ours.
    pub interested_in_us: bool,
    /// We want something of it.
    pub interested: bool,
    /// It may be asked for these even while it chokes us (BEP 6).
    pub allowed_fast: Vec<Piece>,
    /// What it may ask of us even while we choke it (BEP 6).
    pub fast_grant: FastGrant,
    /// Our requests.
    pub pipeline: Pipeline,
    /// Its requests.
    pub upload: Upload,
    /// What goes out next.
    pub outbox: Outbox,
    /// When it came.
    pub since: Instant,
    /// When it last said anything.
    pub heard: Instant,
    /// When we last said anything.
    pub spoke: Instant,
    /// When it last was of use: a block came, or one went.
    pub of_use: Instant,
    /// When it last gave us a block; at first, when it came.
    pub gave: Instant,
    /// When it last refused a request; at first, when it came.
    pub refused: Instant,
    /// When one of us last wanted something of the other; a sweep may be behind.
    pub wanted: Instant,
    /// Payload from it, over the choker's time.
    pub down: Meter,
    /// Payload to it, over the choker's time.
    pub up: Meter,
    /// Payload from it in all.
    pub downloaded: u64,
    /// Payload to it in all.
    pub uploaded: u64,
    /// Bytes it sent that were never asked for.
    pub unrequested: u64,
    /// What it says beside requests and data.
    pub flood: Flood,
    /// When it was last choked or unchoked by us.
    pub turned: Instant,
    /// Payload to it since then.
    pub given: u64,
    /// It refused requests and gave nothing in between, though it does not choke us: nothing is asked of it until then.
    pub rest_until: Instant,
    /// How many of our pieces of this run it has heard of.
    pub told: u32,
    /// The shell knows that there is something to send.
    pub announced: bool,
    /// Its extended id for peer exchange (BEP 11), if it takes part.
    pub ut_pex: Option<u8>,
    /// Its extended id for metadata exchange (BEP 9), if it takes part.
    pub ut_metadata: Option<u8>,
    /// It wants nothing (BEP 21).
    pub upload_only: bool,
    /// Where others can connect to it, if that is known.
    pub listens_at: Option<SocketAddr>,
    /// Peers told and heard of.
    pub pex: PeerExchange,
    /// What it said of its pieces before the torrent was described.
    pub opening: Vec<u8>,
    /// Bytes of metadata it was given.
    pub metadata_given: usize,
}

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// We did.
    Out,
    /// The peer did.
    In,
}

/// The pieces of a peer. A seed needs no bits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Availability {
    /// These.
    Some(Bitfield),
    /// All.
    All,
}

impl Availability {
    /// Whether it has `piece` (of the torrent).
    pub fn has(&self, piece: Piece) -> bool {
        match self {
            Self::Some(bits) => bits.has(piece),
            Self::All => true,
        }
    }

    /// How many of `pieces`.
    pub fn count(&self, pieces: u32) -> u32 {
        match self {
            Self::Some(bits) => bits.count(),
            Self::All => pieces,
        }
    }
}

impl Peer {
    /// A peer that has just greeted us: it has nothing, and each side chokes the other (BEP 3).
    pub fn new(now: Instant, address: SocketAddr, direction: Direction, pieces: u32) -> Self {
        Self {
            address,
            direction,
            reserved: Reserved::default(),
            id: None,
            client: String::new(),
            has: Availability::Some(Bitfield::new(pieces)),
            useful: 0,
            choking_us: true,
            choked: true,
            interested_in_us: false,
            interested: false,
            allowed_fast: Vec::new(),
            fast_grant: FastGrant::default(),
            pipeline: Pipeline::new(now),
            upload: Upload::default(),
            outbox: Outbox::new(now),
            since: now,
            heard: now,
            spoke: now,
            of_use: now,
            gave: now,
            wanted: now,
            down: Meter::new(now, RATE_WINDOW),
            up: Meter::new(now, RATE_WINDOW),
            downloaded: 0,
            uploaded: 0,
            unrequested: 0,
            flood: Flood::default(),
            turned: now,
            given: 0,
            rest_until: now,
            refused: now,
            told: 0,
            announced: false,
            ut_pex: None,
            ut_metadata: None,
            upload_only: false,
            listens_at: (direction == Direction::Out).then_some(address),
            pex: PeerExchange::default(),
            opening: Vec::new(),
            metadata_given: 0,
        }
    }

    /// Whether an upload slot is of use to it (BEP 21: not if it says that it only uploads).
    pub fn wants_slot(&self) -> bool {
        self.interested_in_us && !self.upload_only
    }

    /// Whether it has everything.
    pub fn is_seed(&self) -> bool {
        self.has == Availability::All
    }

    /// Whether both sides speak the Fast extension (BEP 6).
    pub fn fast(&self) -> bool {
        self.reserved.fast()
    }

    /// Puts a message behind all that is to be sent.
    pub fn send(&mut self, now: Instant, message: Message<'_>) {
        self.outbox.push(message);
        self.spoke = now;
    }

    /// Whether `piece` may be asked of it now.
    pub fn may_ask(&self, piece: Piece) -> bool {
        self.has.has(piece) && (!self.choking_us || self.allowed_fast.contains(&piece))
    }
}

/// The choker judges by the rate over this time.
const RATE_WINDOW: Duration = Duration::from_secs(20);
