//! Connections: how they are made, carry bytes both ways, and end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use minitorrent::base::limits;
use minitorrent::disk::Store;
use minitorrent::engine::io::{ConnId, ConnectError, DiskDone, Input, Segment, Segments};

use super::{Ev, Host, Sock, State, Todo, World};
use crate::plan::End;
use crate::script::Act;
use crate::services::TrackerKind;
use crate::watch::Watch;

impl World {
    pub(super) fn new_sock(&mut self, host: Host, conn: Option<ConnId>) -> usize {
        let (rate, delay, buffer) = match host {
            Host::Node(at) => {
                let plan = &self.plan.nodes[at];
                (plan.rate, plan.delay, plan.buffer)
            }
            Host::Script(_) | Host::Tracker(_) => (1_000_000, 10_000, 65_536),
        };
        let watch = match host {
            Host::Node(at) => Some(Watch::new(
                Arc::clone(&self.plan.content),
                self.plan.meta.geometry,
                self.plan.meta.info_hash,
                self.nodes[at].peer_id,
            )),
            Host::Script(_) | Host::Tracker(_) => None,
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
    pub(super) fn knock(&mut self, sock: usize, to: SocketAddr) {
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
            Host::Tracker(at) => self.trackers[at].plan.address,
        };
        let from = SocketAddr::new(from.ip(), 20_000 + (sock % 40_000) as u16);
        let node = self.plan.nodes.iter().position(|plan| plan.address == to);
        let script = self.scripts.iter().position(|script| script.address == to);
        let tracker = self.trackers.iter().position(|tracker| {
            tracker.plan.address == to
                && !tracker.plan.udp
                && tracker.plan.kind != TrackerKind::Gone
        });
        let there = match (node, script.or(tracker)) {
            (Some(at), _) if !self.nodes[at].up => None,
            (Some(at), _) => {
                let conn = self.nodes[at].session.accept(self.now, from);
                self.note(|| format!("{at} accepts {from}: {conn:?}"));
                let there = conn.map(|conn| {
                    let there = self.new_sock(Host::Node(at), Some(conn));
                    self.nodes[at].conns.insert(conn, there);
                    self.nodes[at].met += 1;
                    there
                });
                self.drain(at, &[]);
                there
            }
            (None, Some(at)) if tracker.is_some() => {
                self.watch_calls(sock);
                let there = self.new_sock(Host::Tracker(at), None);
                self.socks[there].breaks_after = None;
                Some(there)
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

    pub(super) fn connected(&mut self, sock: usize) {
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
            Host::Tracker(_) => {}
        }
    }

    /// A node's connection turns out to be one to a tracker: the rules of peers are not its rules.
    fn watch_calls(&mut self, sock: usize) {
        self.socks[sock].watch = None;
    }

    /// This end closes: the other learns it behind what was sent, or at once by a reset.
    pub(super) fn hang_up(&mut self, sock: usize) {
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

    /// The process at this end is gone: the other learns it by a reset, or not at all.
    pub(super) fn abandon(&mut self, sock: usize, how: End) {
        self.socks[sock].state = State::Closed;
        if let Some(other) = self.socks[sock].other
            && how == End::Kill
        {
            let delay = self.socks[sock].delay;
            self.schedule_at(self.now + delay, Ev::Broken { sock: other });
        }
    }

    /// A reset reaches this end.
    pub(super) fn broken(&mut self, sock: usize) {
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
            (Host::Tracker(at), _) => self.trackers[at].handle_gone(sock),
            (Host::Node(_), None) => {}
        }
    }

    pub(super) fn read_stalled(&mut self, at: usize) {
        for sock in self.nodes[at].conns.values() {
            if !self.socks[*sock].arrived.is_empty() {
                self.todo.push_back(Todo::Read(*sock));
            }
        }
    }

    pub(super) fn read(&mut self, sock: usize) {
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
                (Host::Script(at), _) if self.scripts[at].reads_nothing() => 0,
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
            (Host::Tracker(at), _) => {
                self.trackers[at].handle_gone(sock);
                self.hang_up(sock);
            }
            (Host::Node(_), None) => {}
        }
    }

    pub(super) fn take_in(&mut self, sock: usize, bytes: &[u8]) {
        self.note(|| format!("{sock} reads {}", bytes.len()));
        match (self.socks[sock].host, self.socks[sock].conn) {
            (Host::Node(at), Some(conn)) => {
                if let Some(watch) = &mut self.socks[sock].watch {
                    watch.handed(bytes);
                }
                self.tell(at, Input::Received { conn, bytes });
                if let Some(watch) = &mut self.socks[sock].watch
                    && watch.is_to_settle()
                {
                    let mut waiting = Segments::new(usize::MAX);
                    let session = &mut self.nodes[at].session;
                    session.poll_transmit(self.now, conn, &mut waiting);
                    let said = waiting
                        .as_slice()
                        .iter()
                        .filter_map(|segment| match segment {
                            Segment::Bytes(bytes) => Some(bytes.len()),
                            Segment::Block { .. } => None,
                        });
                    assert!(said.sum::<usize>() <= WORDS, "too many words wait");
                    let queued = session.queued(conn);
                    assert!(waiting.bytes() <= queued, "more is shown than there is");
                    watch.settle(queued);
                }
            }
            (Host::Script(at), _) => {
                let acts = self.scripts[at].handle_bytes(sock, bytes, &mut self.rng);
                self.act(sock, acts);
            }
            (Host::Tracker(at), _) => {
                let from = self.socks[sock].other.map(|other| self.socks[other].host);
                if let Some(Host::Node(node)) = from {
                    let from = self.plan.nodes[node].address.ip();
                    let tracker = &mut self.trackers[at];
                    let acts = tracker.handle_bytes(sock, from, bytes, &mut self.rng);
                    self.act(sock, acts);
                }
            }
            (Host::Node(_), None) => {}
        }
    }

    pub(super) fn act(&mut self, sock: usize, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Send(wait, bytes) => self.schedule(wait, Ev::Speak { sock, bytes }),
                Act::Break => self.cut(sock),
                Act::End(wait) => self.schedule(wait, Ev::HangUp { sock }),
            }
        }
    }

    /// Both ends of a connection break.
    pub(super) fn cut(&mut self, sock: usize) {
        let delay = self.socks[sock].delay;
        if let Some(other) = self.socks[sock].other {
            self.schedule_at(self.now + delay, Ev::Broken { sock: other });
        }
        self.schedule(0, Ev::Broken { sock });
    }

    pub(super) fn write(&mut self, sock: usize) {
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
    pub(super) fn fetch(&mut self, at: usize, conn: ConnId, most: usize) -> Vec<u8> {
        let node = &mut self.nodes[at];
        let mut segments = Segments::new(most);
        node.session.poll_transmit(self.now, conn, &mut segments);
        let mut bytes = Vec::new();
        let mut failure = None;
        for segment in segments.as_slice() {
            match *segment {
                Segment::Bytes(more) => bytes.extend_from_slice(more),
                Segment::Block { torrent, block } => {
                    let from = bytes.len();
                    bytes.resize(from + block.len as usize, 0);
                    let read = node.disk.read(torrent, block, &mut bytes[from..]);
                    assert_ne!(read, Ok(false), "nothing is hashed before it is sent here");
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
    pub(super) fn ship(&mut self, sock: usize, bytes: Vec<u8>) {
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
}

/// Bytes of words that may wait for one connection: what makes a session read it no more, and what one reception adds.
const WORDS: usize = 2 * limits::CHATTER_MAX;
