//! A world of lines: every session has one line up and one down, shared by all its connections.
//!
//! Payload is not looked at and every piece is found good: this world is about who sends what to whom, and when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use minitorrent::base::ids::{PeerId, Piece};
use minitorrent::base::rng::Rng;
use minitorrent::base::time::Instant;
use minitorrent::engine::Session;
use minitorrent::engine::command::{AddTorrent, Aim, Command, Reply, Selection, Settings};
use minitorrent::engine::io::{
    BlockData, ConnId, ConnectError, DiskDone, DiskOp, Event, Input, Output, Segment, Segments,
    TorrentId,
};
use minitorrent::wire::metainfo::Metainfo;

/// Sessions and their lines.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    meta: Arc<Metainfo>,
    events: BinaryHeap<Reverse<(Instant, u64, Ev)>>,
    seq: u64,
    socks: Vec<Sock>,
    rng: Rng,
}

/// One session.
pub(crate) struct Node {
    pub(crate) session: Session,
    pub(crate) plan: Plan,
    pub(crate) torrent: Option<TorrentId>,
    /// When it had everything.
    pub(crate) complete: Option<Instant>,
    conns: BTreeMap<ConnId, usize>,
    /// Connections with something to send, each in its turn.
    ready: VecDeque<usize>,
    up_busy: bool,
    /// When the last byte that is under way to it will be there.
    down_free: Instant,
    /// The deadline that an event stands for.
    due: Option<Instant>,
    /// Blocks written of pieces that are not yet whole.
    written: BTreeMap<Piece, u32>,
    /// Connections that have more to read than was allowed.
    stalled: Vec<usize>,
    gone: bool,
}

/// What is decided of a session before the world begins.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) is_seed: bool,
    pub(crate) sequential: bool,
    /// Bytes a second of its lines.
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// When it comes, and how long it stays once it has everything (`None`: for ever).
    pub(crate) comes: Duration,
    pub(crate) stays: Option<Duration>,
    pub(crate) knows: Vec<SocketAddr>,
}

struct Sock {
    node: usize,
    conn: Option<ConnId>,
    other: Option<usize>,
    wants: bool,
    queued: bool,
    in_flight: usize,
    arrived: Vec<u8>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Ev {
    Start { node: usize },
    Timeout { node: usize },
    Leave { node: usize },
    LineFree { node: usize },
    Syn { sock: usize, to: SocketAddr },
    Connected { sock: usize },
    Refused { sock: usize },
    Arrive { sock: usize, bytes: Vec<u8> },
    Fin { sock: usize },
}

impl World {
    /// The sessions of these plans, and a torrent of `pieces` pieces.
    pub(crate) fn new(seed: u64, meta: Arc<Metainfo>, plans: Vec<Plan>) -> Self {
        let mut bytes = [2; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut world = Self {
            now: Instant::from_micros(1),
            nodes: Vec::new(),
            meta,
            events: BinaryHeap::new(),
            seq: 0,
            socks: Vec::new(),
            rng: Rng::new(bytes),
        };
        for (node, plan) in plans.into_iter().enumerate() {
            let session = Session::new(world.now, plan.settings.clone(), world.rng.bytes());
            world.schedule(world.now + plan.comes, Ev::Start { node });
            world.nodes.push(Node {
                session,
                plan,
                torrent: None,
                complete: None,
                conns: BTreeMap::new(),
                ready: VecDeque::new(),
                up_busy: false,
                down_free: world.now,
                due: None,
                written: BTreeMap::new(),
                stalled: Vec::new(),
                gone: false,
            });
        }
        world
    }

    /// Lets things happen until `ends` says so; false if nothing happens any more, or at `last`.
    pub(crate) fn run(&mut self, last: Duration, mut ends: impl FnMut(&Self) -> bool) -> bool {
        let last = Instant::default() + last;
        while !ends(self) {
            let Some(Reverse((at, _, event))) = self.events.pop() else {
                return false;
            };
            if at > last {
                return false;
            }
            self.now = at;
            self.happen(event);
        }
        true
    }

    /// Payload that a session has sent so far.
    pub(crate) fn uploaded(&self, node: usize) -> u64 {
        let snapshot = self.nodes[node].session.snapshot(self.now);
        snapshot.torrents.first().map_or(0, |t| t.uploaded)
    }

    /// Payload that a session has received so far.
    pub(crate) fn downloaded(&self, node: usize) -> u64 {
        let snapshot = self.nodes[node].session.snapshot(self.now);
        snapshot.torrents.first().map_or(0, |t| t.downloaded)
    }

    fn schedule(&mut self, at: Instant, event: Ev) {
        self.seq += 1;
        self.events.push(Reverse((at, self.seq, event)));
    }

    fn happen(&mut self, event: Ev) {
        match event {
            Ev::Start { node } => self.start(node),
            Ev::Timeout { node } => {
                if self.nodes[node].due != Some(self.now) {
                    return;
                }
                self.nodes[node].due = None;
                self.tell(node, Input::Timeout);
                for sock in std::mem::take(&mut self.nodes[node].stalled) {
                    self.read(sock);
                }
            }
            Ev::Leave { node } => {
                let now = self.now;
                let session = &mut self.nodes[node].session;
                session
                    .handle_command(now, Command::Shutdown)
                    .expect("it leaves once");
                self.drain(node);
                self.nodes[node].gone = true;
            }
            Ev::LineFree { node } => {
                self.nodes[node].up_busy = false;
                self.send(node);
            }
            Ev::Syn { sock, to } => self.knock(sock, to),
            Ev::Connected { sock } => {
                let Sock { node, conn, .. } = self.socks[sock];
                if let Some(conn) = conn {
                    self.tell(node, Input::Connected { conn });
                }
            }
            Ev::Refused { sock } => {
                let Sock { node, conn, .. } = self.socks[sock];
                if let Some(conn) = conn {
                    self.nodes[node].conns.remove(&conn);
                    self.socks[sock].conn = None;
                    let why = ConnectError::Refused;
                    self.tell(node, Input::ConnectFailed { conn, why });
                }
            }
            Ev::Arrive { sock, bytes } => {
                if let Some(from) = self.socks[sock].other {
                    self.socks[from].in_flight -= bytes.len();
                    self.wake(from);
                }
                if self.socks[sock].arrived.is_empty() {
                    self.socks[sock].arrived = bytes;
                } else {
                    self.socks[sock].arrived.extend(bytes);
                }
                self.read(sock);
            }
            Ev::Fin { sock } => {
                let Sock { node, conn, .. } = self.socks[sock];
                if let Some(conn) = conn {
                    self.tell(node, Input::Ended { conn });
                }
            }
        }
    }

    fn start(&mut self, node: usize) {
        let now = self.now;
        let n = &mut self.nodes[node];
        let add = AddTorrent {
            metainfo: Arc::clone(&self.meta),
            aim: Aim::Download,
            peers: n.plan.knows.clone(),
        };
        let reply = n.session.handle_command(now, Command::Add(add));
        let Ok(Reply::Added(torrent)) = reply else {
            panic!("the torrent was not taken: {reply:?}");
        };
        n.torrent = Some(torrent);
        if n.plan.sequential {
            let selection = Selection {
                pieces: None,
                sequential: true,
                ..Selection::default()
            };
            self.drain(node);
            self.nodes[node]
                .session
                .handle_command(now, Command::Select { torrent, selection })
                .expect("it is there");
        }
        self.drain(node);
    }

    fn knock(&mut self, sock: usize, to: SocketAddr) {
        let from = self.socks[sock].node;
        let from = SocketAddr::new(address(from).ip(), 20_000 + (sock % 40_000) as u16);
        let mut hosts = self.nodes.iter().enumerate();
        let host =
            hosts.find(|(at, node)| address(*at) == to && node.torrent.is_some() && !node.gone);
        let host = host.map(|(at, _)| at);
        let at = self.now + DELAY;
        let conn = host.and_then(|host| {
            let conn = self.nodes[host].session.accept(self.now, from);
            self.drain(host);
            Some((host, conn?))
        });
        let Some((host, conn)) = conn else {
            return self.schedule(at, Ev::Refused { sock });
        };
        let there = self.new_sock(host, conn);
        self.socks[there].other = Some(sock);
        self.socks[sock].other = Some(there);
        self.schedule(at, Ev::Connected { sock });
    }

    fn new_sock(&mut self, node: usize, conn: ConnId) -> usize {
        self.socks.push(Sock {
            node,
            conn: Some(conn),
            other: None,
            wants: false,
            queued: false,
            in_flight: 0,
            arrived: Vec::new(),
        });
        let sock = self.socks.len() - 1;
        self.nodes[node].conns.insert(conn, sock);
        sock
    }

    fn tell(&mut self, node: usize, input: Input<'_>) {
        self.nodes[node].session.handle(self.now, input);
        self.drain(node);
    }

    /// Takes what a session wants until it wants nothing more: answers of its disk are the only inputs given here.
    fn drain(&mut self, node: usize) {
        let mut answers = VecDeque::new();
        loop {
            while let Some(output) = self.nodes[node].session.poll_output() {
                self.carry_out(node, output, &mut answers);
            }
            let Some(answer) = answers.pop_front() else {
                break;
            };
            let session = &mut self.nodes[node].session;
            session.handle(self.now, Input::DiskDone(answer));
        }
        let n = &mut self.nodes[node];
        let due = n.session.poll_timeout().map(|due| due.max(self.now));
        if due != n.due {
            n.due = due;
            if let Some(due) = due {
                self.schedule(due, Ev::Timeout { node });
            }
        }
    }

    fn carry_out(&mut self, node: usize, output: Output, answers: &mut VecDeque<DiskDone>) {
        match output {
            Output::Connect { conn, to } => {
                let sock = self.new_sock(node, conn);
                self.schedule(self.now + DELAY, Ev::Syn { sock, to });
            }
            Output::Close { conn } => {
                let sock = self.nodes[node].conns.remove(&conn);
                let sock = sock.expect("only what stands is closed");
                self.socks[sock].conn = None;
                if let Some(other) = self.socks[sock].other {
                    // Behind what is on its way: that is there when the other's line is free.
                    let at = self.nodes[self.socks[other].node].down_free;
                    let at = at.max(self.now + DELAY);
                    self.schedule(at, Ev::Fin { sock: other });
                }
            }
            Output::Transmit { conn } => {
                let sock = self.nodes[node].conns[&conn];
                self.socks[sock].wants = true;
                self.wake(sock);
            }
            Output::Disk(op) => self.disk(node, op, answers),
            Output::Event(Event::Complete { .. }) => {
                let n = &mut self.nodes[node];
                if n.complete.is_none() {
                    n.complete = Some(self.now);
                    if let Some(stays) = n.plan.stays {
                        self.schedule(self.now + stays, Ev::Leave { node });
                    }
                }
            }
            Output::Event(Event::PieceFailed { .. } | Event::Banned { .. }) => {
                panic!("everybody is honest here");
            }
            Output::Event(_) => {}
            output => panic!("not in this world: {output:?}"),
        }
    }

    fn disk(&mut self, node: usize, op: DiskOp, answers: &mut VecDeque<DiskDone>) {
        let geometry = self.meta.geometry;
        match op {
            DiskOp::Check { torrent } => {
                let good = self.nodes[node].plan.is_seed;
                let all = (0..geometry.pieces()).map(Piece);
                answers.extend(all.map(|piece| DiskDone::Checked {
                    torrent,
                    piece,
                    good,
                }));
                let error = None;
                answers.push_back(DiskDone::CheckEnded { torrent, error });
            }
            DiskOp::Write {
                torrent,
                block,
                data,
            } => {
                let buffer = match data {
                    BlockData::Received(_) => None,
                    BlockData::Joined { buffer, .. } => Some(buffer),
                };
                answers.push_back(DiskDone::Wrote {
                    torrent,
                    block,
                    buffer,
                });
                let piece = block.piece;
                let written = self.nodes[node].written.entry(piece).or_default();
                *written += 1;
                if *written == geometry.blocks(piece) {
                    self.nodes[node].written.remove(&piece);
                    let good = true;
                    answers.push_back(DiskDone::Verified {
                        torrent,
                        piece,
                        good,
                    });
                }
            }
            DiskOp::Forget { .. } | DiskOp::Digest { .. } => panic!("every piece is good"),
        }
    }

    /// A connection may have something to send, and room on its way.
    fn wake(&mut self, sock: usize) {
        let s = &mut self.socks[sock];
        let goes = s.conn.is_some() && s.wants && !s.queued && s.in_flight < WINDOW;
        if goes {
            s.queued = true;
            let node = s.node;
            self.nodes[node].ready.push_back(sock);
            self.send(node);
        }
    }

    /// Puts the next bytes on a free line, of the connections in turn.
    fn send(&mut self, node: usize) {
        while !self.nodes[node].up_busy {
            let Some(sock) = self.nodes[node].ready.pop_front() else {
                return;
            };
            self.socks[sock].queued = false;
            let (Some(conn), Some(other)) = (self.socks[sock].conn, self.socks[sock].other) else {
                continue;
            };
            let room = (WINDOW - self.socks[sock].in_flight.min(WINDOW)).min(CHUNK);
            let bytes = self.fetch(node, conn, room);
            if bytes.is_empty() {
                self.socks[sock].wants = false;
                continue;
            }
            let len = bytes.len();
            self.socks[sock].in_flight += len;
            self.nodes[node].up_busy = true;
            let free = self.now + takes(len, self.nodes[node].plan.up);
            self.schedule(free, Ev::LineFree { node });
            let there = &mut self.nodes[self.socks[other].node];
            let begins = there.down_free.max(self.now + DELAY);
            let ends = (begins + takes(len, there.plan.down)).max(free + DELAY);
            there.down_free = ends;
            self.schedule(ends, Ev::Arrive { sock: other, bytes });
            self.drain(node);
            self.wake(sock);
        }
    }

    fn fetch(&mut self, node: usize, conn: ConnId, most: usize) -> Vec<u8> {
        let session = &mut self.nodes[node].session;
        let mut segments = Segments::new(most);
        session.poll_transmit(self.now, conn, &mut segments);
        let mut bytes = Vec::new();
        for segment in segments.as_slice() {
            match segment {
                Segment::Bytes(more) => bytes.extend_from_slice(more),
                Segment::Block { block, .. } => {
                    bytes.resize(bytes.len() + block.len as usize, 0);
                }
            }
        }
        bytes.truncate(most);
        if !bytes.is_empty() {
            session.transmitted(self.now, conn, bytes.len());
        }
        bytes
    }

    /// Hands over what has arrived, as much as the session allows.
    fn read(&mut self, sock: usize) {
        let Sock { node, conn, .. } = self.socks[sock];
        let Some(conn) = conn else { return };
        while !self.socks[sock].arrived.is_empty() && self.socks[sock].conn.is_some() {
            let allowed = self.nodes[node].session.read_allowance(self.now, conn);
            let mut bytes = std::mem::take(&mut self.socks[sock].arrived);
            if allowed == 0 {
                self.socks[sock].arrived = bytes;
                self.nodes[node].stalled.push(sock);
                return;
            }
            self.socks[sock].arrived = bytes.split_off(allowed.min(bytes.len()));
            self.tell(
                node,
                Input::Received {
                    conn,
                    bytes: &bytes,
                },
            );
        }
    }
}

/// Where the `node`th session listens.
pub(crate) fn address(node: usize) -> SocketAddr {
    SocketAddr::from((
        Ipv4Addr::new(10, 0, (node / 250) as u8, (node % 250) as u8 + 1),
        6881,
    ))
}

/// The usual settings of the `node`th session.
pub(crate) fn settings(node: usize) -> Settings {
    let mut id = *b"-MI0100-swarm-......";
    id[14..].copy_from_slice(format!("{node:06}").as_bytes());
    let mut settings = Settings::new(PeerId(id));
    settings.port = 6881;
    settings
}

/// A torrent of so many pieces; nobody hashes it.
pub(crate) fn torrent(pieces: u32, piece_length: u32) -> Arc<Metainfo> {
    let length = u64::from(pieces) * u64::from(piece_length);
    let info = format!("d6:lengthi{length}e4:name1:f12:piece lengthi{piece_length}e");
    let mut info = info.into_bytes();
    info.extend(format!("6:pieces{}:", pieces * 20).bytes());
    info.extend(vec![0x55; pieces as usize * 20]);
    info.push(b'e');
    Arc::new(Metainfo::from_info(&info).expect("a plain torrent"))
}

fn takes(bytes: usize, rate: u64) -> Duration {
    Duration::from_micros((bytes as u64 * 1_000_000).div_ceil(rate))
}

/// From one end of a line to another.
pub(crate) const DELAY: Duration = Duration::from_millis(40);
/// Bytes of one connection that may be under way: what sockets hold.
const WINDOW: usize = 64 * 1024;
/// Bytes that go on a line in one go.
const CHUNK: usize = 16 * 1024;
