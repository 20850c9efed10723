//! The world: a clock that jumps, links that delay and cut, disks that answer late, and the oracles.

mod links;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use minitorrent::base::ids::{PeerId, Piece};
use minitorrent::base::rng::Rng;
use minitorrent::base::time::Instant;
use minitorrent::disk::{Budget, Disk, Place, Store};
use minitorrent::engine::Session;
use minitorrent::engine::command::{AddTorrent, Aim, Command, Reply, Settings};
use minitorrent::engine::io::{
    BlockData, ConnId, ConnectError, DiskDone, DiskOp, Event, Input, Output, TorrentId,
};
use sha1::{Digest as _, Sha1};

use crate::files::SimFiles;
use crate::plan::{NodePlan, Plan};
use crate::script::Script;
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
    socks: Vec<Sock>,
    todo: VecDeque<Todo>,
    trace: Sha1,
    /// Every line of the trace is printed as it comes.
    pub(crate) loud: bool,
    /// The last lines of the trace.
    pub(crate) log: VecDeque<String>,
    pub(crate) steps: u64,
}

struct Node {
    session: Session,
    peer_id: PeerId,
    disk: Disk<SimFiles>,
    conns: BTreeMap<ConnId, usize>,
    done: VecDeque<DiskDone>,
    disk_free: Instant,
    working: bool,
    peers: usize,
    complete: bool,
    stopped: bool,
    failed: u32,
    banned: Vec<SocketAddr>,
    /// Timeouts handed in at one moment.
    timeouts: (Instant, u32),
    /// Timeouts handed in since everybody was through.
    wakes: u32,
    torrent: Option<TorrentId>,
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
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    Closed,
}

enum Ev {
    Syn { sock: usize, to: SocketAddr },
    Connected { sock: usize },
    Refused { sock: usize },
    Arrive { sock: usize, bytes: Vec<u8> },
    Ack { sock: usize, bytes: usize },
    Fin { sock: usize },
    Broken { sock: usize },
    Disk { node: usize, done: Box<DiskDone> },
    Work { node: usize },
    Free { node: usize },
    Speak { sock: usize, bytes: Vec<u8> },
    Dial { script: usize, to: SocketAddr },
    Start { node: usize },
    Pause { node: usize, paused: bool },
}

enum Todo {
    Write(usize),
    Read(usize),
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
            socks: Vec::new(),
            todo: VecDeque::new(),
            trace: Sha1::new(),
            loud: false,
            log: VecDeque::new(),
            steps: 0,
            plan,
        };
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
        while !self.nodes.iter().all(|node| node.complete) {
            assert!(self.now < bound, "not all are through: {}", self.standing());
            self.step();
        }
        self.run_on(20);
        self.nodes.iter_mut().for_each(|node| node.wakes = 0);
        self.run_on(20);
        for node in &self.nodes {
            // A choker's round each ten seconds, a sweep each five, and ten seconds of a late visitor.
            assert!(node.wakes < 30, "woken {} times in 20 s", node.wakes);
        }
        self.judge_end();
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
            assert!(node.stopped && node.peers == 0 && node.conns.is_empty());
            assert_eq!(node.session.poll_timeout(), None, "stopped, and awake");
        }
    }

    fn run_on(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.next().is_some_and(|at| at < end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// One number for everything that has happened.
    pub(crate) fn fingerprint(&self) -> [u8; 20] {
        self.trace.clone().finalize().into()
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
            let faulty = plan.faults.read_errors.1 > 0;
            assert!(
                faulty || node.failed == 0 || !node.banned.is_empty(),
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

    fn add_node(&mut self, at: usize) {
        let plan = &self.plan.nodes[at];
        let mut files = SimFiles::new(plan.faults, Rng::new(self.rng.bytes()));
        lay_out(&self.plan, plan, &mut files);
        let mut id = *b"-MI0100-............";
        self.rng.fill(&mut id[8..]);
        let mut settings = Settings::new(PeerId(id));
        settings.port = 6881;
        settings.max_peers = plan.max_peers;
        let session = Session::new(self.now, settings, self.rng.bytes());
        let disk = Disk::new(files);
        let (starts, pause, full) = (plan.starts, plan.pause, plan.faults.full);
        self.schedule(starts, Ev::Start { node: at });
        if let Some((_, until)) = full {
            self.schedule(until * 1_000_000, Ev::Free { node: at });
        }
        if let Some((from, to)) = pause {
            for (second, paused) in [(from, true), (to, false)] {
                let wait = starts + second * 1_000_000 + 1;
                self.schedule(wait, Ev::Pause { node: at, paused });
            }
        }
        self.nodes.push(Node {
            session,
            peer_id: PeerId(id),
            disk,
            conns: BTreeMap::new(),
            done: VecDeque::new(),
            disk_free: self.now,
            working: false,
            peers: 0,
            complete: false,
            stopped: false,
            failed: 0,
            banned: Vec::new(),
            timeouts: (self.now, 0),
            wakes: 0,
            torrent: None,
        });
    }

    /// A node takes up the torrent.
    fn start(&mut self, at: usize) {
        let meta = &self.plan.meta;
        let add = AddTorrent {
            metainfo: Arc::clone(meta),
            aim: Aim::Download,
            peers: self.plan.nodes[at].knows.clone(),
        };
        let node = &mut self.nodes[at];
        let reply = node.session.handle_command(self.now, Command::Add(add));
        let Ok(Reply::Added(torrent)) = reply else {
            panic!("the torrent was not taken: {reply:?}");
        };
        node.torrent = Some(torrent);
        node.disk
            .add(torrent, Arc::clone(meta), Place::new("/nowhere"))
            .expect("memory takes everything");
        self.drain(at, &[]);
    }

    fn pause(&mut self, at: usize, paused: bool) {
        let node = &mut self.nodes[at];
        if let Some(torrent) = node.torrent
            && !node.stopped
        {
            let command = match paused {
                true => Command::Pause(torrent),
                false => Command::Resume(torrent),
            };
            let reply = node.session.handle_command(self.now, command);
            assert_eq!(reply, Ok(Reply::Done));
            self.note(|| format!("{at} paused: {paused}"));
            self.drain(at, &[]);
            assert!(!paused || self.nodes[at].peers == 0, "paused, with peers");
        }
    }

    fn schedule(&mut self, micros: u64, event: Ev) {
        self.schedule_at(self.now + Duration::from_micros(micros), event);
    }

    fn schedule_at(&mut self, at: Instant, event: Ev) {
        self.seq += 1;
        self.events.insert((at, self.seq), event);
    }

    fn next_timeout(&self) -> Option<(Instant, usize)> {
        let all = self.nodes.iter().enumerate();
        all.filter_map(|(at, node)| Some((node.session.poll_timeout()?, at)))
            .min()
    }

    fn next(&self) -> Option<Instant> {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let timeout = self.next_timeout().map(|(at, _)| at);
        event.into_iter().chain(timeout).min()
    }

    fn step(&mut self) {
        self.steps += 1;
        let timeout = self.next_timeout();
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        match (timeout, event) {
            (None, None) => panic!("everybody sleeps for ever: {}", self.standing()),
            (Some((at, node)), event) if event.is_none_or(|event| at <= event) => {
                self.now = self.now.max(at);
                let now = self.now;
                let node_at = node;
                let node = &mut self.nodes[node_at];
                let same = node.timeouts.0 == now;
                node.timeouts = (now, if same { node.timeouts.1 + 1 } else { 1 });
                assert!(node.timeouts.1 < 50, "node {node_at} spins");
                node.wakes += 1;
                node.session.handle(now, Input::Timeout);
                let next = node.session.poll_timeout();
                assert!(
                    next.is_none_or(|next| next > now),
                    "node {node_at}: due at {next:?} after a timeout at {now:?}"
                );
                self.note(|| format!("{node_at} timeout"));
                self.drain(node_at, &[]);
            }
            _ => {
                if let Some(((at, _), event)) = self.events.pop_first() {
                    self.now = self.now.max(at);
                    self.happen(event);
                }
            }
        }
        self.settle();
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
            Ev::Disk { node, done } => {
                self.note(|| format!("{node} {}", answer_line(&done)));
                self.tell(node, Input::DiskDone(*done));
                self.read_stalled(node);
            }
            Ev::Work { node } => {
                let budget = Budget(1 + self.rng.below(400_000));
                let n = &mut self.nodes[node];
                n.working = n.disk.work(budget, &mut n.done);
                if n.working {
                    self.schedule(1000, Ev::Work { node });
                }
                self.answer(node);
            }
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
            Ev::Start { node } => self.start(node),
            Ev::Pause { node, paused } => self.pause(node, paused),
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
        while let Some(output) = self.nodes[at].session.poll_output() {
            self.note(|| format!("{at} {}", output_line(&output)));
            match output {
                Output::Connect { conn, to } => {
                    let sock = self.new_sock(Host::Node(at), Some(conn));
                    self.nodes[at].conns.insert(conn, sock);
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
                Output::Datagram { .. }
                | Output::Multicast { .. }
                | Output::Dns(_)
                | Output::ReadAuthorities { .. } => {
                    panic!("there are no trackers here")
                }
                Output::Disk(op) => ops.push(op),
                Output::Event(event) => self.heed(at, event),
            }
        }
        if !ops.is_empty() {
            let node = &mut self.nodes[at];
            node.disk.handle(&mut ops, received, &mut node.done);
            if !std::mem::replace(&mut node.working, true) {
                self.schedule(1000, Ev::Work { node: at });
            }
            self.answer(at);
        }
    }

    /// Lets the disk's answers come, in order, when they are due.
    fn answer(&mut self, at: usize) {
        while let Some(done) = self.nodes[at].done.pop_front() {
            let wait = self.rng.below(self.plan.nodes[at].disk_delay + 1) as u64;
            let due = self.now + Duration::from_micros(wait);
            let due = due.max(self.nodes[at].disk_free);
            self.nodes[at].disk_free = due;
            let done = Box::new(done);
            self.schedule_at(due, Ev::Disk { node: at, done });
        }
    }

    fn heed(&mut self, at: usize, event: Event) {
        let node = &mut self.nodes[at];
        match event {
            Event::PeerConnected { .. } => {
                node.peers += 1;
                let most = self.plan.nodes[at].max_peers;
                assert!(node.peers <= most, "more than {most} peers");
            }
            Event::PeerGone { .. } => node.peers -= 1,
            Event::Complete { .. } => node.complete = true,
            Event::PieceFailed { .. } => node.failed += 1,
            Event::Banned { address, .. } => node.banned.push(address),
            Event::Stopped => assert!(!std::mem::replace(&mut node.stopped, true), "once"),
            Event::PieceDone { piece, .. } => {
                assert!(self.is_on_disk(at, piece), "{piece} done, and not there");
            }
            Event::Checked { .. }
            | Event::Tracker { .. }
            | Event::Metadata { .. }
            | Event::Scraped { .. }
            | Event::DiskTrouble { .. }
            | Event::DiskRecovered { .. } => {}
            // A piece that can't be read is fetched again.
            Event::Warning { .. } => {
                let snapshot = node.session.snapshot(self.now);
                let torrent = &snapshot.torrents[0];
                node.complete = torrent.pieces_have == torrent.pieces;
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
        let line = format!("{:?} {}", self.now, line());
        self.trace.update(&line);
        if self.loud {
            println!("{line}");
        }
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }
}

/// Puts what a node has at the start on its disk: its pieces, and perhaps wrong bytes for the others.
fn lay_out(plan: &Plan, node: &NodePlan, files: &mut SimFiles) {
    let length = u64::from(plan.meta.geometry.piece_length());
    for (piece, has) in node.have.iter().enumerate() {
        if !has && !node.garbage {
            continue;
        }
        let offset = piece as u64 * length;
        let mut from = offset as usize;
        for span in plan.meta.table.spans(offset, length) {
            let file = files.files.entry(span.file).or_default();
            let (start, len) = (span.offset as usize, span.len as usize);
            file.resize(file.len().max(start + len), 0);
            if *has {
                file[start..start + len].copy_from_slice(&plan.content[from..from + len]);
            }
            from += len;
        }
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

/// Lines of the trace that are kept.
const LOG: usize = 50;
