//! Small values out of a fuzzer's bytes.

/// Hands out bytes from the front; zeros when there are none left.
pub(super) struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    /// All of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether there is nothing left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes, or what is left.
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        front
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// Whether the next byte is odd.
    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Two bytes.
    pub(super) fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Four bytes; small numbers are likelier than they would be by chance.
    pub(super) fn number(&mut self) -> u32 {
        let kind = self.byte();
        match kind {
            0..=191 => u32::from(kind),
            192..=223 => u32::from(self.short()),
            _ => u32::from(self.short()) << 16 | u32::from(self.short()),
        }
    }

    /// A number below `end`, which is at least 1.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// Cuts what is left into pieces whose lengths the first byte decides.
    pub(super) fn splits(&mut self) -> impl Iterator<Item = &'a [u8]> {
        let mut state = u32::from(self.byte()) | 0x100;
        let mut rest = self.rest();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let most = [1, 2, 7, 64, 1024, 20_000][(state >> 16) as usize % 6];
            let count = 1 + (state >> 8) as usize % most;
            let (front, behind) = rest.split_at(count.min(rest.len()));
            rest = behind;
            Some(front)
        })
    }
}
