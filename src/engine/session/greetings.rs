//! Accepting, handshakes: how a connection becomes a peer, and how it ends.

use std::net::{IpAddr, SocketAddr};

use super::{Seat, Session, ban_key};
use crate::base::escape;
use crate::base::ids::PeerId;
use crate::base::limits;
use crate::base::time::Instant;
use crate::engine::conn::{Conn, Greeting, Kind};
use crate::engine::io::{ConnId, ConnectError, Event, Output, TorrentId};
use crate::engine::peer::inbox::Inbox;
use crate::engine::peer::outbox::Outbox;
use crate::engine::peer::{Direction, Peer};
use crate::engine::timers::Timer;
use crate::engine::torrent::{Context, Why};
use crate::engine::tracker::HttpFailure;
use crate::wire::handshake::{self, Reserved};
use crate::wire::message::Message;
use crate::wire::tracker_http::url::is_local;

impl Session {
    pub(super) fn handle_accepted(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        let wanted = self.tracker.is_some()
            || self
                .torrents
                .iter()
                .any(|(_, seat)| seat.torrent.is_ready());
        let full = self.tracker.is_none() && self.peers() >= self.settings.max_peers;
        let banned = self.banned.contains(&ban_key(from.ip()));
        let crowd = self.inbound_of(from.ip()) >= limits::PER_HOST && !is_local(from.ip());
        let shut = self.stopping || self.holding;
        if shut || !wanted || full || banned || crowd || !self.room_to_greet(now) {
            return None;
        }
        let greeting = Greeting {
            direction: Direction::In,
            torrent: None,
            received: Vec::new(),
            outbox: Outbox::new(now),
        };
        let kind = Kind::Greeting(greeting);
        self.timers
            .set_earlier(Timer::Sweep, now + self.settings.sweep);
        Some(self.conns.insert(Conn {
            address: from,
            since: now,
            kind,
        }))
    }

    pub(super) fn handle_connected(&mut self, now: Instant, id: ConnId) {
        let full = self.peers() >= self.settings.max_peers;
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        match &conn.kind {
            Kind::Tracker(call) if call.needs_trust() => {
                self.out.push_back(Output::ReadAuthorities { conn: id });
            }
            Kind::Tracker(_) => self.out.push_back(Output::Transmit { conn: id }),
            Kind::Dialling { torrent } => {
                let torrent = *torrent;
                let Some(seat) = self.torrents.get_mut(torrent) else {
                    return;
                };
                if full {
                    return self.put_back(id);
                }
                let info_hash = seat.torrent.metainfo.info_hash;
                let reserved = reserved(seat.torrent.metainfo.private, self.dht.is_some());
                let ours = handshake::encode(reserved, info_hash, self.settings.peer_id);
                let mut outbox = Outbox::new(now);
                outbox.push_bytes(&ours);
                conn.since = now;
                conn.kind = Kind::Greeting(Greeting {
                    direction: Direction::Out,
                    torrent: Some(torrent),
                    received: Vec::new(),
                    outbox,
                });
                self.out.push_back(Output::Transmit { conn: id });
            }
            Kind::Greeting(_) | Kind::Peer { .. } | Kind::Served(_) => {}
        }
    }

    pub(super) fn handle_connect_failed(&mut self, now: Instant, id: ConnId, why: ConnectError) {
        let Some(conn) = self.conns.remove(id) else {
            return;
        };
        match conn.kind {
            Kind::Dialling { torrent } => {
                if let Some(seat) = self.torrents.get_mut(torrent) {
                    seat.torrent.swarm.failed(now, conn.address, why);
                }
                self.timers.set_earlier(Timer::Sweep, now);
            }
            Kind::Tracker(call) => {
                let failure = HttpFailure::Connect(why);
                self.tell_announcer(now, call.torrent, call.id, Err(failure));
            }
            Kind::Greeting(_) | Kind::Peer { .. } | Kind::Served(_) => {}
        }
    }

    /// Takes bytes of a handshake. What follows it belongs to the peer it makes.
    pub(super) fn handle_greeting_bytes(&mut self, now: Instant, id: ConnId, bytes: &[u8]) {
        let Some(Conn {
            kind: Kind::Greeting(greeting),
            ..
        }) = self.conns.get_mut(id)
        else {
            return;
        };
        let missing = handshake::LEN - greeting.received.len();
        let (front, rest) = bytes.split_at(missing.min(bytes.len()));
        greeting.received.extend_from_slice(front);
        if self.tracker.is_some() && greeting.received.first() == Some(&b'G') {
            return self.begin_serving(now, id, rest);
        }
        let theirs = match handshake::decode_greeting(&greeting.received) {
            Ok(Some(theirs)) => theirs,
            Ok(None) => return,
            Err(handshake::NotBitTorrent) => return self.give_up(now, id, "peer.handshake"),
        };
        let (answered, direction) = (greeting.torrent, greeting.direction);
        let torrent = match answered {
            Some(torrent) => torrent,
            None => match self.answer(id, theirs.info_hash) {
                Some(torrent) => torrent,
                None => return self.give_up(now, id, "peer.handshake: unknown torrent"),
            },
        };
        let Some(Conn {
            kind: Kind::Greeting(greeting),
            ..
        }) = self.conns.get_mut(id)
        else {
            return;
        };
        let Some(peer_id) = handshake::decode_peer_id(&greeting.received) else {
            return;
        };
        let known = self
            .torrents
            .get(torrent)
            .map(|seat| seat.torrent.metainfo.info_hash);
        if known != Some(theirs.info_hash) {
            return self.give_up(now, id, "peer.handshake: another torrent");
        }
        match self.admit(now, id, torrent, peer_id, direction) {
            Err(FULL) if direction == Direction::Out => return self.put_back(id),
            Err(why) => return self.give_up(now, id, why),
            Ok(()) => {}
        }
        self.promote(now, id, torrent, peer_id, theirs.reserved);
        self.carry_out(now);
        if !rest.is_empty() {
            let at = bytes.len() - rest.len();
            self.handle_peer_bytes(now, id, bytes, at);
        }
    }

    /// Ends a connection, whatever it is: the world is told, and whoever it mattered to.
    pub(super) fn close(&mut self, now: Instant, id: ConnId, why: Why) {
        let Some(conn) = self.conns.remove(id) else {
            return;
        };
        self.out.push_back(Output::Close { conn: id });
        self.timers.set_earlier(Timer::Sweep, now);
        let address = conn.address;
        match conn.kind {
            Kind::Dialling { torrent } => {
                if let Some(seat) = self.torrents.get_mut(torrent) {
                    seat.torrent.swarm.failed(now, address, ConnectError::Other);
                }
            }
            Kind::Greeting(greeting) => {
                let ours = (greeting.direction == Direction::Out).then_some(greeting.torrent);
                if let Some(seat) = ours.flatten().and_then(|id| self.torrents.get_mut(id)) {
                    seat.torrent.swarm.failed(now, address, ConnectError::Other);
                }
            }
            Kind::Peer {
                torrent,
                mut inbox,
                mut peer,
            } => {
                inbox.close(&mut self.pool);
                let Some(seat) = self.torrents.get_mut(torrent) else {
                    return;
                };
                let (rng, out, orders) = (&mut self.rng, &mut self.out, &mut self.orders);
                let cx = &mut Context {
                    now,
                    rng,
                    out,
                    orders,
                };
                let is_seed = peer.is_seed();
                seat.torrent.handle_left(cx, id, &mut peer);
                let dialled = (peer.direction == Direction::Out).then_some(address);
                for address in dialled.into_iter().chain(peer.listens_at) {
                    seat.torrent.swarm.ended(now, address, is_seed);
                }
                let event = Event::PeerGone {
                    torrent,
                    address,
                    why,
                };
                self.out.push_back(Output::Event(event));
            }
            Kind::Tracker(call) => {
                self.tell_announcer(now, call.torrent, call.id, Err(HttpFailure::Broken));
            }
            Kind::Served(_) => {}
        }
    }

    /// Ends a connection that we opened before it became a peer, through no fault of its address: that keeps
    /// its turn.
    pub(super) fn put_back(&mut self, id: ConnId) {
        let Some(conn) = self.conns.remove(id) else {
            return;
        };
        self.out.push_back(Output::Close { conn: id });
        let torrent = match conn.kind {
            Kind::Dialling { torrent } => Some(torrent),
            Kind::Greeting(greeting) => greeting.torrent,
            Kind::Peer { .. } | Kind::Tracker(_) | Kind::Served(_) => None,
        };
        if let Some(seat) = torrent.and_then(|torrent| self.torrents.get_mut(torrent)) {
            seat.torrent.swarm.put_back(conn.address);
        }
    }

    /// Whether there is room for one more inbound greeting. One that takes longer than it should is closed for it:
    /// a crowd that greets slowly must not keep honest peers out.
    fn room_to_greet(&mut self, now: Instant) -> bool {
        if self.half_open(Direction::In) < self.settings.half_open {
            return true;
        }
        let inbound = self.conns.iter().filter(|(_, conn)| match &conn.kind {
            Kind::Greeting(greeting) => greeting.direction == Direction::In,
            Kind::Dialling { .. } | Kind::Peer { .. } | Kind::Tracker { .. } | Kind::Served(_) => {
                false
            }
        });
        let oldest = inbound.map(|(id, conn)| (conn.since, id)).min();
        let slow = oldest.filter(|(since, _)| now - *since >= limits::GREETING_GRACE);
        if let Some((_, id)) = slow {
            self.give_up(now, id, "peer.handshake: slow, and others wait");
        }
        slow.is_some()
    }

    /// Inbound connections from this host.
    fn inbound_of(&self, ip: IpAddr) -> usize {
        let host = ban_key(ip);
        let theirs = self.conns.iter().filter(|(_, conn)| match &conn.kind {
            Kind::Greeting(greeting) => greeting.direction == Direction::In,
            Kind::Peer { peer, .. } => peer.direction == Direction::In,
            Kind::Served(_) => true,
            Kind::Dialling { .. } | Kind::Tracker { .. } => false,
        });
        theirs
            .filter(|(_, conn)| ban_key(conn.address.ip()) == host)
            .count()
    }

    /// A greeting came to nothing.
    fn give_up(&mut self, now: Instant, id: ConnId, why: Why) {
        log::debug!("greeting ended: {why}");
        self.close(now, id, why);
    }

    /// Answers an inbound greeting with ours as soon as its torrent is known.
    fn answer(&mut self, id: ConnId, info_hash: crate::base::ids::InfoHash) -> Option<TorrentId> {
        let torrent = self.torrent_of(info_hash)?;
        let seat = self.torrents.get(torrent)?;
        if !seat.torrent.is_ready() {
            return None;
        }
        let reserved = reserved(seat.torrent.metainfo.private, self.dht.is_some());
        let ours = handshake::encode(reserved, info_hash, self.settings.peer_id);
        let Kind::Greeting(greeting) = &mut self.conns.get_mut(id)?.kind else {
            return None;
        };
        greeting.outbox.push_bytes(&ours);
        greeting.torrent = Some(torrent);
        self.out.push_back(Output::Transmit { conn: id });
        Some(torrent)
    }

    /// Whether the one who greets may be a peer: not ourselves, not there already, and room for it.
    fn admit(
        &mut self,
        now: Instant,
        id: ConnId,
        torrent: TorrentId,
        peer_id: PeerId,
        direction: Direction,
    ) -> Result<(), Why> {
        let Some(seat) = self.torrents.get_mut(torrent) else {
            return Err("no such torrent");
        };
        let address = self.conns.get(id).map(|conn| conn.address);
        if peer_id == self.settings.peer_id {
            if let Some(address) = address {
                // The outbound end may see nothing but the close of the inbound one: that knows where we listen.
                let dialled = SocketAddr::new(address.ip(), self.settings.port);
                seat.torrent.swarm.forget(address);
                seat.torrent.swarm.forget(dialled);
            }
            return Err("ourselves");
        }
        let mut members = seat.torrent.members.iter();
        let twin = members.find_map(|member| match &self.conns.get(*member)?.kind {
            Kind::Peer { peer, .. } if peer.id == Some(peer_id) => Some((*member, peer.direction)),
            _ => None,
        });
        if let Some((twin, twin_direction)) = twin {
            // Two crossed connections: the greater peer id keeps its outgoing one.
            let keep_ours = self.settings.peer_id > peer_id;
            let ours = |direction| (direction == Direction::Out) == keep_ours;
            if direction == twin_direction || ours(twin_direction) {
                return Err("there already");
            }
            self.close(now, twin, "crossed");
        }
        if self.peers() >= self.settings.max_peers {
            return Err(FULL);
        }
        Ok(())
    }

    /// Makes a peer of a connection whose handshake is all there and good.
    fn promote(
        &mut self,
        now: Instant,
        id: ConnId,
        torrent: TorrentId,
        peer_id: PeerId,
        reserved: Reserved,
    ) {
        let Some(seat) = self.torrents.get(torrent) else {
            return;
        };
        let payload = self.our_handshake(&seat.torrent);
        let dht_port = self.dht_port().filter(|_| !seat.torrent.metainfo.private);
        let Some(Seat { torrent: t, .. }) = self.torrents.get_mut(torrent) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Kind::Greeting(greeting) = &mut conn.kind else {
            return;
        };
        let pieces = t.geometry().pieces();
        let mut peer = Box::new(Peer::new(now, conn.address, greeting.direction, pieces));
        peer.id = Some(peer_id);
        peer.reserved = reserved;
        peer.pipeline.set_most(self.settings.requests);
        if !self.settings.pex {
            peer.pex.turn_off();
        }
        std::mem::swap(&mut peer.outbox, &mut greeting.outbox);
        // The shell was told of the handshake; whether it has gone yet, only the next flush can tell.
        peer.announced = !peer.outbox.is_empty();
        if greeting.direction == Direction::Out {
            t.swarm.greeted(conn.address);
        }
        let (rng, out, orders) = (&mut self.rng, &mut self.out, &mut self.orders);
        let cx = Context {
            now,
            rng,
            out,
            orders,
        };
        t.handle_joined(&cx, id, &mut peer);
        if reserved.extended() {
            peer.send(
                now,
                Message::Extended {
                    id: 0,
                    payload: &payload,
                },
            );
        }
        if let Some(port) = dht_port.filter(|_| reserved.dht()) {
            peer.send(now, port);
        }
        let client = escape::escape_field(&peer_id.0[..8]);
        let event = Event::PeerConnected {
            torrent,
            address: conn.address,
            client,
        };
        conn.kind = Kind::Peer {
            torrent,
            inbox: Inbox::default(),
            peer,
        };
        self.out.push_back(Output::Event(event));
        self.timers
            .set_earlier(Timer::Sweep, now + self.settings.sweep);
        if !self.timers.is_set(Timer::Choke) {
            self.timers.set(Timer::Choke, now + limits::CHOKE_ROUND);
        }
        self.flush(now, id);
    }

    /// An announce instead of a handshake: the small tracker answers it.
    fn begin_serving(&mut self, now: Instant, id: ConnId, rest: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Kind::Greeting(greeting) = &mut conn.kind else {
            return;
        };
        let front = std::mem::take(&mut greeting.received);
        conn.kind = Kind::Served(Box::default());
        self.handle_served_bytes(now, id, &front);
        self.handle_served_bytes(now, id, rest);
    }
}

/// What we can do, for our handshakes. Peers of a private torrent are not told of the DHT.
fn reserved(is_private: bool, has_dht: bool) -> Reserved {
    let mut reserved = Reserved::OURS;
    reserved.set_dht(has_dht && !is_private);
    reserved
}

/// All places for peers are taken.
const FULL: Why = "full";
