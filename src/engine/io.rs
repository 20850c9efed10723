//! The whole boundary between the engine and the world: plain values in both directions.
//!
//! The shell (the reactor, or the simulator) drives a [`Session`](crate::engine) by one law: *handle one
//! input, drain `poll_output` to `None`, then handle the next.* A [`BlockData::Received`] range names bytes of
//! the very buffer that the last [`Input::Received`] lent, so it is good only until the next input; or for as long as
//! the shell keeps these bytes in a larger buffer, and says where ([`DiskOp::shift`]).

use std::net::SocketAddr;
use std::ops::Range;

use crate::base::ids::{Block, Piece};
use crate::base::slots::Key;
use crate::net::resolver::{self, SocketEvent, SocketId};
use crate::net::stream::{TlsConfig, TlsError};
use crate::wire::tracker_udp::Scrape;

/// Tags the keys of connections.
pub enum ConnTag {}
/// A connection of a session, of whatever kind: peer or tracker.
pub type ConnId = Key<ConnTag>;

/// Tags the keys of torrents.
pub enum TorrentTag {}
/// A torrent of a session.
pub type TorrentId = Key<TorrentTag>;

/// What the world tells the session.
#[derive(Debug)]
pub enum Input<'a> {
    /// The moment of `poll_timeout` has come.
    Timeout,
    /// A connection that was asked for by [`Output::Connect`] stands.
    Connected {
        /// Which.
        conn: ConnId,
    },
    /// It doesn't, and never will.
    ConnectFailed {
        /// Which; the session has forgotten it after this input.
        conn: ConnId,
        /// Why.
        why: ConnectError,
    },
    /// Bytes came in, at least one.
    Received {
        /// On which connection.
        conn: ConnId,
        /// The bytes, lent until what came of them is with the disk.
        bytes: &'a [u8],
    },
    /// The other side has sent its last byte (FIN).
    Ended {
        /// On which connection.
        conn: ConnId,
    },
    /// The connection broke: a reset or another error of the socket.
    Failed {
        /// Which.
        conn: ConnId,
    },
    /// A UDP datagram came in on the session's UDP port.
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// Its payload.
        bytes: &'a [u8],
    },
    /// A UDP datagram came in for a group of the neighbourhood (BEP 14).
    Multicast {
        /// Its sender.
        from: SocketAddr,
        /// Its payload.
        bytes: &'a [u8],
    },
    /// Something happened on a socket that [`Output::Dns`] opened.
    Dns {
        /// Which.
        socket: SocketId,
        /// What.
        event: SocketEvent<'a>,
    },
    /// The answer to [`resolver::Action::ReadConfig`]; a file that is not there is as good as an empty one.
    DnsConfig {
        /// The text of `resolv.conf`.
        resolv_conf: &'a str,
        /// The text of the hosts file.
        hosts: &'a str,
    },
    /// The answer to [`Output::ReadAuthorities`].
    Authorities {
        /// For which connection.
        conn: ConnId,
        /// Whom to trust.
        trust: Result<TlsConfig, TlsError>,
        /// The wall clock, in seconds since 1970: certificates are judged by it.
        now_unix: u64,
    },
    /// The disk has finished, or failed, something it was asked for.
    DiskDone(DiskDone),
}

/// Why a connection could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// Refused or reset by the other side.
    Refused,
    /// No route, network down, no address of that family.
    Unreachable,
    /// This process has no descriptor, port or memory left: not the address's fault.
    Resources,
    /// Anything else.
    Other,
}

/// What the session tells the world.
#[derive(Debug)]
pub enum Output {
    /// Open a TCP connection; answered by `Connected` or `ConnectFailed`.
    Connect {
        /// The connection's name from now on.
        conn: ConnId,
        /// Where to.
        to: SocketAddr,
    },
    /// Close the connection and forget its name. What it still had to send is dropped.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// The connection has bytes to send: call `poll_transmit` when its socket takes some.
    Transmit {
        /// Which.
        conn: ConnId,
    },
    /// Send a UDP datagram.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// Send a UDP datagram to a group of the neighbourhood (BEP 14), on every interface.
    Multicast {
        /// The group.
        to: SocketAddr,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// Do something for looking up names.
    Dns(resolver::Action),
    /// A connection that stands is to speak TLS: say which authorities are trusted. Asked at each such connection, so
    /// that a run without them reads and keeps none. Answered by [`Input::Authorities`].
    ReadAuthorities {
        /// Which.
        conn: ConnId,
    },
    /// Do something on the disk; every operation is answered by a [`DiskDone`] unless it says otherwise.
    Disk(DiskOp),
    /// Something a person or a program may want to know.
    Event(Event),
}

/// What the session asks of the disk. Operations of one torrent are carried out in order.
#[derive(Debug)]
pub enum DiskOp {
    /// Hash whatever is there, piece by piece, in slices between turns. Answered by one
    /// [`DiskDone::Checked`] a piece and a [`DiskDone::CheckEnded`].
    Check {
        /// Of which torrent.
        torrent: TorrentId,
    },
    /// Hash these bytes and write them to their place; a whole block as `Geometry::block` cuts them, at most
    /// one write a block until its piece is verified or forgotten. Answered by [`DiskDone::Wrote`] or
    /// [`DiskDone::WriteFailed`]; the piece's last block is also answered by [`DiskDone::Verified`].
    Write {
        /// Of which torrent.
        torrent: TorrentId,
        /// Where the bytes belong.
        block: Block,
        /// The bytes.
        data: BlockData,
    },
    /// Forget what was hashed and written of this piece: it will be written again from its first block. No answer.
    Forget {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which piece.
        piece: Piece,
    },
    /// Hash each block of a piece that was written, for finding who lied. Answered by [`DiskDone::Digests`].
    Digest {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which piece.
        piece: Piece,
    },
}

impl DiskOp {
    /// The buffer that was lent begins `by` bytes into the one that the operation will be carried out with.
    pub fn shift(&mut self, by: usize) {
        if let DiskOp::Write {
            data: BlockData::Received(range),
            ..
        } = self
        {
            range.start += by;
            range.end += by;
        }
    }
}

/// Where the bytes of a block are.
#[derive(Debug)]
pub enum BlockData {
    /// In the buffer that the last [`Input::Received`] lent: this range of it, until it is shifted ([`DiskOp::shift`]).
    Received(Range<usize>),
    /// In a buffer of the session's pool, put together from several receptions; it comes back with the answer.
    Joined {
        /// The buffer.
        buffer: Vec<u8>,
        /// Where in it the block is.
        range: Range<usize>,
    },
}

/// What the disk has done.
#[derive(Debug)]
pub enum DiskDone {
    /// One piece was hashed by a check.
    Checked {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which piece.
        piece: Piece,
        /// Whether all its bytes are there and its hash is right.
        good: bool,
    },
    /// The check is through, or could not go on.
    CheckEnded {
        /// Of which torrent.
        torrent: TorrentId,
        /// What stopped it, if something did.
        error: Option<DiskError>,
    },
    /// A block is written.
    Wrote {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which block.
        block: Block,
        /// The buffer that carried it, if it was a joined one.
        buffer: Option<Vec<u8>>,
    },
    /// A block could not be written; nothing of it counts.
    WriteFailed {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which block.
        block: Block,
        /// The buffer that carried it, if it was a joined one.
        buffer: Option<Vec<u8>>,
        /// Why.
        error: DiskError,
    },
    /// All blocks of a piece are written and it was hashed. If `good` is false, the disk has forgotten the
    /// running hash, and the piece may be written anew.
    Verified {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which piece.
        piece: Piece,
        /// Whether the hash is right.
        good: bool,
    },
    /// A piece's blocks were hashed one by one; empty if it could not be read.
    Digests {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which piece.
        piece: Piece,
        /// The SHA-1 of each block, in order.
        blocks: Vec<[u8; 20]>,
    },
    /// A block that a peer was to be sent could not be read as it was verified.
    ReadFailed {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which block.
        block: Block,
        /// Why.
        error: DiskError,
    },
}

/// Why the disk failed: it pauses a torrent, and what has a cause that can go away is tried again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskError {
    /// What kind of trouble it is.
    pub kind: DiskErrorKind,
    /// One line for a person: what, where. Names in it are escaped.
    pub message: String,
}

/// Kinds of disk trouble, in the words of the error lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskErrorKind {
    /// No space, or over quota.
    Full,
    /// Not allowed to write or read there.
    Denied,
    /// The directory or file system is gone.
    Gone,
    /// The path is something else than a regular file or directory.
    NotRegular,
    /// A file is there that is longer than the torrent says: never cut without being told to.
    Longer,
    /// Bytes that were verified are there no longer.
    Changed,
    /// The file is too big for the file system or a limit.
    TooBig,
    /// Another process has the torrent there.
    Locked,
    /// Anything else: an input/output error.
    Io,
}

/// What a connection has to send next: lent bytes, and ranges of files the shell reads itself.
#[derive(Clone, Copy, Debug)]
pub enum Segment<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The bytes of this range of a verified piece (not always a whole block: part of it may have gone).
    Block {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which range.
        block: Block,
    },
}

/// Something that a person or a program may want to know. Text from outside is escaped already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The metadata of a torrent is there: these are the raw bytes of its `info`, whose SHA-1 is its info-hash.
    /// Judge them, tell the store, and answer with `Command::Describe`.
    Metadata {
        /// Of which torrent.
        torrent: TorrentId,
        /// The bytes.
        info: Vec<u8>,
    },
    /// The check of existing data is through.
    Checked {
        /// Of which torrent.
        torrent: TorrentId,
        /// How many pieces are there and good.
        have: u32,
        /// How many of those that are wanted are not.
        missing: u32,
    },
    /// A piece was fetched and its hash is right.
    PieceDone {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which piece.
        piece: Piece,
    },
    /// A piece was fetched and its hash is wrong.
    PieceFailed {
        /// Of which torrent.
        torrent: TorrentId,
        /// Which piece.
        piece: Piece,
    },
    /// Every piece is there.
    Complete {
        /// Of which torrent.
        torrent: TorrentId,
    },
    /// A tracker answered or failed.
    Tracker {
        /// For which torrent.
        torrent: TorrentId,
        /// The tracker, as written in the torrent, escaped.
        url: String,
        /// Peers that it named, or what went wrong.
        result: Result<u32, String>,
    },
    /// A tracker told its counts ([`super::command::Aim::Scrape`]).
    Scraped {
        /// For which torrent.
        torrent: TorrentId,
        /// The tracker, as written in the torrent, escaped.
        url: String,
        /// What it counts.
        counts: Scrape,
    },
    /// A peer came.
    PeerConnected {
        /// For which torrent.
        torrent: TorrentId,
        /// Its address.
        address: SocketAddr,
        /// What it calls itself, if it does, escaped.
        client: String,
    },
    /// A peer went.
    PeerGone {
        /// For which torrent.
        torrent: TorrentId,
        /// Its address.
        address: SocketAddr,
        /// Why, in words fit for a log.
        why: &'static str,
    },
    /// A peer sent wrong bytes and will not be spoken to again.
    Banned {
        /// For which torrent.
        torrent: TorrentId,
        /// Its address.
        address: SocketAddr,
        /// The piece that showed it.
        piece: Piece,
    },
    /// The torrent waits for its disk; it is tried again by itself.
    DiskTrouble {
        /// Which torrent.
        torrent: TorrentId,
        /// What is wrong.
        error: DiskError,
    },
    /// The disk works again.
    DiskRecovered {
        /// Which torrent.
        torrent: TorrentId,
    },
    /// Something odd that a person should know and that does not stop anything.
    Warning {
        /// Which torrent it is about; `None`: none, or all.
        torrent: Option<TorrentId>,
        /// What kind, as in `tracker.url`.
        kind: &'static str,
        /// One line.
        message: String,
    },
    /// A torrent is forgotten after `Command::Remove`: its goodbyes are said.
    Removed {
        /// Which torrent.
        torrent: TorrentId,
    },
    /// The session has said its goodbyes after `Command::Shutdown`.
    Stopped,
}

impl Event {
    /// The torrent that it is about; `None` if it is about the session, or about all of them.
    pub fn torrent(&self) -> Option<TorrentId> {
        match self {
            Self::Metadata { torrent, .. }
            | Self::Checked { torrent, .. }
            | Self::PieceDone { torrent, .. }
            | Self::PieceFailed { torrent, .. }
            | Self::Complete { torrent }
            | Self::Tracker { torrent, .. }
            | Self::Scraped { torrent, .. }
            | Self::PeerConnected { torrent, .. }
            | Self::PeerGone { torrent, .. }
            | Self::Banned { torrent, .. }
            | Self::DiskTrouble { torrent, .. }
            | Self::DiskRecovered { torrent }
            | Self::Removed { torrent } => Some(*torrent),
            Self::Warning { torrent, .. } => *torrent,
            Self::Stopped => None,
        }
    }
}

/// Room for what one call of `poll_transmit` gives.
pub struct Segments<'a> {
    items: [Segment<'a>; SEGMENTS_MAX],
    len: usize,
    bytes: usize,
    room: usize,
}

impl<'a> Segments<'a> {
    /// No segments yet, and room for about `room` bytes: the segment that passes it is the last.
    pub fn new(room: usize) -> Self {
        Self {
            items: [Segment::Bytes(&[]); SEGMENTS_MAX],
            len: 0,
            bytes: 0,
            room,
        }
    }

    /// Adds one; false if there is no room, and then nothing is added.
    pub fn push(&mut self, segment: Segment<'a>) -> bool {
        if self.len == SEGMENTS_MAX || self.bytes >= self.room {
            return false;
        }
        self.items[self.len] = segment;
        self.len += 1;
        self.bytes += segment.len();
        true
    }

    /// What has been put in.
    pub fn as_slice(&self) -> &[Segment<'a>] {
        &self.items[..self.len]
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Segment<'_> {
    /// Bytes of this segment.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Block { block, .. } => block.len as usize,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Segments of one call: 32 blocks with their headers.
const SEGMENTS_MAX: usize = 64;
