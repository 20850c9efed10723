//! Identities in the words of the BEPs.

use std::fmt;

/// A torrent's identity: the SHA-1 of the raw bytes of its `info` dictionary (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

impl InfoHash {
    /// Reads 40 hexadecimal digits of either case; anything else is `None`.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: &[u8; 40] = text.as_bytes().try_into().ok()?;
        let mut hash = [0; 20];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A peer's name for itself, 20 bytes of its choice (BEP 3, BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// The index of a piece: the part of a torrent that has a hash of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Piece(pub u32);

impl Piece {
    /// The index as a `usize`, for tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part of a piece, at most [`crate::base::limits::BLOCK`] bytes: what one `request` asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Block {
    /// The piece it lies in.
    pub piece: Piece,
    /// Its first byte, counted from the beginning of the piece.
    pub begin: u32,
    /// Its length in bytes.
    pub len: u32,
}

impl Block {
    /// The byte behind its last, counted from the beginning of the piece; `None` on overflow.
    pub fn end(self) -> Option<u32> {
        self.begin.checked_add(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_hex_digits_of_either_case_are_an_info_hash_and_nothing_else_is() {
        let text = "aabbccddeeff00112233445566778899AABBCCDD";
        assert_eq!(
            InfoHash::from_hex(text).map(|h| h.to_string()),
            Some(text.to_lowercase())
        );
        assert_eq!(InfoHash::from_hex(&text[1..]), None);
        assert_eq!(InfoHash::from_hex(&text.replace('a', "g")), None);
        assert_eq!(InfoHash::from_hex("é".repeat(20).as_str()), None);
    }
}
