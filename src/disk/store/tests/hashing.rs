//! What is written is hashed: in order, late, and of two pieces at once.

use super::*;

#[test]
fn blocks_out_of_order_are_read_back_once_the_gap_closes() {
    let mut scene = Scene::new(4 * B, &[("a", 4 * B as u64, Regular)]);
    assert_eq!(scene.batch(&[2]), ["wrote 0/2"]);
    assert_eq!(scene.batch(&[1]), ["wrote 0/1"]);
    assert!(scene.disk.files.reads.is_empty());
    assert_eq!(scene.batch(&[0]), ["wrote 0/0"]);
    assert_eq!(scene.disk.files.reads, [(0, B as u64, 2 * B)]);
    // The last is in order again, and hashed from memory.
    assert_eq!(scene.batch(&[3]), ["wrote 0/3", "verified 0 true"]);
    assert_eq!(scene.disk.files.reads.len(), 1);
}

#[test]
fn a_batch_in_reverse_is_read_back_after_all_of_it_is_written() {
    let mut scene = Scene::new(3 * B, &[("a", 3 * B as u64, Regular)]);
    let said = scene.batch(&[2, 1, 0]);
    assert_eq!(said[2..], ["wrote 0/0", "verified 0 true"]);
    assert_eq!(scene.disk.files.reads, [(0, B as u64, 2 * B)]);
}

#[test]
fn blocks_of_two_pieces_in_one_batch_are_hashed_each_in_its_order() {
    let mut scene = Scene::new(4 * B, &[("a", 8 * B as u64, Regular)]);
    let said = scene.batch(&[0, 1, 4, 6, 2, 3]);
    assert_eq!(said[..3], ["wrote 0/0", "wrote 0/1", "wrote 1/0"]);
    assert_eq!(said[3..6], ["wrote 1/2", "wrote 0/2", "wrote 0/3"]);
    assert_eq!(said[6..], ["verified 0 true"]);
    assert!(scene.disk.files.reads.is_empty());
    let said = scene.batch(&[5, 7]);
    assert_eq!(said, ["wrote 1/1", "wrote 1/3", "verified 1 true"]);
    assert_eq!(scene.disk.files.reads, [(0, 6 * B as u64, 2 * B)]);
}

#[test]
fn blocks_of_many_pieces_that_come_by_turns_are_hashed_from_memory() {
    let (pieces, len) = (5, 4);
    let mut scene = Scene::new(len * B, &[("a", (pieces * len * B) as u64, Regular)]);
    let by_turns = (0..len).flat_map(|at| (0..pieces).map(move |piece| piece * len + at));
    // The first piece has been begun, and of the last one the last block is missing.
    scene.batch(&[0]);
    let blocks: Vec<_> = by_turns
        .filter(|n| ![0, pieces * len - 1].contains(n))
        .collect();
    let said = scene.batch(&blocks);
    // In the order in which they have their first block here.
    let expected = [1, 2, 3, 0].map(|piece| format!("verified {piece} true"));
    assert_eq!(said[blocks.len()..], expected);
    let said = scene.batch(&[pieces * len - 1]);
    assert_eq!(said, ["wrote 4/3", "verified 4 true"]);
    assert!(scene.disk.files.reads.is_empty());
}

#[test]
fn pieces_of_two_torrents_with_one_number_are_hashed_each_for_itself() {
    let mut scene = Scene::new(4 * B, &[("a", 4 * B as u64, Regular)]);
    let mut received = scene.content.clone();
    received.reverse();
    let other = meta(4 * B as u32, &[("b", 4 * B as u64, Regular)], &received);
    let added = scene.disk.add(torrent(1), other, Place::new("/elsewhere"));
    added.expect("memory takes everything");
    let behind = received.len();
    received.extend_from_slice(&scene.content);
    let mut ops = Vec::new();
    for (index, from) in [
        (0, 0),
        (1, 0),
        (0, behind),
        (1, behind),
        (2, behind),
        (3, behind),
        (2, 0),
        (3, 0),
    ] {
        let block = scene.block(index);
        let at = from + index * B;
        ops.push(DiskOp::Write {
            torrent: torrent(u64::from(from == 0)),
            block,
            data: BlockData::Received(at..at + B),
        });
    }
    let said = scene.handle(&mut ops, &received);
    assert_eq!(said[8..], ["verified 0 true", "verified 0 true"]);
    assert!(scene.disk.files.reads.is_empty());
}

#[test]
fn a_long_read_back_is_a_job_in_slices() {
    let blocks = 40;
    let mut scene = Scene::new(blocks * B, &[("a", (blocks * B) as u64, Regular)]);
    scene.batch(&(1..blocks).collect::<Vec<_>>());
    assert_eq!(scene.batch(&[0]), ["wrote 0/0"]);
    assert_eq!(scene.work(READ), (true, vec![]));
    assert_eq!(
        scene.work(READ),
        (false, vec![String::from("verified 0 true")])
    );
    assert_eq!(scene.work(READ), (false, vec![]));
}

#[test]
fn wrong_bytes_give_a_bad_piece_that_may_be_written_anew() {
    let mut scene = Scene::new(2 * B, &[("a", 2 * B as u64, Regular)]);
    let mut wrong = scene.content.clone();
    wrong[B] ^= 1;
    assert_eq!(scene.batch_of(&[0, 1], &wrong)[2..], ["verified 0 false"]);
    assert_eq!(scene.batch(&[0, 1])[2..], ["verified 0 true"]);
}

#[test]
fn a_forgotten_piece_starts_from_nothing_within_one_batch() {
    let mut scene = Scene::new(2 * B, &[("a", 2 * B as u64, Regular)]);
    let forget = DiskOp::Forget {
        torrent: torrent(0),
        piece: Piece(0),
    };
    let mut ops = vec![
        scene.write(scene.block(0)),
        forget,
        scene.write(scene.block(0)),
        scene.write(scene.block(1)),
    ];
    let content = scene.content.clone();
    let said = scene.handle(&mut ops, &content);
    assert_eq!(
        said,
        ["wrote 0/0", "wrote 0/0", "wrote 0/1", "verified 0 true"]
    );
    assert_eq!(scene.disk.files.writes.len(), 2);
}

#[test]
fn a_piece_that_can_not_be_read_back_is_judged_with_its_last_block_however_often_others_come() {
    let mut scene = Scene::new(4 * B, &[("a", 4 * B as u64, Regular)]);
    scene.batch(&[1]);
    scene.disk.files.files.clear();
    assert_eq!(scene.batch(&[0]), ["wrote 0/0", "unread 0/1 Changed"]);
    assert_eq!(scene.batch(&[0, 1]), ["wrote 0/0", "wrote 0/1"]);
    assert_eq!(scene.batch(&[2]), ["wrote 0/2"]);
    assert_eq!(scene.batch(&[3]), ["wrote 0/3", "verified 0 false"]);
    // What comes after the verdict is a new attempt, which has nothing of the old one.
    assert_eq!(scene.batch(&[0, 1, 2])[3..], [""; 0]);
    assert_eq!(scene.batch(&[3])[1..], ["verified 0 true"]);
}

#[test]
fn a_piece_whose_late_blocks_can_not_be_read_back_is_bad_when_it_is_whole() {
    let mut scene = Scene::new(3 * B, &[("a", 3 * B as u64, Regular)]);
    scene.batch(&[1]);
    let files = &mut scene.disk.files.files;
    files.values_mut().for_each(Vec::clear);
    assert_eq!(scene.batch(&[0]), ["wrote 0/0", "unread 0/1 Changed"]);
    assert_eq!(scene.batch(&[2]), ["wrote 0/2", "verified 0 false"]);
    assert_eq!(scene.batch(&[0, 1, 2])[3..], ["verified 0 true"]);
}

#[test]
fn a_gap_that_closes_is_hashed_without_the_block_that_is_still_to_be_written() {
    let mut scene = Scene::new(3 * B, &[("a", 3 * B as u64, Regular)]);
    assert_eq!(scene.batch(&[1]), ["wrote 0/1"]);
    let said = scene.batch(&[0, 2]);
    assert_eq!(said, ["wrote 0/0", "wrote 0/2", "verified 0 true"]);
    assert_eq!(scene.file(0), scene.content);
}
