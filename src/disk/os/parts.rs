//! The hidden file that keeps what border pieces bring of files that are not wanted.
//!
//! Every piece that touches more than one file has a slot as long as a piece, in the order of the pieces. So the
//! place of a byte follows from the torrent alone, whatever is wanted, and the file is sparse but short.

use crate::base::geometry::Geometry;
use crate::wire::metainfo::Metainfo;

/// Where the bytes of a torrent's files lie in its part file.
pub(super) struct Parts {
    geometry: Geometry,
    /// Where each file begins in the content.
    starts: Vec<u64>,
    /// The pieces that touch more than one file, in order.
    borders: Vec<u32>,
}

impl Parts {
    /// The slots of a torrent.
    pub(super) fn of(meta: &Metainfo) -> Self {
        let geometry = meta.geometry;
        let length = u64::from(geometry.piece_length());
        let (mut starts, mut borders) = (Vec::with_capacity(meta.files.len()), Vec::new());
        let mut at = 0u64;
        for entry in &meta.files {
            starts.push(at);
            let border = (at / length) as u32;
            if !at.is_multiple_of(length)
                && borders.last() != Some(&border)
                && at < geometry.total()
            {
                borders.push(border);
            }
            at += entry.length;
        }
        Self {
            geometry,
            starts,
            borders,
        }
    }

    /// Where byte `offset` of a file lies, and how many bytes from there on lie behind it; `None` if its piece
    /// touches no other file.
    pub(super) fn place(&self, file: u32, offset: u64) -> Option<(u64, u64)> {
        let at = self.starts.get(file as usize)?.checked_add(offset)?;
        let length = u64::from(self.geometry.piece_length());
        let slot = self.borders.binary_search(&((at / length) as u32)).ok()?;
        let into = at % length;
        Some((slot as u64 * length + into, length - into))
    }

    /// The ranges of a file, first byte and length, that have a place here.
    pub(super) fn ranges(&self, file: u32, len: u64) -> Vec<(u64, u64)> {
        let Some(&start) = self.starts.get(file as usize) else {
            return Vec::new();
        };
        let length = u64::from(self.geometry.piece_length());
        let pieces = (start / length) as u32..=((start + len.max(1) - 1) / length) as u32;
        let first = self.borders.partition_point(|piece| piece < pieces.start());
        let borders = self.borders[first..].iter();
        borders
            .take_while(|piece| *piece <= pieces.end())
            .map(|piece| {
                let from = (u64::from(*piece) * length).max(start);
                let to = ((u64::from(*piece) + 1) * length).min(start + len);
                (from - start, to - from)
            })
            .collect()
    }
}

/// What the part file of a torrent is called, in the output directory.
pub(super) fn name(meta: &Metainfo) -> String {
    // A name has 255 bytes at most; the dot and the ending must fit, too.
    let mut end = meta.name.len().min(NAME_MAX);
    while !meta.name.is_char_boundary(end) {
        end -= 1;
    }
    format!(".{}.parts", &meta.name[..end])
}

/// Bytes of a torrent's name in the name of its part file.
const NAME_MAX: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(lengths: &[u64]) -> Metainfo {
        let total: u64 = lengths.iter().sum();
        let mut info = b"d5:filesl".to_vec();
        for (at, length) in lengths.iter().enumerate() {
            info.extend(format!("d6:lengthi{length}e4:pathl1:{at}ee").bytes());
        }
        let pieces = total.div_ceil(16) as usize;
        info.extend(format!("e4:name1:n12:piece lengthi16e6:pieces{}:", pieces * 20).bytes());
        info.extend(vec![1; pieces * 20]);
        info.push(b'e');
        Metainfo::from_info(&info).expect("a plain torrent")
    }

    #[test]
    fn only_border_pieces_have_a_slot_and_it_does_not_depend_on_what_is_wanted() {
        // Pieces of 16 bytes; files end within pieces 1 and 3, and at the end of piece 2.
        let parts = Parts::of(&meta(&[20, 28, 10, 0, 40]));
        assert_eq!(parts.borders, [1, 3]);
        assert_eq!(parts.place(0, 15), None);
        assert_eq!(parts.place(0, 16), Some((0, 16)));
        assert_eq!(parts.place(1, 0), Some((4, 12)));
        assert_eq!(parts.place(1, 12), None);
        assert_eq!(parts.place(2, 9), Some((16 + 9, 7)));
        assert_eq!(parts.ranges(1, 28), [(0, 12)]);
        assert_eq!(parts.ranges(2, 10), [(0, 10)]);
        assert_eq!(parts.ranges(4, 40), [(0, 6)]);
        assert_eq!(name(&meta(&[1])), ".n.parts");
    }
}
