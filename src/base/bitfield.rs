//! A set of pieces as BEP 3 puts it on the wire: the high bit of the first byte is piece 0.

use std::fmt;

use super::ids::Piece;

/// A set of pieces, with a running count. Spare bits are always clear.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bitfield {
    bytes: Box<[u8]>,
    pieces: u32,
    count: u32,
}

impl Bitfield {
    /// The empty set over `pieces` pieces.
    pub fn new(pieces: u32) -> Self {
        Self {
            bytes: vec![0; Self::byte_len(pieces)].into(),
            pieces,
            count: 0,
        }
    }

    /// The full set over `pieces` pieces.
    pub fn full(pieces: u32) -> Self {
        let mut set = Self {
            bytes: vec![0xff; Self::byte_len(pieces)].into(),
            pieces,
            count: 0,
        };
        set.mask_and_count();
        set
    }

    /// Reads the payload of a `bitfield` message; spare bits are masked. `None` if the length is wrong.
    pub fn from_wire(bytes: &[u8], pieces: u32) -> Option<Self> {
        if bytes.len() != Self::byte_len(pieces) {
            return None;
        }
        let mut set = Self {
            bytes: bytes.into(),
            pieces,
            count: 0,
        };
        set.mask_and_count();
        Some(set)
    }

    /// Bytes of a `bitfield` payload for so many pieces.
    pub const fn byte_len(pieces: u32) -> usize {
        pieces.div_ceil(8) as usize
    }

    /// The set as a `bitfield` payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many pieces the torrent has.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// How many are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.count == self.pieces
    }

    /// Whether no piece is in the set.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `piece` is in the set; false for one out of range.
    pub fn has(&self, piece: Piece) -> bool {
        let bit = 0x80 >> (piece.0 % 8);
        self.bytes
            .get(piece.index() / 8)
            .is_some_and(|byte| byte & bit != 0)
    }

    /// Puts `piece` in the set. False if it was there already or is out of range.
    pub fn insert(&mut self, piece: Piece) -> bool {
        if piece.0 >= self.pieces || self.has(piece) {
            return false;
        }
        self.bytes[piece.index() / 8] |= 0x80 >> (piece.0 % 8);
        self.count += 1;
        true
    }

    /// Takes `piece` out of the set. False if it was not there.
    pub fn remove(&mut self, piece: Piece) -> bool {
        if !self.has(piece) {
            return false;
        }
        self.bytes[piece.index() / 8] &= !(0x80 >> (piece.0 % 8));
        self.count -= 1;
        true
    }

    /// The pieces of the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = Piece> + '_ {
        self.bytes
            .iter()
            .enumerate()
            .flat_map(|(at, &byte)| bits(at, byte))
    }

    /// The pieces of `self` that `other` lacks, in order from byte `from`, a byte of the wire form at a time.
    pub fn iter_without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Piece> + 'a {
        let pairs = self.bytes.iter().zip(&*other.bytes);
        pairs
            .enumerate()
            .flat_map(|(at, (&mine, &theirs))| bits(at, mine & !theirs))
    }

    fn mask_and_count(&mut self) {
        let spare = self.bytes.len() as u32 * 8 - self.pieces;
        if let Some(last) = self.bytes.last_mut() {
            *last &= 0xff << spare;
        }
        self.count = self.bytes.iter().map(|byte| byte.count_ones()).sum();
    }
}

fn bits(at: usize, byte: u8) -> impl Iterator<Item = Piece> {
    (0..8)
        .filter(move |bit| byte & (0x80 >> bit) != 0)
        .map(move |bit| Piece(at as u32 * 8 + bit))
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.count, self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_piece_is_the_high_bit_and_spare_bits_are_masked() {
        let set = Bitfield::from_wire(&[0x80, 0xff], 10).expect("two bytes for ten pieces");
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [Piece(0), Piece(8), Piece(9)]
        );
        assert_eq!(set.as_bytes(), [0x80, 0xc0]);
        assert_eq!(set.count(), 3);
        assert!(Bitfield::from_wire(&[0x80], 10).is_none());
        assert!(Bitfield::full(16).is_full() && Bitfield::full(16).count() == 16);
    }

    #[test]
    fn insert_and_remove_keep_the_count_and_refuse_what_is_out_of_range() {
        let mut set = Bitfield::new(9);
        assert!(set.insert(Piece(8)) && !set.insert(Piece(8)) && !set.insert(Piece(9)));
        assert_eq!(set.count(), 1);
        assert!(set.remove(Piece(8)) && !set.remove(Piece(8)) && !set.remove(Piece(4000)));
        assert!(set.is_empty());
    }

    #[test]
    fn a_difference_lists_what_the_other_lacks() {
        let mut mine = Bitfield::new(20);
        let mut theirs = Bitfield::new(20);
        for piece in [1, 7, 8, 19] {
            mine.insert(Piece(piece));
        }
        theirs.insert(Piece(7));
        let left: Vec<_> = mine.iter_without(&theirs).collect();
        assert_eq!(left, [Piece(1), Piece(8), Piece(19)]);
    }
}
