//! Messages of peers, and the orders that torrents give in answer.

use super::{Seat, Session, ban_key};
use crate::base::ids::{Block, Piece};
use crate::base::time::Instant;
use crate::engine::conn::{Conn, Kind};
use crate::engine::io::{BlockData, ConnId, Event, Output, TorrentId};
use crate::engine::peer::Peer;
use crate::engine::peer::inbox::Inbox;
use crate::engine::torrent::choker::Choker;
use crate::engine::torrent::{Context, Order, Torrent, Why};
use crate::wire::extension::OurHandshake;
use crate::wire::message::{Message, WireError};

impl Session {
    pub(super) fn handle_received(&mut self, now: Instant, id: ConnId, bytes: &[u8]) {
        match self.conns.get(id).map(|conn| &conn.kind) {
            Some(Kind::Peer { .. }) => {
                self.rates.received(now, bytes.len());
                self.handle_peer_bytes(now, id, bytes, 0);
            }
            Some(Kind::Greeting(_)) => self.handle_greeting_bytes(now, id, bytes),
            Some(Kind::Tracker(_)) => self.handle_tracker_bytes(now, id, bytes),
            Some(Kind::Served(_)) => self.handle_served_bytes(now, id, bytes),
            Some(Kind::Dialling { .. }) | None => {}
        }
    }

    pub(super) fn handle_ended(&mut self, now: Instant, id: ConnId) {
        match self.conns.get(id).map(|conn| &conn.kind) {
            Some(Kind::Tracker(_)) => self.handle_tracker_end(now, id),
            Some(_) => self.close(now, id, "ended"),
            None => {}
        }
    }

    /// Takes the messages out of `bytes` from `start` on. The loop ends with the bytes: every round uses some.
    pub(super) fn handle_peer_bytes(
        &mut self,
        now: Instant,
        id: ConnId,
        bytes: &[u8],
        start: usize,
    ) {
        let Some(Conn {
            kind:
                Kind::Peer {
                    torrent,
                    inbox,
                    peer,
                },
            ..
        }) = self.conns.get_mut(id)
        else {
            return;
        };
        let Some(Seat { torrent, .. }) = self.torrents.get_mut(*torrent) else {
            return;
        };
        let bitfield_len = torrent.bitfield_len();
        let (rng, out, orders) = (&mut self.rng, &mut self.out, &mut self.orders);
        let cx = &mut Context {
            now,
            rng,
            out,
            orders,
        };
        peer.heard = now;
        let was_interested = peer.interested_in_us;
        let mut at = start;
        let mut verdict = Ok(());
        while at < bytes.len() && verdict.is_ok() {
            verdict = if inbox.is_partial() {
                match inbox.join(&bytes[at..], bitfield_len) {
                    Ok((taken, whole)) => {
                        at += taken;
                        let whole = whole.map(|whole| (whole, &mut self.pool));
                        whole.map_or(Ok(()), |(mut whole, pool)| {
                            let verdict = joined(cx, id, torrent, peer, &mut whole, bitfield_len);
                            pool.give(whole);
                            verdict
                        })
                    }
                    Err(error) => Err(blame_wire(error)),
                }
            } else {
                match Inbox::frame(&bytes[at..], bitfield_len) {
                    Ok(Some(frame)) => {
                        let (begin, used) = (at, frame.used);
                        at += used;
                        match piece_of(frame.message) {
                            Some(block) => torrent.handle_block(cx, id, peer, block, || {
                                let data = frame.data.start + begin..frame.data.end + begin;
                                BlockData::Received(data)
                            }),
                            None => torrent.handle_message(cx, id, peer, frame.message),
                        }
                    }
                    Ok(None) => {
                        inbox.keep(&bytes[at..], &mut self.pool);
                        at = bytes.len();
                        Ok(())
                    }
                    Err(error) => Err(blame_wire(error)),
                }
            };
        }
        let wants_slot = peer.wants_slot() && !was_interested && peer.choked;
        match verdict {
            Err(why) => self.close(now, id, why),
            Ok(()) if wants_slot => self.give_free_slot(now, id),
            Ok(()) => self.flush(now, id),
        }
    }

    /// Carries out what torrents have ordered, and what follows from that. Ends because every order is
    /// about a finite number of peers, and only peers that are closed or asked for blocks give rise to more.
    pub(super) fn carry_out(&mut self, now: Instant) {
        while let Some(order) = self.orders.pop_front() {
            match order {
                Order::Have(torrent, piece) => {
                    self.for_members(now, torrent, |cx, _, torrent, peer| {
                        torrent.handle_new(cx, peer, piece);
                    });
                }
                Order::Tell(torrent) => {
                    self.for_members(now, torrent, |cx, _, torrent, peer| {
                        torrent.tell_news(cx.now, peer);
                    });
                    if let Some(seat) = self.torrents.get_mut(torrent) {
                        seat.torrent.end_round(now);
                    }
                }
                Order::CancelElsewhere(torrent, block, except) => {
                    self.cancel_elsewhere(now, torrent, block, except);
                }
                Order::Refill(torrent) => {
                    if !self.orders.contains(&order) {
                        self.refill(now, torrent);
                    }
                }
                Order::Ban(torrent, address, piece) => {
                    let host = ban_key(address.ip());
                    if self.banned.len() < BANS_MAX && self.banned.insert(host) {
                        let event = Event::Banned {
                            torrent,
                            address,
                            piece,
                        };
                        self.out.push_back(Output::Event(event));
                    }
                    let theirs = self.conns.iter();
                    let theirs: Vec<ConnId> = theirs
                        .filter(|(_, conn)| {
                            matches!(conn.kind, Kind::Peer { .. } | Kind::Greeting(_))
                        })
                        .filter(|(_, conn)| ban_key(conn.address.ip()) == host)
                        .map(|(id, _)| id)
                        .collect();
                    theirs
                        .into_iter()
                        .for_each(|id| self.close(now, id, "banned"));
                    for (id, seat) in self.torrents.iter_mut() {
                        let known = seat.torrent.swarm.len();
                        seat.torrent.swarm.forget_host(address.ip());
                        seat.knew_banned |= id == torrent || seat.torrent.swarm.len() < known;
                    }
                }
                Order::PassSlotOn(torrent) => self.pass_slot_on(now, torrent),
                Order::Complete(torrent) => self.handle_complete(now, torrent),
                Order::DhtNode(node) => self.handle_dht_port(now, node),
                Order::OpenEyes(torrent) => self.open_eyes(now, torrent),
                Order::Show(torrent) => {
                    if !self.orders.contains(&order) {
                        self.show(now, torrent);
                    }
                }
                Order::Lost(torrent, piece) => self.take_back(now, torrent, piece),
            }
        }
    }

    /// Shows pieces of a super seed to those whose turn it is (BEP 16).
    pub(super) fn show(&mut self, now: Instant, id: TorrentId) {
        let seat = self.torrents.get(id);
        if seat.is_none_or(|seat| seat.torrent.super_seed.is_none()) {
            return;
        }
        let mut audience = Vec::new();
        self.for_members(now, id, |cx, conn, torrent, peer| {
            audience.extend(torrent.look_at(cx.now, conn, peer));
        });
        let Some(seat) = self.torrents.get_mut(id) else {
            return;
        };
        let chosen = seat.torrent.choose_audience(audience);
        self.for_members(now, id, |cx, conn, torrent, peer| {
            torrent.show(cx, conn, peer, chosen.contains(&conn));
        });
    }

    /// Tells the world of bytes to send, once until they are all gone.
    pub(super) fn flush(&mut self, now: Instant, id: ConnId) {
        if let Some(Conn {
            kind: Kind::Peer { torrent, peer, .. },
            ..
        }) = self.conns.get_mut(id)
            && !peer.announced
            && !peer.outbox.is_empty()
        {
            if let Some(seat) = self.torrents.get(*torrent) {
                seat.torrent.tell_news(now, peer);
            }
            peer.announced = true;
            self.out.push_back(Output::Transmit { conn: id });
        }
    }

    /// Does something to every peer of a torrent, and tells the world of what there is to send.
    pub(super) fn for_members(
        &mut self,
        now: Instant,
        id: TorrentId,
        mut each: impl FnMut(&mut Context<'_>, ConnId, &mut Torrent, &mut Peer),
    ) {
        let Some(seat) = self.torrents.get_mut(id) else {
            return;
        };
        let torrent = &mut seat.torrent;
        let members = std::mem::take(&mut torrent.members);
        for member in &members {
            let Some(conn) = self.conns.get_mut(*member) else {
                continue;
            };
            let Kind::Peer { peer, .. } = &mut conn.kind else {
                continue;
            };
            let (rng, out, orders) = (&mut self.rng, &mut self.out, &mut self.orders);
            each(
                &mut Context {
                    now,
                    rng,
                    out,
                    orders,
                },
                *member,
                torrent,
                peer,
            );
            if !peer.announced && !peer.outbox.is_empty() {
                torrent.tell_news(now, peer);
                peer.announced = true;
                self.out.push_back(Output::Transmit { conn: *member });
            }
        }
        torrent.members = members;
    }

    /// Fills every pipeline of a torrent. Peers that were silent too long come last: they must not take again
    /// what was just taken from them while another could have it.
    pub(super) fn refill(&mut self, now: Instant, id: TorrentId) {
        let mut snubbed = false;
        self.for_members(now, id, |cx, id, torrent, peer| {
            if peer.pipeline.is_snubbed() {
                snubbed = true;
            } else {
                torrent.fill(cx, id, peer);
            }
        });
        if snubbed {
            self.for_members(now, id, |cx, id, torrent, peer| {
                if peer.pipeline.is_snubbed() {
                    torrent.fill(cx, id, peer);
                }
            });
        }
    }

    /// A free upload slot is given at once: the next round may be ten seconds away.
    fn give_free_slot(&mut self, now: Instant, id: ConnId) {
        let Some(Conn {
            kind: Kind::Peer { torrent, .. },
            ..
        }) = self.conns.get(id)
        else {
            return;
        };
        let torrent = *torrent;
        let mut taken = 0;
        self.for_members(now, torrent, |_, _, _, peer| {
            taken += usize::from(!peer.choked && peer.wants_slot());
        });
        let seat = self.torrents.get(torrent);
        if seat.is_some_and(|seat| taken < seat.torrent.choker.slots()) {
            self.for_members(now, torrent, |cx, member, torrent, peer| {
                if member == id {
                    torrent.set_choked(cx, peer, false);
                }
            });
        }
        self.flush(now, id);
    }

    /// A peer that had a slot is gone or wants nothing more: another gets it.
    fn pass_slot_on(&mut self, now: Instant, id: TorrentId) {
        let (peers, seeding, quota) = self.candidates(now, id);
        if let Some(conn) = Choker::next(seeding, quota, &peers) {
            self.give_free_slot(now, conn);
        }
    }

    fn cancel_elsewhere(&mut self, now: Instant, id: TorrentId, block: Block, except: ConnId) {
        self.for_members(now, id, |cx, member, torrent, peer| {
            if member != except {
                torrent.cancel(cx, member, peer, block);
            }
        });
    }

    /// The torrent is described and checked: its peers get our handshake again, now with the metadata, and what
    /// they had said is judged.
    fn open_eyes(&mut self, now: Instant, id: TorrentId) {
        let Some(seat) = self.torrents.get(id) else {
            return;
        };
        let payload = self.our_handshake(&seat.torrent);
        let mut wrong = Vec::new();
        self.for_members(now, id, |cx, conn, torrent, peer| {
            if peer.reserved.extended() {
                peer.send(
                    now,
                    Message::Extended {
                        id: 0,
                        payload: &payload,
                    },
                );
            }
            if let Err(why) = torrent.open_eyes(cx, conn, peer) {
                wrong.push((conn, why));
            }
        });
        wrong
            .into_iter()
            .for_each(|(conn, why)| self.close(now, conn, why));
    }

    /// What our extension handshake says about a torrent.
    pub(super) fn our_handshake(&self, torrent: &Torrent) -> Vec<u8> {
        let metadata_size = Some(torrent.metainfo.info().len()).filter(|len| *len > 0);
        let ours = OurHandshake {
            client: &self.settings.user_agent,
            port: self.settings.port,
            metadata_size,
            pex: self.settings.pex && !torrent.metainfo.private,
            upload_only: torrent.is_complete() && torrent.super_seed.is_none(),
        };
        ours.encode()
    }

    /// Everything is there: trackers are told, and peers that have everything too are of no more use.
    fn handle_complete(&mut self, now: Instant, id: TorrentId) {
        let mut seeds = Vec::new();
        self.for_members(now, id, |_, member, _, peer| {
            if peer.is_seed() {
                seeds.push(member);
            }
        });
        seeds
            .into_iter()
            .for_each(|seed| self.close(now, seed, "both have everything"));
        self.seek(now, id);
        if let Some(Seat {
            torrent, announcer, ..
        }) = self.torrents.get_mut(id)
            && torrent.was_fetched()
        {
            announcer.complete(now);
            self.drive_announcers(now);
        }
    }

    /// A piece can't be sent any more. Who waits for some of it is refused that (BEP 6), or closed if it does not know
    /// what that is, or if the header of a block has gone: there is no way to take that back. All may have the
    /// piece for us.
    fn take_back(&mut self, now: Instant, id: TorrentId, piece: Piece) {
        let mut promised = Vec::new();
        self.for_members(now, id, |cx, member, torrent, peer| {
            torrent.miss(cx, peer, piece);
            let mut waiting = peer.upload.take(piece);
            let Some(mut blocks) = peer.outbox.take_back(piece) else {
                return promised.push(member);
            };
            blocks.append(&mut waiting);
            if !blocks.is_empty() && !peer.fast() {
                return promised.push(member);
            }
            for block in blocks {
                peer.send(cx.now, Message::Reject(block));
            }
        });
        promised
            .into_iter()
            .for_each(|member| self.close(now, member, "disk.changed"));
    }
}

/// Handles a message that was put together in a buffer of its own.
fn joined(
    cx: &mut Context<'_>,
    id: ConnId,
    torrent: &mut Torrent,
    peer: &mut Peer,
    whole: &mut Vec<u8>,
    bitfield_len: usize,
) -> Result<(), Why> {
    let (block, data) = match Inbox::frame(whole, bitfield_len) {
        Ok(Some(frame)) => match piece_of(frame.message) {
            Some(block) => (block, frame.data),
            None => return torrent.handle_message(cx, id, peer, frame.message),
        },
        Ok(None) => return Ok(()),
        Err(error) => return Err(blame_wire(error)),
    };
    torrent.handle_block(cx, id, peer, block, || BlockData::Joined {
        buffer: std::mem::take(whole),
        range: data,
    })
}

fn piece_of(message: Message<'_>) -> Option<Block> {
    match message {
        Message::Piece { piece, begin, data } => Some(Block {
            piece,
            begin,
            len: data.len() as u32,
        }),
        _ => None,
    }
}

fn blame_wire(error: WireError) -> Why {
    match error {
        WireError::TooLong { .. } => "peer.too-large",
        WireError::BadLength { .. } => "peer.message",
    }
}

/// Hosts that are remembered as banned.
const BANS_MAX: usize = 10_000;
