//! A buffer for what is read from files.

use std::ops::{Deref, DerefMut};

/// Bytes of a fixed number, zero at first, the first of them at a round address. They take no memory before they are
/// written to.
///
/// An allocator puts a large buffer 16 bytes behind the front of a page, where its own note of the size ends. Processors
/// copy slowly to a place that lies so little ahead of the source within the page, and what is read from a file's cache
/// comes from the front of a page.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    front: usize,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` zeros.
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + ROUND];
        // At most `ROUND`: an address that can't be told is as good as any.
        let front = bytes.as_ptr().align_offset(ROUND).min(ROUND);
        Self { bytes, front, len }
    }

    /// Makes it `len` bytes long, anew and of zeros if it is not.
    pub fn resize(&mut self, len: usize) {
        if self.len != len {
            // The old one goes first.
            *self = Self::default();
            *self = Self::new(len);
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.front..self.front + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.front..self.front + self.len]
    }
}

/// Some cache lines: copies to any place from the third on are quick.
const ROUND: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_round_address_and_is_as_long_as_was_asked() {
        let mut buffer = Buffer::default();
        assert!(buffer.is_empty());
        for len in [1, 1000, 16_384, 262_144, 100] {
            buffer.resize(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % ROUND, 0);
            assert!(buffer.iter().all(|byte| *byte == 0));
            buffer.fill(1);
            buffer.resize(len);
            assert!(buffer.iter().all(|byte| *byte == 1), "it stays as it is");
        }
    }
}
