//! The world: a clock that jumps, links that delay and cut, disks that answer late, and the oracles.

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
    BlockData, ConnId, ConnectError, DiskDone, DiskOp, Event, Input, Output, Segment, Segments,
};
use sha1::{Digest as _, Sha1};

use crate::files::SimFiles;
use crate::plan::{NodePlan, Plan};
use crate::script::{Act, Script};
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
        let linger = self.now + Duration::from_secs(30);
        while self.next().is_some_and(|at| at < linger) {
            self.step();
        }
        self.now = self.now.max(linger);
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

    /// One number for everything that has happened.
    pub(crate) fn fingerprint(&self) -> [u8; 20] {
        self.trace.clone().finalize().into()
    }

    fn standing(&self) -> String {
        let node = |node: &Node| {
            let snapshot = node.session.snapshot(self.now);
            let torrent = &snapshot.torrents[0];
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
        let mut session = Session::new(self.now, settings, self.rng.bytes());
        let mut disk = Disk::new(files);
        let add = AddTorrent {
            metainfo: Arc::clone(&self.plan.meta),
            aim: Aim::Download,
            peers: plan.knows.clone(),
        };
        let reply = session.handle_command(self.now, Command::Add(add));
        let Ok(Reply::Added(torrent)) = reply else {
            panic!("the torrent was not taken: {reply:?}");
        };
        disk.add(torrent, Arc::clone(&self.plan.meta), Place::new("/nowhere"))
            .expect("memory takes everything");
        if let Some((_, until)) = plan.faults.full {
            self.schedule(until * 1_000_000, Ev::Free { node: at });
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
        });
        self.drain(at, &[]);
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
                Output::Datagram { .. } => panic!("there are no trackers here"),
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

    fn new_sock(&mut self, host: Host, conn: Option<ConnId>) -> usize {
        let (rate, delay, buffer) = match host {
            Host::Node(at) => {
                let plan = &self.plan.nodes[at];
                (plan.rate, plan.delay, plan.buffer)
            }
            Host::Script(_) => (1_000_000, 10_000, 65_536),
        };
        let watch = match host {
            Host::Node(at) => Some(Watch::new(
                Arc::clone(&self.plan.content),
                self.plan.meta.geometry,
                self.plan.meta.info_hash,
                self.nodes[at].peer_id,
            )),
            Host::Script(_) => None,
        };
        let breaks = self.plan.resets > 0 && self.rng.below(3) == 0;
        self.plan.resets -= u32::from(breaks);
        let breaks_after = breaks.then(|| self.rng.below(self.plan.reset_after));
        self.socks.push(Sock {
            host,
            conn,
            other: None,
            state: State::Connecting,
            waiting: VecDeque::new(),
            wants_write: false,
            in_flight: 0,
            buffer,
            arrived: VecDeque::new(),
            ended: false,
            rate,
            delay: Duration::from_micros(delay),
            line_free: self.now,
            breaks_after,
            watch,
        });
        self.socks.len() - 1
    }

    /// A connect reaches its address.
    fn knock(&mut self, sock: usize, to: SocketAddr) {
        if self.socks[sock].state == State::Closed {
            return;
        }
        if self.rng.below(100) < self.plan.hangs as usize {
            return;
        }
        let delay = self.socks[sock].delay;
        let from = match self.socks[sock].host {
            Host::Node(at) => self.plan.nodes[at].address,
            Host::Script(at) => self.scripts[at].address,
        };
        let from = SocketAddr::new(from.ip(), 20_000 + (sock % 40_000) as u16);
        let node = self.plan.nodes.iter().position(|plan| plan.address == to);
        let script = self.scripts.iter().position(|script| script.address == to);
        let there = match (node, script) {
            (Some(at), _) => {
                let conn = self.nodes[at].session.accept(self.now, from);
                self.note(|| format!("{at} accepts {from}: {conn:?}"));
                let there = conn.map(|conn| {
                    let there = self.new_sock(Host::Node(at), Some(conn));
                    self.nodes[at].conns.insert(conn, there);
                    there
                });
                self.drain(at, &[]);
                there
            }
            (None, Some(at)) => {
                let there = self.new_sock(Host::Script(at), None);
                let acts = self.scripts[at].handle_open(there, false);
                self.socks[there].state = State::Open;
                self.act(there, acts);
                Some(there)
            }
            (None, None) => None,
        };
        let Some(there) = there else {
            return self.schedule_at(self.now + delay, Ev::Refused { sock });
        };
        self.socks[there].delay = delay;
        self.socks[there].state = State::Open;
        self.socks[there].other = Some(sock);
        self.socks[sock].other = Some(there);
        self.schedule_at(self.now + delay, Ev::Connected { sock });
    }

    fn connected(&mut self, sock: usize) {
        if self.socks[sock].state != State::Connecting {
            return;
        }
        self.socks[sock].state = State::Open;
        self.note(|| format!("{sock} connected"));
        match self.socks[sock].host {
            Host::Node(at) => {
                if let Some(conn) = self.socks[sock].conn {
                    self.tell(at, Input::Connected { conn });
                }
            }
            Host::Script(at) => {
                let acts = self.scripts[at].handle_open(sock, true);
                self.act(sock, acts);
            }
        }
    }

    /// This end closes: the other learns it behind what was sent, or at once by a reset.
    fn hang_up(&mut self, sock: usize) {
        let state = std::mem::replace(&mut self.socks[sock].state, State::Closed);
        if state == State::Closed {
            return;
        }
        let Some(other) = self.socks[sock].other else {
            return;
        };
        let end = &self.socks[sock];
        let reset = !end.arrived.is_empty() || self.rng.below(4) == 0;
        if reset {
            self.schedule_at(self.now + end.delay, Ev::Broken { sock: other });
        } else {
            let at = end.line_free.max(self.now) + end.delay;
            self.schedule_at(at, Ev::Fin { sock: other });
        }
    }

    /// A reset reaches this end.
    fn broken(&mut self, sock: usize) {
        let state = std::mem::replace(&mut self.socks[sock].state, State::Closed);
        if state == State::Closed {
            return;
        }
        self.note(|| format!("{sock} broken"));
        match (self.socks[sock].host, self.socks[sock].conn) {
            (Host::Node(at), Some(conn)) => {
                let input = match state {
                    State::Connecting => Input::ConnectFailed {
                        conn,
                        why: ConnectError::Refused,
                    },
                    State::Open | State::Closed => Input::Failed { conn },
                };
                if state == State::Connecting {
                    self.nodes[at].conns.remove(&conn);
                }
                self.tell(at, input);
                assert!(!self.nodes[at].conns.contains_key(&conn), "not let go");
            }
            (Host::Script(at), _) => self.scripts[at].handle_gone(sock),
            (Host::Node(_), None) => {}
        }
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

    fn read_stalled(&mut self, at: usize) {
        for sock in self.nodes[at].conns.values() {
            if !self.socks[*sock].arrived.is_empty() {
                self.todo.push_back(Todo::Read(*sock));
            }
        }
    }

    fn read(&mut self, sock: usize) {
        loop {
            let end = &self.socks[sock];
            if end.state != State::Open {
                return;
            }
            if end.arrived.is_empty() {
                break;
            }
            let most = match (end.host, end.conn) {
                (Host::Node(at), Some(conn)) => {
                    self.nodes[at].session.read_allowance(self.now, conn)
                }
                _ => usize::MAX,
            };
            if most == 0 {
                return;
            }
            let most = most.min(end.arrived.len()).min(self.plan.bite);
            let count = 1 + self.rng.below(most);
            let end = &mut self.socks[sock];
            let bytes: Vec<u8> = end.arrived.drain(..count).collect();
            if let Some(other) = end.other {
                let at = self.now + end.delay;
                let ack = Ev::Ack {
                    sock: other,
                    bytes: count,
                };
                self.schedule_at(at, ack);
            }
            self.take_in(sock, &bytes);
        }
        let end = &self.socks[sock];
        if !end.ended {
            return;
        }
        self.note(|| format!("{sock} ended"));
        match (self.socks[sock].host, self.socks[sock].conn) {
            (Host::Node(at), Some(conn)) => {
                self.tell(at, Input::Ended { conn });
                assert!(!self.nodes[at].conns.contains_key(&conn), "not let go");
            }
            (Host::Script(at), _) => {
                self.scripts[at].handle_gone(sock);
                self.hang_up(sock);
            }
            (Host::Node(_), None) => {}
        }
    }

    fn take_in(&mut self, sock: usize, bytes: &[u8]) {
        self.note(|| format!("{sock} reads {}", bytes.len()));
        match (self.socks[sock].host, self.socks[sock].conn) {
            (Host::Node(at), Some(conn)) => {
                if let Some(watch) = &mut self.socks[sock].watch {
                    watch.handed(bytes);
                }
                self.tell(at, Input::Received { conn, bytes });
                let mut waiting = Segments::new(usize::MAX);
                self.nodes[at].session.poll_transmit(conn, &mut waiting);
                if let Some(watch) = &mut self.socks[sock].watch {
                    watch.settle(waiting.bytes());
                }
            }
            (Host::Script(at), _) => {
                let acts = self.scripts[at].handle_bytes(sock, bytes, &mut self.rng);
                self.act(sock, acts);
            }
            (Host::Node(_), None) => {}
        }
    }

    fn act(&mut self, sock: usize, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Send(wait, bytes) => self.schedule(wait, Ev::Speak { sock, bytes }),
                Act::Break => self.cut(sock),
            }
        }
    }

    /// Both ends of a connection break.
    fn cut(&mut self, sock: usize) {
        let delay = self.socks[sock].delay;
        if let Some(other) = self.socks[sock].other {
            self.schedule_at(self.now + delay, Ev::Broken { sock: other });
        }
        self.schedule(0, Ev::Broken { sock });
    }

    fn write(&mut self, sock: usize) {
        loop {
            let end = &self.socks[sock];
            if end.state != State::Open || !end.wants_write || end.in_flight >= end.buffer {
                return;
            }
            let room = end.buffer - end.in_flight;
            if room < self.plan.bite.min(end.buffer / 4) {
                return;
            }
            let most = 1 + self.rng.below(room.min(self.plan.bite));
            let bytes = match (end.host, end.conn) {
                (Host::Node(at), Some(conn)) => self.fetch(at, conn, most),
                _ => {
                    let waiting = &mut self.socks[sock].waiting;
                    let count = waiting.len().min(most);
                    waiting.drain(..count).collect()
                }
            };
            if bytes.is_empty() {
                self.socks[sock].wants_write = false;
                return;
            }
            self.ship(sock, bytes);
            if let (Host::Node(at), Some(_)) = (self.socks[sock].host, self.socks[sock].conn) {
                self.drain(at, &[]);
            }
        }
    }

    /// Takes up to `most` bytes from a session, reading its blocks from its disk.
    fn fetch(&mut self, at: usize, conn: ConnId, most: usize) -> Vec<u8> {
        let node = &mut self.nodes[at];
        let mut segments = Segments::new(most);
        node.session.poll_transmit(conn, &mut segments);
        let mut bytes = Vec::new();
        let mut failure = None;
        for segment in segments.as_slice() {
            match *segment {
                Segment::Bytes(more) => bytes.extend_from_slice(more),
                Segment::Block { torrent, block } => {
                    let from = bytes.len();
                    bytes.resize(from + block.len as usize, 0);
                    let read = node.disk.read(torrent, block, &mut bytes[from..]);
                    if let Err(error) = read {
                        bytes.truncate(from);
                        failure = Some(DiskDone::ReadFailed {
                            torrent,
                            block,
                            error,
                        });
                        break;
                    }
                }
            }
        }
        bytes.truncate(most);
        if bytes.is_empty() {
            if let Some(failure) = failure {
                self.note(|| format!("{at} {failure:?}"));
                self.tell(at, Input::DiskDone(failure));
            }
        } else {
            node.session.transmitted(self.now, conn, bytes.len());
        }
        bytes
    }

    /// Puts bytes on the line.
    fn ship(&mut self, sock: usize, bytes: Vec<u8>) {
        self.note(|| format!("{sock} writes {}", bytes.len()));
        let host = self.socks[sock].host;
        if let Some(watch) = &mut self.socks[sock].watch {
            watch.sent(&bytes);
            let told = std::mem::take(&mut watch.new_haves);
            if let Host::Node(at) = host {
                for piece in told {
                    assert!(self.is_on_disk(at, piece), "{piece} announced, not there");
                }
            }
        }
        let end = &mut self.socks[sock];
        end.in_flight += bytes.len();
        let micros = bytes.len() as u64 * 1_000_000 / end.rate;
        end.line_free = end.line_free.max(self.now) + Duration::from_micros(micros);
        let (at, other) = (end.line_free + end.delay, end.other);
        let breaks = end.breaks_after.as_mut().is_some_and(|left| {
            let breaks = *left < bytes.len();
            *left = left.saturating_sub(bytes.len());
            breaks
        });
        if let Some(other) = other {
            self.schedule_at(at, Ev::Arrive { sock: other, bytes });
        }
        if breaks {
            self.socks[sock].breaks_after = None;
            self.cut(sock);
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
