//! Filling a peer's pipeline: which blocks to ask it for.
//!
//! In this order: the pieces it has begun; orphans; a new piece, the rarest; the pieces of peers that are
//! too slow; and when every block that is wanted has been asked for, an idle peer is asked for some of them
//! a second time (the endgame), or a third, if it has given before and the two have not. Each step ends because
//! the pipeline is full or what it walks is at its end.

use super::pieces::Owner;
use super::{Context, Torrent};
use crate::base::ids::{Block, Piece};
use crate::engine::io::ConnId;
use crate::engine::peer::{Availability, Peer};
use crate::wire::message::Message;

impl Torrent {
    /// Asks `peer` for as much as its pipeline has room for.
    pub fn fill(&mut self, cx: &mut Context<'_>, conn: ConnId, peer: &mut Peer) {
        let no_use = peer.useful == 0 || (peer.choking_us && peer.allowed_fast.is_empty());
        if no_use || peer.rest_until > cx.now || !self.may_ask() {
            return;
        }
        let mut room = peer.pipeline.room();
        if self.disk.is_some() {
            room = room.min(1usize.saturating_sub(peer.pipeline.len()));
        }
        if room == 0 {
            return;
        }
        if self.pieces.free() > 0 {
            self.ask_own(cx, conn, peer, &mut room);
            self.adopt_orphans(cx, conn, peer, &mut room);
        }
        self.begin_new(cx, conn, peer, &mut room);
        if room > 0 && self.pieces.free() > 0 {
            self.help_slow(cx, peer, &mut room);
        }
        if peer.pipeline.is_empty() && self.picker.open_count() == 0 && self.pieces.free() == 0 {
            self.ask_twice(cx, peer, room.min(ENDGAME_BATCH));
        }
        if peer.pipeline.is_snubbed() {
            // It is tried with a block; what else its pieces lack is for others.
            self.pieces.disown(conn, None);
        }
    }

    /// Whether anything may be asked for now: a disk that failed is tried with a single block at its time.
    fn may_ask(&self) -> bool {
        self.is_fetching() && self.disk.as_ref().is_none_or(|disk| disk.trying)
    }

    fn ask_own(&mut self, cx: &Context<'_>, conn: ConnId, peer: &mut Peer, room: &mut usize) {
        let own = |owner| matches!(owner, Owner::Peer(o) | Owner::Kept(o, _) if o == conn);
        while *room > 0 {
            let Some(piece) = self.unfinished(peer, own) else {
                return;
            };
            if self
                .pieces
                .get(piece)
                .is_some_and(|begun| begun.owner() != Owner::Peer(conn))
            {
                self.pieces.adopt(cx.now, piece, conn);
            }
            self.ask(cx, peer, piece, room);
        }
    }

    fn adopt_orphans(&mut self, cx: &Context<'_>, conn: ConnId, peer: &mut Peer, room: &mut usize) {
        let orphan = |owner| match owner {
            Owner::Nobody => true,
            Owner::Kept(_, until) => until <= cx.now,
            Owner::Peer(_) => false,
        };
        while *room > 0 {
            let Some(piece) = self.unfinished(peer, orphan) else {
                return;
            };
            self.pieces.adopt(cx.now, piece, conn);
            self.ask(cx, peer, piece, room);
        }
    }

    /// A begun piece with free blocks, of such an owner, that the peer may be asked for.
    fn unfinished(&self, peer: &Peer, owner: impl Fn(Owner) -> bool) -> Option<Piece> {
        let mut begun = self.pieces.begun().filter(|(_, begun)| begun.free() > 0);
        let found = begun.find(|(piece, begun)| owner(begun.owner()) && peer.may_ask(*piece));
        found.map(|(piece, _)| piece)
    }

    fn begin_new(&mut self, cx: &mut Context<'_>, conn: ConnId, peer: &mut Peer, room: &mut usize) {
        while *room > 0 {
            let random = self.pieces.have().count() < RANDOM_FIRST;
            let bits = match &peer.has {
                Availability::Some(bits) => Some(bits),
                Availability::All => None,
            };
            let Some(piece) = self
                .picker
                .pick(random, cx.rng, bits, |piece| peer.may_ask(piece))
            else {
                return;
            };
            self.picker.close(piece);
            self.pieces
                .begin(cx.now, piece, conn, self.blame.is_suspect(piece));
            self.ask(cx, peer, piece, room);
        }
    }

    fn help_slow(&mut self, cx: &Context<'_>, peer: &mut Peer, room: &mut usize) {
        let slow: Vec<Piece> = self
            .pieces
            .begun()
            .filter(|(_, begun)| begun.free() > 0 && begun.is_slow(cx.now) && !begun.is_alone())
            .map(|(piece, _)| piece)
            .collect();
        for piece in slow {
            if *room > 0 && peer.may_ask(piece) {
                self.ask(cx, peer, piece, room);
            }
        }
    }

    fn ask_twice(&mut self, cx: &Context<'_>, peer: &mut Peer, room: usize) {
        let has_given = peer.downloaded > 0;
        let mut blocks: Vec<Block> = Vec::with_capacity(room);
        for (piece, begun) in self.pieces.begun() {
            if blocks.len() < room && !begun.is_alone() && peer.may_ask(piece) {
                let more = self.pieces.in_doubt(piece, has_given);
                blocks.extend(more.take(room - blocks.len()));
            }
        }
        for block in blocks {
            if self.pieces.ask_again(block, has_given) {
                peer.pipeline.asked(cx.now, block);
                peer.send(cx.now, Message::Request(block));
            }
        }
    }

    fn ask(&mut self, cx: &Context<'_>, peer: &mut Peer, piece: Piece, room: &mut usize) {
        let has_given = peer.downloaded > 0;
        let asked = self.pieces.ask(piece, *room, has_given, |block| {
            peer.pipeline.asked(cx.now, block);
            peer.send(cx.now, Message::Request(block));
        });
        *room -= asked;
    }
}

/// Pieces picked at random before the rarest: a newcomer needs something to give quickly.
const RANDOM_FIRST: u32 = 4;
/// Blocks asked for a second time at once.
const ENDGAME_BATCH: usize = 16;
