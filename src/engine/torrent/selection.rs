//! Choosing what is wanted of a torrent, and in what order.

use super::{Context, Order, Torrent};
use crate::base::ids::Piece;
use crate::engine::command::{Aim, Selection};
use crate::engine::io::{Event, Output};
use crate::engine::peer::{Availability, Peer};

impl Torrent {
    /// Wants these pieces from now on. Those that are begun are finished.
    pub fn select(&mut self, cx: &mut Context<'_>, selection: Selection) {
        self.picker.set_sequential(selection.sequential);
        self.picker.set_first(selection.first.unwrap_or_default());
        let was_complete = self.is_complete();
        self.pieces.want(selection.pieces);
        if self.checking.is_some() || !self.is_described || self.aim != Aim::Download {
            // The end of the check opens what is wanted then.
            return;
        }
        for piece in (0..self.geometry().pieces()).map(Piece) {
            let rests = self.resting.iter().any(|(_, resting)| *resting == piece);
            let is_begun = self.pieces.get(piece).is_some() || rests;
            let is_missing = !self.pieces.have().has(piece) && !is_begun;
            if self.pieces.wants(piece) && is_missing {
                self.picker.open(piece);
            } else {
                self.picker.close(piece);
            }
        }
        if self.is_complete() && !was_complete {
            let event = Event::Complete { torrent: self.id };
            cx.out.push_back(Output::Event(event));
            cx.orders.push_back(Order::Complete(self.id));
        }
        cx.orders.push_back(Order::Refill(self.id));
    }

    /// Counts anew what a peer has that is wanted, and tells it whether we want anything.
    pub fn reconsider(&self, cx: &Context<'_>, peer: &mut Peer) {
        let (have, pieces) = (self.pieces.have(), &self.pieces);
        peer.useful = match &peer.has {
            Availability::All => pieces.missing(),
            Availability::Some(bits) => {
                let useful = bits.iter_without(have);
                useful.filter(|piece| pieces.wants(*piece)).count() as u32
            }
        };
        self.tell_interest(cx, peer);
    }
}
