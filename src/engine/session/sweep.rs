//! Everything that happens because time passes: deadlines, dialling, refilling, choking.

use std::collections::BTreeSet;

use super::{Seat, Session};
use crate::base::limits;
use crate::base::time::{Instant, earliest};
use crate::engine::conn::{Conn, Kind};
use crate::engine::io::{ConnId, TorrentId};
use crate::engine::peer::Peer;
use crate::engine::timers::Timer;
use crate::engine::torrent::choker::Candidate;
use crate::engine::torrent::{Context, Why};
use crate::wire::message::Message;

impl Session {
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.drive_names(now);
        self.handle_rate_timeout(now);
        self.drive_announcers(now);
        if self.stopping {
            if self.timers.take_due(Timer::Goodbye, now) {
                self.end();
            }
            return;
        }
        self.drive_finders(now);
        self.send_held(now);
        for (id, seat) in self.torrents.iter_mut() {
            if seat.torrent.poll_timeout().is_some_and(|at| at <= now) {
                let (rng, out, orders) = (&mut self.rng, &mut self.out, &mut self.orders);
                seat.torrent.handle_timeout(&mut Context {
                    now,
                    rng,
                    out,
                    orders,
                });
                orders.push_back(crate::engine::torrent::Order::Refill(id));
            }
        }
        if self.timers.take_due(Timer::Sweep, now) {
            self.sweep(now);
        }
        if self.timers.take_due(Timer::Choke, now) {
            self.choke_round(now);
        }
    }

    /// Closes what is past its time, keeps the others alive and busy, dials for more.
    fn sweep(&mut self, now: Instant) {
        let mut busy = false;
        let mut past = Vec::new();
        for (id, conn) in self.conns.iter() {
            let young = now - conn.since < self.settings.connect_timeout;
            match &conn.kind {
                Kind::Dialling { .. } | Kind::Greeting(_) | Kind::Served(_) if young => busy = true,
                Kind::Dialling { .. } | Kind::Greeting(_) | Kind::Served(_) => {
                    past.push((id, "greeting took too long"));
                }
                Kind::Peer { peer, .. } => {
                    busy |= !peer.pipeline.is_empty() || !peer.outbox.is_empty();
                    past.extend(past_time(now, peer).map(|why| (id, why)));
                }
                Kind::Tracker(_) => {}
            }
        }
        past.into_iter()
            .for_each(|(id, why)| self.close(now, id, why));
        self.close_useless(now);
        for id in self.torrent_ids() {
            self.for_members(now, id, |cx, id, torrent, peer| {
                peer.outbox.rest_until(now);
                if peer.interested || peer.interested_in_us {
                    peer.wanted = now;
                }
                if peer
                    .pipeline
                    .deadline()
                    .is_some_and(|deadline| deadline <= now)
                {
                    torrent.snub(cx, id, peer);
                }
                if now - peer.spoke >= limits::KEEP_ALIVE {
                    peer.send(now, Message::KeepAlive);
                }
            });
            self.refill(now, id);
            self.show(now, id);
            self.describe(now, id, &mut busy);
        }
        self.share_out(now);
        self.dial(now);
        self.look_for_more(now);
        let waiting = |(_, conn): (ConnId, &Conn)| is_waiting(now, &conn.kind);
        let busy = busy || self.conns.iter().any(waiting);
        self.set_next_sweep(now, busy);
    }

    /// Looks for pieces of the metadata of a torrent that has to be described first.
    fn describe(&mut self, now: Instant, id: TorrentId, busy: &mut bool) {
        let Some(seat) = self.torrents.get_mut(id) else {
            return;
        };
        let Some(collector) = &mut seat.torrent.collector else {
            return;
        };
        collector.handle_timeout(now);
        self.for_members(now, id, |cx, conn, torrent, peer| {
            torrent.ask_metadata(cx, conn, peer);
            *busy = true;
        });
    }

    /// Tells every peer who has come and gone (BEP 11), at most once a minute each.
    fn exchange_peers(&mut self, now: Instant, id: TorrentId) {
        if self
            .torrents
            .get(id)
            .is_none_or(|seat| seat.torrent.metainfo.private)
        {
            return;
        }
        let mut connected = BTreeSet::new();
        self.for_members(now, id, |_, _, _, peer| connected.extend(peer.listens_at));
        self.for_members(now, id, |cx, _, _, peer| {
            let Some(ut_pex) = peer.ut_pex else { return };
            let own = peer.listens_at.filter(|own| connected.remove(own));
            if let Some(pex) = peer.pex.poll_message(cx.now, &connected) {
                peer.send(
                    now,
                    Message::Extended {
                        id: ut_pex,
                        payload: &pex.encode(),
                    },
                );
            }
            connected.extend(own);
        });
    }

    /// The sweep stops when there is nothing to sweep: an idle box sleeps.
    fn set_next_sweep(&mut self, now: Instant, busy: bool) {
        if busy {
            return self.timers.set(Timer::Sweep, now + self.settings.sweep);
        }
        let mut next = (self.peers() > 0).then_some(now + limits::SWEEP_IDLE);
        if self.peers() < self.settings.max_peers {
            for (_, Seat { torrent, .. }) in self.torrents.iter() {
                let dial = match torrent.wants_peers() {
                    true => torrent.swarm.next_dial(),
                    false if torrent.serves() => torrent.swarm.next_to_serve(),
                    false => None,
                };
                next = earliest(next, dial.map(|at| at.max(now + self.settings.sweep)));
            }
        }
        match next {
            Some(at) => self.timers.set(Timer::Sweep, at),
            None => self.timers.stop(Timer::Sweep),
        }
    }

    /// A full session makes room for an untried address: the peer that was of no use longest goes. For an
    /// address that was tried before, only one goes that has nothing for us.
    fn close_useless(&mut self, now: Instant) {
        if self.peers() < self.settings.max_peers {
            return;
        }
        for id in self.torrent_ids() {
            let Some(seat) = self.torrents.get(id) else {
                continue;
            };
            let untried = seat.torrent.swarm.has_untried();
            let others = untried || seat.torrent.swarm.has_rested(now);
            if !seat.torrent.is_fetching() || !others {
                continue;
            }
            let mut useless: Option<(Instant, ConnId)> = None;
            self.for_members(now, id, |_, id, _, peer| {
                let fits = untried || peer.useful == 0;
                if fits && now - peer.of_use >= limits::USELESS {
                    useless = useless.into_iter().chain([(peer.of_use, id)]).min();
                }
            });
            if let Some((_, conn)) = useless {
                self.close(now, conn, "of no use");
            }
        }
    }

    /// Asks the trackers and the DHT sooner when peers are short; those that are due by that at once.
    fn look_for_more(&mut self, now: Instant) {
        let share = self.share();
        for (_, seat) in self.torrents.iter_mut() {
            let info_hash = seat.torrent.metainfo.info_hash;
            let short = seat.torrent.members.len() * 2 < share;
            if !short {
                seat.announcer.have_peers();
                if let Some(dht) = &mut self.dht {
                    dht.have_peers(info_hash);
                }
            } else if seat.torrent.wants_peers() && !seat.torrent.swarm.has_untried() {
                seat.announcer.want_peers(now);
                if let Some(dht) = &mut self.dht {
                    dht.want_peers(info_hash);
                }
            }
        }
        self.drive_announcers(now);
        self.drive_finders(now);
    }

    fn choke_round(&mut self, now: Instant) {
        let ids = self.torrent_ids().into_iter();
        let all: Vec<_> = ids.map(|id| (id, self.candidates(now, id))).collect();
        let wants = |peers: &[Candidate]| peers.iter().any(|peer| peer.interested);
        let wanting = all.iter().filter(|(_, (peers, ..))| wants(peers)).count();
        for (id, (peers, seeding, quota)) in all {
            let Some(seat) = self.torrents.get_mut(id) else {
                continue;
            };
            let choker = &mut seat.torrent.choker;
            choker.share(wanting);
            let unchoked = choker.round(now, &mut self.rng, seeding, quota, &peers);
            self.for_members(now, id, |cx, conn, torrent, peer| {
                torrent.set_choked(cx, peer, !unchoked.contains(&conn));
            });
            self.exchange_peers(now, id);
        }
        if self.peers() > 0 {
            self.timers.set(Timer::Choke, now + limits::CHOKE_ROUND);
        }
    }

    /// What the choker is told of a torrent's peers: how they stand, whether we seed, and the quota of a turn then.
    pub(super) fn candidates(
        &mut self,
        now: Instant,
        id: TorrentId,
    ) -> (Vec<Candidate>, bool, u64) {
        let mut peers = Vec::new();
        self.for_members(now, id, |_, conn, _, peer| {
            peers.push(candidate(now, conn, peer));
        });
        let Some(seat) = self.torrents.get(id) else {
            return (peers, false, 0);
        };
        let quota = u64::from(seat.torrent.geometry().piece_length()) * QUOTA_PIECES;
        (peers, !seat.torrent.is_fetching(), quota)
    }

    fn torrent_ids(&self) -> Vec<TorrentId> {
        self.torrents.iter().map(|(id, _)| id).collect()
    }
}

fn candidate(now: Instant, conn: ConnId, peer: &Peer) -> Candidate {
    Candidate {
        conn,
        // BEP 21: who only uploads asks for nothing.
        interested: peer.wants_slot(),
        choked: peer.choked,
        snubbed: peer.pipeline.is_snubbed() && now - peer.gave >= limits::SNUBBED,
        turned: peer.turned,
        since: peer.since,
        down_rate: peer.down.rate(now),
        has_given: peer.downloaded > 0,
        given: peer.given,
        is_sated: peer.given > 0 && peer.outbox.is_empty() && peer.upload.is_empty(),
    }
}

/// Whether the next sweep must come soon. Who rests after a refusal is asked again by it: nothing else will come of it.
fn is_waiting(now: Instant, kind: &Kind) -> bool {
    match kind {
        Kind::Dialling { .. } => true,
        Kind::Peer { peer, .. } => !peer.pipeline.is_empty() || peer.rest_until > now,
        _ => false,
    }
}

fn past_time(now: Instant, peer: &Peer) -> Option<Why> {
    if now - peer.heard >= limits::SILENCE_MAX {
        return Some("silent");
    }
    if now - peer.wanted >= limits::INACTIVE_MAX {
        return Some("inactive");
    }
    let stuck = !peer.outbox.is_empty() && now - peer.outbox.moved() >= limits::STUCK_SEND_MAX;
    stuck.then_some("takes nothing")
}

/// What a peer gets in a turn while we seed, in pieces.
const QUOTA_PIECES: u64 = 20;
