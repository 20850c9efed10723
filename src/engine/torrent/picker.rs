//! Which piece to begin next: a few random ones, then the rarest.
//!
//! All pieces lie in one table, ordered by *level*: how many peers other than seeds have the piece, and
//! behind all those the pieces that are not up for picking. A piece moves to a neighbouring level by one swap
//! with the level's border, so a `have` costs the same whatever the torrent's size, and the rarest pieces are
//! the front of the table. Among the pieces of a level one is drawn.

use crate::base::bitfield::Bitfield;
use crate::base::ids::Piece;
use crate::base::rng::Rng;

/// The pieces that nobody has begun, by rarity.
pub struct Picker {
    /// Pieces, ordered by level.
    order: Vec<u32>,
    /// Where each piece is in `order`.
    place: Vec<u32>,
    /// How many peers other than seeds have each piece.
    copies: Vec<u16>,
    /// The pieces that are up for picking.
    open: Bitfield,
    /// Where each level begins in `order`; one more for the end.
    starts: [u32; LEVELS + 1],
    seeds: u32,
    sequential: bool,
    /// The pieces that come before the others, and those of them that are open.
    first: Bitfield,
    first_open: Bitfield,
}

impl Picker {
    /// All `pieces` pieces closed and without copies, in an order drawn from `rng`.
    pub fn new(pieces: u32, rng: &mut Rng) -> Self {
        let mut order: Vec<u32> = (0..pieces).collect();
        rng.shuffle(&mut order);
        let mut place = vec![0; pieces as usize];
        for (at, piece) in order.iter().enumerate() {
            place[*piece as usize] = at as u32;
        }
        let mut starts = [0; LEVELS + 1];
        starts[LEVELS] = pieces;
        let copies = vec![0; pieces as usize];
        Self {
            order,
            place,
            copies,
            open: Bitfield::new(pieces),
            starts,
            seeds: 0,
            sequential: false,
            first: Bitfield::default(),
            first_open: Bitfield::default(),
        }
    }

    /// Takes the pieces in their order from now on, or the rarest first.
    pub fn set_sequential(&mut self, sequential: bool) {
        self.sequential = sequential;
    }

    /// Takes these pieces before all others from now on, as far as a peer has them.
    pub fn set_first(&mut self, first: Bitfield) {
        self.first_open = Bitfield::new(self.open.pieces());
        for piece in first.iter().filter(|piece| self.open.has(*piece)) {
            self.first_open.insert(piece);
        }
        self.first = first;
    }

    /// Puts a piece up for picking.
    pub fn open(&mut self, piece: Piece) {
        if self.open.insert(piece) {
            if self.first.has(piece) {
                self.first_open.insert(piece);
            }
            self.shift(piece, CLOSED, self.level(piece));
        }
    }

    /// Takes a piece out of picking: it is begun, or there.
    pub fn close(&mut self, piece: Piece) {
        let level = self.level(piece);
        if self.open.remove(piece) {
            self.first_open.remove(piece);
            self.shift(piece, level, CLOSED);
        }
    }

    /// Whether the piece is up for picking.
    pub fn is_open(&self, piece: Piece) -> bool {
        self.open.has(piece)
    }

    /// How many pieces are up for picking.
    pub fn open_count(&self) -> u32 {
        self.open.count()
    }

    /// A seed came.
    pub fn add_seed(&mut self) {
        self.seeds += 1;
    }

    /// A seed went.
    pub fn remove_seed(&mut self) {
        self.seeds = self.seeds.saturating_sub(1);
    }

    /// A peer other than a seed has this piece.
    pub fn add_copy(&mut self, piece: Piece) {
        let before = self.level(piece);
        let copies = &mut self.copies[piece.index()];
        *copies = copies.saturating_add(1);
        let after = self.level(piece);
        if self.open.has(piece) {
            self.shift(piece, before, after);
        }
    }

    /// It went, or became a seed.
    pub fn remove_copy(&mut self, piece: Piece) {
        let before = self.level(piece);
        let copies = &mut self.copies[piece.index()];
        *copies = copies.saturating_sub(1);
        let after = self.level(piece);
        if self.open.has(piece) {
            self.shift(piece, before, after);
        }
    }

    /// Copies of a piece among the peers, seeds included.
    pub fn copies(&self, piece: Piece) -> u32 {
        u32::from(self.copies[piece.index()]) + self.seeds
    }

    /// An open piece that no peer has, and how many there are.
    pub fn without_copies(&self) -> (Option<Piece>, u32) {
        let level = match self.seeds {
            0 => &self.order[..self.starts[1] as usize],
            _ => &[],
        };
        let lowest = level.iter().take(LOOK).min();
        (lowest.map(|piece| Piece(*piece)), level.len() as u32)
    }

    /// The first open piece if it goes in order; else the rarest among those that `has` names, or a random one while the torrent has hardly begun.
    /// Looks at a bounded number of pieces, then walks `bits` (the same set, if it is known) from a random
    /// place; with neither a hit it gives `None`.
    pub fn pick(
        &self,
        random: bool,
        rng: &mut Rng,
        bits: Option<&Bitfield>,
        has: impl Fn(Piece) -> bool,
    ) -> Option<Piece> {
        let open = self.open.count() as usize;
        if open == 0 {
            return None;
        }
        if !self.first_open.is_empty()
            && let Some(piece) = self.pick_first(&has)
        {
            return Some(piece);
        }
        if self.sequential {
            return self.open.iter().find(|piece| has(*piece));
        }
        if random {
            let drawn = (0..RANDOM_TRIES).map(|_| Piece(self.order[rng.below(open)]));
            if let Some(piece) = drawn.into_iter().find(|piece| has(*piece)) {
                return Some(piece);
            }
        }
        // What nobody has can't be had from this peer either.
        let first = usize::from(self.seeds == 0);
        let mut looked = 0;
        for level in first..CLOSED {
            let range = self.starts[level] as usize..self.starts[level + 1] as usize;
            let (count, look) = (range.len(), range.len().min(LOOK - looked));
            // Among equals each session takes another: those that one source serves at once should not take the same.
            let turn = if count > 0 { rng.below(count) } else { 0 };
            let equals = (0..look).map(|at| Piece(self.order[range.start + (turn + at) % count]));
            if let Some(piece) = equals.into_iter().find(|piece| has(*piece)) {
                return Some(piece);
            }
            looked += look;
        }
        if looked < LOOK {
            return None;
        }
        // A peer with few pieces: walk its own, and take the rarest of the first that are open.
        let mut found = bits?
            .iter()
            .filter(|piece| self.open.has(*piece))
            .take(LOOK / 8);
        let first = found.next()?;
        Some(found.fold(first, |best, piece| {
            if self.level(piece) < self.level(best) {
                piece
            } else {
                best
            }
        }))
    }

    /// Of the pieces that come before all others: the first, or the rarest of some.
    fn pick_first(&self, has: impl Fn(Piece) -> bool) -> Option<Piece> {
        let look = if self.sequential { 1 } else { LOOK / 8 };
        let found = self.first_open.iter().filter(|piece| has(*piece));
        found.take(look).min_by_key(|piece| self.level(*piece))
    }

    fn level(&self, piece: Piece) -> usize {
        usize::from(self.copies[piece.index()]).min(CLOSED - 1)
    }

    /// Moves a piece from one level to another by swaps with the borders between them.
    fn shift(&mut self, piece: Piece, from: usize, to: usize) {
        for level in from..to {
            // Out at the back of this level, which is the front of the next.
            self.starts[level + 1] -= 1;
            self.swap(piece, self.starts[level + 1]);
        }
        for level in (to..from).rev() {
            // Out at the front of the level above, which becomes the back of this one.
            self.swap(piece, self.starts[level + 1]);
            self.starts[level + 1] += 1;
        }
    }

    fn swap(&mut self, piece: Piece, at: u32) {
        let from = self.place[piece.index()];
        let other = self.order[at as usize];
        self.order.swap(from as usize, at as usize);
        self.place[other as usize] = from;
        self.place[piece.index()] = at;
    }
}

/// Levels of rarity; the last is for pieces that are closed.
const LEVELS: usize = 65;
const CLOSED: usize = LEVELS - 1;
/// Pieces looked at in the order of rarity before the peer's own set is walked.
const LOOK: usize = 512;
/// Draws of a random piece before the rarest is taken instead.
const RANDOM_TRIES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn picker(pieces: u32) -> (Picker, Rng) {
        let mut rng = Rng::new([1; 32]);
        let mut picker = Picker::new(pieces, &mut rng);
        (0..pieces).for_each(|piece| picker.open(Piece(piece)));
        (picker, rng)
    }

    fn check(picker: &Picker) {
        for (at, piece) in picker.order.iter().enumerate() {
            assert_eq!(picker.place[*piece as usize] as usize, at);
            let open = picker.open.has(Piece(*piece));
            let level = if open {
                picker.level(Piece(*piece))
            } else {
                CLOSED
            };
            let within = picker.starts[level]..picker.starts[level + 1];
            assert!(
                within.contains(&(at as u32)),
                "piece {piece} at {at}, level {level}"
            );
        }
    }

    #[test]
    fn the_rarest_piece_comes_first() {
        let (mut picker, mut rng) = picker(100);
        for piece in 0..100 {
            (0..(piece % 7 + 2)).for_each(|_| picker.add_copy(Piece(piece)));
        }
        picker.remove_copy(Piece(42));
        check(&picker);
        assert_eq!(
            picker.pick(false, &mut rng, None, |_| true),
            Some(Piece(42))
        );
        picker.close(Piece(42));
        check(&picker);
        let next = picker
            .pick(false, &mut rng, None, |_| true)
            .expect("99 are open");
        assert_eq!(next.0 % 7, 0);
        assert_eq!(
            picker.pick(false, &mut rng, None, |p| p == Piece(13)),
            Some(Piece(13))
        );
    }

    #[test]
    fn the_table_stays_in_order_whatever_happens() {
        let (mut picker, mut rng) = picker(50);
        for _ in 0..20_000 {
            let piece = Piece(rng.below(50) as u32);
            match rng.below(4) {
                0 => picker.add_copy(piece),
                1 => picker.remove_copy(piece),
                2 => picker.open(piece),
                _ => picker.close(piece),
            }
        }
        check(&picker);
        assert_eq!(
            picker.open_count(),
            picker
                .order
                .iter()
                .filter(|p| picker.is_open(Piece(**p)))
                .count() as u32
        );
    }

    #[test]
    fn more_peers_than_levels_are_no_trouble() {
        let (mut picker, _) = picker(3);
        (0..100_000).for_each(|_| picker.add_copy(Piece(1)));
        check(&picker);
        (0..100_000).for_each(|_| picker.remove_copy(Piece(1)));
        check(&picker);
    }

    #[test]
    fn a_peer_with_one_piece_of_many_is_served_without_looking_at_all() {
        let (mut picker, mut rng) = picker(100_000);
        picker.add_seed();
        let mut bits = Bitfield::new(100_000);
        bits.insert(Piece(77_777));
        let picked = picker.pick(false, &mut rng, Some(&bits), |piece| bits.has(piece));
        assert_eq!(picked, Some(Piece(77_777)));
        picker.close(Piece(77_777));
        assert_eq!(
            picker.pick(false, &mut rng, Some(&bits), |piece| bits.has(piece)),
            None
        );
    }

    #[test]
    fn in_order_the_first_open_piece_that_the_peer_has_is_next() {
        let (mut picker, mut rng) = picker(100);
        picker.set_sequential(true);
        (0..50).for_each(|_| picker.add_copy(Piece(0)));
        let next = |picker: &Picker, rng: &mut Rng| picker.pick(true, rng, None, |p| p.0 != 1);
        assert_eq!(next(&picker, &mut rng), Some(Piece(0)));
        picker.close(Piece(0));
        assert_eq!(next(&picker, &mut rng), Some(Piece(2)));
    }

    #[test]
    fn among_equals_each_session_takes_another() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let mut rng = Rng::new([seed; 32]);
            let mut picker = Picker::new(1000, &mut rng);
            (0..1000).for_each(|piece| picker.open(Piece(piece)));
            picker.add_seed();
            // As all have it, and most are as rare as each other.
            (0..500).for_each(|piece| picker.add_copy(Piece(piece)));
            let picked = picker.pick(false, &mut rng, None, |_| true);
            assert!(picked.is_some_and(|piece| piece.0 >= 500), "{picked:?}");
            seen.insert(picked);
        }
        assert!(seen.len() > 15, "{seen:?}");
    }

    #[test]
    fn two_sessions_begin_with_different_pieces() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let mut rng = Rng::new([seed; 32]);
            let mut picker = Picker::new(1000, &mut rng);
            (0..1000).for_each(|piece| picker.open(Piece(piece)));
            picker.add_seed();
            seen.insert(picker.pick(true, &mut rng, None, |_| true));
        }
        assert!(seen.len() > 15);
    }
}
