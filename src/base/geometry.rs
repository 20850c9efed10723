//! Where pieces, blocks and files lie in a torrent's bytes (BEP 3).

use super::ids::{Block, Piece};
use super::limits;

/// The division of a torrent's content into pieces and blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    piece_length: u32,
    total: u64,
    pieces: u32,
}

impl Geometry {
    /// A torrent of `total` bytes in pieces of `piece_length`; `None` unless both are above zero, the
    /// piece length is at most [`limits::PIECE_LENGTH_MAX`] and the number of pieces fits in 32 bits.
    pub fn new(piece_length: u32, total: u64) -> Option<Self> {
        if piece_length == 0 || piece_length > limits::PIECE_LENGTH_MAX || total == 0 {
            return None;
        }
        let pieces = u32::try_from(total.div_ceil(u64::from(piece_length))).ok()?;
        Some(Self {
            piece_length,
            total,
            pieces,
        })
    }

    /// Bytes in every piece but the last.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Bytes of the whole content.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many pieces there are, at least one.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// Whether the torrent has such a piece.
    pub fn has_piece(&self, piece: Piece) -> bool {
        piece.0 < self.pieces
    }

    /// Bytes in `piece`: the last is what is left. Zero out of range.
    pub fn piece_len(&self, piece: Piece) -> u32 {
        let start = u64::from(piece.0) * u64::from(self.piece_length);
        let left = self.total.saturating_sub(start);
        left.min(u64::from(self.piece_length)) as u32
    }

    /// How many blocks `piece` is asked for in.
    pub fn blocks(&self, piece: Piece) -> u32 {
        self.piece_len(piece).div_ceil(limits::BLOCK)
    }

    /// The `index`th block of `piece`, which must be below [`Geometry::blocks`].
    pub fn block(&self, piece: Piece, index: u32) -> Block {
        let begin = index * limits::BLOCK;
        // BEP 3: the last piece may be short, so its last block may be too.
        let len = self
            .piece_len(piece)
            .saturating_sub(begin)
            .min(limits::BLOCK);
        Block { piece, begin, len }
    }

    /// The number within its piece of a block as *we* ask for them; `None` for any other range.
    pub fn block_index(&self, block: Block) -> Option<u32> {
        let index = block.begin / limits::BLOCK;
        let exact = self.has_piece(block.piece)
            && index < self.blocks(block.piece)
            && self.block(block.piece, index) == block;
        exact.then_some(index)
    }

    /// Whether `block` is a range, above zero bytes, within one piece of the torrent.
    pub fn contains(&self, block: Block) -> bool {
        let inside = block
            .end()
            .is_some_and(|end| end <= self.piece_len(block.piece));
        block.len > 0 && inside
    }

    /// The first byte of `block` in the whole content.
    pub fn offset(&self, block: Block) -> u64 {
        u64::from(block.piece.0) * u64::from(self.piece_length) + u64::from(block.begin)
    }
}

/// A range within one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The file's number in the torrent, from 0.
    pub file: u32,
    /// The first byte within the file.
    pub offset: u64,
    /// Bytes, never zero.
    pub len: u64,
}

/// Where each file ends in the whole content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileTable {
    ends: Vec<u64>,
}

impl FileTable {
    /// A table from the files' lengths, in the torrent's order; `None` if they overflow 64 bits.
    pub fn new(lengths: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut end = 0u64;
        let mut ends = Vec::new();
        for length in lengths {
            end = end.checked_add(length)?;
            ends.push(end);
        }
        Some(Self { ends })
    }

    /// Bytes of all files together.
    pub fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The files that hold `len` bytes from `offset` of the content, in order; empty files have no span.
    /// Ends at the end of the content.
    pub fn spans(&self, offset: u64, len: u64) -> impl Iterator<Item = Span> + '_ {
        let end = offset.saturating_add(len).min(self.total());
        let first = self.ends.partition_point(|&e| e <= offset);
        let mut at = offset;
        (first..self.ends.len())
            .map_while(move |file| {
                let start = if file == 0 { 0 } else { self.ends[file - 1] };
                let stop = self.ends[file].min(end);
                (at < end).then(|| {
                    let span = Span {
                        file: file as u32,
                        offset: at - start,
                        len: stop - at,
                    };
                    at = stop;
                    span
                })
            })
            .filter(|span| span.len > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_and_its_last_block_are_short() {
        let g = Geometry::new(32_768, 100_000).expect("a plain torrent");
        assert_eq!(g.pieces(), 4);
        assert_eq!(g.piece_len(Piece(3)), 1696);
        assert_eq!(g.blocks(Piece(0)), 2);
        let short = Block {
            piece: Piece(3),
            begin: 0,
            len: 1696,
        };
        assert_eq!(g.block(Piece(3), 0), short);
        assert_eq!(g.block_index(short), Some(0));
        assert_eq!(g.offset(short), 98_304);
        assert_eq!(g.piece_len(Piece(4)), 0);
        assert!(Geometry::new(0, 1).is_none() && Geometry::new(1, 0).is_none());
        assert!(Geometry::new(1, 1 << 33).is_none());
    }

    #[test]
    fn ranges_from_outside_are_judged_without_overflow() {
        let g = Geometry::new(32_768, 100_000).expect("a plain torrent");
        let block = |piece, begin, len| Block {
            piece: Piece(piece),
            begin,
            len,
        };
        assert!(g.contains(block(0, 100, 32_668)));
        assert!(!g.contains(block(0, 100, 32_669)));
        assert!(!g.contains(block(0, u32::MAX, 2)));
        assert!(!g.contains(block(0, 0, 0)));
        assert!(!g.contains(block(u32::MAX, 0, 1)));
        assert_eq!(g.block_index(block(0, 16_384, 16_383)), None);
        assert_eq!(g.block_index(block(9, 0, 16_384)), None);
    }

    #[test]
    fn spans_cross_files_and_skip_empty_ones() {
        let files = FileTable::new([10, 0, 0, 5, 20]).expect("small");
        let spans: Vec<_> = files
            .spans(8, 10)
            .map(|s| (s.file, s.offset, s.len))
            .collect();
        assert_eq!(spans, [(0, 8, 2), (3, 0, 5), (4, 0, 3)]);
        let tail: Vec<_> = files
            .spans(34, 100)
            .map(|s| (s.file, s.offset, s.len))
            .collect();
        assert_eq!(tail, [(4, 19, 1)]);
        assert_eq!(files.spans(35, 1).count(), 0);
        assert!(FileTable::new([u64::MAX, 1]).is_none());
    }
}
