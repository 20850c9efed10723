//! What a peer's messages do to a torrent, and what a torrent tells a peer.

use super::pieces::Taken;
use super::{Context, Order, Torrent, Why};
use crate::base::bitfield::Bitfield;
use crate::base::ids::{Block, Piece};
use crate::base::limits;
use crate::base::time::Instant;
use crate::engine::io::{BlockData, ConnId, DiskOp, Output};
use crate::engine::peer::pipeline::Arrival;
use crate::engine::peer::{Availability, Peer};
use crate::wire::message::Message;

impl Torrent {
    /// Handles any message but `piece`. An error ends the connection.
    pub fn handle_message(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        peer: &mut Peer,
        message: Message<'_>,
    ) -> Result<(), Why> {
        let is_request = matches!(message, Message::Request(_));
        if !is_request && peer.flood.handle_message(cx.now) {
            return Err("peer.flood");
        }
        if self.is_blind() {
            return self.handle_blind(cx, conn, peer, message);
        }
        match message {
            Message::KeepAlive | Message::Suggest(_) | Message::Unknown(_) => {}
            Message::Port(port) => self.handle_port(cx, peer, port),
            Message::Choke => self.handle_choke(cx, conn, peer),
            Message::Unchoke => {
                peer.choking_us = false;
                self.fill(cx, conn, peer);
            }
            Message::Interested => peer.interested_in_us = true,
            Message::NotInterested => {
                if !peer.choked && peer.wants_slot() {
                    cx.orders.push_back(Order::PassSlotOn(self.id));
                }
                peer.interested_in_us = false;
            }
            Message::Have(piece) => self.handle_have(cx, conn, peer, piece)?,
            Message::Bitfield(bytes) => {
                let pieces = self.geometry().pieces();
                let bits = Bitfield::from_wire(bytes, pieces).ok_or("peer.bitfield: length")?;
                self.set_availability(cx, conn, peer, bits)?;
            }
            Message::HaveAll => {
                self.set_availability(cx, conn, peer, Bitfield::full(self.geometry().pieces()))?;
            }
            Message::HaveNone => {
                self.set_availability(cx, conn, peer, Bitfield::new(self.geometry().pieces()))?;
            }
            Message::Request(block) => self.handle_request(cx, peer, block)?,
            Message::Cancel(block) => {
                if peer.upload.cancel(block) && peer.fast() {
                    peer.send(cx.now, Message::Reject(block));
                }
            }
            Message::Reject(block) => self.handle_reject(cx, conn, peer, block),
            Message::AllowedFast(piece) => {
                if !self.geometry().has_piece(piece) {
                    return Err("peer.range: allowed fast");
                }
                let known = &mut peer.allowed_fast;
                if known.len() < ALLOWED_FAST_MAX && !known.contains(&piece) {
                    known.push(piece);
                    self.fill(cx, conn, peer);
                }
            }
            Message::Extended { id, payload } => {
                self.handle_extended(cx, conn, peer, id, payload)?;
            }
            Message::Piece { .. } => return Err("peer.internal: piece in the wrong door"),
        }
        Ok(())
    }

    /// Handles the data of a `piece` message. `data` gives its bytes if they are wanted.
    pub fn handle_block(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        peer: &mut Peer,
        block: Block,
        data: impl FnOnce() -> BlockData,
    ) -> Result<(), Why> {
        if block.len == 0 {
            // BitComet's way to refuse: the request it answers is the one for this place.
            if let Some(asked) = self.asked_at(peer, block) {
                self.handle_reject(cx, conn, peer, asked);
            }
            let floods = peer.flood.handle_message(cx.now);
            return if floods { Err("peer.flood") } else { Ok(()) };
        }
        let bytes = u64::from(block.len);
        self.flow.received(cx.now, bytes);
        let arrival = peer.pipeline.handle_block(cx.now, block);
        if arrival == Arrival::Unasked {
            self.flow.wasted += bytes;
            peer.unrequested += bytes;
            let too_much = peer.unrequested > limits::UNREQUESTED_MAX;
            return if too_much {
                Err("peer.unrequested")
            } else {
                Ok(())
            };
        }
        (peer.of_use, peer.gave) = (cx.now, cx.now);
        peer.downloaded += bytes;
        peer.down.add(cx.now, bytes);
        match self
            .pieces
            .take(block, peer.address, arrival == Arrival::Asked)
        {
            Taken::Wanted { elsewhere } => {
                let op = DiskOp::Write {
                    torrent: self.id,
                    block,
                    data: data(),
                };
                cx.out.push_back(Output::Disk(op));
                if elsewhere > 0 {
                    cx.orders
                        .push_back(Order::CancelElsewhere(self.id, block, conn));
                }
            }
            Taken::Duplicate => self.flow.wasted += bytes,
        }
        self.fill(cx, conn, peer);
        Ok(())
    }

    /// Turns waiting requests into data while the outbox has room.
    pub fn serve(&self, now: Instant, peer: &mut Peer) {
        if peer.upload.is_empty() {
            return;
        }
        let rate = peer.up.rate(now);
        while peer.outbox.has_room(rate) {
            let Some(block) = peer.upload.pop() else {
                return;
            };
            if self.pieces.have().has(block.piece) {
                peer.outbox.push_block(block);
            }
        }
    }

    /// Chokes or unchokes a peer. Its waiting requests end with a choke.
    pub fn set_choked(&self, cx: &Context<'_>, peer: &mut Peer, choked: bool) {
        if peer.choked == choked {
            return;
        }
        peer.choked = choked;
        peer.turned = cx.now;
        peer.given = 0;
        let message = if choked {
            Message::Choke
        } else {
            Message::Unchoke
        };
        peer.send(cx.now, message);
        if choked {
            let fast = peer.fast();
            let waiting: Vec<_> = peer.upload.drain().collect();
            // BEP 6: every request is answered or rejected, also those that a choke ends.
            for block in waiting.into_iter().filter(|_| fast) {
                if !(peer.fast_grant.admits(block) && peer.upload.push(block)) {
                    peer.send(cx.now, Message::Reject(block));
                }
            }
        }
    }

    /// We have a new piece: the peer may have become useless to us, and may wait for it.
    pub fn handle_new(&mut self, cx: &Context<'_>, peer: &mut Peer, piece: Piece) {
        if peer.has.has(piece) && self.pieces.wants(piece) {
            peer.useful = peer.useful.saturating_sub(1);
            self.tell_interest(cx, peer);
        }
        if self.awaits_news(peer) {
            self.tell_news(cx.now, peer);
        }
    }

    /// We have lost a piece: the peer may have become useful to us.
    pub fn miss(&mut self, cx: &Context<'_>, peer: &mut Peer, piece: Piece) {
        if peer.has.has(piece) && self.pieces.wants(piece) {
            peer.useful += 1;
            self.tell_interest(cx, peer);
        }
    }

    /// A block that the peer was asked for has come from elsewhere.
    pub fn cancel(&mut self, cx: &mut Context<'_>, conn: ConnId, peer: &mut Peer, block: Block) {
        if peer.pipeline.withdraw(block, true) {
            self.pieces.release(block);
            peer.send(cx.now, Message::Cancel(block));
            self.fill(cx, conn, peer);
        }
    }

    /// The peer has been silent too long: others may fetch what it was asked for; it is tried with a single
    /// request until it sends a block again.
    pub fn snub(&mut self, cx: &mut Context<'_>, conn: ConnId, peer: &mut Peer) {
        for block in self.withdraw(peer) {
            peer.send(cx.now, Message::Cancel(block));
        }
        self.pieces.disown(conn, None);
        peer.pipeline.snub();
        cx.orders.push_back(Order::Refill(self.id));
    }

    /// The peer has a DHT node; of a private torrent nothing may be made of that (BEP 27).
    pub(super) fn handle_port(&self, cx: &mut Context<'_>, peer: &Peer, port: u16) {
        if !self.metainfo.private && port > 0 {
            let node = std::net::SocketAddr::new(peer.address.ip(), port);
            cx.orders.push_back(Order::DhtNode(node));
        }
    }

    fn handle_choke(&mut self, cx: &mut Context<'_>, conn: ConnId, peer: &mut Peer) {
        peer.choking_us = true;
        // BEP 6: with the Fast extension a choke rejects nothing by itself, each request is answered.
        if !peer.fast() {
            self.withdraw(peer);
        }
        self.pieces
            .disown(conn, Some(cx.now + limits::KEPT_FOR_CHOKER));
    }

    fn handle_reject(&mut self, cx: &mut Context<'_>, conn: ConnId, peer: &mut Peer, block: Block) {
        let was_in_flight = match peer.fast() {
            true => peer.pipeline.handle_reject(block),
            false => peer.pipeline.withdraw(block, false),
        };
        if was_in_flight {
            self.pieces.release(block);
            if peer.choking_us {
                peer.allowed_fast.retain(|piece| *piece != block.piece);
            } else {
                // Who gives in between has refused what was too much for its queue, and is asked again in time.
                // Refusals of one moment are one, as its queue is full for each of them.
                let again = peer.refused < cx.now && peer.gave < peer.refused;
                if again || peer.downloaded == 0 || peer.pipeline.is_empty() {
                    // It would be asked for the same block again, and refuse again, as fast as the line allows.
                    peer.rest_until = cx.now + limits::REFUSED_REST;
                    self.pieces.disown(conn, None);
                }
                peer.refused = cx.now;
            }
            cx.orders.push_back(Order::Refill(self.id));
        }
    }

    fn handle_request(
        &mut self,
        cx: &mut Context<'_>,
        peer: &mut Peer,
        block: Block,
    ) -> Result<(), Why> {
        if !self.geometry().contains(block) {
            return Err("peer.range: request");
        }
        let served = block.len <= limits::BLOCK
            && self.pieces.have().has(block.piece)
            && (!peer.choked || peer.fast_grant.admits(block))
            && peer.upload.push(block);
        if !served && peer.fast() {
            peer.send(cx.now, Message::Reject(block));
        } else if !served && !peer.choked && self.pieces.is_lost(block.piece) {
            // It believes that the piece is there, and there is no way to tell it.
            return Err("disk.changed");
        }
        self.serve(cx.now, peer);
        Ok(())
    }

    fn handle_have(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        peer: &mut Peer,
        piece: Piece,
    ) -> Result<(), Why> {
        if !self.geometry().has_piece(piece) {
            return Err("peer.range: have");
        }
        let Availability::Some(bits) = &mut peer.has else {
            return Ok(());
        };
        if !bits.insert(piece) {
            return Ok(());
        }
        if bits.is_full() {
            let bits = bits.clone();
            bits.iter()
                .filter(|p| *p != piece)
                .for_each(|p| self.picker.remove_copy(p));
            peer.has = Availability::All;
            self.picker.add_seed();
            self.seeds += 1;
        } else {
            self.picker.add_copy(piece);
        }
        if !self.pieces.have().has(piece) && self.pieces.wants(piece) {
            peer.useful += 1;
        }
        self.note_shown(cx, piece);
        self.welcome(cx, conn, peer)
    }

    /// The peer says what it has, all at once: a later word replaces an earlier one.
    fn set_availability(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        peer: &mut Peer,
        bits: Bitfield,
    ) -> Result<(), Why> {
        // Not only in the opening: aria2 sends a whole bitfield where that is shorter than many `have`s.
        self.forget_availability(peer);
        let have = self.pieces.have();
        let useful = bits.iter_without(have);
        peer.useful = useful.filter(|piece| self.pieces.wants(*piece)).count() as u32;
        if bits.is_full() {
            peer.has = Availability::All;
            self.picker.add_seed();
            self.seeds += 1;
        } else {
            bits.iter().for_each(|piece| self.picker.add_copy(piece));
            peer.has = Availability::Some(bits);
        }
        self.grant_fast(cx, peer);
        self.welcome(cx, conn, peer)
    }

    /// What the peer has changed: say whether we want it, and ask for it if we may.
    fn welcome(&mut self, cx: &mut Context<'_>, conn: ConnId, peer: &mut Peer) -> Result<(), Why> {
        if peer.is_seed() && self.is_complete() {
            self.end_super_seeding();
            return Err("both have everything");
        }
        self.tell_interest(cx, peer);
        self.fill(cx, conn, peer);
        Ok(())
    }

    pub(super) fn tell_interest(&self, cx: &Context<'_>, peer: &mut Peer) {
        let interested = self.is_fetching() && peer.useful > 0;
        if interested != peer.interested {
            peer.interested = interested;
            let message = if interested {
                Message::Interested
            } else {
                Message::NotInterested
            };
            peer.send(cx.now, message);
        }
    }

    fn asked_at(&self, peer: &Peer, block: Block) -> Option<Block> {
        peer.pipeline
            .blocks()
            .find(|asked| asked.piece == block.piece && asked.begin == block.begin)
    }
}

/// Pieces that a peer may allow us while it chokes us; BEP 6 suggests ten.
const ALLOWED_FAST_MAX: usize = 32;
