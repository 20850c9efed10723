//! Super seeding (BEP 16): the only source of a torrent says that it has nothing, and shows each peer one piece.
//!
//! A peer is shown the next piece when its last one was seen at somebody else: so it has passed it on, and the
//! seed's line carries every piece once. It ends, for good, when one whole copy is around or another seed comes; then
//! everybody is told of the rest.
//!
//! ```text
//!         +-----------------------------------------------------+
//!         v                                                     | another has it, or the line would idle
//! idle -- shown a piece --> fetching -- it has it --> waiting --+
//! ```

use std::collections::BTreeMap;

use super::{Context, Order, Torrent};
use crate::base::bitfield::Bitfield;
use crate::base::ids::Piece;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::engine::io::ConnId;
use crate::engine::peer::{Availability, Peer};
use crate::wire::message::Message;

/// What was shown to whom.
pub struct SuperSeed {
    /// Pieces to show, the next at the end: all of them at first, then those that were shown in vain.
    fresh: Vec<Piece>,
    peers: BTreeMap<ConnId, Shown>,
    /// One copy is around: everybody is told of everything.
    is_over: bool,
}

/// What one peer was shown.
struct Shown {
    pieces: Bitfield,
    last: Option<Piece>,
    at: Instant,
    is_fetching: bool,
}

/// A peer that could be shown a piece, and how much it deserves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// It has not got what it was shown.
    Fetching,
    /// It has passed on what it was shown, or was shown nothing yet.
    Idle(Instant, ConnId),
    /// It has what it was shown since then, and nobody else has.
    Waiting(Instant, ConnId),
}

impl SuperSeed {
    /// Of a torrent of `pieces` pieces; nobody was shown any.
    fn new(pieces: u32, rng: &mut Rng) -> Self {
        let mut fresh: Vec<Piece> = (0..pieces).map(Piece).collect();
        rng.shuffle(&mut fresh);
        Self {
            fresh,
            peers: BTreeMap::new(),
            is_over: false,
        }
    }

    /// A peer came. False if it is to be told the truth.
    pub fn handle_joined(&mut self, now: Instant, conn: ConnId) -> bool {
        let shown = Shown {
            pieces: Bitfield::new(0),
            last: None,
            at: now,
            is_fetching: false,
        };
        if !self.is_over {
            self.peers.insert(conn, shown);
        }
        !self.is_over
    }

    /// A peer went; what it was fetching may be shown to another.
    pub fn handle_left(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
    }

    /// Whether anybody is fetching this piece from us, or has just fetched it.
    fn is_last_of_any(&self, piece: Piece) -> bool {
        self.peers.values().any(|shown| shown.last == Some(piece))
    }
}

impl Torrent {
    /// From now on pieces are shown one by one; only if all are there, and nobody was told so.
    pub fn begin_super_seeding(&mut self, rng: &mut Rng) {
        if self.pieces.have().is_full() && self.members.is_empty() {
            self.super_seed = Some(SuperSeed::new(self.geometry().pieces(), rng));
        }
    }

    /// Another source is there, or ours is not whole any more: everybody is told what we have.
    pub(super) fn end_super_seeding(&mut self) {
        if let Some(super_seed) = &mut self.super_seed {
            super_seed.is_over = true;
        }
    }

    /// Somebody has this piece now: if we had shown it, there may be another to show.
    pub(super) fn note_shown(&self, cx: &mut Context<'_>, piece: Piece) {
        let shown = self.super_seed.as_ref();
        if shown.is_some_and(|super_seed| super_seed.is_last_of_any(piece)) {
            cx.orders.push_back(Order::Show(self.id));
        }
    }

    /// How a peer stands to what it was shown; `None` if it was not shown anything because it knows all.
    pub fn look_at(&mut self, now: Instant, conn: ConnId, peer: &Peer) -> Option<Standing> {
        let copies = |piece| self.picker.copies(piece);
        let shown = self.super_seed.as_mut()?.peers.get_mut(&conn)?;
        let Some(last) = shown.last else {
            return Some(Standing::Idle(shown.at, conn));
        };
        if peer.has.has(last) {
            if shown.is_fetching {
                (shown.is_fetching, shown.at) = (false, now);
            }
            return Some(match copies(last) {
                0 | 1 => Standing::Waiting(shown.at, conn),
                _ => Standing::Idle(shown.at, conn),
            });
        }
        // Who was let in and took nothing for so long does not keep the piece from others.
        let moved = shown.at.max(peer.of_use).max(peer.turned);
        let may_take = !peer.choked || !peer.interested_in_us;
        if may_take && now - moved > limits::SHOWN_IN_VAIN {
            shown.last = None;
            return None;
        }
        Some(Standing::Fetching)
    }

    /// Who is to be shown a piece: all who have passed theirs on; and, so that the line never idles, those that have
    /// waited longest, until there is one to fetch for each upload slot.
    pub fn choose_audience(&mut self, mut standings: Vec<Standing>) -> Vec<ConnId> {
        self.look_for_absent();
        let is_fetching = |standing: &&Standing| **standing == Standing::Fetching;
        let busy = standings.iter().filter(is_fetching).count();
        standings.sort_unstable();
        let idle = standings.iter().filter_map(|standing| match *standing {
            Standing::Idle(_, conn) => Some(conn),
            Standing::Fetching | Standing::Waiting(..) => None,
        });
        let mut chosen: Vec<ConnId> = idle.collect();
        let waiting = standings.iter().filter_map(|standing| match *standing {
            Standing::Waiting(_, conn) => Some(conn),
            Standing::Fetching | Standing::Idle(..) => None,
        });
        let missing = self.choker.slots().saturating_sub(busy + chosen.len());
        chosen.extend(waiting.take(missing));
        chosen
    }

    /// Shows a peer a piece, if it is its turn; tells it of all when that time has come.
    pub fn show(&mut self, cx: &Context<'_>, conn: ConnId, peer: &mut Peer, its_turn: bool) {
        if self.super_seed.as_ref().is_some_and(|s| s.is_over) {
            return self.tell_all(cx, conn, peer);
        }
        if !its_turn {
            return;
        }
        let pieces = self.geometry().pieces();
        let (picker, Some(super_seed)) = (&self.picker, &mut self.super_seed) else {
            return;
        };
        let is_absent = |piece: &Piece| picker.copies(*piece) == 0;
        let piece = std::iter::from_fn(|| super_seed.fresh.pop()).find(is_absent);
        let (Some(piece), Some(shown)) = (piece, super_seed.peers.get_mut(&conn)) else {
            return;
        };
        if shown.pieces.pieces() != pieces {
            shown.pieces = Bitfield::new(pieces);
        }
        (shown.last, shown.at, shown.is_fetching) = (Some(piece), cx.now, true);
        if shown.pieces.insert(piece) {
            peer.send(cx.now, Message::Have(piece));
        }
    }

    /// When every piece was shown: what nobody has and nobody is fetching is shown again; if every piece is at some
    /// peer, it is over.
    fn look_for_absent(&mut self) {
        let Some(super_seed) = self.super_seed.as_mut().filter(|s| s.fresh.is_empty()) else {
            return;
        };
        let pieces = (0..self.metainfo.geometry.pieces()).map(Piece);
        let absent = pieces.filter(|piece| self.picker.copies(*piece) == 0);
        let absent: Vec<Piece> = absent.collect();
        super_seed.is_over |= absent.is_empty();
        let lost = absent
            .into_iter()
            .filter(|piece| !super_seed.is_last_of_any(*piece));
        super_seed.fresh = lost.collect();
    }

    /// Tells a peer that knows only some of our pieces of the others it lacks, so many at a time.
    fn tell_all(&mut self, cx: &Context<'_>, conn: ConnId, peer: &mut Peer) {
        let pieces = self.geometry().pieces();
        let Some(super_seed) = &mut self.super_seed else {
            return;
        };
        if let Some(shown) = super_seed.peers.get_mut(&conn) {
            if shown.pieces.pieces() != pieces {
                shown.pieces = Bitfield::new(pieces);
            }
            if let Availability::Some(has) = &peer.has {
                has.iter().for_each(|piece| {
                    shown.pieces.insert(piece);
                });
            }
            let untold = self.pieces.have().iter_without(&shown.pieces);
            let untold: Vec<Piece> = untold.take(limits::TOLD_AT_ONCE).collect();
            for piece in &untold {
                shown.pieces.insert(*piece);
                peer.send(cx.now, Message::Have(*piece));
            }
            if untold.len() < limits::TOLD_AT_ONCE {
                super_seed.peers.remove(&conn);
            }
        }
        if super_seed.peers.is_empty() {
            self.super_seed = None;
        }
    }
}
