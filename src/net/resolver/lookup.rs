//! One name being looked up: its two questions, and what their answers come to.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::message::{self, Family, Reply};
use super::{Action, DnsError, Net, ResolverConfig, SocketEvent, SocketId, clamp};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::slots::Key;
use crate::base::time::{Instant, earliest};

/// A name being looked up.
pub(super) struct Lookup {
    /// The name as asked for, in lower case.
    pub(super) name: String,
    /// When the first server was asked.
    pub(super) began: Instant,
    /// When the lookup is over, whatever came.
    pub(super) deadline: Instant,
    /// Whether it still counts among the first [`limits::DNS_LOOKUPS_FRESH`].
    pub(super) is_fresh: bool,
    /// The names it may stand for, and which is being asked for.
    candidates: Vec<String>,
    at: usize,
    questions: Vec<Question>,
    /// How long the other question is waited for.
    grace: Option<Instant>,
    /// The first failure of an earlier candidate: with one, nobody can say that there is no such name.
    failure: Option<DnsError>,
}

impl Lookup {
    /// A lookup that has asked nobody yet.
    pub(super) fn new(
        now: Instant,
        name: String,
        deadline: Instant,
        candidates: Vec<String>,
    ) -> Self {
        Self {
            name,
            began: now,
            deadline,
            is_fresh: true,
            candidates,
            at: 0,
            questions: Vec::new(),
            grace: None,
            failure: None,
        }
    }

    /// Asks all questions about the next candidate.
    pub(super) fn ask_all(
        &mut self,
        now: Instant,
        key: Key<Self>,
        config: &ResolverConfig,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        self.abandon(net);
        self.grace = None;
        let families = config.questions().iter();
        self.questions = families
            .map(|&family| Question::new(family, net.first(now)))
            .collect();
        let scene = Scene {
            now,
            key,
            name: &self.candidates[self.at],
            deadline: self.deadline,
            config,
        };
        for (index, question) in self.questions.iter_mut().enumerate() {
            question.ask(index, &scene, net, rng);
        }
    }

    /// Something happened on the socket of one of its questions.
    pub(super) fn handle_socket(
        &mut self,
        now: Instant,
        owner: Owner,
        event: SocketEvent<'_>,
        config: &ResolverConfig,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        let scene = Scene {
            now,
            key: owner.lookup,
            name: &self.candidates[self.at],
            deadline: self.deadline,
            config,
        };
        if let Some(question) = self.questions.get_mut(owner.question) {
            question.handle_socket(owner.question, event, &scene, net, rng);
        }
    }

    /// Questions whose server was silent for too long go to the next.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        key: Key<Self>,
        config: &ResolverConfig,
        net: &mut Net,
        rng: &mut Rng,
    ) {
        let scene = Scene {
            now,
            key,
            name: &self.candidates[self.at],
            deadline: self.deadline,
            config,
        };
        for (index, question) in self.questions.iter_mut().enumerate() {
            question.handle_timeout(index, &scene, net, rng);
        }
    }

    /// When `handle_timeout` or `settle` is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let questions = self.questions.iter();
        questions
            .filter(|question| question.answer.is_none())
            .map(|question| Some(question.due))
            .fold(self.grace, earliest)
    }

    /// Says whether the lookup is over; goes on to the next candidate by itself, at most once for each.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        key: Key<Self>,
        config: &ResolverConfig,
        net: &mut Net,
        rng: &mut Rng,
    ) -> Verdict {
        loop {
            let open = self.questions.iter().any(|q| q.answer.is_none());
            // Addresses, or that there is no such name, say enough: the other answer may be long in coming.
            let enough = |question: &Question| {
                matches!(question.answer, Some(Answer::Found(..) | Answer::NoName(_)))
            };
            if open {
                if !self.questions.iter().any(enough) {
                    return Verdict::Open;
                }
                let grace = *self.grace.get_or_insert(now + limits::DNS_GRACE);
                if now < grace {
                    return Verdict::Open;
                }
            }
            self.abandon(net);
            let (result, ttl) = self.sum_up();
            let failure = match result {
                Ok(addresses) => return Verdict::Over(Ok(addresses), ttl),
                Err(error) => error,
            };
            if failure != DnsError::NotFound {
                self.failure.get_or_insert(failure);
            }
            if self.at + 1 == self.candidates.len() || now >= self.deadline {
                return match self.failure {
                    Some(error) => Verdict::Over(Err(error), limits::DNS_FAILURE_TTL),
                    None => Verdict::Over(Err(DnsError::NotFound), ttl),
                };
            }
            self.at += 1;
            self.ask_all(now, key, config, net, rng);
        }
    }

    /// Closes all its sockets.
    pub(super) fn abandon(&mut self, net: &mut Net) {
        for question in &mut self.questions {
            question.close(net);
        }
    }

    /// What the answers that are there come to, and for how long.
    fn sum_up(&mut self) -> (Result<Vec<IpAddr>, DnsError>, Duration) {
        let mut families: Vec<Vec<IpAddr>> = Vec::new();
        let (mut yes, mut no) = (limits::DNS_TTL_MAX, limits::DNS_NEGATIVE_TTL_MAX);
        let mut failure = None;
        let mut is_gone = false;
        for question in &mut self.questions {
            match question.answer.take() {
                Some(Answer::Found(addresses, ttl)) => {
                    yes = yes.min(ttl);
                    families.push(addresses);
                }
                Some(Answer::NoName(ttl)) => {
                    is_gone = true;
                    no = no.min(ttl);
                }
                Some(Answer::NoAddress(ttl)) => no = no.min(ttl),
                Some(Answer::Failed(error)) => failure = Some(error),
                None => failure = Some(DnsError::TimedOut),
            }
        }
        if !families.is_empty() {
            if failure.is_some() {
                yes = yes.min(limits::DNS_PARTIAL_TTL_MAX);
            }
            return (Ok(in_turns(&families)), yes);
        }
        match failure {
            Some(error) if !is_gone => (Err(error), limits::DNS_FAILURE_TTL),
            _ => (Err(DnsError::NotFound), no),
        }
    }
}

/// Whether a lookup is over.
pub(super) enum Verdict {
    /// It waits for answers.
    Open,
    /// It is, with this result that is good for so long.
    Over(Result<Vec<IpAddr>, DnsError>, Duration),
}

/// Whose socket it is.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    /// The lookup.
    pub(super) lookup: Key<Lookup>,
    /// Which of its questions.
    question: usize,
}

/// What a question has to know of its lookup.
struct Scene<'a> {
    now: Instant,
    key: Key<Lookup>,
    name: &'a str,
    deadline: Instant,
    config: &'a ResolverConfig,
}

impl Scene<'_> {
    fn servers(&self) -> &[SocketAddr] {
        let servers = &self.config.servers;
        &servers[..servers.len().min(limits::DNS_SERVERS_MAX)]
    }
}

/// One question about a name, put to one server after the other.
struct Question {
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
    due: Instant,
    answer: Option<Answer>,
}

/// A question on its way over TCP.
struct Tcp {
    received: Vec<u8>,
    /// Addresses that stood in the truncated answer: enough if there is no way over TCP.
    partial: Vec<IpAddr>,
}

/// What became of a question.
enum Answer {
    Found(Vec<IpAddr>, Duration),
    NoAddress(Duration),
    NoName(Duration),
    Failed(DnsError),
}

impl Question {
    fn new(family: Family, first: usize) -> Self {
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
    fn ask(&mut self, index: usize, scene: &Scene<'_>, net: &mut Net, rng: &mut Rng) {
        self.close(net);
        let servers = scene.servers();
        let tries_max = scene.config.attempts.max(1) * servers.len() as u32;
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
        let wait = scene.config.timeout * 2u32.saturating_pow(round.min(8));
        self.due = (scene.now + wait).min(scene.deadline);
        net.actions
            .push_back(Action::Datagram { socket, to, bytes });
    }

    fn handle_socket(
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
        self.due = (scene.now + 2 * scene.config.timeout).min(scene.deadline);
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

    fn handle_timeout(&mut self, index: usize, scene: &Scene<'_>, net: &mut Net, rng: &mut Rng) {
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

    fn close(&mut self, net: &mut Net) {
        self.tcp = None;
        if let Some(socket) = self.socket.take() {
            net.close(socket);
        }
    }
}

/// Whether a datagram comes from the server that was asked; a zone or a mapped address may be spelt differently.
fn is_same(from: SocketAddr, server: SocketAddr) -> bool {
    from.port() == server.port() && from.ip().to_canonical() == server.ip().to_canonical()
}

/// One of each family, then the next of each, so that neither crowds out the other.
fn in_turns(families: &[Vec<IpAddr>]) -> Vec<IpAddr> {
    let rounds = (0..limits::DNS_ADDRESSES_MAX).flat_map(|round| {
        let families = families.iter();
        families.filter_map(move |addresses| addresses.get(round).copied())
    });
    rounds.take(limits::DNS_ADDRESSES_MAX).collect()
}

/// Bytes of the length that stands before a message over TCP.
const LENGTH: usize = 2;
