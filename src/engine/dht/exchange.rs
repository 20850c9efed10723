//! Our queries, and the answers of others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::id::{is_believable, is_secure, is_usable, net, secure_id};
use super::lookup::{Lookup, Purpose};
use super::table::K;
use super::{Action, Dht, PENDING_MAX, THROTTLE, canonical, coarse, plane_of};
use crate::base::ids::InfoHash;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::krpc::{
    self, AnnouncedPort, Ask, Body, Message, Node, NodeId, Query, Response, Want,
};
use crate::wire::tracker_http::url::is_local;

impl Dht {
    /// Takes a message. Whether it changed anything that deadlines hang on.
    pub(super) fn handle_message(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        rng: &mut Rng,
    ) -> bool {
        self.bytes.0 += bytes.len() as u64;
        if !self.planes[plane_of(from)].is_on || !is_usable(from) {
            return false;
        }
        // A flood costs no more than this.
        let is_awaited = |pending: &Pending| pending.to == from;
        if self.gate.is_blocked(now, from.ip()) && !self.pending.values().any(is_awaited) {
            return false;
        }
        let Ok(message) = Message::decode(bytes) else {
            // Nonsense in answer to a query is no answer.
            let pending = krpc::transaction(bytes).and_then(|t| self.take_pending(from, t));
            let is_ours = pending.is_some();
            pending
                .into_iter()
                .for_each(|pending| self.fail(&pending, true));
            return is_ours;
        };
        match &message.body {
            Body::Query(query) => self.handle_query(now, from, bytes.len(), &message, query, rng),
            Body::Response(response) => {
                let Some(pending) = self.take_pending(from, message.transaction) else {
                    return false;
                };
                self.handle_response(now, &pending, response, rng);
                if let Some(seen_as) = message.seen_as {
                    self.count_vote(now, from, canonical(seen_as).ip(), rng);
                }
                true
            }
            Body::Error { .. } => {
                let Some(pending) = self.take_pending(from, message.transaction) else {
                    return false;
                };
                // It refuses, but it is there.
                self.fail(&pending, false);
                true
            }
        }
    }

    /// Asks for a lookup; if it can't be asked now, the candidate stays.
    pub(super) fn ask_for_lookup(
        &mut self,
        now: Instant,
        lookup: u32,
        to: SocketAddr,
        id: Option<NodeId>,
        ask: Ask<'_>,
        rng: &mut Rng,
    ) -> bool {
        let is_asked = self.ask(now, to, id, ask, Errand::Lookup(lookup), rng);
        if !is_asked && let Some(lookup) = self.lookups.get_mut(&lookup) {
            lookup.unask(to);
        }
        is_asked
    }

    /// Asks a node whether it is there, unless it is being asked.
    pub(super) fn check(
        &mut self,
        now: Instant,
        to: SocketAddr,
        id: Option<NodeId>,
        ask: Ask<'_>,
        rng: &mut Rng,
    ) {
        if !self.pending.values().any(|pending| pending.to == to) {
            self.ask(now, to, id, ask, Errand::Check, rng);
        }
    }

    /// Puts down the announces to the nodes that a lookup has found.
    pub(super) fn owe_announces(
        &mut self,
        lookup: &Lookup,
        info_hash: InfoHash,
        port: u16,
        is_seed: bool,
    ) {
        let port = if self.config.implied_port {
            AnnouncedPort::Source { listen: port }
        } else {
            AnnouncedPort::Given(port)
        };
        for (node, token) in lookup.nearest() {
            if self.owed.len() < OWED_MAX {
                self.owed.push_back(Owed {
                    node,
                    info_hash,
                    port,
                    token: token.to_vec(),
                    is_seed,
                });
            }
        }
    }

    /// Announces us, as far as we may send.
    pub(super) fn send_owed(&mut self, now: Instant, rng: &mut Rng) {
        while let Some(owed) = self.owed.pop_front() {
            let ask = Ask::AnnouncePeer {
                info_hash: owed.info_hash,
                port: owed.port,
                token: &owed.token,
                is_seed: owed.is_seed,
            };
            let (to, id) = (owed.node.address, Some(owed.node.id));
            if !self.ask(now, to, id, ask, Errand::Announce, rng) {
                self.owed.push_front(owed);
                self.throttled = Some(coarse(now + THROTTLE));
                return;
            }
        }
    }

    /// Gives up queries that have waited too long; sends slow ones once more, and lets lookups go on past them.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_over = |pending: &Pending| pending.deadline() <= now;
        let over = self.pending.iter().filter(|(_, pending)| is_over(pending));
        for transaction in over
            .map(|(&transaction, _)| transaction)
            .collect::<Vec<_>>()
        {
            let Some(pending) = self.pending.get_mut(&transaction) else {
                continue;
            };
            let again = pending.again.take();
            if pending.deadline() <= now {
                let pending = self.pending.remove(&transaction);
                pending
                    .into_iter()
                    .for_each(|pending| self.fail(&pending, true));
                continue;
            }
            let to = pending.to;
            if let Errand::Lookup(lookup) = pending.errand
                && let Some(lookup) = self.lookups.get_mut(&lookup)
            {
                lookup.handle_slow(to);
            }
            // Where one in five datagrams is lost, one in three exchanges is.
            if let Some(bytes) = again
                && self.gate.spend_on_query(now, bytes.len())
            {
                self.send(to, bytes, false);
            }
        }
    }

    fn ask(
        &mut self,
        now: Instant,
        to: SocketAddr,
        id: Option<NodeId>,
        ask: Ask<'_>,
        errand: Errand,
        rng: &mut Rng,
    ) -> bool {
        if self.pending.len() >= PENDING_MAX {
            return false;
        }
        // Ends: there are 256 pending at most.
        let transaction = loop {
            let transaction = rng.next_u32();
            if !self.pending.contains_key(&transaction) {
                break transaction;
            }
        };
        let query = Query {
            id: self.planes[plane_of(to)].id,
            want: match ask {
                Ask::FindNode { .. } | Ask::GetPeers { .. } => {
                    let both = self.config.ipv4 && self.config.ipv6;
                    both.then_some(Want { v4: true, v6: true })
                }
                Ask::Ping | Ask::AnnouncePeer { .. } | Ask::Unknown(_) => None,
            },
            ask,
        };
        let bytes = Message {
            transaction: &transaction.to_be_bytes(),
            version: VERSION,
            seen_as: None,
            is_read_only: self.config.read_only,
            body: Body::Query(query),
        }
        .encode();
        if !self.gate.spend_on_query(now, bytes.len()) {
            return false;
        }
        let pending = Pending {
            to,
            id,
            errand,
            sent: now,
            again: Some(bytes.clone()),
        };
        self.pending.insert(transaction, pending);
        self.send(to, bytes, false);
        true
    }

    pub(super) fn send(&mut self, to: SocketAddr, bytes: Vec<u8>, is_answer: bool) {
        self.bytes.1 += bytes.len() as u64;
        self.actions.push_back(Action::Datagram {
            to,
            bytes,
            is_answer,
        });
    }

    /// The query that this answers: of this number, to this address.
    fn take_pending(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Pending> {
        let transaction = u32::from_be_bytes(transaction.try_into().ok()?);
        let pending = self.pending.get(&transaction)?;
        if pending.to != from {
            return None;
        }
        self.pending.remove(&transaction)
    }

    /// A query will not be answered, and the node is silent or talks nonsense.
    fn fail(&mut self, pending: &Pending, is_bad: bool) {
        let plane = &mut self.planes[plane_of(pending.to)];
        if let Some(id) = pending.id.filter(|_| is_bad) {
            let address = pending.to;
            let lost = plane.table.handle_silence(Node { id, address });
            if let Some(node) = lost {
                // When all are gone, they may come back when our own line does.
                plane.known.retain(|known| known.address != node.address);
                plane.known.push(node);
                let spare = plane.known.len().saturating_sub(super::SAVED_MAX);
                plane.known.drain(..spare);
            }
        }
        if let Errand::Lookup(lookup) = pending.errand
            && let Some(lookup) = self.lookups.get_mut(&lookup)
        {
            lookup.handle_failure(pending.to);
        }
    }

    fn handle_response(
        &mut self,
        now: Instant,
        pending: &Pending,
        response: &Response<'_>,
        rng: &mut Rng,
    ) {
        let from = pending.to;
        let node = Node {
            id: response.id,
            address: from,
        };
        let at = plane_of(from);
        // Those whom everybody asks first stay out of the table, once it has others.
        let is_router = self.routers.contains(&from) && !is_local(from.ip());
        let plane = &mut self.planes[at];
        let was_empty = plane.table.is_empty();
        if !is_router || plane.table.len() < K {
            plane.table.handle_answer(now, node);
        }
        // Whoever comes first may know the others.
        if was_empty && let Errand::Check = pending.errand {
            self.bootstrap = Some(now);
        }
        let told = krpc::read_nodes(response.nodes.unwrap_or_default())
            .chain(krpc::read_nodes6(response.nodes6.unwrap_or_default()));
        let told = told.filter(|told| is_believable(from, told.address));
        let ids = self.planes.each_ref().map(|plane| plane.id);
        let told: Vec<_> = told
            .filter(|told| !ids.contains(&told.id))
            .take(TOLD_MAX)
            .collect();
        let is_expected = pending.id.is_none_or(|id| id == response.id);
        if !is_expected {
            let id = pending.id.unwrap_or(response.id);
            self.planes[at].table.remove_id(Node { id, address: from });
        }
        match pending.errand {
            Errand::Announce => {}
            Errand::Check => self.call_wanted(&told),
            Errand::Lookup(id) => {
                // Nodes of the other family fill its table while that is empty.
                let other = 1 - at;
                if self.planes[other].is_on && self.planes[other].table.len() < K {
                    let others = told.iter().filter(|told| plane_of(told.address) == other);
                    let others: Vec<_> = others.copied().collect();
                    self.call_wanted(&others);
                }
                if is_expected {
                    self.feed_lookup(id, node, response, &told);
                } else if let Some(lookup) = self.lookups.get_mut(&id) {
                    lookup.handle_failure(from);
                }
                self.drive(now, id, rng);
            }
        }
    }

    fn feed_lookup(&mut self, id: u32, node: Node, response: &Response<'_>, told: &[Node]) {
        let Some(lookup) = self.lookups.get_mut(&id) else {
            return;
        };
        lookup.handle_answer(node, response.token);
        for told in told {
            if plane_of(told.address) == lookup.plane {
                lookup.add(*told);
            }
        }
        match lookup.purpose {
            Purpose::Bootstrap | Purpose::Refresh => {}
            Purpose::Scrape(_) => lookup.count(response.seeds, response.leechers),
            Purpose::Peers(info_hash, _) => {
                let values = response
                    .values
                    .into_iter()
                    .flat_map(|values| values.addresses());
                let values = values.map(canonical);
                let peers = values.filter(|peer| is_believable(node.address, *peer));
                let peers = lookup.new_peers(peers);
                if !peers.is_empty() {
                    self.actions.push_back(Action::Peers { info_hash, peers });
                }
            }
        }
    }

    fn call_wanted(&mut self, nodes: &[Node]) {
        for node in nodes {
            if self.planes[plane_of(node.address)].table.wants(*node) {
                self.call(node.address);
            }
        }
    }

    /// Counts what a node says our address is, one vote a network; when most agree on one, our id follows from it
    /// (BEP 42).
    fn count_vote(&mut self, now: Instant, from: SocketAddr, seen_as: IpAddr, rng: &mut Rng) {
        let plane = &mut self.planes[plane_of(from)];
        if seen_as.is_ipv6() != from.is_ipv6() || !is_usable((seen_as, 1).into()) {
            return;
        }
        let voter = net(from.ip());
        plane.votes.retain(|(other, _)| *other != voter);
        plane.votes.push_back((voter, seen_as));
        if plane.votes.len() > VOTES_MAX {
            plane.votes.pop_front();
        }
        let agree = plane
            .votes
            .iter()
            .filter(|(_, vote)| *vote == seen_as)
            .count();
        if agree < VOTES_MIN || agree * 2 <= plane.votes.len() || plane.external == Some(seen_as) {
            return;
        }
        plane.external = Some(seen_as);
        if !is_secure(plane.id, seen_as) {
            plane.id = secure_id(seen_as, rng);
            plane.table.rekey(now, plane.id);
            // Our new neighbours have to hear of us.
            let (at, id) = (plane_of(from), plane.id);
            self.begin(at, id, Purpose::Refresh);
        }
    }
}

/// A query that waits for its answer.
pub(super) struct Pending {
    pub(super) to: SocketAddr,
    /// Whom we asked, if we know.
    id: Option<NodeId>,
    errand: Errand,
    sent: Instant,
    /// What to send once more when it is slow.
    again: Option<Vec<u8>>,
}

impl Pending {
    /// When something is to be done about it.
    pub(super) fn deadline(&self) -> Instant {
        let wait = if self.again.is_some() { SLOW } else { TIMEOUT };
        self.sent + wait
    }
}

/// An announce that is still to be sent.
pub(super) struct Owed {
    node: Node,
    info_hash: InfoHash,
    port: AnnouncedPort,
    token: Vec<u8>,
    is_seed: bool,
}

/// Why something was asked.
#[derive(Clone, Copy)]
enum Errand {
    /// To see whether a node is there.
    Check,
    /// For a lookup.
    Lookup(u32),
    /// To announce us.
    Announce,
}

/// Our program, as other nodes see it.
pub(super) const VERSION: &[u8] = b"MI\x00\x01";
/// After this long, a silent node is asked again, and another beside it.
const SLOW: Duration = Duration::from_secs(2);
/// After this long, a query is not answered any more.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Announces that wait: those of eight lookups.
const OWED_MAX: usize = 128;
/// Nodes taken from one answer: honest ones name 8 a family.
const TOLD_MAX: usize = 20;
/// Networks whose votes count, and how many must agree.
const VOTES_MAX: usize = 16;
const VOTES_MIN: usize = 4;
