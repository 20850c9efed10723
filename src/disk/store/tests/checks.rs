//! Checking what is there, and hashing block by block.

use super::*;

#[test]
fn a_check_of_nothing_answers_a_handful_at_a_time_and_reads_nothing() {
    let mut scene = Scene::new(B, &[("a", 1000 * B as u64, Regular)]);
    let said = scene.check();
    assert_eq!(said.len(), 1001);
    assert!(said[..1000].iter().all(|line| line.ends_with("false")));
    assert!(scene.disk.files.reads.is_empty() && scene.disk.scratch.len() <= READ);
    assert_eq!(scene.disk.files.surveys, 0);
    scene.check();
    assert_eq!(scene.disk.files.surveys, 1);
}

#[test]
fn a_check_finds_the_good_the_bad_and_the_short_in_large_reads() {
    let files = [
        ("a", 5 * B as u64 + 7, Regular),
        ("b", 3 * B as u64, Regular),
    ];
    let mut scene = Scene::new(B, &files);
    scene.batch(&(0..9).collect::<Vec<_>>());
    let (a, b) = (0, 1);
    let torrent = torrent(0);
    let files = &mut scene.disk.files.files;
    files
        .get_mut(&FileId { torrent, file: a })
        .expect("written")[B] ^= 1;
    files
        .get_mut(&FileId { torrent, file: b })
        .expect("written")
        .pop();
    let said = scene.check();
    let good: Vec<bool> = said.iter().map(|line| line.ends_with("true")).collect();
    let expected = [
        true, false, true, true, true, true, true, true, false, false,
    ];
    assert_eq!(good, expected, "{said:?}");
    let reads = &scene.disk.files.reads;
    assert_eq!(reads.len(), 2, "{reads:?}");
}

#[test]
fn a_check_goes_on_where_its_slice_ended() {
    let mut scene = Scene::new(64 * B, &[("a", 100 * B as u64, Regular)]);
    scene.batch(&(0..100).collect::<Vec<_>>());
    scene.handle(
        &mut vec![DiskOp::Check {
            torrent: torrent(0),
        }],
        &[],
    );
    let (mut slices, mut said) = (0, Vec::new());
    loop {
        let (more, mut lines) = scene.work(READ);
        slices += 1;
        said.append(&mut lines);
        if !more {
            break;
        }
    }
    // 1024 KiB and 576 KiB in reads of 256, the last of which is short and leaves room for the end.
    assert_eq!(slices, 7);
    assert_eq!(said, ["checked 0 true", "checked 1 true", "ended None"]);
}

#[test]
fn holes_are_judged_by_the_hash_of_zeros_and_not_read_with_what_lies_before_them() {
    for reads_along in [0, B as u64] {
        let mut scene = Scene::new(B, &[("a", 7 * B as u64, Regular)]);
        scene.batch(&[1, 2, 6]);
        scene.disk.files.holes = true;
        scene.disk.files.reads_along = reads_along;
        let said = scene.check();
        let good: Vec<bool> = said.iter().map(|line| line.ends_with("true")).collect();
        let expected = [false, true, true, false, false, false, true, false];
        assert_eq!(good, expected, "{said:?}");
        let (first, last) = (B as u64, 6 * B as u64);
        assert_eq!(scene.disk.files.reads, [(0, first, 2 * B), (0, last, B)]);
    }
}

#[test]
fn digests_are_one_hash_a_block_and_taken_before_the_piece_is_overwritten() {
    let mut scene = Scene::new(2 * B, &[("a", 2 * B as u64 - 5, Regular)]);
    let mut wrong = scene.content.clone();
    wrong[0] ^= 1;
    scene.batch_of(&[0, 1], &wrong);
    let digest = DiskOp::Digest {
        torrent: torrent(0),
        piece: Piece(0),
    };
    let mut ops = vec![digest, scene.write(scene.block(0))];
    scene.disk.handle(&mut ops, &scene.content, &mut scene.done);
    let done = scene.done.pop_front();
    let Some(DiskDone::Digests { blocks, .. }) = done else {
        panic!("{done:?}");
    };
    assert_eq!(blocks, [sha1(&wrong[..B]), sha1(&wrong[B..])]);
    assert_eq!(scene.said(), ["wrote 0/0"]);
}

#[test]
fn what_can_not_be_read_is_said_to_have_changed() {
    let mut scene = Scene::new(4 * B, &[("a", 4 * B as u64, Regular)]);
    scene.batch(&[0, 1, 2, 3]);
    let run = Block {
        piece: Piece(0),
        begin: 100,
        len: 3 * B as u32,
    };
    let mut out = vec![0; 3 * B];
    scene
        .disk
        .read(torrent(0), run, &mut out)
        .expect("it is there");
    assert_eq!(out, scene.content[100..100 + 3 * B]);
    let files = &mut scene.disk.files.files;
    files
        .values_mut()
        .for_each(|content| content.truncate(2 * B));
    let error = scene.disk.read(torrent(0), run, &mut out);
    assert_eq!(error.expect_err("it is gone").kind, DiskErrorKind::Changed);
    let digest = DiskOp::Digest {
        torrent: torrent(0),
        piece: Piece(0),
    };
    scene.handle(&mut vec![digest], &[]);
    assert_eq!(scene.work(1 << 20).1, ["digests 0 0"]);
}
