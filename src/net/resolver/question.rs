//! One question about a name, put to one server after the other, over UDP and if need be over TCP.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::lookup::{Lookup, Owner};
use super::message::{self, Family, Reply};
use super::{Action, DnsError, Net, ResolverConfig, SocketEvent, SocketId, clamp};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::slots::Key;
use crate::base::time::Instant;

/// One question about a name, put to one server after the other.
pub(super) struct Question {
    family: Family,
    /// The server asked first, and how many were asked in turn since.
    first: usize,
    tries: u32,
    /// Servers that said that they can't answer, by bit: they are not asked again.
    refused: u32,
    /// The failure that says most of those so far.
    failure: Option<DnsError>,
    socket: Option<SocketId>,
    tcp: Option<Tcp>,
    id: u16,
    /// When the server has been silent for too long.
    pub(super) due: Instant,
    /// What became of it, as soon as something has.
    pub(super) answer: Option<Answer>,
}

impl Question {
    pub(super) fn new(family: Family, first: usize) -> Self {
        Self {
            family,
            first,
            tries: 0,
            refused: 0,
            failure: None,
            socket: None,
            tcp: None,
            id: 0,
            due: Instant::default(),
            answer: None,
        }
    }

    /// The place in the configuration of the server whose turn it is.
    fn server(&self, servers: usize) -> usize {
        (self.first + self.tries as usize) % servers.max(1)
    }

    /// Asks the server whose turn it is, or the next one that has not refused.
    pub(super) fn ask(&mut self, index: usize, scene: &Scene<'_>, net: &mut Net, rng: &mut Rng) {
        self.close(net);
        let servers = scene.servers();
        let tries_max = scene
            .config
            .attempts
            .max(1)
            .saturating_mul(servers.len() as u32);
        let to = loop {
            let at = self.server(servers.len());
            if self.tries >= tries_max || scene.now >= scene.deadline {
                let error = self.failure.unwrap_or(match servers.is_empty() {
                    true => DnsError::Unreachable,
                    false => DnsError::TimedOut,
                });
                self.answer = Some(Answer::Failed(error));
                return;
            }
            if self.refused & 1 << at == 0 {
                break servers[at];
            }
            self.tries += 1;
        };
        self.id = rng.next_u32() as u16;
        let Some(bytes) = message::query(self.id, scene.name, self.family) else {
            self.answer = Some(Answer::Failed(DnsError::BadName));
            return;
        };
        let socket = net.sockets.insert(Owner {
            lookup: scene.key,
            question: index,
        });
        self.socket = Some(socket);
        let round = self.tries / servers.len() as u32;
        let wait = scene.wait().saturating_mul(1 << round.min(8));
        self.due = (scene.now + wait).min(scene.deadline);
        net.actions
            .push_back(Action::Datagram { socket, to, bytes });
    }

    pub(super) fn handle_socket(
        &mut self,
        index: usize,
        event: SocketEvent<'_>,
        scene: &Scene<'_>,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        let server = scene.servers().get(self.server(scene.servers().len()));
        let (Some(&server), Some(socket)) = (server, self.socket) else {
            return;
        };
        match (event, &mut self.tcp) {
            (SocketEvent::Datagram { from, bytes }, None) => {
                if is_same(from, server) {
                    let reply = message::read(bytes, self.id, scene.name, self.family);
                    self.handle_reply(index, reply, scene, net, rng);
                }
            }
            (SocketEvent::Connected, Some(_)) => {
                if let Some(query) = message::query(self.id, scene.name, self.family) {
                    let mut bytes = (query.len() as u16).to_be_bytes().to_vec();
                    bytes.extend_from_slice(&query);
                    net.actions.push_back(Action::Send { socket, bytes });
                }
            }
            (SocketEvent::Received(bytes), Some(tcp)) => {
                // The length before the message bounds what is kept of it: 64 KiB.
                let room = LENGTH + usize::from(u16::MAX) - tcp.received.len();
                tcp.received
                    .extend_from_slice(&bytes[..bytes.len().min(room)]);
                let Some((length, rest)) = tcp.received.split_first_chunk::<LENGTH>() else {
                    return;
                };
                let Some(whole) = rest.get(..u16::from_be_bytes(*length).into()) else {
                    return;
                };
                let reply = match message::read(whole, self.id, scene.name, self.family) {
                    // Nobody else can have sent it.
                    Reply::Foreign | Reply::Truncated(_) => Reply::Failure,
                    reply => reply,
                };
                self.handle_reply(index, reply, scene, net, rng);
            }
            (SocketEvent::Failed, None) => {
                self.refuse(index, DnsError::Unreachable, scene, net, rng);
            }
            (SocketEvent::Failed, Some(_)) => {
                self.refuse(index, DnsError::ServerFailure, scene, net, rng);
            }
            (SocketEvent::Datagram { .. }, Some(_))
            | (SocketEvent::Connected | SocketEvent::Received(_), None) => {}
        }
    }

    fn handle_reply(
        &mut self,
        index: usize,
        reply: Reply,
        scene: &Scene<'_>,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        let no_for = |seconds: Option<u32>| match seconds {
            Some(seconds) => clamp(seconds, limits::DNS_NEGATIVE_TTL_MAX),
            None => limits::DNS_NEGATIVE_TTL,
        };
        let answer = match reply {
            Reply::Foreign => return,
            Reply::Failure => {
                return self.refuse(index, DnsError::ServerFailure, scene, net, rng);
            }
            Reply::Truncated(partial) => return self.go_tcp(index, partial, scene, net),
            Reply::Addresses(addresses, ttl) => {
                Answer::Found(addresses, clamp(ttl, limits::DNS_TTL_MAX))
            }
            Reply::NoAddress(ttl) => Answer::NoAddress(no_for(ttl)),
            Reply::NoName(ttl) => Answer::NoName(no_for(ttl)),
        };
        self.close(net);
        self.answer = Some(answer);
    }

    /// Asks the same server again over TCP.
    fn go_tcp(&mut self, index: usize, partial: Vec<IpAddr>, scene: &Scene<'_>, net: &mut Net) {
        self.close(net);
        let socket = net.sockets.insert(Owner {
            lookup: scene.key,
            question: index,
        });
        self.socket = Some(socket);
        self.tcp = Some(Tcp {
            received: Vec::new(),
            partial,
        });
        // Two round trips more than a datagram takes.
        self.due = (scene.now + scene.wait().saturating_mul(2)).min(scene.deadline);
        let to = scene.servers()[self.server(scene.servers().len())];
        net.actions.push_back(Action::Connect { socket, to });
    }

    /// This server can't answer: it is asked no more, unless what it said already is enough.
    fn refuse(
        &mut self,
        index: usize,
        error: DnsError,
        scene: &Scene<'_>,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        if self.take_partial(net) {
            return;
        }
        self.refused |= 1 << self.server(scene.servers().len());
        self.fail(error);
        self.tries += 1;
        self.ask(index, scene, net, rng);
    }

    pub(super) fn handle_timeout(
        &mut self,
        index: usize,
        scene: &Scene<'_>,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        if self.answer.is_some() || scene.now < self.due || self.take_partial(net) {
            return;
        }
        let servers = scene.servers().len();
        net.avoid(scene.now, self.server(servers), servers);
        self.fail(DnsError::TimedOut);
        self.tries += 1;
        self.ask(index, scene, net, rng);
    }

    /// Keeps the failure that says most: a server that spoke, one that was silent, one that can't be reached.
    fn fail(&mut self, error: DnsError) {
        let weight = |error| match error {
            DnsError::ServerFailure => 3,
            DnsError::TimedOut => 2,
            DnsError::NotFound | DnsError::Unreachable | DnsError::BadName | DnsError::Busy => 1,
        };
        if self
            .failure
            .is_none_or(|known| weight(known) < weight(error))
        {
            self.failure = Some(error);
        }
    }

    /// Makes do with the addresses of a truncated answer, if there are some.
    fn take_partial(&mut self, net: &mut Net) -> bool {
        match &mut self.tcp {
            Some(tcp) if !tcp.partial.is_empty() => {
                let addresses = std::mem::take(&mut tcp.partial);
                self.answer = Some(Answer::Found(addresses, limits::DNS_PARTIAL_TTL_MAX));
                self.close(net);
                true
            }
            _ => false,
        }
    }

    pub(super) fn close(&mut self, net: &mut Net) {
        self.tcp = None;
        if let Some(socket) = self.socket.take() {
            net.close(socket);
        }
    }
}

/// A question on its way over TCP.
struct Tcp {
    received: Vec<u8>,
    /// Addresses that stood in the truncated answer: enough if there is no way over TCP.
    partial: Vec<IpAddr>,
}

/// What became of a question.
pub(super) enum Answer {
    Found(Vec<IpAddr>, Duration),
    NoAddress(Duration),
    NoName(Duration),
    Failed(DnsError),
}

/// What a question has to know of its lookup.
pub(super) struct Scene<'a> {
    pub(super) now: Instant,
    pub(super) key: Key<Lookup>,
    pub(super) name: &'a str,
    pub(super) deadline: Instant,
    pub(super) config: &'a ResolverConfig,
}

impl Scene<'_> {
    fn servers(&self) -> &[SocketAddr] {
        let servers = &self.config.servers;
        &servers[..servers.len().min(limits::DNS_SERVERS_MAX)]
    }

    /// How long a server has in the first round. It is never nothing, or the next time-out would lie in the past.
    fn wait(&self) -> Duration {
        self.config.timeout.max(Duration::from_millis(1))
    }
}

/// Whether a datagram comes from the server that was asked; a zone or a mapped address may be spelt differently.
fn is_same(from: SocketAddr, server: SocketAddr) -> bool {
    from.port() == server.port() && from.ip().to_canonical() == server.ip().to_canonical()
}

/// Bytes of the length that stands before a message over TCP.
const LENGTH: usize = 2;
