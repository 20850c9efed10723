//! Gentle to the router: one budget of new connections and of datagrams a second for everything that leaves.
//!
//! What a person waits for goes at once and is counted: announces and names. What there is plenty of waits until the
//! rest of the budget allows it: addresses to dial stay in their swarm, queries of the DHT in a short queue. Answers
//! to the queries of others have a budget of their own and never wait: they are asked again before a late one comes.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Session;
use crate::base::limits;
use crate::base::rate::Pace;
use crate::base::time::Instant;
use crate::engine::io::{ConnId, Output};
use crate::net::resolver::Action;

/// The budget of a session.
pub(super) struct Gentle {
    pub(super) connects: Pace,
    datagrams: Pace,
    answers: Pace,
    /// Datagrams that wait for their turn, at most [`limits::DATAGRAMS_HELD`].
    held: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Default for Gentle {
    fn default() -> Self {
        Self {
            connects: Pace::new(limits::CONNECTS, limits::CONNECTS_BURST),
            datagrams: Pace::new(limits::DATAGRAMS, limits::DATAGRAMS_BURST),
            answers: Pace::new(limits::ANSWERS, limits::ANSWERS_BURST),
            held: VecDeque::new(),
        }
    }
}

impl Gentle {
    /// When a datagram that waits may go.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.held.is_empty()).then(|| self.datagrams.due())
    }
}

impl Session {
    /// Begins a connection.
    pub(super) fn connect(&mut self, now: Instant, conn: ConnId, to: SocketAddr) {
        self.gentle.connects.take(now);
        self.out.push_back(Output::Connect { conn, to });
    }

    /// Sends a datagram that somebody waits for.
    pub(super) fn send_datagram(&mut self, now: Instant, to: SocketAddr, bytes: Vec<u8>) {
        self.gentle.datagrams.take(now);
        self.out.push_back(Output::Datagram { to, bytes });
    }

    /// Sends a datagram to a group of the neighbourhood.
    pub(super) fn send_multicast(&mut self, now: Instant, to: SocketAddr, bytes: Vec<u8>) {
        self.gentle.datagrams.take(now);
        self.out.push_back(Output::Multicast { to, bytes });
    }

    /// Sends a datagram when the others leave room for it.
    pub(super) fn send_patiently(&mut self, now: Instant, to: SocketAddr, bytes: Vec<u8>) {
        if self.gentle.held.is_empty() && self.gentle.datagrams.allows(now) {
            return self.send_datagram(now, to, bytes);
        }
        if self.gentle.held.len() >= limits::DATAGRAMS_HELD {
            self.gentle.held.pop_front();
        }
        self.gentle.held.push_back((to, bytes));
    }

    /// Sends an answer to one who asked in the DHT, now or never.
    pub(super) fn send_answer(&mut self, now: Instant, to: SocketAddr, bytes: Vec<u8>) {
        if self.gentle.answers.allows(now) {
            self.gentle.answers.take(now);
            self.out.push_back(Output::Datagram { to, bytes });
        }
    }

    /// Does what the resolver wants.
    pub(super) fn look_up(&mut self, now: Instant, action: Action) {
        match &action {
            Action::Datagram { .. } => self.gentle.datagrams.take(now),
            Action::Connect { .. } => self.gentle.connects.take(now),
            Action::Send { .. } | Action::Close { .. } | Action::ReadConfig => {}
        }
        self.out.push_back(Output::Dns(action));
    }

    /// Sends what waited, as much as is allowed.
    pub(super) fn send_held(&mut self, now: Instant) {
        while self.gentle.datagrams.allows(now)
            && let Some((to, bytes)) = self.gentle.held.pop_front()
        {
            self.send_datagram(now, to, bytes);
        }
    }

    /// What waited is not sent any more.
    pub(super) fn drop_held(&mut self) {
        self.gentle.held.clear();
    }
}
