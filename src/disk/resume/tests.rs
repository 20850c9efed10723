//! What is remembered after kills, power cuts, edits and damage.

mod journal;
mod power;
mod real;

use super::mem::MemState;
use super::trust::SAMPLES;
use super::*;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::disk::mem::{MemFiles, content, meta, torrent};
use crate::disk::{Budget, Disk, Store};
use crate::engine::io::{BlockData, DiskDone, DiskOp};

const B: usize = limits::BLOCK as usize;
const SECOND: i64 = 1_000_000_000;

/// A torrent whose pieces are a block long, its disk, and a clock for both.
struct Scene {
    disk: Disk<MemFiles, MemState>,
    meta: Arc<Metainfo>,
    content: Vec<u8>,
    place: Place,
    now: Instant,
}

impl Scene {
    fn new(files: &[(&str, u64)]) -> Self {
        Self::of_pieces(B, files)
    }

    fn of_pieces(piece_length: usize, files: &[(&str, u64)]) -> Self {
        let files: Vec<_> = files
            .iter()
            .map(|(path, len)| (*path, *len, FileKind::Regular))
            .collect();
        let content = content(files.iter().map(|file| file.1).sum::<u64>() as usize);
        let mut state = MemState::default();
        state.wall = 1_000_000 * SECOND;
        let mut scene = Self {
            disk: Disk::with_state(MemFiles::default(), state),
            meta: meta(piece_length as u32, &files, &content),
            content,
            place: Place {
                state_dir: Some("/state".into()),
                ..Place::new("/out")
            },
            now: Instant::default(),
        };
        scene.pass(0);
        scene
    }

    /// Lets so many milliseconds pass.
    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.disk.state_mut().wall += millis as i64 * 1_000_000;
        self.disk.files_mut().clock = self.disk.state().wall;
    }

    fn add(&mut self) -> Result<(), DiskError> {
        self.disk
            .add(torrent(0), Arc::clone(&self.meta), self.place.clone())
    }

    /// Takes the torrent up and checks it: the pieces that are good, and the bytes read for it.
    fn start(&mut self) -> (Vec<u32>, usize) {
        self.add().expect("it can be had");
        self.disk.files_mut().reads.clear();
        let good = self.check();
        (
            good,
            self.disk.files().reads.iter().map(|read| read.2).sum(),
        )
    }

    fn check(&mut self) -> Vec<u32> {
        let mut done = VecDeque::new();
        let torrent = torrent(0);
        self.disk
            .handle(&mut vec![DiskOp::Check { torrent }], &[], &mut done);
        while self.disk.work(Budget(1 << 20), &mut done) {}
        let mut said = BTreeSet::new();
        let mut good = Vec::new();
        for done in done {
            match done {
                DiskDone::Checked {
                    piece, good: is, ..
                } => {
                    assert!(said.insert(piece), "{piece} is judged once");
                    good.extend(is.then_some(piece.0));
                }
                DiskDone::CheckEnded { error: None, .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(said.len() as u32, self.meta.geometry.pieces());
        good
    }

    fn write(&mut self, pieces: impl IntoIterator<Item = u32>) {
        let content = self.content.clone();
        self.write_from(pieces, &content);
    }

    fn write_from(&mut self, pieces: impl IntoIterator<Item = u32>, received: &[u8]) {
        let geometry = self.meta.geometry;
        for piece in pieces {
            let block = geometry.block(Piece(piece), 0);
            let at = geometry.offset(block) as usize;
            let data = BlockData::Received(at..at + block.len as usize);
            let torrent = torrent(0);
            let op = DiskOp::Write {
                torrent,
                block,
                data,
            };
            self.disk
                .handle(&mut vec![op], received, &mut VecDeque::new());
        }
    }

    fn forget(&mut self, piece: u32) {
        let op = DiskOp::Forget {
            torrent: torrent(0),
            piece: Piece(piece),
        };
        self.disk.handle(&mut vec![op], &[], &mut VecDeque::new());
    }

    /// Does what is due now, and says how many calls it took.
    fn tick(&mut self) -> usize {
        let mut calls = 0;
        while self.disk.poll_timeout().is_some_and(|due| due <= self.now) {
            self.disk.handle_timeout(self.now);
            calls += 1;
            assert!(calls < 1000, "it spins");
        }
        calls
    }

    /// Lets seconds pass, doing what is due.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.tick();
            self.pass(1000);
        }
        self.tick();
    }

    fn flush(&mut self) {
        while self.disk.flush(torrent(0)) {}
    }

    /// Begins another life with what the last has left: on disk, and in the kernel.
    fn revive(&mut self, crash: Option<&mut Rng>) {
        let mut files = std::mem::take(self.disk.files_mut());
        let mut state = std::mem::take(self.disk.state_mut());
        match crash {
            Some(rng) => {
                files.crash(rng);
                state.crash(rng);
            }
            None => state.kill(),
        }
        self.disk = Disk::with_state(files, state);
    }

    fn warnings(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.disk.poll_warning())
            .map(|it| it.kind)
            .collect()
    }

    fn dir(&self) -> PathBuf {
        Path::new("/state").join(self.meta.info_hash.to_string())
    }

    fn journal(&self) -> Vec<u8> {
        let path = self.dir().join(JOURNAL);
        self.disk
            .state()
            .get(&path)
            .map_or(Vec::new(), <[u8]>::to_vec)
    }

    fn put_journal(&mut self, bytes: &[u8]) {
        let path = self.dir().join(JOURNAL);
        self.disk.state_mut().put(&path, bytes);
    }

    fn expected(&self) -> Expected {
        Expected {
            info_hash: self.meta.info_hash,
            geometry: self.meta.geometry,
            files: self.meta.files.len() as u32,
            place: fingerprint(Path::new("/out")),
        }
    }

    fn is_right(&self, piece: u32) -> bool {
        let geometry = self.meta.geometry;
        let at = (piece * geometry.piece_length()) as usize;
        let len = geometry.piece_len(Piece(piece)) as usize;
        let mut start = 0;
        let mut bytes = Vec::new();
        for (file, entry) in (0..).zip(&self.meta.files) {
            let torrent = torrent(0);
            let mut there = self
                .disk
                .files()
                .files
                .get(&FileId { torrent, file })
                .cloned();
            let there = there.get_or_insert_default();
            there.resize(entry.length as usize, 0xee);
            bytes.extend_from_slice(there);
            start += entry.length;
        }
        assert_eq!(start as usize, self.content.len());
        bytes[at..at + len] == self.content[at..at + len]
    }
}

fn all(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

const BLOCKS: u64 = limits::BLOCK as u64;
const SAMPLED: usize = SAMPLES * B;

#[test]
fn after_a_kill_nothing_that_was_noted_is_hashed_again() {
    let mut scene = Scene::new(&[("a", 20 * BLOCKS)]);
    assert_eq!(scene.start(), (vec![], 0));
    scene.write(0..7);
    assert_eq!(scene.tick(), 1);
    assert_eq!(scene.disk.poll_timeout(), Some(scene.now + APPEND_EVERY));
    scene.run(1);
    // These were not noted, but they change the file's time.
    scene.write(7..9);
    scene.pass(900);
    scene.revive(None);
    scene.pass(3_600_000);
    let (good, read) = scene.start();
    assert_eq!(good, all(0..9));
    assert!(read <= SAMPLED + 2 * B, "{read}");
    assert_eq!(scene.warnings(), [""; 0]);
}

#[test]
fn a_finished_torrent_is_synced_at_once_and_starts_without_hashing_in_any_life() {
    let mut scene = Scene::new(&[("a", 5 * BLOCKS), ("b", 5 * BLOCKS)]);
    scene.start();
    scene.write(0..10);
    scene.tick();
    assert_eq!(scene.disk.files().syncs, [0, 1]);
    for life in 0..4 {
        scene.revive(None);
        scene.disk.state_mut().boot = life;
        scene.pass(1_000_000);
        let (good, read) = scene.start();
        assert_eq!(good, all(0..10));
        assert!(read <= SAMPLED, "{read}");
        scene.run(3);
        assert_eq!(scene.disk.poll_timeout(), None);
        assert_eq!(scene.disk.files().syncs.len(), 2);
    }
}

#[test]
fn under_another_boot_id_only_pieces_that_are_not_durable_are_hashed() {
    let mut scene = Scene::new(&[("a", 20 * BLOCKS)]);
    scene.start();
    scene.write(0..6);
    scene.run(31);
    assert_eq!(scene.disk.files().syncs, [0]);
    scene.write(6..10);
    scene.run(2);
    scene.revive(None);
    scene.disk.state_mut().boot += 1;
    let (good, read) = scene.start();
    assert_eq!(good, all(0..10));
    assert!((4 * B..=4 * B + SAMPLED).contains(&read), "{read}");
}

#[test]
fn what_was_never_written_is_not_read_along_with_what_is_not_sure() {
    let mut scene = Scene::new(&[("a", 60 * BLOCKS)]);
    scene.disk.files_mut().holes = true;
    scene.start();
    scene.write([0, 20, 59]);
    scene.run(31);
    assert_eq!(scene.disk.files().syncs, [0]);
    scene.write([1, 21, 22, 30]);
    scene.run(2);
    // What the system has once read along counts as data, in every life.
    scene.disk.files_mut().reads_along = 8 * BLOCKS;
    for boot in 0..3 {
        scene.revive(None);
        scene.disk.state_mut().boot = boot;
        let (good, read) = scene.start();
        assert_eq!(good, [0, 1, 20, 21, 22, 30, 59]);
        let in_doubt = if boot == 0 { 0 } else { 4 * B };
        assert!(
            (in_doubt..=in_doubt + SAMPLED).contains(&read),
            "{boot}: {read}"
        );
    }
}

#[test]
fn a_write_after_a_pause_is_noted_before_it_is_made() {
    let mut scene = Scene::new(&[("a", 20 * BLOCKS)]);
    scene.start();
    scene.write(0..6);
    for power_fails in [false, true] {
        scene.run(600);
        scene.write([if power_fails { 7 } else { 6 }]);
        if power_fails {
            scene.revive(Some(&mut Rng::new([1; 32])));
        } else {
            scene.revive(None);
        }
        let (good, read) = scene.start();
        assert!(good.starts_with(&all(0..6)), "{good:?}");
        assert!(read <= SAMPLED + 2 * B, "{read}");
    }
}

#[test]
fn a_stop_in_good_order_leaves_everything_durable() {
    let mut scene = Scene::new(&[("a", 20 * BLOCKS), ("b", 20 * BLOCKS)]);
    scene.start();
    scene.write(0..6);
    scene.write(20..21);
    scene.flush();
    scene.disk.remove(torrent(0));
    assert!(scene.disk.state().locks.is_empty());
    scene.revive(None);
    scene.disk.state_mut().boot += 1;
    scene.pass(10_000_000);
    let (good, read) = scene.start();
    assert_eq!(good, [0, 1, 2, 3, 4, 5, 20]);
    assert!(read <= SAMPLED, "{read}");
    // And on it goes: the files are written to again, which costs nothing later.
    scene.write(6..8);
    scene.run(2);
    scene.revive(None);
    let (good, read) = scene.start();
    assert_eq!(good, [0, 1, 2, 3, 4, 5, 6, 7, 20]);
    assert!(read <= SAMPLED, "{read}");
}

#[test]
fn a_stop_that_has_time_for_one_file_only_has_noted_every_piece() {
    let mut scene = Scene::new(&[("a", 20 * BLOCKS), ("b", 20 * BLOCKS)]);
    scene.start();
    scene.write(0..6);
    scene.write(20..22);
    assert!(scene.disk.flush(torrent(0)));
    assert_eq!(scene.disk.files().syncs, [0]);
    scene.revive(None);
    let (good, read) = scene.start();
    assert_eq!(good, [0, 1, 2, 3, 4, 5, 20, 21]);
    assert!(read <= SAMPLED, "{read}");
}

#[test]
fn a_file_that_was_edited_is_hashed_again_and_the_others_are_not() {
    let mut scene = Scene::new(&[("a", 10 * BLOCKS), ("b", 10 * BLOCKS)]);
    scene.start();
    scene.write(0..20);
    scene.tick();
    scene.revive(None);
    scene.pass(50_000);
    let b = FileId {
        torrent: torrent(0),
        file: 1,
    };
    let clock = scene.disk.files().clock;
    let files = scene.disk.files_mut();
    files.files.get_mut(&b).expect("written")[0] ^= 1;
    files.times.insert(b, clock);
    let (good, read) = scene.start();
    assert_eq!(
        good,
        (0..20).filter(|piece| *piece != 10).collect::<Vec<_>>()
    );
    assert!((10 * B..=10 * B + SAMPLED).contains(&read), "{read}");
    assert_eq!(scene.warnings(), ["disk.changed"]);
    // What was found stays known.
    scene.run(2);
    scene.revive(None);
    let (good, read) = scene.start();
    assert!(good.len() == 19 && read <= SAMPLED + B, "{read}");
}

#[test]
fn an_unfinished_file_edited_later_than_we_wrote_is_hashed_again() {
    let mut scene = Scene::new(&[("a", 10 * BLOCKS)]);
    scene.start();
    scene.write(0..5);
    scene.run(2);
    scene.revive(None);
    scene.pass(60_000);
    let clock = scene.disk.files().clock;
    for content in scene.disk.files_mut().files.values_mut() {
        content[B] ^= 1;
    }
    scene
        .disk
        .files_mut()
        .times
        .values_mut()
        .for_each(|time| *time = clock);
    let (good, read) = scene.start();
    assert_eq!((good, read), (vec![0, 2, 3, 4], 5 * B));
}

#[test]
fn files_that_are_gone_short_or_of_zeros_are_not_believed() {
    let files = [
        ("a", 5 * BLOCKS),
        ("b", 5 * BLOCKS),
        ("c", 5 * BLOCKS),
        ("d", 5 * BLOCKS),
    ];
    let mut scene = Scene::new(&files);
    scene.start();
    scene.write(0..20);
    scene.tick();
    scene.revive(None);
    let file = |file| FileId {
        torrent: torrent(0),
        file,
    };
    let files = scene.disk.files_mut();
    files.files.remove(&file(0));
    files
        .files
        .get_mut(&file(1))
        .expect("written")
        .truncate(2 * B);
    files.files.get_mut(&file(2)).expect("written").fill(0);
    files.times.insert(file(2), 7);
    assert_eq!(scene.start().0, [5, 6, 15, 16, 17, 18, 19]);
}

#[test]
fn a_bad_sample_has_everything_hashed() {
    let mut scene = Scene::new(&[("a", 4 * BLOCKS)]);
    scene.start();
    scene.write(0..4);
    scene.tick();
    scene.revive(None);
    // Size and time are those of the stamp.
    for content in scene.disk.files_mut().files.values_mut() {
        content.fill(0);
    }
    assert_eq!(scene.start().0, [0; 0]);
    assert_eq!(scene.warnings(), ["disk.changed"]);
    scene.run(2);
    let journal = Journal::parse(&scene.journal(), &scene.expected()).expect("a journal");
    assert!(journal.written.is_empty() && journal.durable.is_empty());
}

#[test]
fn everything_is_hashed_if_that_is_wanted() {
    let mut scene = Scene::new(&[("a", 4 * BLOCKS)]);
    scene.start();
    scene.write(0..4);
    scene.tick();
    scene.revive(None);
    scene.place.recheck = true;
    assert_eq!(scene.start(), (all(0..4), 4 * B));
    scene.place.recheck = false;
    scene.disk.files_mut().reads.clear();
    assert_eq!(scene.check().len(), 4);
    assert_eq!(scene.disk.files().reads.len(), 1, "asked twice, it reads");
}

#[test]
fn a_second_process_is_told_who_has_the_torrent() {
    let mut scene = Scene::new(&[("a", BLOCKS)]);
    let place = fingerprint(Path::new("/out"));
    let dir = scene.dir();
    scene.disk.state_mut().locks.insert(dir, (4711, place));
    let error = scene.add().expect_err("it is taken");
    assert_eq!(error.kind, DiskErrorKind::Locked);
    assert!(
        error.message.starts_with("process 4711 has this torrent"),
        "{error:?}"
    );
    assert!(
        scene
            .disk
            .read(
                torrent(0),
                scene.meta.geometry.block(Piece(0), 0),
                &mut [0; B]
            )
            .is_err()
    );
}

#[test]
fn the_same_torrent_in_two_places_has_two_journals() {
    let mut scene = Scene::new(&[("a", 3 * BLOCKS)]);
    scene.start();
    scene.write(0..3);
    scene.run(2);
    // One at work elsewhere, then none, then the first place again.
    let mut lives = Vec::new();
    for (root, held) in [("/else", true), ("/else", false), ("/out", false)] {
        scene.revive(None);
        if held {
            let dir = scene.dir();
            let place = fingerprint(Path::new("/out"));
            scene.disk.state_mut().locks.insert(dir, (9, place));
        }
        scene.place.root = root.into();
        let (good, read) = scene.start();
        scene.run(2);
        lives.push((good.len(), read <= SAMPLED));
        assert_eq!(scene.warnings(), [""; 0]);
    }
    assert_eq!(
        lives,
        [(3, true), (3, true), (3, true)].map(|(n, _)| (n, true))
    );
    let paths = scene.disk.state().paths();
    assert_eq!(paths.len(), 2, "{paths:?}");
}

#[test]
fn a_lost_piece_leaves_the_journal_before_anything_is_written_in_its_place() {
    let mut scene = Scene::new(&[("a", 4 * BLOCKS)]);
    scene.start();
    scene.write(0..4);
    scene.tick();
    scene.forget(2);
    let mut wrong = scene.content.clone();
    wrong[2 * B] ^= 1;
    scene.write_from([2], &wrong);
    scene.revive(None);
    assert_eq!(scene.start().0, [0, 1, 3]);
}

#[test]
fn a_piece_that_can_not_be_read_is_noted_as_lost() {
    let mut scene = Scene::new(&[("a", 4 * BLOCKS), ("b", 4 * BLOCKS)]);
    scene.start();
    scene.write(0..8);
    scene.tick();
    let files = &mut scene.disk.files_mut().files;
    files.values_mut().next().expect("written").truncate(B);
    let block = scene.meta.geometry.block(Piece(1), 0);
    assert!(scene.disk.read(torrent(0), block, &mut [0; B]).is_err());
    scene.run(2);
    let journal = Journal::parse(&scene.journal(), &scene.expected()).expect("a journal");
    let left: Vec<u32> = journal.written.iter().map(|piece| piece.0).collect();
    assert_eq!(left, all(4..8));
}

#[test]
fn a_failed_sync_leaves_its_pieces_to_be_hashed() {
    let mut scene = Scene::new(&[("a", 4 * BLOCKS)]);
    scene.start();
    scene.write(0..2);
    scene.run(31);
    scene.disk.files_mut().sync_fails = true;
    scene.write(2..3);
    scene.run(40);
    assert_eq!(scene.warnings(), ["disk.sync"]);
    let journal = Journal::parse(&scene.journal(), &scene.expected()).expect("a journal");
    assert_eq!(
        journal.written.iter().collect::<Vec<_>>(),
        [Piece(0), Piece(1)]
    );
}

#[test]
fn a_disk_that_comes_back_without_what_was_not_synced_is_found_out() {
    let mut scene = Scene::new(&[("a", 20 * BLOCKS)]);
    scene.start();
    scene.write(0..3);
    scene.run(31);
    scene.write(3..6);
    scene.run(2);
    scene.disk.files_mut().gone = true;
    scene.write(6..7);
    scene.forget(6);
    scene.run(2);
    let journal = Journal::parse(&scene.journal(), &scene.expected()).expect("a journal");
    assert_eq!(journal.written.count(), 3);
    // It is back, and has one of the three.
    scene.disk.files_mut().gone = false;
    let mut contents = scene.disk.files_mut().files.values_mut();
    contents.next().expect("written")[3 * B..5 * B].fill(0);
    scene.write(6..7);
    let mut done = VecDeque::new();
    while scene.disk.work(Budget(1 << 20), &mut done) {}
    let lost = done.iter().map(|done| match done {
        DiskDone::ReadFailed { block, .. } => block.piece.0,
        other => panic!("{other:?}"),
    });
    assert_eq!(lost.collect::<Vec<_>>(), [3, 4]);
    scene.run(2);
    scene.revive(None);
    let (good, _) = scene.start();
    assert_eq!(good, [0, 1, 2, 5, 6]);
}

#[test]
fn a_full_state_directory_stops_nothing_and_harms_nothing() {
    let mut scene = Scene::new(&[("a", 20 * BLOCKS)]);
    scene.start();
    scene.write(0..4);
    scene.run(2);
    let before = scene.journal();
    scene.disk.state_mut().full = true;
    for piece in 4..10 {
        scene.write([piece]);
        scene.run(10);
    }
    assert_eq!(scene.warnings(), ["state.write"]);
    assert_eq!(scene.journal(), before);
    scene.disk.state_mut().full = false;
    scene.run(40);
    scene.revive(None);
    let (good, read) = scene.start();
    assert!(good == all(0..10) && read <= SAMPLED, "{good:?} {read}");
}

#[test]
fn a_state_directory_that_can_not_be_made_is_done_without() {
    let mut scene = Scene::new(&[("a", 2 * BLOCKS)]);
    scene.disk.state_mut().full = true;
    assert_eq!(scene.start().0, [0; 0]);
    scene.write(0..2);
    assert_eq!(scene.tick(), 0);
    assert_eq!(scene.warnings(), ["state.write"]);
}

#[test]
fn a_round_syncs_a_file_a_call_and_is_through_before_a_piece_is_durable() {
    let names: Vec<String> = (0..50).map(|at| format!("f{at:02}")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), BLOCKS / 2))
        .collect();
    let mut scene = Scene::new(&files);
    scene.start();
    scene.write(0..24);
    scene.run(29);
    assert!(scene.disk.files().syncs.is_empty());
    scene.pass(1000);
    for synced in 1..=48 {
        assert!(scene.disk.poll_timeout() <= Some(scene.now));
        scene.disk.handle_timeout(scene.now);
        assert_eq!(scene.disk.files().syncs.len(), synced);
        let journal = Journal::parse(&scene.journal(), &scene.expected()).expect("a journal");
        assert_eq!(journal.durable.count(), if synced < 48 { 0 } else { 24 });
    }
    assert!(scene.disk.poll_timeout().is_none_or(|due| due > scene.now));
}

#[test]
fn what_was_moved_in_all_runs_adds_up() {
    let mut scene = Scene::new(&[("a", 2 * BLOCKS)]);
    scene.start();
    scene.write(0..1);
    scene.disk.handle_totals(torrent(0), 1000, 10);
    scene.run(2);
    scene.disk.handle_totals(torrent(0), 1000, 30);
    scene.run(301);
    scene.revive(None);
    scene.start();
    scene.disk.handle_totals(torrent(0), 5, 5);
    let totals = scene.disk.totals(torrent(0));
    assert_eq!((totals.downloaded, totals.uploaded), (1005, 35));
}

/// The first journal of all is made, synced and given its name, and the process is killed before the name is synced:
/// the next one appends to what it finds, and must see to the name too.
#[test]
fn a_name_that_a_killed_process_did_not_sync_is_synced_by_the_next() {
    for seed in 0..8 {
        let mut scene = Scene::new(&[("a", 10 * BLOCKS)]);
        scene.start();
        scene.write(0..5);
        scene.tick();
        // What it takes to make, sync and name the journal.
        scene.disk.state_mut().cut_after = Some(3);
        scene.run(2);
        assert!(scene.disk.state().is_cut());
        scene.revive(None);
        assert!(!scene.journal().is_empty());
        assert_eq!(scene.start().0, all(0..5));
        scene.write(5..6);
        scene.run(40);
        scene.revive(Some(&mut Rng::new([seed; 32])));
        let (good, read) = scene.start();
        assert_eq!(good, all(0..6));
        assert!(read <= SAMPLED, "{read}");
    }
}
