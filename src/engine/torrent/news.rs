//! News: the pieces that were verified lately, and who has heard of them.
//!
//! A `have` is nine bytes, and a system call and two packets for each peer that it goes to alone. With many peers held,
//! that is most of what they cost. So only those hear of a piece at once that can act on it: who may ask for it now,
//! and who had no reason yet to want anything of us. The others hear of it with whatever goes to them next, or when the
//! **round** comes, in which everybody is told. One does not come sooner than [`limits::NEWS_EVERY`] after another;
//! a piece that comes later than that begins one itself, so what comes seldom is not held back at all.
//!
//! ```text
//!        a piece, NEWS_EVERY after the last round: everybody is told
//!          +---+
//!          |   v    a piece sooner
//!         quiet ---------------------> gathering
//!           ^                              |
//!           +------------------------------+
//!             NEWS_EVERY after the last round, or NEWS_MAX pieces, or nothing is missing any more
//! ```
//!
//! There is one list a torrent, and of each peer the number of pieces it has heard of.

use super::{Context, Order, Torrent};
use crate::base::ids::Piece;
use crate::base::limits;
use crate::base::time::Instant;
use crate::engine::peer::{Availability, Peer};
use crate::wire::message::Message;

/// What not every peer has heard of.
#[derive(Default)]
pub(super) struct News {
    /// In the order in which they were verified.
    pieces: Vec<Piece>,
    /// How many were verified before them, as a number that may run over.
    before: u32,
    /// When everybody was told last.
    round: Option<Instant>,
}

impl News {
    /// How many pieces who knows everything has heard of.
    pub(super) fn end(&self) -> u32 {
        self.before.wrapping_add(self.pieces.len() as u32)
    }

    /// What a peer has not heard of that has heard of so many.
    fn after(&self, told: u32) -> &[Piece] {
        let known = told.wrapping_sub(self.before) as usize;
        self.pieces.get(known..).unwrap_or_default()
    }

    /// When everybody is told of what has gathered, if something has.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let round = self.round.filter(|_| !self.pieces.is_empty());
        round.map(|round| round + limits::NEWS_EVERY)
    }
}

impl Torrent {
    /// A piece was verified: the peers are to be told, all of them now or each in its time.
    pub(super) fn add_news(&mut self, cx: &mut Context<'_>, piece: Piece) {
        self.news.pieces.push(piece);
        cx.orders.push_back(Order::Have(self.id, piece));
        let is_full = self.news.pieces.len() >= limits::NEWS_MAX;
        let is_due = self.news.poll_timeout().is_none_or(|at| at <= cx.now);
        if is_full || is_due || self.is_complete() {
            cx.orders.push_back(Order::Tell(self.id));
        }
    }

    /// Tells a peer of the pieces it has not heard of. Not a seed, which wants none; but who has a piece itself is told
    /// of it, too: a super seed waits for the news that we have what it showed us (BEP 16), and others count what we have.
    pub fn tell_news(&self, now: Instant, peer: &mut Peer) {
        if peer.told == self.news.end() {
            return;
        }
        let untold = self.news.after(peer.told);
        peer.told = self.news.end();
        if peer.is_seed() {
            return;
        }
        for piece in untold
            .iter()
            .filter(|piece| self.pieces.have().has(**piece))
        {
            peer.send(now, Message::Have(*piece));
        }
    }

    /// Everybody has been told.
    pub fn end_round(&mut self, now: Instant) {
        self.news.before = self.news.end();
        self.news.pieces.clear();
        self.news.round = Some(now);
    }

    /// Whether a peer that has not heard of everything could do something about it now: it may request; or it wants
    /// nothing of us because it lacked nothing, and lacks something now.
    pub fn awaits_news(&self, peer: &Peer) -> bool {
        let Availability::Some(has) = &peer.has else {
            return false;
        };
        if peer.interested_in_us {
            return !peer.choked;
        }
        let untold = self.news.after(peer.told);
        let mut lacking = self.pieces.have().iter_without(has);
        untold.iter().any(|piece| !has.has(*piece)) && lacking.all(|piece| untold.contains(&piece))
    }
}
