//! Queries of others, and our answers.

use std::net::SocketAddr;

use super::exchange::VERSION;
use super::id::is_usable;
use super::table::K;
use super::{Action, Dht, plane_of};
use crate::base::ids::InfoHash;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::krpc::{
    self, AnnouncedPort, Ask, Body, Message, Node, NodeId, Query, Response, Values, Want,
};
use crate::wire::tracker_http::url::is_local;

impl Dht {
    /// Answers a query of `len` bytes, if its sender may be answered. Whether it was.
    pub(super) fn handle_query(
        &mut self,
        now: Instant,
        from: SocketAddr,
        len: usize,
        message: &Message<'_>,
        query: &Query<'_>,
        rng: &mut Rng,
    ) -> bool {
        self.queries.0 += 1;
        // Below 1024 sit servers that a spoofed query might want us to talk to.
        let is_server = from.port() < 1024 && !is_local(from.ip());
        if self.config.read_only || is_server || !self.gate.admit(now, from.ip()) {
            return false;
        }
        // Whoever spoofs a sender gains at most a factor of ten.
        let room = (len * 10).min(ANSWER_MAX);
        let plane = &self.planes[plane_of(from)];
        let id = plane.id;
        let bytes = match query.ask {
            Ask::Ping => respond(message, from, Response::new(id)),
            Ask::FindNode { target } => {
                let nodes = self.near(target, from, query.want);
                let [nodes, nodes6] = nodes.each_ref().map(Option::as_deref);
                let response = Response {
                    nodes,
                    nodes6,
                    ..Response::new(id)
                };
                respond(message, from, response)
            }
            Ask::GetPeers { info_hash, scrape } => {
                self.answer_get_peers(now, from, message, query, (info_hash, scrape), room, rng)
            }
            Ask::AnnouncePeer {
                info_hash,
                port,
                token,
                is_seed,
            } => {
                let ip = from.ip();
                let port = match port {
                    AnnouncedPort::Source { .. } => from.port(),
                    AnnouncedPort::Given(port) => port,
                };
                if !self.tokens.accepts(now, ip, info_hash, token, rng) {
                    refuse(message, from, 203, b"Bad token")
                } else {
                    let peer = SocketAddr::new(ip, port);
                    if is_usable(peer) {
                        self.store.add(now, id, info_hash, peer, is_seed);
                        self.tell_of(info_hash, peer);
                    }
                    respond(message, from, Response::new(id))
                }
            }
            Ask::Unknown(_) => refuse(message, from, 204, b"Method Unknown"),
        };
        if !self.gate.spend_on_answer(now, bytes.len()) {
            return false;
        }
        self.queries.1 += 1;
        self.send(from, bytes, true);
        self.meet(now, from, message, query, rng);
        true
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what a query says, and what may be said"
    )]
    fn answer_get_peers(
        &mut self,
        now: Instant,
        from: SocketAddr,
        message: &Message<'_>,
        query: &Query<'_>,
        (info_hash, scrape): (InfoHash, bool),
        room: usize,
        rng: &mut Rng,
    ) -> Vec<u8> {
        let nodes = self.near(NodeId(info_hash.0), from, query.want);
        let [nodes, nodes6] = nodes.each_ref().map(Option::as_deref);
        let token = self.tokens.issue(now, from.ip(), info_hash, rng);
        let counts = self.store.counts(now, info_hash).filter(|_| scrape);
        let [seeds, leechers] = match &counts {
            Some(counts) => counts.each_ref().map(Some),
            None => [None, None],
        };
        let mut response = Response {
            nodes,
            nodes6,
            token: Some(&token),
            seeds,
            leechers,
            ..Response::new(self.planes[plane_of(from)].id)
        };
        let mut bytes = respond(message, from, response.clone());
        if bytes.len() > room {
            (response.seeds, response.leechers) = (None, None);
            bytes = respond(message, from, response.clone());
        }
        let peers = self.store.peers(now, info_hash, from.is_ipv6(), rng);
        // `6:values` stands before the list.
        let room = room.saturating_sub(bytes.len() + 8);
        let list = krpc::write_values(peers.iter().copied(), room);
        if peers.is_empty() || list.len() > room {
            return bytes;
        }
        response.values = Values::new(&list);
        respond(message, from, response)
    }

    /// A peer that announces to us a torrent that is searched for need not be searched for.
    fn tell_of(&mut self, info_hash: InfoHash, peer: SocketAddr) {
        if self.searches.contains_key(&info_hash) {
            let peers = vec![peer];
            self.actions.push_back(Action::Peers { info_hash, peers });
        }
    }

    /// The nodes nearest to `target` of the wanted families, those of the asker's if it doesn't say.
    fn near(&self, target: NodeId, from: SocketAddr, want: Option<Want>) -> [Option<Vec<u8>>; 2] {
        let want = want.unwrap_or(Want {
            v4: from.is_ipv4(),
            v6: from.is_ipv6(),
        });
        let near = |(plane, is_wanted): (usize, bool)| {
            let nodes = self.planes[plane].table.closest(target, K + 1);
            // It knows itself; and nothing local is of use to anyone outside.
            let nodes = nodes.into_iter().filter(|node| {
                node.address != from && (is_local(from.ip()) || !is_local(node.address.ip()))
            });
            let mut bytes = Vec::new();
            nodes
                .take(K)
                .for_each(|node| krpc::push_node(&mut bytes, node));
            is_wanted.then_some(bytes)
        };
        [(0, want.v4), (1, want.v6)].map(near)
    }

    /// A node that asks may be one for the table: it has to show that it answers.
    fn meet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        message: &Message<'_>,
        query: &Query<'_>,
        rng: &mut Rng,
    ) {
        let node = Node {
            id: query.id,
            address: from,
        };
        let table = &mut self.planes[plane_of(from)].table;
        if message.is_read_only || table.handle_query(now, node) || !table.wants(node) {
            return;
        }
        if self.gate.checks.take(now, 1, 0) {
            self.check(now, from, None, Ask::Ping, rng);
        }
    }
}

fn respond(message: &Message<'_>, to: SocketAddr, response: Response<'_>) -> Vec<u8> {
    reply(message, to, Body::Response(response))
}

fn refuse(message: &Message<'_>, to: SocketAddr, code: i64, text: &[u8]) -> Vec<u8> {
    reply(message, to, Body::Error { code, text })
}

fn reply(message: &Message<'_>, to: SocketAddr, body: Body<'_>) -> Vec<u8> {
    Message {
        transaction: message.transaction,
        version: VERSION,
        seen_as: Some(to),
        is_read_only: false,
        body,
    }
    .encode()
}

/// Longest answer: it fits in one packet on any path.
const ANSWER_MAX: usize = 1200;
