//! A session with one torrent, and the hands that feed it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use minitorrent::base::ids::{Block, PeerId, Piece};
use minitorrent::base::limits;
use minitorrent::base::time::Instant;
use minitorrent::engine::Session;
use minitorrent::engine::command::{AddTorrent, Aim, Command, Reply, Settings};
use minitorrent::engine::io::{
    ConnId, ConnectError, DiskDone, DiskOp, Event, Input, Output, Segment, Segments, TorrentId,
};
use minitorrent::engine::why::{Waiting, waiting};
use minitorrent::wire::handshake::{self, Reserved};
use minitorrent::wire::message::{self, Decoded, Message};
use minitorrent::wire::metainfo::Metainfo;

/// Our own id.
pub(crate) const OURS: PeerId = PeerId(*b"-MI0100-mmmmmmmmmmmm");
/// Fast extension and extension protocol.
pub(crate) const MODERN: Reserved = Reserved::OURS;
/// As BEP 3 was.
pub(crate) const OLD: Reserved = Reserved([0; 8]);

/// The scene.
pub(crate) struct Scene {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) torrent: TorrentId,
    pub(crate) meta: Arc<Metainfo>,
    /// Connects that were asked for and not yet answered.
    pub(crate) dials: Vec<(ConnId, SocketAddr)>,
    pub(crate) closed: BTreeSet<ConnId>,
    /// Connections that the world was told to send on, in order.
    pub(crate) transmits: Vec<ConnId>,
    pub(crate) events: Vec<Event>,
    /// Datagrams that were sent, and to whom; groups among them.
    pub(crate) datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Disk operations since they were last looked at, in words.
    pub(crate) ops: Vec<String>,
    written: BTreeMap<Piece, u32>,
    /// Whether writes are answered at once.
    pub(crate) disk_works: bool,
    /// Timeouts handed in.
    pub(crate) timeouts: u32,
}

impl Scene {
    /// A torrent of `pieces` pieces, each of two blocks, to be fetched; nothing is there.
    pub(crate) fn new(pieces: u32) -> Self {
        Self::with(pieces, Aim::Download, |_| {}, &[], &[])
    }

    /// The same torrent, all of it there.
    pub(crate) fn seeding(pieces: u32) -> Self {
        let have: Vec<u32> = (0..pieces).collect();
        Self::with(pieces, Aim::Seed, |_| {}, &[], &have)
    }

    /// A torrent to be fetched that knows these addresses.
    pub(crate) fn knowing(peers: &[SocketAddr], change: impl FnOnce(&mut Settings)) -> Self {
        Self::with(4, Aim::Download, change, peers, &[])
    }

    /// A torrent with everything to choose, checked.
    pub(crate) fn with(
        pieces: u32,
        aim: Aim,
        change: impl FnOnce(&mut Settings),
        peers: &[SocketAddr],
        have: &[u32],
    ) -> Self {
        let meta = meta(pieces);
        let add = AddTorrent {
            metainfo: Arc::clone(&meta),
            aim,
            peers: peers.to_vec(),
        };
        let mut scene = Self::set(meta, change, Command::Add(add));
        scene.checked(have);
        scene.run_to(1.0);
        (scene.events, scene.ops) = (Vec::new(), Vec::new());
        scene
    }

    /// A torrent of which the session knows the info-hash alone.
    pub(crate) fn undescribed(pieces: u32, change: impl FnOnce(&mut Settings)) -> Self {
        let meta = meta(pieces);
        let add = AddTorrent {
            metainfo: Arc::new(Metainfo::stand_in(meta.info_hash, "f".into(), Vec::new())),
            aim: Aim::Download,
            peers: Vec::new(),
        };
        Self::set(meta, change, Command::AddUndescribed(add))
    }

    /// A session that was given this command.
    pub(crate) fn set(
        meta: Arc<Metainfo>,
        change: impl FnOnce(&mut Settings),
        command: Command,
    ) -> Self {
        let mut settings = Settings::new(OURS);
        settings.port = 6881;
        change(&mut settings);
        let now = at(1.0);
        let mut session = Session::new(now, settings, [9; 32]);
        let reply = session.handle_command(now, command);
        let Ok(Reply::Added(torrent)) = reply else {
            panic!("{reply:?}");
        };
        let mut scene = Self {
            session,
            now,
            torrent,
            meta,
            dials: Vec::new(),
            closed: BTreeSet::new(),
            transmits: Vec::new(),
            events: Vec::new(),
            datagrams: Vec::new(),
            ops: Vec::new(),
            written: BTreeMap::new(),
            disk_works: true,
            timeouts: 0,
        };
        scene.drain();
        scene
    }

    /// The disk has looked at every piece, and these are there.
    pub(crate) fn checked(&mut self, have: &[u32]) {
        let torrent = self.torrent;
        for piece in 0..self.meta.geometry.pieces() {
            self.disk(DiskDone::Checked {
                torrent,
                piece: Piece(piece),
                good: have.contains(&piece),
            });
        }
        let error = None;
        self.disk(DiskDone::CheckEnded { torrent, error });
    }

    /// Gives the session a command.
    pub(crate) fn command(&mut self, command: Command) {
        let reply = self.session.handle_command(self.now, command);
        reply.expect("a good command");
        self.drain();
    }

    /// Hands in an input and takes what comes of it.
    pub(crate) fn handle(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
        self.drain();
    }

    /// Hands in an answer of the disk.
    pub(crate) fn disk(&mut self, done: DiskDone) {
        self.handle(Input::DiskDone(done));
    }

    /// Lets time pass to this second, and every timer be due on its way.
    pub(crate) fn run_to(&mut self, seconds: f64) {
        let end = at(seconds);
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.timeouts += 1;
            self.handle(Input::Timeout);
            let next = self.session.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "it spins");
        }
        self.now = end;
    }

    /// A connection from this host, if it is taken.
    pub(crate) fn accept(&mut self, host: u8) -> Option<ConnId> {
        let conn = self.session.accept(self.now, from(host));
        self.drain();
        conn
    }

    /// A peer that came in and has greeted; what it was sent so far is taken.
    pub(crate) fn peer(&mut self, host: u8, reserved: Reserved) -> ConnId {
        let conn = self.accept(host).expect("there is room");
        self.greet(conn, id(host), reserved);
        assert!(!self.closed.contains(&conn), "the greeting is taken");
        self.sent(conn);
        conn
    }

    /// A peer that has these pieces and lets us request; what it was sent so far is taken.
    pub(crate) fn giver(&mut self, host: u8, reserved: Reserved, has: &[u32]) -> ConnId {
        let conn = self.peer(host, reserved);
        self.says(conn, Message::Bitfield(&bits(&self.meta, has)));
        self.says(conn, Message::Unchoke);
        conn
    }

    /// A whole handshake comes in.
    pub(crate) fn greet(&mut self, conn: ConnId, id: PeerId, reserved: Reserved) {
        let bytes = handshake::encode(reserved, self.meta.info_hash, id);
        self.bytes(conn, &bytes);
    }

    /// Bytes come in.
    pub(crate) fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.handle(Input::Received { conn, bytes });
    }

    /// A message comes in.
    pub(crate) fn says(&mut self, conn: ConnId, message: Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.bytes(conn, &bytes);
    }

    /// A block comes in.
    pub(crate) fn gives(&mut self, conn: ConnId, piece: u32, index: u32) {
        let block = self.meta.geometry.block(Piece(piece), index);
        self.says(
            conn,
            Message::Piece {
                piece: block.piece,
                begin: block.begin,
                data: &vec![7; block.len as usize],
            },
        );
    }

    /// What goes out on a connection, all of it, in words.
    pub(crate) fn sent(&mut self, conn: ConnId) -> Vec<String> {
        words(&self.sent_bytes(conn))
    }

    /// What goes out on a connection, all of it.
    pub(crate) fn sent_bytes(&mut self, conn: ConnId) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let mut segments = Segments::new(usize::MAX);
            self.session.poll_transmit(self.now, conn, &mut segments);
            for segment in segments.as_slice() {
                match segment {
                    Segment::Bytes(more) => bytes.extend_from_slice(more),
                    Segment::Block { block, .. } => {
                        bytes.resize(bytes.len() + block.len as usize, 0);
                    }
                }
            }
            let count = segments.bytes();
            if count == 0 {
                return bytes;
            }
            self.session.transmitted(self.now, conn, count);
            self.drain();
        }
    }

    /// Whether a connection was closed by the session.
    pub(crate) fn is_closed(&self, conn: ConnId) -> bool {
        self.closed.contains(&conn)
    }

    /// The disk operations since the last call.
    pub(crate) fn take_ops(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ops)
    }

    /// The only connect that is asked for; it stands.
    pub(crate) fn connect(&mut self) -> ConnId {
        assert_eq!(self.dials.len(), 1, "one dial");
        let (conn, _) = self.dials.remove(0);
        self.handle(Input::Connected { conn });
        conn
    }

    /// The only connect that is asked for; it is refused.
    pub(crate) fn refuse(&mut self) {
        assert_eq!(self.dials.len(), 1, "one dial");
        let (conn, _) = self.dials.remove(0);
        let why = ConnectError::Refused;
        self.handle(Input::ConnectFailed { conn, why });
    }

    /// Addresses known.
    pub(crate) fn addresses(&self) -> u32 {
        self.session.snapshot(self.now).torrents[0].addresses
    }

    /// Why nothing comes in.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        waiting(&self.session.snapshot(self.now).torrents[0])
    }

    /// Pieces there.
    pub(crate) fn pieces_have(&self) -> u32 {
        self.session.snapshot(self.now).torrents[0].pieces_have
    }

    /// Bytes that came in vain.
    pub(crate) fn wasted(&self) -> u64 {
        self.session.snapshot(self.now).torrents[0].wasted
    }

    /// Takes all outputs; ends because answers of a disk that works are the only inputs it gives.
    pub(crate) fn drain(&mut self) {
        let mut answers = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Connect { conn, to } => self.dials.push((conn, to)),
                Output::Close { conn } => {
                    self.dials.retain(|(dial, _)| *dial != conn);
                    assert!(self.closed.insert(conn), "closed once");
                }
                Output::Transmit { conn } => self.transmits.push(conn),
                Output::Datagram { to, bytes } | Output::Multicast { to, bytes } => {
                    self.datagrams.push((to, bytes));
                }
                Output::Dns(_) | Output::ReadAuthorities { .. } => panic!("no tracker here"),
                Output::Disk(op) => self.carry_out(op, &mut answers),
                Output::Event(event) => self.events.push(event),
            }
        }
        answers.into_iter().for_each(|answer| self.disk(answer));
    }

    fn carry_out(&mut self, op: DiskOp, answers: &mut Vec<DiskDone>) {
        match op {
            DiskOp::Check { .. } => self.ops.push("check".into()),
            DiskOp::Forget { piece, .. } => self.ops.push(format!("forget {piece}")),
            DiskOp::Digest { piece, .. } => self.ops.push(format!("digest {piece}")),
            DiskOp::Write { torrent, block, .. } => {
                self.ops.push(format!("write {}", place(block)));
                if !self.disk_works {
                    return;
                }
                let buffer = None;
                answers.push(DiskDone::Wrote {
                    torrent,
                    block,
                    buffer,
                });
                *self.written.entry(block.piece).or_default() += 1;
            }
        }
    }
}

/// So many seconds after the start.
pub(crate) fn at(seconds: f64) -> Instant {
    Instant::default() + Duration::from_secs_f64(seconds)
}

/// Where connections of this host come from.
pub(crate) fn from(host: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), 30_000))
}

/// Where this host listens.
pub(crate) fn listens(host: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), 6881))
}

/// The id of this host's client.
pub(crate) fn id(host: u8) -> PeerId {
    let mut id = *b"-XX0000-xxxxxxxxxxxx";
    id[19] = host;
    PeerId(id)
}

/// The `bitfield` of these pieces.
pub(crate) fn bits(meta: &Metainfo, has: &[u32]) -> Vec<u8> {
    let mut bits = vec![0; meta.geometry.pieces().div_ceil(8) as usize];
    for piece in has {
        bits[*piece as usize / 8] |= 0x80 >> (piece % 8);
    }
    bits
}

/// A block of a piece in words.
pub(crate) fn place(block: Block) -> String {
    format!("{}/{}", block.piece, block.begin / limits::BLOCK)
}

/// The messages in these bytes, in words; a handshake is one, too.
fn words(bytes: &[u8]) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), bytes);
    if rest.starts_with(b"\x13BitTorrent protocol") {
        words.push("handshake".into());
        rest = &rest[handshake::LEN..];
    }
    while !rest.is_empty() {
        let Ok(Decoded::Message { message, used }) = message::decode(rest, 1 << 16) else {
            panic!("no message: {rest:?}");
        };
        rest = &rest[used..];
        words.push(match message {
            Message::KeepAlive => "keep-alive".into(),
            Message::Choke => "choke".into(),
            Message::Unchoke => "unchoke".into(),
            Message::Interested => "interested".into(),
            Message::NotInterested => "not interested".into(),
            Message::Have(piece) => format!("have {piece}"),
            Message::Bitfield(bits) => format!("bitfield {bits:02x?}"),
            Message::HaveAll => "have all".into(),
            Message::HaveNone => "have none".into(),
            Message::Request(block) => format!("request {}", place(block)),
            Message::Cancel(block) => format!("cancel {}", place(block)),
            Message::Reject(block) => format!("reject {}", place(block)),
            Message::Piece { piece, begin, data } => {
                let len = data.len() as u32;
                format!("piece {}", place(Block { piece, begin, len }))
            }
            Message::AllowedFast(piece) => format!("allowed fast {piece}"),
            Message::Extended { id, .. } => format!("extended {id}"),
            Message::Port(port) => format!("port {port}"),
            message => panic!("a session never sends {message:?}"),
        });
    }
    words
}

pub(crate) fn meta(pieces: u32) -> Arc<Metainfo> {
    let length = u64::from(pieces) * 32_768;
    let mut info = format!("d6:lengthi{length}e4:name1:f12:piece lengthi32768e").into_bytes();
    info.extend(format!("6:pieces{}:", pieces * 20).bytes());
    info.extend(vec![0x55; pieces as usize * 20]);
    info.push(b'e');
    Arc::new(Metainfo::from_info(&info).expect("a plain torrent"))
}
