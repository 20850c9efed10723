//! Places for peers: how many there are, which torrent gets them, and which has to give one up.
//!
//! All torrents share the places of the session. Each may count on its even share; what the others have no use for
//! it may take as well, until one of them can use it.

use std::collections::VecDeque;

use super::{Session, ban_key};
use crate::base::time::Instant;
use crate::engine::conn::{Conn, Kind};
use crate::engine::io::{ConnId, TorrentId};
use crate::engine::peer::Direction;
use crate::engine::torrent::Torrent;

impl Session {
    /// Dials addresses while there is room for peers and for half-open connections, and the router bears it. The
    /// torrents take turns, those that have least first.
    pub(super) fn dial(&mut self, now: Instant) {
        if self.stopping || self.holding || self.peers() >= self.settings.max_peers {
            return;
        }
        let own: Vec<_> = self.own_addresses().collect();
        for (_, seat) in self.torrents.iter_mut() {
            own.iter().for_each(|own| seat.torrent.swarm.set_own(*own));
        }
        let mut half_open = self.half_open(Direction::Out);
        // Who fetches comes before who only serves.
        self.dial_in_turn(now, &mut half_open, Torrent::wants_peers);
        self.dial_in_turn(now, &mut half_open, Torrent::serves);
    }

    /// Dials for those torrents of which `is_meant` is true.
    fn dial_in_turn(
        &mut self,
        now: Instant,
        half_open: &mut usize,
        is_meant: fn(&Torrent) -> bool,
    ) {
        let share = self.share();
        let seats = self.torrents.iter();
        let meant = seats.filter(|(_, seat)| is_meant(&seat.torrent));
        let mut turns: Vec<(usize, TorrentId)> = meant
            .map(|(id, seat)| (seat.torrent.members.len() + self.half_open_of(id), id))
            .collect();
        turns.sort_unstable();
        let short: Vec<TorrentId> = self.short(now).collect();
        let mut turns = VecDeque::from(turns);
        // Ends: who gets its turn again has begun one more connection.
        while let Some((has, id)) = turns.pop_front() {
            if *half_open >= self.settings.half_open || !self.gentle.connects.allows(now) {
                break;
            }
            // Beyond its share a torrent only takes what no other can use.
            let is_enough = has >= share && short.iter().any(|other| *other != id);
            if !is_enough && self.dial_one(now, id) {
                *half_open += 1;
                turns.push_back((has + 1, id));
            }
        }
    }

    /// Dials an address of a torrent; false if there is none to be dialled now.
    fn dial_one(&mut self, now: Instant, id: TorrentId) -> bool {
        while let Some(seat) = self.torrents.get_mut(id) {
            let next = match seat.torrent.wants_peers() {
                true => seat.torrent.swarm.dial(now, &mut self.rng),
                false => seat.torrent.swarm.dial_to_serve(now),
            };
            let Some(to) = next else {
                break;
            };
            let is_banned = self.banned.contains(&ban_key(to.ip()));
            seat.knew_banned |= is_banned;
            if is_banned || !self.settings.speaks(to) {
                seat.torrent.swarm.forget(to);
                continue;
            }
            let kind = Kind::Dialling { torrent: id };
            let conn = self.conns.insert(Conn {
                address: to,
                since: now,
                kind,
            });
            self.connect(now, conn, to);
            return true;
        }
        false
    }

    /// If all places are taken and a torrent has fewer than its share though it knows whom to dial, the torrent that
    /// has most gives one up: that of the peer that was of no use longest.
    pub(super) fn share_out(&mut self, now: Instant) {
        if self.holding || self.peers() < self.settings.max_peers {
            return;
        }
        let share = self.share();
        let seats = self.torrents.iter();
        let most = seats
            .map(|(id, seat)| (seat.torrent.members.len(), id))
            .max();
        let Some((_, rich)) = most.filter(|(has, _)| *has > share) else {
            return;
        };
        if self.short(now).next().is_none() {
            return;
        }
        let mut least: Option<(Instant, ConnId)> = None;
        self.for_members(now, rich, |_, conn, _, peer| {
            least = least.into_iter().chain([(peer.of_use, conn)]).min();
        });
        if let Some((_, conn)) = least {
            self.close(now, conn, "another torrent needs its place");
        }
    }

    /// Places that each torrent may count on: an even share among those that have peers or know whom to dial.
    pub(super) fn share(&self) -> usize {
        let seats = self.torrents.iter();
        let claims = seats.filter(|(_, seat)| {
            let torrent = &seat.torrent;
            let looks = torrent.wants_peers() && !torrent.swarm.is_empty();
            looks || !torrent.members.is_empty()
        });
        (self.settings.max_peers / claims.count().max(1)).max(1)
    }

    /// Torrents that have less than their share and know whom to dial.
    fn short(&self, now: Instant) -> impl Iterator<Item = TorrentId> + '_ {
        let share = self.share();
        let seats = self.torrents.iter();
        let short = seats.filter(move |(_, seat)| {
            let torrent = &seat.torrent;
            let has_less = torrent.members.len() < share;
            has_less && torrent.wants_peers() && torrent.swarm.has_rested(now)
        });
        short.map(|(id, _)| id)
    }

    /// Peers of all torrents.
    pub(super) fn peers(&self) -> usize {
        self.torrents
            .iter()
            .map(|(_, seat)| seat.torrent.members.len())
            .sum()
    }

    /// Connections of one direction that are being opened or greeted.
    pub(super) fn half_open(&self, direction: Direction) -> usize {
        let is_half_open = |conn: &Conn| match &conn.kind {
            Kind::Dialling { .. } => direction == Direction::Out,
            Kind::Greeting(greeting) => greeting.direction == direction,
            Kind::Peer { .. } | Kind::Tracker(_) | Kind::Served(_) => false,
        };
        self.conns
            .iter()
            .filter(|(_, conn)| is_half_open(conn))
            .count()
    }

    /// Connections of a torrent that are being opened or greeted.
    pub(super) fn half_open_of(&self, id: TorrentId) -> usize {
        let is_half_open = |conn: &Conn| match &conn.kind {
            Kind::Dialling { torrent } => *torrent == id,
            Kind::Greeting(greeting) => greeting.torrent == Some(id),
            Kind::Peer { .. } | Kind::Tracker(_) | Kind::Served(_) => false,
        };
        self.conns
            .iter()
            .filter(|(_, conn)| is_half_open(conn))
            .count()
    }
}
