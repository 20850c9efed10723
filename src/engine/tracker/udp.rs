//! One announce over UDP (BEP 15): connection id, retransmission, a late answer.
//!
//! ```text
//! Connecting --id--> Announcing --peers or refusal--> over
//!      ^---60 s old id---/          both: again after 15 x 2^n seconds, n from 0 to 8, then given up
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::tracker_http::Announce;
use crate::wire::tracker_udp::{self, ReplyBody, Scrape};

/// A connection id and what it is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Connection {
    id: u64,
    with: SocketAddr,
    since: Instant,
}

impl Connection {
    fn is_good(self, now: Instant, with: SocketAddr) -> bool {
        self.with == with && now.since(self.since) < CONNECTION_LIFE
    }
}

/// An announce that is under way.
pub(super) struct Exchange {
    to: SocketAddr,
    announce: Announce,
    connection: Option<Connection>,
    /// Whether the connection id came from an earlier exchange: the tracker may have forgotten it.
    is_inherited: bool,
    has_announced: bool,
    /// Whether counts are asked for instead of peers.
    is_scrape: bool,
    connect_transaction: u32,
    announce_transaction: u32,
    timeouts: u32,
    resend_at: Instant,
}

impl Exchange {
    /// Begins; gives the first datagram too. `known` is used if it is still good.
    pub(super) fn begin(
        now: Instant,
        to: SocketAddr,
        announce: Announce,
        known: Option<Connection>,
        rng: &mut Rng,
    ) -> (Self, Vec<u8>) {
        let connection = known.filter(|known| known.is_good(now, to));
        let mut exchange = Self {
            to,
            announce,
            connection,
            is_inherited: connection.is_some(),
            has_announced: false,
            is_scrape: false,
            connect_transaction: rng.next_u32(),
            announce_transaction: rng.next_u32(),
            timeouts: 0,
            resend_at: now,
        };
        let datagram = exchange.send(now);
        (exchange, datagram)
    }

    /// Asks for counts instead of announcing anything, from the next datagram on; the first one, for a connection
    /// id, is the same.
    pub(super) fn scrape(&mut self) {
        self.is_scrape = true;
    }

    /// Whether a datagram of `from` that carries `transaction` may be an answer.
    pub(super) fn awaits(&self, from: SocketAddr, transaction: u32) -> bool {
        let connecting = self.connection.is_none() && transaction == self.connect_transaction;
        let announcing = self.has_announced && transaction == self.announce_transaction;
        from == self.to && (connecting || announcing)
    }

    /// Takes an awaited answer.
    pub(super) fn handle_reply(
        &mut self,
        now: Instant,
        transaction: u32,
        reply: ReplyBody,
        rng: &mut Rng,
    ) -> Progress {
        let is_announce = self.has_announced && transaction == self.announce_transaction;
        match reply {
            ReplyBody::Connected { connection } if !is_announce => {
                self.connection = Some(Connection {
                    id: connection,
                    with: self.to,
                    since: now,
                });
                // The pauses of an announce go on growing when only its connection id had to be renewed.
                if !self.has_announced {
                    self.timeouts = 0;
                }
                Progress::Send(self.send(now))
            }
            ReplyBody::Announced {
                interval, peers, ..
            } if is_announce && !self.is_scrape => Progress::Announced { interval, peers },
            ReplyBody::Refused(_) if is_announce && self.is_inherited => {
                self.reconnect(rng);
                Progress::Send(self.send(now))
            }
            ReplyBody::Refused(reason) => Progress::Refused(reason),
            ReplyBody::Scraped(counts) if is_announce && self.is_scrape => counts
                .first()
                .map_or(Progress::None, |one| Progress::Scraped(*one)),
            ReplyBody::Connected { .. } | ReplyBody::Announced { .. } | ReplyBody::Scraped(_) => {
                Progress::None
            }
        }
    }

    /// Sends again if it is time to.
    pub(super) fn handle_timeout(&mut self, now: Instant, rng: &mut Rng) -> Progress {
        if now < self.resend_at {
            return Progress::None;
        }
        if self.timeouts == TIMEOUTS_MAX {
            return Progress::GaveUp;
        }
        self.timeouts += 1;
        let stale = self
            .connection
            .is_some_and(|connection| self.is_inherited || !connection.is_good(now, self.to));
        if stale {
            self.reconnect(rng);
        }
        Progress::Send(self.send(now))
    }

    /// When to send again.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.resend_at
    }

    /// The tracker's address.
    pub(super) fn to(&self) -> SocketAddr {
        self.to
    }

    /// The connection id, for the next exchange.
    pub(super) fn connection(&self) -> Option<Connection> {
        self.connection
    }

    fn reconnect(&mut self, rng: &mut Rng) {
        self.connection = None;
        self.is_inherited = false;
        self.connect_transaction = rng.next_u32();
    }

    fn send(&mut self, now: Instant) -> Vec<u8> {
        self.resend_at = now + FIRST_TIMEOUT * (1 << self.timeouts);
        match self.connection {
            Some(connection) => {
                self.has_announced = true;
                let transaction = self.announce_transaction;
                if self.is_scrape {
                    let torrent = [self.announce.info_hash];
                    return tracker_udp::encode_scrape(connection.id, transaction, &torrent);
                }
                tracker_udp::encode_announce(connection.id, transaction, &self.announce)
            }
            None => tracker_udp::encode_connect(self.connect_transaction),
        }
    }
}

/// What came of an event.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing.
    None,
    /// Send this.
    Send(Vec<u8>),
    /// The tracker has answered: over.
    Announced {
        interval: u32,
        peers: Vec<SocketAddr>,
    },
    /// The tracker has told its counts: over.
    Scraped(Scrape),
    /// The tracker has refused: over.
    Refused(String),
    /// Nine requests went unanswered: over.
    GaveUp,
}

/// How long a client may use a connection id (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// The first pause before a request is sent again (BEP 15).
const FIRST_TIMEOUT: Duration = Duration::from_secs(15);
/// The last pause is 15 x 2^8 seconds (BEP 15).
const TIMEOUTS_MAX: u32 = 8;
