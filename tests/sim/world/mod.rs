//! The world: a clock that jumps, links that delay and cut, disks that answer late, and the oracles.

mod links;
mod lives;
mod packets;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use minitorrent::base::ids::{PeerId, Piece};
use minitorrent::base::limits;
use minitorrent::base::rng::Rng;
use minitorrent::base::time::Instant;
use minitorrent::disk::Disk;
use minitorrent::engine::Session;
use minitorrent::engine::command::Command;
use minitorrent::engine::io::{
    BlockData, ConnId, ConnectError, DiskDone, DiskOp, Event, Input, Output,
};
use minitorrent::net::resolver::SocketId;

use self::lives::Life;
use self::packets::{NameEvent, Packet};
use crate::files::SimFiles;
use crate::plan::{End, Plan};
use crate::script::Script;
use crate::services::Tracker;
use crate::state::SimState;
use crate::trace::Trace;
use crate::watch::Watch;

/// Sessions, scripted peers, and everything between them.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Instant,
    rng: Rng,
    seq: u64,
    events: BTreeMap<(Instant, u64), Ev>,
    nodes: Vec<Node>,
    scripts: Vec<Script>,
    trackers: Vec<Tracker>,
    socks: Vec<Sock>,
    todo: VecDeque<Todo>,
    pub(crate) trace: Trace,
    pub(crate) steps: u64,
    /// Ends of lives and checks that are to come before all is well.
    to_come: usize,
    /// Whether all is well, and everybody says goodbye.
    closing: bool,
}

/// A machine: what of it goes on when the process ends, and the life that its process has now.
struct Node {
    session: Session,
    peer_id: PeerId,
    disk: Disk<SimFiles, SimState>,
    /// Which process this is, from 0; what was meant for an earlier one is dropped.
    number: u32,
    /// Whether there is one.
    up: bool,
    /// Sockets of its resolver.
    names: BTreeMap<SocketId, SocketAddr>,
    /// When the session and the disk are due.
    due: Option<Instant>,
    disk_due: Option<Instant>,
    /// Blocks in buffers of their own that the disk has and has not answered for.
    joined: usize,
    life: Life,
    conns: BTreeMap<ConnId, usize>,
    done: VecDeque<DiskDone>,
    disk_free: Instant,
    working: bool,
    stopped: bool,
    failed: u32,
    banned: Vec<SocketAddr>,
    /// Timeouts handed in at one moment.
    timeouts: (Instant, u32),
    /// Timeouts handed in since everybody was through.
    wakes: u32,
    /// Connections since then, in both directions.
    met: u32,
}

/// One end of a connection.
struct Sock {
    host: Host,
    conn: Option<ConnId>,
    other: Option<usize>,
    state: State,
    /// A script's bytes that wait to be sent.
    waiting: VecDeque<u8>,
    wants_write: bool,
    /// Sent by this end, not read by the other.
    in_flight: usize,
    buffer: usize,
    /// Arrived at this end, not read by it.
    arrived: VecDeque<u8>,
    ended: bool,
    rate: u64,
    delay: Duration,
    /// When this end's last byte will have left.
    line_free: Instant,
    breaks_after: Option<usize>,
    watch: Option<Watch>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Host {
    Node(usize),
    Script(usize),
    Tracker(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    Closed,
}

enum Ev {
    Syn {
        sock: usize,
        to: SocketAddr,
    },
    Connected {
        sock: usize,
    },
    Refused {
        sock: usize,
    },
    Arrive {
        sock: usize,
        bytes: Vec<u8>,
    },
    Ack {
        sock: usize,
        bytes: usize,
    },
    Fin {
        sock: usize,
    },
    Broken {
        sock: usize,
    },
    HangUp {
        sock: usize,
    },
    Disk {
        life: Place,
        done: Box<DiskDone>,
    },
    Work {
        life: Place,
    },
    Packet(Packet),
    Config {
        life: Place,
    },
    Name {
        life: Place,
        socket: SocketId,
        event: NameEvent,
    },
    End {
        node: usize,
        how: End,
    },
    Boot {
        node: usize,
    },
    Free {
        node: usize,
    },
    Speak {
        sock: usize,
        bytes: Vec<u8>,
    },
    Dial {
        script: usize,
        to: SocketAddr,
    },
    Pause {
        node: usize,
        paused: bool,
    },
    Recheck {
        node: usize,
    },
}

enum Todo {
    Write(usize),
    Read(usize),
}

/// One process of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    node: usize,
    number: u32,
}

/// Whose turn it is.
enum Turn {
    Session(usize),
    Disk(usize),
    Event,
}

impl World {
    /// The world of this plan, before its first moment.
    pub(crate) fn new(plan: Plan) -> Self {
        let mut bytes = [1; 32];
        bytes[..8].copy_from_slice(&plan.seed.to_le_bytes());
        let mut world = Self {
            now: Instant::from_micros(1),
            rng: Rng::new(bytes),
            seq: 0,
            events: BTreeMap::new(),
            nodes: Vec::new(),
            scripts: Vec::new(),
            trackers: Vec::new(),
            socks: Vec::new(),
            todo: VecDeque::new(),
            trace: Trace::default(),
            steps: 0,
            to_come: 0,
            closing: false,
            plan,
        };
        for plan in &world.plan.trackers {
            let tracker = Tracker::new(plan.clone(), Arc::clone(&world.plan.meta));
            world.trackers.push(tracker);
        }
        for at in 0..world.plan.scripts.len() {
            let script = &world.plan.scripts[at];
            let (meta, content) = (
                Arc::clone(&world.plan.meta),
                Arc::clone(&world.plan.content),
            );
            let (kind, address, dials) = (script.kind, script.address, script.dials.clone());
            world
                .scripts
                .push(Script::new(kind, address, meta, content));
            for to in dials {
                let wait = world.rng.below(20_000_000) as u64;
                world.schedule(wait, Ev::Dial { script: at, to });
            }
        }
        for at in 0..world.plan.nodes.len() {
            world.add_node(at);
        }
        world
    }

    /// Runs until everybody has everything, then shuts all down; panics where a rule is broken.
    pub(crate) fn run(&mut self) {
        let bound = Instant::default() + Duration::from_secs(self.plan.bound);
        while self.to_come > 0 || !self.nodes.iter().all(|node| node.life.complete) {
            assert!(self.now < bound, "not all are through: {}", self.standing());
            self.step();
        }
        // Nobody is told of a power cut: a peer that says nothing is let go after four minutes.
        self.run_on(if self.has_power_cuts() { 300 } else { 20 });
        self.nodes
            .iter_mut()
            .for_each(|node| (node.wakes, node.met) = (0, 0));
        self.run_on(20);
        for node in &self.nodes {
            // A choker's round each ten seconds, a sweep each five, and ten seconds of a late visitor. A connection
            // is dialled in one sweep, closed in another, and the next looks who is there instead.
            let most = 30 + 3 * node.met;
            assert!(node.wakes < most, "woken {} times in 20 s", node.wakes);
        }
        self.judge_end();
        self.closing = true;
        for at in 0..self.nodes.len() {
            let now = self.now;
            let node = &mut self.nodes[at];
            node.session
                .handle_command(now, Command::Shutdown)
                .expect("once");
            self.drain(at, &[]);
            self.settle();
        }
        let goodbye = self.now + Duration::from_secs(2);
        while self.next().is_some_and(|at| at <= goodbye) {
            self.step();
        }
        for node in &self.nodes {
            assert!(node.stopped && node.life.peers == 0 && node.conns.is_empty());
            assert_eq!(node.session.poll_timeout(), None, "stopped, and awake");
            assert!(node.names.is_empty(), "stopped, and names are looked up");
        }
        for at in 0..self.nodes.len() {
            self.judge_rebirth(at);
        }
    }

    fn has_power_cuts(&self) -> bool {
        let mut nodes = self.plan.nodes.iter();
        nodes.any(|plan| {
            let ends = plan.ends.iter().map(|end| end.1);
            let mut all = ends.chain(plan.cut.map(|cut| cut.1));
            all.any(|how| how == End::PowerCut)
        })
    }

    fn run_on(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.next().is_some_and(|at| at < end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn standing(&self) -> String {
        let node = |node: &Node| {
            let snapshot = node.session.snapshot(self.now);
            let Some(torrent) = snapshot.torrents.first() else {
                return "\n  not begun".into();
            };
            let peers = snapshot.peers.iter().map(|p| {
                let (u, f) = (u8::from(p.unchoked_us), p.in_flight);
                format!("{} has {} unchoked {u} asked {f}", p.address, p.pieces_have)
            });
            let peers: Vec<_> = peers.collect();
            let (phase, have, all) = (torrent.phase, torrent.pieces_have, torrent.pieces);
            format!("\n  {phase:?} {have}/{all} {peers:?}")
        };
        self.nodes.iter().map(node).collect()
    }

    fn judge_end(&mut self) {
        let liars = |address: &SocketAddr| {
            let scripts = &self.plan.scripts;
            scripts
                .iter()
                .any(|script| script.address.ip() == address.ip() && script.kind.lies())
        };
        for (node, plan) in self.nodes.iter().zip(&self.plan.nodes) {
            for banned in &node.banned {
                assert!(liars(banned), "{banned} is banned and honest");
            }
            // What a life was about to find out dies with it.
            let unsure = plan.faults.read_errors.1 > 0 || node.number > 0;
            assert!(
                unsure || node.failed == 0 || !node.banned.is_empty(),
                "pieces failed and nobody was banned"
            );
            let snapshot = node.session.snapshot(self.now);
            let torrent = &snapshot.torrents[0];
            let most = (plan.knows.len() as u64 + 6) * 16 * 16_384;
            assert!(
                !self.plan.clean || torrent.wasted <= most,
                "{} bytes wasted in a clean world",
                torrent.wasted
            );
        }
        for at in 0..self.nodes.len() {
            for piece in 0..self.plan.meta.geometry.pieces() {
                assert!(
                    self.is_on_disk(at, Piece(piece)),
                    "complete without {piece}"
                );
            }
        }
    }

    fn schedule(&mut self, micros: u64, event: Ev) {
        self.schedule_at(self.now + Duration::from_micros(micros), event);
    }

    fn schedule_at(&mut self, at: Instant, event: Ev) {
        self.seq += 1;
        self.events.insert((at, self.seq), event);
    }

    /// What is to happen next, and when. Of what is due at one moment, sessions come first, then disks.
    fn next_turn(&self) -> Option<(Instant, Turn)> {
        let mut first = self
            .events
            .first_key_value()
            .map(|((at, _), _)| (*at, Turn::Event));
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let sooner = |due: &Instant| first.as_ref().is_none_or(|(best, _)| due <= best);
            if let Some(due) = node.disk_due.filter(sooner) {
                first = Some((due, Turn::Disk(at)));
            }
        }
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let sooner = |due: &Instant| first.as_ref().is_none_or(|(best, _)| due <= best);
            if let Some(due) = node.due.filter(sooner) {
                first = Some((due, Turn::Session(at)));
            }
        }
        first
    }

    fn next(&self) -> Option<Instant> {
        self.next_turn().map(|(at, _)| at)
    }

    fn step(&mut self) {
        self.steps += 1;
        let Some((at, turn)) = self.next_turn() else {
            panic!("everybody sleeps for ever: {}", self.standing());
        };
        self.now = self.now.max(at);
        match turn {
            Turn::Session(at) => self.ring(at),
            Turn::Disk(at) => self.ring_disk(at),
            Turn::Event => {
                if let Some((_, event)) = self.events.pop_first() {
                    self.happen(event);
                }
            }
        }
        self.settle();
    }

    /// A session's time has come.
    fn ring(&mut self, at: usize) {
        let now = self.now;
        let node = &mut self.nodes[at];
        let same = node.timeouts.0 == now;
        node.timeouts = (now, if same { node.timeouts.1 + 1 } else { 1 });
        assert!(node.timeouts.1 < 50, "node {at} spins");
        node.wakes += 1;
        node.session.handle(now, Input::Timeout);
        let next = node.session.poll_timeout();
        assert!(
            next.is_none_or(|next| next > now),
            "node {at}: due at {next:?} after a timeout at {now:?}"
        );
        self.note(|| format!("{at} timeout"));
        self.drain(at, &[]);
    }

    fn happen(&mut self, event: Ev) {
        match event {
            Ev::Syn { sock, to } => self.knock(sock, to),
            Ev::Connected { sock } => self.connected(sock),
            Ev::Refused { sock } => {
                if self.socks[sock].state != State::Connecting {
                    return;
                }
                self.socks[sock].state = State::Closed;
                self.note(|| format!("{sock} refused"));
                if let (Host::Node(at), Some(conn)) = (self.socks[sock].host, self.socks[sock].conn)
                {
                    let why = ConnectError::Refused;
                    self.nodes[at].conns.remove(&conn);
                    self.tell(at, Input::ConnectFailed { conn, why });
                }
            }
            Ev::Arrive { sock, bytes } => {
                if self.socks[sock].state == State::Open {
                    self.socks[sock].arrived.extend(bytes);
                    self.todo.push_back(Todo::Read(sock));
                }
            }
            Ev::Ack { sock, bytes } => {
                self.socks[sock].in_flight -= bytes;
                self.todo.push_back(Todo::Write(sock));
            }
            Ev::Fin { sock } => {
                self.socks[sock].ended = true;
                self.todo.push_back(Todo::Read(sock));
            }
            Ev::Broken { sock } => self.broken(sock),
            Ev::HangUp { sock } => {
                self.hang_up(sock);
                match self.socks[sock].host {
                    Host::Script(at) => self.scripts[at].handle_gone(sock),
                    Host::Tracker(at) => self.trackers[at].handle_gone(sock),
                    Host::Node(_) => {}
                }
            }
            Ev::Disk { life, done } => {
                if self.lives(life) {
                    self.disk_done(life.node, *done);
                }
            }
            Ev::Work { life } => {
                if self.lives(life) {
                    self.work(life);
                }
            }
            Ev::Packet(packet) => self.deliver(packet),
            Ev::Config { life } => {
                if self.lives(life) {
                    self.read_config(life.node);
                }
            }
            Ev::Name {
                life,
                socket,
                event,
            } => {
                if self.lives(life) {
                    self.name_event(life.node, socket, &event);
                }
            }
            Ev::End { node, how } => self.end(node, how),
            Ev::Boot { node } => self.boot(node),
            Ev::Free { node } => self.nodes[node].disk.files_mut().faults.full = None,
            Ev::Speak { sock, bytes } => {
                if self.socks[sock].state == State::Open {
                    self.socks[sock].waiting.extend(bytes);
                    self.socks[sock].wants_write = true;
                    self.todo.push_back(Todo::Write(sock));
                }
            }
            Ev::Dial { script, to } => {
                let sock = self.new_sock(Host::Script(script), None);
                let delay = self.socks[sock].delay;
                self.schedule_at(self.now + delay, Ev::Syn { sock, to });
            }
            Ev::Pause { node, paused } => self.pause(node, paused),
            Ev::Recheck { node } => self.recheck(node),
        }
    }

    /// Hands an input to a node and drains it.
    fn tell(&mut self, at: usize, input: Input<'_>) {
        let received = match &input {
            Input::Received { bytes, .. } => *bytes,
            _ => &[],
        };
        self.nodes[at].session.handle(self.now, input);
        self.drain(at, received);
    }

    fn drain(&mut self, at: usize, received: &[u8]) {
        let mut ops: Vec<DiskOp> = Vec::new();
        let number = self.nodes[at].number;
        while let Some(output) = self.nodes[at].session.poll_output() {
            self.note(|| format!("{at} {}", output_line(&output)));
            match output {
                Output::Connect { conn, to } => {
                    let sock = self.new_sock(Host::Node(at), Some(conn));
                    self.nodes[at].conns.insert(conn, sock);
                    self.nodes[at].met += 1;
                    let delay = self.socks[sock].delay;
                    self.schedule_at(self.now + delay, Ev::Syn { sock, to });
                }
                Output::Close { conn } => {
                    let sock = self.nodes[at].conns.remove(&conn);
                    self.hang_up(sock.expect("only what stands is closed"));
                }
                Output::Transmit { conn } => {
                    let sock = self.nodes[at].conns[&conn];
                    self.socks[sock].wants_write = true;
                    self.todo.push_back(Todo::Write(sock));
                }
                Output::Datagram { to, bytes } => self.send_packet(at, to, bytes),
                Output::Dns(action) => self.look_up(at, action),
                Output::Multicast { .. } | Output::ReadAuthorities { .. } => {
                    panic!("nobody asked for that")
                }
                Output::Disk(op) => {
                    let joined = matches!(
                        op,
                        DiskOp::Write {
                            data: BlockData::Joined { .. },
                            ..
                        }
                    );
                    self.nodes[at].joined += usize::from(joined);
                    ops.push(op);
                }
                Output::Event(event) => self.heed(at, event),
            }
        }
        if !ops.is_empty() {
            self.do_disk(at, &mut ops, received);
        }
        if self.nodes[at].number == number {
            let node = &mut self.nodes[at];
            node.due = node.session.poll_timeout();
            let most = self.plan.nodes[at].max_peers + 2 * limits::HALF_OPEN + CALLS;
            assert!(node.conns.len() <= most, "{} connections", node.conns.len());
            let most = most + JOINED;
            assert!(node.joined <= most, "{} blocks wait", node.joined);
        }
    }

    fn heed(&mut self, at: usize, event: Event) {
        let node = &mut self.nodes[at];
        match event {
            Event::PeerConnected { .. } => {
                node.life.peers += 1;
                let most = self.plan.nodes[at].max_peers;
                assert!(node.life.peers <= most, "more than {most} peers");
            }
            Event::PeerGone { .. } => node.life.peers -= 1,
            Event::Complete { .. } => node.life.complete = true,
            Event::PieceFailed { .. } => node.failed += 1,
            Event::Banned { address, .. } => node.banned.push(address),
            Event::Stopped => assert!(!std::mem::replace(&mut node.stopped, true), "once"),
            Event::PieceDone { piece, .. } => {
                node.life.done.insert(piece, self.now);
                assert!(self.is_on_disk(at, piece), "{piece} done, and not there");
            }
            // What was not synced may have gone with it: it is not counted on in another life.
            Event::DiskTrouble { .. } => node.life.done.clear(),
            Event::Checked { .. }
            | Event::Tracker { .. }
            | Event::Metadata { .. }
            | Event::Scraped { .. }
            | Event::DiskRecovered { .. }
            | Event::Removed { .. } => {}
            // A piece that can't be read is fetched again.
            Event::Warning { .. } => {
                let snapshot = node.session.snapshot(self.now);
                let torrent = &snapshot.torrents[0];
                node.life.complete = torrent.pieces_have == torrent.pieces;
            }
        }
    }

    /// Whether a piece's true bytes are on a node's disk.
    fn is_on_disk(&self, at: usize, piece: Piece) -> bool {
        let meta = &self.plan.meta;
        let len = meta.geometry.piece_len(piece);
        let offset = u64::from(piece.0) * u64::from(meta.geometry.piece_length());
        let mut at_byte = offset as usize;
        meta.table.spans(offset, u64::from(len)).all(|span| {
            let want = &self.plan.content[at_byte..][..span.len as usize];
            at_byte += span.len as usize;
            let file = self.nodes[at].disk.files().files.get(&span.file);
            let there = file.and_then(|file| file.get(span.offset as usize..));
            there.is_some_and(|there| there.starts_with(want))
        })
    }

    /// Reads and writes until no socket can go on.
    fn settle(&mut self) {
        while let Some(todo) = self.todo.pop_front() {
            match todo {
                Todo::Write(sock) => self.write(sock),
                Todo::Read(sock) => self.read(sock),
            }
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.now, line);
    }
}

/// An output in one line, without the bytes that it carries.
fn output_line(output: &Output) -> String {
    match output {
        Output::Disk(DiskOp::Write { block, data, .. }) => {
            let joined = matches!(data, BlockData::Joined { .. });
            format!("write {block:?}{}", if joined { " joined" } else { "" })
        }
        output => format!("{output:?}"),
    }
}

/// An answer of a disk in one line.
fn answer_line(done: &DiskDone) -> String {
    match done {
        DiskDone::Wrote { block, .. } => format!("wrote {block:?}"),
        DiskDone::WriteFailed { block, error, .. } => format!("failed {block:?} {error:?}"),
        DiskDone::Digests { piece, blocks, .. } => format!("{} digests of {piece}", blocks.len()),
        done => format!("{done:?}"),
    }
}

/// Connections to trackers at once, at most: one a tracker, and one for its successor.
const CALLS: usize = 2 * limits::TRACKERS_MAX;
/// Blocks in buffers of their own that may wait for a disk, beside one a connection.
const JOINED: usize = 64 + 1;
