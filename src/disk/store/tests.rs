//! The store's logic on files in memory.

use super::*;

/// What one read of a slice takes.
const READ: usize = memory::BUFFER;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::disk::files::FileId;
use crate::disk::mem::{MemFiles, content, meta, torrent};
use crate::disk::sha1::sha1;
use crate::engine::io::{BlockData, DiskErrorKind};
use crate::wire::metainfo::FileKind::{Pad, Regular};

const B: usize = limits::BLOCK as usize;

/// A disk in memory with one torrent, and what it was asked and has answered.
struct Scene {
    disk: Disk<MemFiles>,
    meta: Arc<Metainfo>,
    content: Vec<u8>,
    done: VecDeque<DiskDone>,
}

impl Scene {
    fn new(piece_length: usize, files: &[(&str, u64, FileKind)]) -> Self {
        let lengths: u64 = files.iter().map(|file| file.1).sum();
        let mut content = content(lengths as usize);
        let mut at = 0;
        for &(_, length, kind) in files {
            if kind == Pad {
                content[at..at + length as usize].fill(0);
            }
            at += length as usize;
        }
        let meta = meta(piece_length as u32, files, &content);
        let mut disk = Disk::new(MemFiles::default());
        disk.add(torrent(0), Arc::clone(&meta), Place::new("/nowhere"))
            .expect("memory takes everything");
        Self {
            disk,
            meta,
            content,
            done: VecDeque::new(),
        }
    }

    fn write(&self, block: Block) -> DiskOp {
        let at = self.meta.geometry.offset(block) as usize;
        DiskOp::Write {
            torrent: torrent(0),
            block,
            data: BlockData::Received(at..at + block.len as usize),
        }
    }

    /// Writes blocks by their number in the whole content, in one batch, from the true content.
    fn batch(&mut self, blocks: &[usize]) -> Vec<String> {
        let content = self.content.clone();
        self.batch_of(blocks, &content)
    }

    fn batch_of(&mut self, blocks: &[usize], received: &[u8]) -> Vec<String> {
        let mut ops = blocks
            .iter()
            .map(|&at| self.write(self.block(at)))
            .collect();
        self.handle(&mut ops, received)
    }

    fn handle(&mut self, ops: &mut Vec<DiskOp>, received: &[u8]) -> Vec<String> {
        self.disk.handle(ops, received, &mut self.done);
        assert!(ops.is_empty());
        self.said()
    }

    fn block(&self, number: usize) -> Block {
        let in_piece = self.meta.geometry.blocks(Piece(0)) as usize;
        let piece = Piece((number / in_piece) as u32);
        self.meta.geometry.block(piece, (number % in_piece) as u32)
    }

    fn work(&mut self, budget: usize) -> (bool, Vec<String>) {
        let more = self.disk.work(Budget(budget), &mut self.done);
        (more, self.said())
    }

    fn check(&mut self) -> Vec<String> {
        let mut said = self.handle(
            &mut vec![DiskOp::Check {
                torrent: torrent(0),
            }],
            &[],
        );
        loop {
            let (more, lines) = self.work(usize::MAX);
            assert!(lines.len() <= DONE_MAX + 1, "{}", lines.len());
            said.extend(lines);
            if !more {
                return said;
            }
        }
    }

    fn said(&mut self) -> Vec<String> {
        self.done.drain(..).map(|done| short(&done)).collect()
    }

    fn file(&self, file: u32) -> &[u8] {
        let torrent = torrent(0);
        self.disk
            .files
            .files
            .get(&FileId { torrent, file })
            .map_or(&[], |content| content)
    }
}

fn short(done: &DiskDone) -> String {
    let at = |block: &Block| format!("{}/{}", block.piece, block.begin / limits::BLOCK);
    match done {
        DiskDone::Wrote { block, .. } => format!("wrote {}", at(block)),
        DiskDone::WriteFailed { block, error, .. } => {
            format!("failed {} {:?}", at(block), error.kind)
        }
        DiskDone::Verified { piece, good, .. } => format!("verified {piece} {good}"),
        DiskDone::Checked { piece, good, .. } => format!("checked {piece} {good}"),
        DiskDone::CheckEnded { error, .. } => {
            format!("ended {:?}", error.as_ref().map(|error| error.kind))
        }
        DiskDone::Digests { piece, blocks, .. } => {
            format!("digests {piece} {}", blocks.len())
        }
        DiskDone::ReadFailed { block, error, .. } => {
            format!("unread {} {:?}", at(block), error.kind)
        }
    }
}

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
fn a_second_copy_of_a_block_is_dropped() {
    let mut scene = Scene::new(2 * B, &[("a", 2 * B as u64, Regular)]);
    scene.batch(&[0]);
    let wrong = vec![0; 2 * B];
    assert_eq!(scene.batch_of(&[0], &wrong), ["wrote 0/0"]);
    assert_eq!(scene.batch(&[1]), ["wrote 0/1", "verified 0 true"]);
    assert_eq!(scene.file(0), scene.content);
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
    let mut scene = Scene::new(B, &[("a", 7 * B as u64, Regular)]);
    scene.batch(&[1, 2, 6]);
    scene.disk.files.holes = true;
    let said = scene.check();
    let good: Vec<bool> = said.iter().map(|line| line.ends_with("true")).collect();
    let expected = [false, true, true, false, false, false, true, false];
    assert_eq!(good, expected, "{said:?}");
    let (first, last) = (B as u64, 6 * B as u64);
    assert_eq!(scene.disk.files.reads, [(0, first, 2 * B), (0, last, B)]);
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

#[test]
fn a_gap_that_closes_is_hashed_without_the_block_that_is_still_to_be_written() {
    let mut scene = Scene::new(3 * B, &[("a", 3 * B as u64, Regular)]);
    assert_eq!(scene.batch(&[1]), ["wrote 0/1"]);
    let said = scene.batch(&[0, 2]);
    assert_eq!(said, ["wrote 0/0", "wrote 0/2", "verified 0 true"]);
    assert_eq!(scene.file(0), scene.content);
}

/// Two pieces of four blocks in one file, all there; what is read of them for a peer is hashed first.
fn verifying() -> Scene {
    let mut scene = Scene::new(4 * B, &[("a", 8 * B as u64, Regular)]);
    scene.batch(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let place = Place {
        verify_on_upload: true,
        ..Place::new("/nowhere")
    };
    let added = scene.disk.add(torrent(0), Arc::clone(&scene.meta), place);
    added.expect("memory takes everything");
    scene.disk.files.reads.clear();
    scene
}

/// Reads a block for a peer; whether it was read.
fn serves(scene: &mut Scene, number: usize) -> bool {
    let block = scene.block(number);
    let mut out = vec![0; B];
    let read = scene.disk.read(torrent(0), block, &mut out);
    let is_read = read.expect("it is there");
    assert!(!is_read || out == scene.content[number * B..][..B]);
    is_read
}

#[test]
fn a_piece_is_hashed_once_before_any_of_it_is_read_for_a_peer() {
    let mut scene = verifying();
    assert!(!serves(&mut scene, 1) && !serves(&mut scene, 2));
    assert!(scene.disk.files.reads.is_empty());
    let (more, said) = scene.work(1);
    assert!(more && said.is_empty(), "{said:?}");
    while scene.work(1).0 {}
    let hashed: usize = scene.disk.files.reads.iter().map(|read| read.2).sum();
    assert_eq!(hashed, 4 * B);
    scene.disk.files.reads.clear();
    assert!((0..4).all(|block| serves(&mut scene, block)));
    assert_eq!(scene.disk.files.reads.len(), 4, "only what is sent");
    assert!(!serves(&mut scene, 4), "another piece");
}

#[test]
fn a_piece_whose_file_was_touched_is_hashed_again_and_lost_if_it_is_wrong() {
    let mut scene = verifying();
    assert!(!serves(&mut scene, 0) && !serves(&mut scene, 4));
    while scene.work(usize::MAX).0 {}
    assert!(serves(&mut scene, 0) && serves(&mut scene, 4));
    let file = FileId {
        torrent: torrent(0),
        file: 0,
    };
    scene.disk.files.files.get_mut(&file).expect("it is there")[5 * B] ^= 1;
    scene.disk.files.times.insert(file, 77);
    // Even of what is not changed nothing goes out before that is known.
    assert!(!serves(&mut scene, 0) && !serves(&mut scene, 4));
    assert_eq!(
        scene.work(usize::MAX),
        (false, vec!["unread 1/0 Changed".into()])
    );
    assert!(serves(&mut scene, 0));
}

#[test]
fn a_piece_whose_file_is_touched_while_it_is_hashed_is_asked_for_anew() {
    let mut scene = verifying();
    assert!(!serves(&mut scene, 0));
    scene.disk.set_read_back(B);
    assert!(scene.work(1).0);
    let file = FileId {
        torrent: torrent(0),
        file: 0,
    };
    scene.disk.files.files.get_mut(&file).expect("it is there")[0] ^= 1;
    scene.disk.files.times.insert(file, 77);
    // Nobody hashes for ever what is touched for ever.
    let until_idle = |scene: &mut Scene| {
        let mut all = Vec::new();
        loop {
            let (more, said) = scene.work(B);
            all.extend(said);
            if !more {
                return all;
            }
        }
    };
    assert_eq!(until_idle(&mut scene), Vec::<String>::new());
    assert!(!serves(&mut scene, 0));
    assert_eq!(until_idle(&mut scene), ["unread 0/0 Changed"]);
}

#[test]
fn what_we_write_ourselves_touches_no_other_piece() {
    let mut scene = verifying();
    assert!(!serves(&mut scene, 0) && !serves(&mut scene, 4));
    while scene.work(usize::MAX).0 {}
    scene.disk.files.clock = 99;
    let forget = DiskOp::Forget {
        torrent: torrent(0),
        piece: Piece(1),
    };
    scene.handle(&mut vec![forget], &[]);
    scene.batch(&[4, 5, 6, 7]);
    assert!(serves(&mut scene, 0));
    assert!(!serves(&mut scene, 4));
}
