//! The store on real files, each test in a directory of its own.

mod gone;
mod meddling;

use std::collections::VecDeque;
use std::fs as std_fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::base::ids::{Block, Piece};
use crate::base::limits;
use crate::disk::mem::{content, meta, meta_of, torrent};
use crate::disk::{Budget, Disk, FileStore, Store};
use crate::engine::io::{BlockData, DiskDone, DiskOp};
use crate::wire::metainfo::FileKind::{Pad, Regular, Symlink};

const B: u64 = limits::BLOCK as u64;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("minitorrent-disk-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std_fs::remove_dir_all(&path);
        std_fs::create_dir(&path).expect("a place for temporary files");
        Self(path)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    fn put(&self, below: &str, bytes: &[u8]) {
        let path = self.path(below);
        std_fs::create_dir_all(path.parent().expect("below the scratch")).expect("made");
        std_fs::write(path, bytes).expect("written");
    }

    /// The names of everything below, sorted.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut todo = vec![self.0.clone()];
        while let Some(directory) = todo.pop() {
            for entry in std_fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                let name = path.strip_prefix(&self.0).expect("below").to_owned();
                names.push(name.into_os_string().into_string().expect("a plain name"));
                if path.is_dir() && !path.is_symlink() {
                    todo.push(path);
                }
            }
        }
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std_fs::remove_dir_all(&self.0);
    }
}

/// A store with one torrent below `out/` of a scratch directory.
struct Scene {
    scratch: Scratch,
    store: FileStore,
    meta: Arc<Metainfo>,
    content: Vec<u8>,
}

impl Scene {
    fn new(piece_length: u64, files: &[(&str, u64, FileKind)]) -> Self {
        let mut bytes = content(files.iter().map(|file| file.1).sum::<u64>() as usize);
        let mut at = 0;
        for &(_, length, kind) in files {
            if kind == Pad {
                bytes[at..at + length as usize].fill(0);
            }
            at += length as usize;
        }
        Self {
            scratch: Scratch::new(),
            store: Disk::new(OsFiles::new(3)),
            meta: meta(piece_length as u32, files, &bytes),
            content: bytes,
        }
    }

    fn place(&self) -> Place {
        Place::new(self.scratch.path("out"))
    }

    fn add(&mut self) -> Result<(), DiskErrorKind> {
        self.add_at(self.place())
    }

    fn add_at(&mut self, place: Place) -> Result<(), DiskErrorKind> {
        let meta = Arc::clone(&self.meta);
        let result = self.store.add(torrent(0), meta, place);
        result.map_err(|error| error.kind)
    }

    /// Writes blocks of one piece by their numbers, and gives the kinds of the errors, if any.
    fn write(&mut self, piece: u32, blocks: impl IntoIterator<Item = u32>) -> Vec<DiskErrorKind> {
        let geometry = self.meta.geometry;
        let op = |index| {
            let block = geometry.block(Piece(piece), index);
            let at = geometry.offset(block) as usize;
            DiskOp::Write {
                torrent: torrent(0),
                block,
                data: BlockData::Received(at..at + block.len as usize),
            }
        };
        let mut ops = blocks.into_iter().map(op).collect();
        let mut done = VecDeque::new();
        self.store.handle(&mut ops, &self.content, &mut done);
        let failed = done.into_iter().filter_map(|done| match done {
            DiskDone::WriteFailed { error, .. } => Some(error.kind),
            _ => None,
        });
        failed.collect()
    }

    fn write_all(&mut self) {
        for piece in 0..self.meta.geometry.pieces() {
            let blocks = self.meta.geometry.blocks(Piece(piece));
            assert_eq!(self.write(piece, 0..blocks), []);
        }
    }

    fn check(&mut self) -> (Vec<bool>, Option<DiskErrorKind>) {
        let mut done = VecDeque::new();
        let mut ops = vec![DiskOp::Check {
            torrent: torrent(0),
        }];
        self.store.handle(&mut ops, &[], &mut done);
        while self.store.work(Budget(1 << 20), &mut done) {}
        let mut pieces = Vec::new();
        for done in done {
            match done {
                DiskDone::Checked { good, .. } => pieces.push(good),
                DiskDone::CheckEnded { error, .. } => {
                    return (pieces, error.map(|error| error.kind));
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("the check has no end");
    }

    fn read(&mut self, piece: u32, begin: u32, len: u32) -> Result<Vec<u8>, DiskErrorKind> {
        let block = Block {
            piece: Piece(piece),
            begin,
            len,
        };
        let mut out = vec![0; len as usize];
        let result = self.store.read(torrent(0), block, &mut out);
        result.map(|_| out).map_err(|error| error.kind)
    }
}

#[test]
fn the_first_file_is_made_by_any_write_the_others_by_theirs_and_empty_ones_at_the_end() {
    let files = [
        ("a/b/one", B, Regular),
        (".pad/10", 10, Pad),
        ("a/link", 0, Symlink),
        ("empty/none", 0, Regular),
        ("a/two", B - 10, Regular),
    ];
    let mut scene = Scene::new(B, &files);
    scene.add().expect("an empty place");
    assert_eq!(scene.scratch.names(), ["out"]);
    assert_eq!(scene.check(), (vec![false, false], None));
    assert_eq!(scene.scratch.names(), ["out"]);
    assert_eq!(scene.write(1, 0..1), []);
    assert_eq!(
        scene.scratch.names(),
        [
            "out",
            "out/t",
            "out/t/a",
            "out/t/a/b",
            "out/t/a/b/one",
            "out/t/a/two"
        ]
    );
    assert_eq!(scene.write(0, 0..1), []);
    scene.store.finish(torrent(0)).expect("there is room");
    assert_eq!(
        scene.scratch.names(),
        [
            "out",
            "out/t",
            "out/t/a",
            "out/t/a/b",
            "out/t/a/b/one",
            "out/t/a/two",
            "out/t/empty",
            "out/t/empty/none"
        ]
    );
    let one = std_fs::read(scene.scratch.path("out/t/a/b/one")).expect("made");
    let two = std_fs::read(scene.scratch.path("out/t/a/two")).expect("made");
    assert_eq!([one, vec![0; 10], two].concat(), scene.content);
    assert_eq!(scene.check(), (vec![true, true], None));
}

#[test]
fn what_one_writes_to_is_refused_to_another_but_not_to_a_reader() {
    let mut scene = Scene::new(B, &[("a", B, Regular), ("b", B, Regular)]);
    let mut other: FileStore = Disk::new(OsFiles::new(3));
    scene.add().expect("an empty place");
    let (place, meta) = (scene.place(), Arc::clone(&scene.meta));
    let add = |store: &mut FileStore, place: &Place| {
        let added = store.add(torrent(0), Arc::clone(&meta), place.clone());
        added.map_err(|error| error.kind)
    };
    // As long as nothing is written there is nothing to fight over.
    assert_eq!(add(&mut other, &place), Ok(()));
    assert_eq!(scene.write(1, 0..1), []);
    std::mem::swap(&mut scene.store, &mut other);
    assert_eq!(scene.write(0, 0..1), [DiskErrorKind::Locked]);
    std::mem::swap(&mut scene.store, &mut other);
    assert_eq!(add(&mut other, &place), Err(DiskErrorKind::Locked));
    let reader = Place {
        read_only: true,
        ..place.clone()
    };
    assert_eq!(add(&mut other, &reader), Ok(()));
    assert_eq!(scene.write(0, 0..1), []);
    scene.store.remove(torrent(0));
    assert_eq!(add(&mut other, &place), Ok(()));
}

#[test]
fn a_thousand_small_files_in_few_descriptors_are_byte_exact() {
    let names: Vec<String> = (0..1000).map(|at| format!("{}/{at}", at / 100)).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), 33, Regular))
        .collect();
    let mut scene = Scene::new(2 * B, &files);
    scene.add().expect("an empty place");
    scene.write_all();
    assert!(scene.store.files().open.len() <= 3);
    assert_eq!(scene.check(), (vec![true, true], None));
    assert!(scene.store.files().open.len() <= 3);
    assert_eq!(
        scene.read(0, 15, 2 * B as u32 - 15).as_deref(),
        Ok(&scene.content[15..2 * B as usize])
    );
    let last = std_fs::read(scene.scratch.path("out/t/9/999")).expect("made");
    assert_eq!(last, scene.content[999 * 33..]);
}

#[test]
fn what_is_there_is_checked_again_by_another_run() {
    let mut scene = Scene::new(B, &[("a", B + 5, Regular), ("b", B, Regular)]);
    scene
        .scratch
        .put("out/t/a", &scene.content[..B as usize + 5]);
    scene
        .scratch
        .put("out/t/b", &scene.content[B as usize + 5..2 * B as usize]);
    scene.add().expect("regular files");
    assert_eq!(scene.check(), (vec![true, true, false], None));
    // Files that come later are seen by the next check.
    scene
        .scratch
        .put("out/t/b", &scene.content[B as usize + 5..]);
    assert_eq!(scene.check(), (vec![true, true, true], None));
}

#[test]
fn a_longer_file_is_left_alone_unless_told_otherwise() {
    let mut scene = Scene::new(B, &[("a", B, Regular)]);
    let long = [&scene.content[..], b"precious"].concat();
    scene.scratch.put("out/a", &long);
    assert_eq!(scene.add(), Err(DiskErrorKind::Longer));
    let force = Place {
        force: true,
        ..scene.place()
    };
    scene.add_at(force).expect("it may be cut");
    assert_eq!(scene.check(), (vec![true], None));
    assert_eq!(std_fs::read(scene.scratch.path("out/a")).ok(), Some(long));
    scene.store.finish(torrent(0)).expect("it is there");
    let now = std_fs::read(scene.scratch.path("out/a")).expect("it is there");
    assert_eq!(now, scene.content);
}

#[test]
fn symlinks_are_refused_before_the_start_and_never_written_through() {
    for link in ["out/t/d", "out/t/d/f"] {
        let mut scene = Scene::new(B, &[("d/f", B, Regular), ("e", 1, Regular)]);
        scene.scratch.put("out/t/e", b"x");
        scene.scratch.put("victim/f", b"precious");
        let set = |scene: &Scene| {
            let path = scene.scratch.path(link);
            let target = match link {
                "out/t/d" => "victim",
                _ => "victim/f",
            };
            std_fs::create_dir_all(path.parent().expect("below")).expect("made");
            symlink(scene.scratch.path(target), path).expect("made");
        };
        // Set behind the store's back, after it has looked.
        scene.add().expect("nothing is there");
        set(&scene);
        assert_eq!(scene.write(0, 0..1), [DiskErrorKind::NotRegular], "{link}");
        assert_eq!(scene.check().1, Some(DiskErrorKind::NotRegular), "{link}");
        assert_eq!(scene.add(), Err(DiskErrorKind::NotRegular), "{link}");
        let victim = std_fs::read(scene.scratch.path("victim/f")).expect("there");
        assert_eq!(victim, b"precious");
    }
}

#[test]
fn directories_and_pipes_at_a_target_are_refused_without_waiting() {
    let mut scene = Scene::new(B, &[("f", B, Regular)]);
    scene.add().expect("nothing is there");
    let path = scene.scratch.path("out/f");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    assert_eq!(scene.write(0, 0..1), [DiskErrorKind::NotRegular]);
    assert_eq!(scene.add(), Err(DiskErrorKind::NotRegular));
    std_fs::remove_file(&path).expect("there");
    std_fs::create_dir(&path).expect("made");
    assert_eq!(scene.write(0, 0..1), [DiskErrorKind::NotRegular]);
    assert_eq!(scene.add(), Err(DiskErrorKind::NotRegular));
    std_fs::remove_dir(&path).expect("there");
    assert_eq!(scene.write(0, 0..1), []);
}

#[test]
fn an_output_that_is_a_file_is_refused() {
    let mut scene = Scene::new(B, &[("f", B, Regular)]);
    scene.scratch.put("out", b"a file");
    assert_eq!(scene.add(), Err(DiskErrorKind::NotRegular));
}

#[test]
fn names_that_lead_elsewhere_are_no_files() {
    let scratch = Scratch::new();
    for path in ["..", "../x", "a//b", "/etc", "."] {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let root = fs::openat(CWD, &scratch.0, flags, Mode::empty()).expect("a directory");
        let walked = descend(root, path, Some(&mut |_| ()));
        assert_eq!(walked.err(), Some(Errno::LOOP), "{path}");
    }
}

#[test]
fn where_nothing_outlasts_the_power_nothing_is_opened_to_be_synced() {
    let mut scene = Scene::new(B, &[("d/a", B, Regular), ("d/b", B, Regular)]);
    scene.add().expect("an empty place");
    let tree = scene.store.files_mut().torrents.get_mut(&torrent(0));
    tree.expect("it was added").is_lasting = false;
    assert_eq!(scene.write(0, 0..1), []);
    let found = std_fs::metadata(scene.scratch.path("out/t/d/a")).expect("made");
    let files = scene.store.files_mut();
    files.open.clear();
    let a = FileId {
        torrent: torrent(0),
        file: 0,
    };
    let stamp = files
        .sync(a)
        .expect("nothing to fail")
        .expect("it is there");
    let since = found
        .modified()
        .expect("known")
        .duration_since(SystemTime::UNIX_EPOCH);
    assert_eq!(stamp.size, B);
    assert_eq!(
        i128::from(stamp.modified),
        since.expect("later").as_nanos() as i128
    );
    assert!(files.open.is_empty() && files.synced.is_empty());
}

#[test]
fn a_directory_removed_under_us_is_made_again() {
    let mut scene = Scene::new(B, &[("d/a", B, Regular), ("d/b", B, Regular)]);
    scene.add().expect("an empty place");
    assert_eq!(scene.write(0, 0..1), []);
    std_fs::remove_dir_all(scene.scratch.path("out/t")).expect("there");
    assert_eq!(scene.write(1, 0..1), []);
    let b = std_fs::read(scene.scratch.path("out/t/d/b")).expect("made");
    assert_eq!(b, scene.content[B as usize..]);
}

#[test]
fn a_file_is_synced_with_the_directories_in_which_something_was_made() {
    let files = [
        ("d/a", B, Regular),
        ("d/e/b", B, Regular),
        ("d/e/c", B, Regular),
    ];
    let mut scene = Scene::new(B, &files);
    scene.add().expect("an empty place");
    let tree = scene.store.files_mut().torrents.get_mut(&torrent(0));
    tree.expect("it was added").is_lasting = true;
    let synced = |scene: &mut Scene| {
        let synced = scene.store.files_mut().synced.get(&torrent(0)).cloned();
        Vec::from_iter(synced.unwrap_or_default())
    };
    let sync = |scene: &mut Scene, file| {
        let torrent = torrent(0);
        let result = scene.store.files_mut().sync(FileId { torrent, file });
        assert!(matches!(result, Ok(Some(Stamp { size: B, .. }))));
    };
    assert_eq!(scene.write(0, 0..1), []);
    sync(&mut scene, 0);
    assert_eq!(synced(&mut scene), ["", "t", "t/d"]);
    // The directory `e` is made in `d`, the file `b` in `e`.
    assert_eq!(scene.write(1, 0..1), []);
    assert_eq!(synced(&mut scene), ["", "t"]);
    sync(&mut scene, 1);
    assert_eq!(synced(&mut scene), ["", "t", "t/d", "t/d/e"]);
    assert_eq!(scene.write(2, 0..1), []);
    assert_eq!(synced(&mut scene), ["", "t", "t/d"]);
}

#[test]
fn a_directory_that_was_exchanged_while_open_is_walked_to_again() {
    let mut scene = Scene::new(B, &[("d/a", B, Regular), ("d/b", B, Regular)]);
    scene.add().expect("an empty place");
    scene.write_all();
    scene.store.files_mut().open.clear();
    let (t, x) = (scene.scratch.path("out/t"), scene.scratch.path("out/x"));
    std_fs::create_dir_all(x.join("d")).expect("made");
    for name in ["d/a", "d/b"] {
        std_fs::copy(t.join(name), x.join(name)).expect("copied");
    }
    std_fs::remove_dir_all(&t).expect("there");
    std_fs::rename(&x, &t).expect("moved");
    let b = scene.read(1, 0, B as u32);
    assert_eq!(b.as_deref(), Ok(&scene.content[B as usize..]));
}

#[test]
fn a_full_allocation_reserves_the_whole_file_with_its_first_block() {
    let mut scene = Scene::new(64 * B, &[("a", 64 * B, Regular)]);
    let full = Place {
        allocate: Allocate::Full,
        ..scene.place()
    };
    scene.add_at(full).expect("an empty place");
    assert_eq!(scene.write(0, 0..1), []);
    let a = std_fs::metadata(scene.scratch.path("out/a")).expect("made");
    // Where the file system can't reserve, the file is as long as what was written.
    assert!(a.len() == B || (a.len() == 64 * B && a.blocks() * 512 >= 64 * B));
}

#[test]
fn a_store_that_only_reads_makes_nothing() {
    let mut scene = Scene::new(B, &[("a", B, Regular)]);
    let place = Place {
        read_only: true,
        ..scene.place()
    };
    assert_eq!(scene.add_at(place.clone()), Err(DiskErrorKind::Gone));
    std_fs::create_dir(scene.scratch.path("out")).expect("made");
    scene.add_at(place).expect("it is there");
    assert_eq!(scene.write(0, 0..1), [DiskErrorKind::Denied]);
    assert_eq!(scene.scratch.names(), ["out"]);
}

#[test]
fn a_file_longer_than_may_be_made_here_is_refused() {
    let scene = Scene::new(B, &[("a", B, Regular), (".pad/1", 2 * B, Pad)]);
    assert_eq!(tree::fits(B, &scene.meta, &scene.place()), Ok(()));
    let error = tree::fits(B - 1, &scene.meta, &scene.place()).expect_err("too long");
    assert_eq!(error.kind, DiskErrorKind::TooBig);
    assert!(error.message.contains("out/t/a: 16384 bytes"), "{error:?}");
}

#[test]
fn offsets_beyond_four_gibibytes_are_exact_and_holes_cost_no_reading() {
    let (piece, total) = (4 << 20, (5 << 30) + 3);
    let pieces = 5 * 256 + 1;
    let meta = meta_of(piece, &[("big", total, Regular)], &vec![7; pieces * 20]);
    let mut scene = Scene::new(B, &[("a", B, Regular)]);
    scene.meta = meta;
    scene.add().expect("an empty place");
    let geometry = scene.meta.geometry;
    let op = |piece, index| DiskOp::Write {
        torrent: torrent(0),
        block: geometry.block(Piece(piece), index),
        data: BlockData::Received(0..geometry.block(Piece(piece), index).len as usize),
    };
    let mut ops = vec![op(1280, 0), op(1100, 255)];
    let mut done = VecDeque::new();
    scene.store.handle(&mut ops, &scene.content, &mut done);
    let big = std_fs::metadata(scene.scratch.path("out/big")).expect("made");
    assert_eq!(big.len(), total);
    assert_eq!(scene.read(1280, 0, 3).as_deref(), Ok(&scene.content[..3]));
    let last = scene.read(1100, 255 * B as u32, B as u32);
    assert_eq!(last.as_deref(), Ok(&scene.content[..]));
    let (good, error) = scene.check();
    assert_eq!((good.len(), error), (pieces, None));
}
