//! The one content coding that is met: a gzip (RFC 1952) that nobody asked for, unpacked under a cap.

use std::io::Read as _;

use flate2::read::GzDecoder;

/// Unpacks `packed`, which is a gzip by its first two bytes.
///
/// # Errors
///
/// [`GzipError`]: it is no whole gzip, or there is more than `most` bytes in it. No more than that is ever unpacked.
pub fn gunzip(packed: &[u8], most: usize) -> Result<Vec<u8>, GzipError> {
    // All the room there ever is: doubling would leave as much behind, and pages that nothing is written to cost nothing.
    let mut bytes = Vec::with_capacity(most + 1);
    let mut source = GzDecoder::new(packed).take(most as u64 + 1);
    let read = source.read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() > most => Err(GzipError::TooLong),
        Ok(_) => Ok(bytes),
        Err(_) => Err(GzipError::Damaged),
    }
}

/// Whether these bytes begin as a gzip does.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Why a gzip is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GzipError {
    /// It is cut, or its checksum is wrong, or it only began like one.
    Damaged,
    /// There is more in it than may be.
    TooLong,
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    #[test]
    fn what_was_packed_comes_out_up_to_the_cap_and_not_a_byte_more() {
        let packed = gzip(b"d8:intervali1800ee");
        assert!(is_gzip(&packed));
        assert_eq!(
            gunzip(&packed, 18).as_deref(),
            Ok(&b"d8:intervali1800ee"[..])
        );
        assert_eq!(gunzip(&packed, 17), Err(GzipError::TooLong));
    }

    #[test]
    fn a_bomb_ends_at_the_cap() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 17);
        assert_eq!(gunzip(&bomb, 1 << 20), Err(GzipError::TooLong));
    }

    #[test]
    fn cut_or_flipped_it_is_damaged() {
        let packed = gzip(b"d8:intervali1800ee");
        for len in 0..packed.len() {
            assert_eq!(gunzip(&packed[..len], 100), Err(GzipError::Damaged));
        }
        // The checksum stands before the last four bytes.
        let mut flipped = packed.clone();
        flipped[packed.len() - 5] ^= 1;
        assert_eq!(gunzip(&flipped, 100), Err(GzipError::Damaged));
        assert_eq!(gunzip(b"\x1f\x8b<html>", 100), Err(GzipError::Damaged));
    }
}
