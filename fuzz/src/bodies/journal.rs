//! The resume journal: nothing that a disk holds is believed without its checksum, or beyond its torrent.

use minitorrent::base::geometry::Geometry;
use minitorrent::base::ids::InfoHash;
use minitorrent::disk::resume::Journal;
use minitorrent::disk::resume::journal::Expected;

use super::source::Source;

/// Any bytes, and records of any bytes whose checksums are right.
pub fn journal(bytes: &[u8]) {
    let expected = Expected {
        info_hash: InfoHash([7; 20]),
        geometry: Geometry::new(16, 1005).expect("a plain one"),
        files: 5,
        place: 3,
    };
    judge(bytes, &expected);
    let mut journal = Journal::new(&expected).encode(&expected);
    journal.truncate(HEADER);
    let mut source = Source::new(bytes);
    while !source.is_empty() {
        let mut record = vec![source.byte() % 9];
        let len = source.below(48);
        let payload = source.take(len);
        record.extend((payload.len() as u32).to_le_bytes());
        record.extend_from_slice(payload);
        let crc = crc32(&record);
        record.extend(crc.to_le_bytes());
        journal.extend(record);
    }
    judge(&journal, &expected);
    let at = usize::from(bytes.first().copied().unwrap_or(0)) % journal.len();
    journal[at] ^= 1;
    judge(&journal, &expected);
}

fn judge(bytes: &[u8], expected: &Expected) {
    let Ok(journal) = Journal::parse(bytes, expected) else {
        return;
    };
    assert!(journal.whole >= HEADER && journal.whole <= bytes.len());
    assert_eq!(journal.files.len(), expected.files as usize);
    let durable = journal.durable.iter().collect::<Vec<_>>();
    assert!(durable.iter().all(|piece| journal.written.has(*piece)));
    assert_eq!(journal.written.pieces(), expected.geometry.pieces());
    let written = journal.encode(expected);
    assert!(written.len() <= expected.longest());
    let again = Journal::parse(&written, expected).expect("our own");
    assert_eq!(again.whole, written.len());
    let same = Journal {
        whole: journal.whole,
        ..again
    };
    assert_eq!(same.durable, journal.durable);
    assert_eq!(same.written, journal.written);
    assert_eq!((same.totals, same.epoch), (journal.totals, journal.epoch));
    // A prefix of whole records is true, if less than all.
    let cut = Journal::parse(&bytes[..journal.whole], expected).expect("whole records");
    assert_eq!(cut, journal);
}

/// The checksum of Ethernet and gzip, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc));
    !bytes.iter().fold(u32::MAX, byte)
}

/// Bytes of a journal's header.
const HEADER: usize = 60;
