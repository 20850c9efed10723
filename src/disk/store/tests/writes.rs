//! Writing: runs of neighbours, and what goes wrong on the way.

use super::*;

#[test]
fn neighbouring_blocks_go_out_in_one_write_even_across_pieces() {
    let mut scene = Scene::new(2 * B, &[("a", 5 * B as u64 - 1, Regular)]);
    let said = scene.batch(&[0, 1, 2, 3, 4]);
    assert_eq!(scene.disk.files.writes, [(0, 0, 5 * B - 1, 5)]);
    assert!(scene.disk.files.reads.is_empty());
    assert_eq!(
        said,
        [
            "wrote 0/0",
            "wrote 0/1",
            "wrote 1/0",
            "wrote 1/1",
            "wrote 2/0",
            "verified 0 true",
            "verified 1 true",
            "verified 2 true"
        ]
    );
    assert_eq!(scene.file(0), scene.content);
}

#[test]
fn a_run_ends_at_a_gap_and_at_one_mebibyte() {
    let mut scene = Scene::new(128 * B, &[("a", 128 * B as u64, Regular)]);
    let blocks: Vec<usize> = (0..70).chain(72..74).collect();
    scene.batch(&blocks);
    let expected = [
        (0, 0, 64 * B, 64),
        (0, 64 * B as u64, 6 * B, 6),
        (0, 72 * B as u64, 2 * B, 2),
    ];
    assert_eq!(scene.disk.files.writes, expected);
}

#[test]
fn a_run_is_split_where_files_end_and_padding_is_never_written() {
    let files = [
        ("d/a", 10, Regular),
        ("d/empty", 0, Regular),
        ("d/b", B as u64, Regular),
        ("d/.pad/1", B as u64 - 10, Pad),
        ("d/c", 100, Regular),
    ];
    let mut scene = Scene::new(2 * B, &files);
    // What a peer sends for padding does not matter: it counts as zeros.
    let mut received = scene.content.clone();
    received[B + 10..2 * B].fill(7);
    let said = scene.batch_of(&[0, 1, 2], &received);
    assert_eq!(
        scene.disk.files.writes,
        [(0, 0, 10, 1), (2, 0, B, 2), (4, 0, 100, 1)]
    );
    assert_eq!(said[3..], ["verified 0 true", "verified 1 true"]);
    assert_eq!(scene.disk.files.reads, [(2, B as u64 - 10, 10)]);
    assert_eq!(
        scene.check(),
        ["checked 0 true", "checked 1 true", "ended None"]
    );
}

#[test]
fn a_second_copy_of_a_block_is_dropped() {
    let mut scene = Scene::new(2 * B, &[("a", 2 * B as u64, Regular)]);
    scene.batch(&[0]);
    let wrong = vec![0; 2 * B];
    assert_eq!(scene.batch_of(&[0], &wrong), ["wrote 0/0"]);
    assert_eq!(scene.batch(&[1]), ["wrote 0/1", "verified 0 true"]);
    assert_eq!(scene.file(0), scene.content);
}

#[test]
fn short_writes_go_on_where_they_stopped() {
    let files = [("a", B as u64 + 10, Regular), ("b", B as u64 - 10, Regular)];
    let mut scene = Scene::new(2 * B, &files);
    scene.disk.files.bite = Some(5000);
    assert_eq!(scene.batch(&[0, 1])[2..], ["verified 0 true"]);
    assert_eq!([scene.file(0), scene.file(1)].concat(), scene.content);
}

#[test]
fn a_write_that_takes_nothing_fails() {
    let mut scene = Scene::new(2 * B, &[("a", 2 * B as u64, Regular)]);
    scene.disk.files.bite = Some(0);
    assert_eq!(scene.batch(&[0]), ["failed 0/0 Io"]);
}

#[test]
fn a_full_disk_fails_the_blocks_that_did_not_fit_and_the_hash_stays_right() {
    let mut scene = Scene::new(4 * B, &[("a", 4 * B as u64, Regular)]);
    scene.disk.files.room = Some(B + B / 2);
    let said = scene.batch(&[0, 1, 2]);
    assert_eq!(said, ["wrote 0/0", "failed 0/1 Full", "failed 0/2 Full"]);
    assert_eq!(scene.batch(&[3]), ["failed 0/3 Full"]);
    scene.disk.files.room = None;
    assert_eq!(scene.batch(&[1, 2, 3])[3..], ["verified 0 true"]);
    assert!(scene.disk.files.reads.is_empty());
    assert_eq!(scene.file(0), scene.content);
}

#[test]
fn joined_buffers_come_back_with_the_answer() {
    let mut scene = Scene::new(2 * B, &[("a", B as u64, Regular)]);
    let op = |buffer: Vec<u8>, range| DiskOp::Write {
        torrent: torrent(0),
        block: Block {
            piece: Piece(0),
            begin: 0,
            len: B as u32,
        },
        data: BlockData::Joined { buffer, range },
    };
    let buffer = [vec![9; 13], scene.content.clone()].concat();
    let mut ops = vec![op(buffer.clone(), 13..13 + B + 1)];
    scene.disk.handle(&mut ops, &[], &mut scene.done);
    let done = scene.done.pop_front();
    let Some(DiskDone::WriteFailed {
        buffer: Some(_), ..
    }) = done
    else {
        panic!("{done:?}");
    };
    let mut ops = vec![op(buffer.clone(), 13..13 + B)];
    scene.disk.handle(&mut ops, &[], &mut scene.done);
    let done = scene.done.pop_front();
    let Some(DiskDone::Wrote {
        buffer: Some(back), ..
    }) = done
    else {
        panic!("{done:?}");
    };
    assert_eq!(back, buffer);
    assert_eq!(scene.said(), ["verified 0 true"]);
}

#[test]
fn what_is_no_block_and_what_names_no_torrent_is_answered() {
    let mut scene = Scene::new(2 * B, &[("a", 2 * B as u64, Regular)]);
    let odd = Block {
        piece: Piece(7),
        begin: 1,
        len: 3,
    };
    let op = |torrent, block| DiskOp::Write {
        torrent,
        block,
        data: BlockData::Received(0..3),
    };
    let check = DiskOp::Check {
        torrent: torrent(9),
    };
    let digest = DiskOp::Digest {
        torrent: torrent(0),
        piece: Piece(7),
    };
    let good = scene.block(0);
    let mut ops = vec![op(torrent(0), odd), op(torrent(9), good), check, digest];
    assert_eq!(
        scene.handle(&mut ops, &[0; 3]),
        [
            "failed 7/0 Io",
            "failed 0/0 Io",
            "ended Some(Io)",
            "digests 7 0"
        ]
    );
    assert!(scene.disk.read(torrent(0), odd, &mut [0; 3]).is_err());
}

#[test]
fn a_removed_torrent_leaves_nothing_behind() {
    let mut scene = Scene::new(B, &[("a", 4 * B as u64, Regular)]);
    scene.handle(
        &mut vec![DiskOp::Check {
            torrent: torrent(0),
        }],
        &[],
    );
    scene.disk.remove(torrent(0));
    assert_eq!(scene.work(1 << 20), (false, vec![]));
    assert_eq!(scene.batch(&[0]), ["failed 0/0 Io"]);
}

/// One life of a torrent in which nothing goes smoothly; gives the number of operations it took.
fn troubled_download(seed: u8) -> usize {
    let mut rng = Rng::new([seed; 32]);
    let names: Vec<String> = (0..9).map(|at| format!("{at}")).collect();
    let file = |name| match rng.below(4) {
        0 => (name, rng.below(100) as u64, Pad),
        1 => (name, rng.below(2) as u64, Regular),
        _ => (name, rng.below(5 * B) as u64, Regular),
    };
    let mut files: Vec<_> = names.iter().map(String::as_str).map(file).collect();
    files.push(("last", 1, Regular));
    let blocks_a_piece = 1 + rng.below(40);
    let mut scene = Scene::new(blocks_a_piece * B, &files);
    let geometry = scene.meta.geometry;
    let pieces = (0..geometry.pieces()).map(Piece);
    let all = pieces.flat_map(|piece| (0..geometry.blocks(piece)).map(move |at| (piece, at)));
    let mut todo: Vec<(Piece, u32)> = all.collect();
    rng.shuffle(&mut todo);
    let mut good = vec![false; geometry.pieces() as usize];
    let mut steps = 0;
    while !todo.is_empty() || good.contains(&false) {
        steps += 1;
        assert!(steps < 10_000, "seed {seed} gets nowhere: {todo:?}");
        let files = &mut scene.disk.files;
        files.room = (rng.below(4) == 0).then(|| rng.below(3 * B));
        files.bite = (rng.below(4) == 0).then(|| 1 + rng.below(2 * B));
        let mut received = scene.content.clone();
        if rng.below(4) == 0 {
            let at = rng.below(received.len());
            received[at] ^= 0x10;
        }
        if rng.below(2) == 0 {
            todo.sort_unstable();
            todo.reverse();
        }
        let some = todo.split_off(todo.len().saturating_sub(1 + rng.below(100)));
        let block = |&(piece, at): &(Piece, u32)| scene.write(geometry.block(piece, at));
        let mut ops: Vec<DiskOp> = some.iter().rev().map(block).collect();
        if rng.below(8) == 0 {
            let piece = Piece(rng.below(good.len()) as u32);
            if !good[piece.index()] && some.iter().chain(&todo).all(|(of, _)| *of != piece) {
                ops.insert(
                    0,
                    DiskOp::Forget {
                        torrent: torrent(0),
                        piece,
                    },
                );
                todo.extend((0..geometry.blocks(piece)).map(|at| (piece, at)));
            }
        }
        scene.disk.handle(&mut ops, &received, &mut scene.done);
        scene
            .disk
            .work(Budget(1 + rng.below(READ)), &mut scene.done);
        for done in scene.done.drain(..) {
            match done {
                DiskDone::Wrote { .. } => {}
                DiskDone::WriteFailed { block, error, .. } => {
                    assert_eq!(error.kind, DiskErrorKind::Full);
                    todo.push((block.piece, block.begin / limits::BLOCK));
                }
                DiskDone::Verified {
                    piece, good: true, ..
                } => {
                    assert!(!std::mem::replace(&mut good[piece.index()], true));
                }
                DiskDone::Verified {
                    piece, good: false, ..
                } => {
                    todo.extend((0..geometry.blocks(piece)).map(|at| (piece, at)));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let said = scene.check();
    assert!(
        said.iter().all(|line| !line.contains("false")),
        "seed {seed}: {said:?}"
    );
    steps
}

#[test]
fn whatever_the_order_and_the_failures_the_content_comes_out_whole() {
    let steps: usize = (0..60).map(troubled_download).sum();
    assert!(steps > 60);
}
