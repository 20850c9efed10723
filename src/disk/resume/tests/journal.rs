//! The journal itself: cut, damaged, of others, and how long it gets.

use super::*;

/// A journal with every kind of record, of a life that goes on.
fn eventful() -> Scene {
    let mut scene = Scene::new(&[("a", 6 * BLOCKS), ("b", 6 * BLOCKS)]);
    scene.start();
    scene.write([0, 1, 2, 3, 4, 5]);
    scene.disk.handle_totals(torrent(0), 100, 7);
    scene.run(32);
    scene.write([8, 10]);
    scene.run(2);
    scene.revive(None);
    scene
}

#[test]
fn a_journal_cut_at_any_byte_or_with_any_bit_flipped_never_lies() {
    let mut scene = eventful();
    let good = scene.journal();
    let expected = scene.expected();
    let truth = Journal::parse(&good, &expected).expect("it checks out");
    assert_eq!(truth.whole, good.len());
    assert_eq!(truth.durable.count(), 6);
    assert_eq!(truth.written.count(), 8);
    assert_eq!(truth.totals.downloaded, 100);
    let judge = |bytes: &[u8]| {
        if let Ok(read) = Journal::parse(bytes, &expected) {
            assert!(read.whole <= bytes.len() && read.whole < good.len());
            assert_eq!(read.written.iter_without(&truth.written).count(), 0);
            assert_eq!(read.durable.iter_without(&truth.durable).count(), 0);
        }
    };
    (0..good.len()).for_each(|len| judge(&good[..len]));
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        judge(&bytes);
    }
    // Through the whole store, at every byte of it: all is found good, and what is damaged is set aside.
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        scene.put_journal(&bytes);
        let (found, read) = scene.start();
        assert_eq!(found, [0, 1, 2, 3, 4, 5, 8, 10], "{at}");
        assert_eq!(scene.warnings(), ["state.bad"], "{at}");
        assert!(read >= 8 * B, "{at}");
        scene.revive(None);
    }
}

#[test]
fn journals_of_other_versions_torrents_and_sizes_are_set_aside() {
    let mut scene = eventful();
    let good = scene.journal();
    let mut newer = good.clone();
    newer[8] = 2;
    let mut other = Scene::new(&[("c", 6 * BLOCKS), ("d", 6 * BLOCKS)]);
    other.start();
    other.write([1]);
    other.run(2);
    let cases = [
        (newer, "journal.bak"),
        (other.journal(), "journal.bad"),
        (Vec::new(), "journal.bad"),
        (vec![b'l'; 1 << 20], "journal.bad"),
        (vec![0; 100 << 20], "journal.bad"),
        ([&good[..], &[0; 100]].concat(), "journal.bad"),
    ];
    for (bytes, aside) in cases {
        scene.put_journal(&bytes);
        assert_eq!(scene.start().0.len(), 8, "{aside}");
        assert_eq!(scene.warnings(), ["state.bad"]);
        let path = scene.dir().join(aside);
        assert_eq!(scene.disk.state().get(&path), Some(&bytes[..]));
        scene.revive(None);
    }
}

#[test]
fn records_that_say_what_can_not_be_are_where_a_journal_ends() {
    let scene = Scene::new(&[("a", 6 * BLOCKS)]);
    let expected = scene.expected();
    let empty = Journal::new(&expected).encode(&expected);
    let mut cases = Vec::new();
    for numbers in [[6u32, 1], [0, 7], [u32::MAX, 2], [5, u32::MAX]] {
        let payload = numbers.map(u32::to_le_bytes).concat();
        cases.push((2u8, payload.clone()));
        cases.push((5, [vec![0; 8], payload].concat()));
    }
    cases.extend([
        (0, vec![]),
        (8, vec![]),
        (2, vec![0; 7]),
        (4, vec![1; 20]),
        (6, vec![0; 9]),
    ]);
    cases.push((2, [0u32, 6].map(u32::to_le_bytes).concat().repeat(3)));
    for (kind, payload) in cases {
        let mut bytes = empty.clone();
        let begin = bytes.len();
        bytes.push(kind);
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(&payload);
        bytes.extend(crc::crc32(&bytes[begin..]).to_le_bytes());
        let read = Journal::parse(&bytes, &expected).expect("its front is good");
        assert_eq!(
            (read.whole, read.written.count()),
            (begin, 0),
            "{kind} {payload:?}"
        );
    }
}

#[test]
fn a_journal_is_short_and_is_written_anew_when_it_has_doubled() {
    let mut scene = Scene::new(&[("a", 20_000 * BLOCKS)]);
    scene.place.state_dir = None;
    let expected = scene.expected();
    let mut whole = Journal::new(&expected);
    whole.written = Bitfield::full(20_000);
    whole.durable = Bitfield::full(20_000);
    assert!(whole.encode(&expected).len() < 256);
    let odd = (0..20_000).filter(|at| at % 2 == 1).map(Piece);
    let mut longest = Journal::new(&expected);
    odd.for_each(|piece| {
        longest.written.insert(piece);
    });
    assert!(longest.encode(&expected).len() < expected.longest() / 4);
    // A download of an hour in which each second a byte moves: beats only.
    let mut scene = Scene::new(&[("a", 300 * BLOCKS)]);
    scene.start();
    let mut most = 0;
    for piece in 0..290 {
        for _ in 0..5 {
            scene.write([piece]);
            scene.forget(piece);
            scene.write([piece]);
            scene.run(1);
        }
        most = most.max(scene.journal().len());
    }
    assert!(most < 2 * (COMPACT_LEAST as usize + 10_000), "{most}");
}
