//! The same on real files.

use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::*;
use crate::disk::FileStore;
use crate::disk::os::OsFiles;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("minitorrent-resume-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a place for temporary files");
        Self(path)
    }

    fn place(&self) -> Place {
        Place {
            state_dir: Some(self.0.join("state")),
            ..Place::new(self.0.join("out"))
        }
    }

    /// A store of another life, with the torrent in it.
    fn open(&self, meta: &Arc<Metainfo>) -> Result<FileStore, DiskError> {
        self.open_in(meta, self.place())
    }

    fn open_in(&self, meta: &Arc<Metainfo>, place: Place) -> Result<FileStore, DiskError> {
        let mut store: FileStore = Disk::new(OsFiles::new(3));
        let added = store.add(torrent(0), Arc::clone(meta), place);
        added.map(|()| store)
    }

    /// Another program writes to a file of the content, and leaves it with a time that is not ours.
    fn write_over(&self, name: &str) {
        let path = self.0.join("out").join(name);
        let file = std::fs::File::options().write(true).open(path);
        let file = file.expect("it is there");
        file.write_all_at(b"other", 7).expect("written");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("set");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write(store: &mut FileStore, meta: &Metainfo, bytes: &[u8], pieces: std::ops::Range<u32>) {
    let ops = pieces.map(|piece| {
        let block = meta.geometry.block(Piece(piece), 0);
        let at = meta.geometry.offset(block) as usize;
        DiskOp::Write {
            torrent: torrent(0),
            block,
            data: BlockData::Received(at..at + block.len as usize),
        }
    });
    store.handle(&mut ops.collect(), bytes, &mut VecDeque::new());
}

fn check(store: &mut FileStore) -> (usize, bool) {
    let mut done = VecDeque::new();
    let torrent = torrent(0);
    store.handle(&mut vec![DiskOp::Check { torrent }], &[], &mut done);
    // So much is not enough to hash anything but the samples and an odd piece.
    let more = store.work(Budget(SAMPLED + 2 * B), &mut done);
    while store.work(Budget(1 << 20), &mut done) {}
    let good = |done: &&DiskDone| matches!(done, DiskDone::Checked { good: true, .. });
    (done.iter().filter(good).count(), more)
}

#[test]
fn real_files_are_believed_after_a_kill_and_after_a_stop_and_not_after_an_edit() {
    let scratch = Scratch::new();
    let bytes = content(40 * B);
    let files = [
        ("x/a", 20 * BLOCKS, FileKind::Regular),
        ("x/y/b", 20 * BLOCKS, FileKind::Regular),
    ];
    let meta = meta(B as u32, &files, &bytes);
    let open = || scratch.open(&meta);
    let mut store = open().expect("made");
    write(&mut store, &meta, &bytes, 0..30);
    let mut now = Instant::default();
    store.handle_timeout(now);
    now += APPEND_EVERY;
    store.handle_timeout(now);
    // A second store meets the lock, even in the same process.
    let error = open().err().expect("it is locked");
    assert_eq!(error.kind, DiskErrorKind::Locked);
    assert!(
        error.message.contains(&std::process::id().to_string()),
        "{error:?}"
    );
    drop(store);
    let mut store = open().expect("a dead process holds no lock");
    let (good, _) = check(&mut store);
    assert_eq!(good, 30);
    write(&mut store, &meta, &bytes, 30..40);
    assert!(
        store.poll_timeout() == Some(Instant::default()),
        "complete: it is synced at once"
    );
    while store.flush(torrent(0)) {}
    assert!(store.poll_warning().is_none());
    drop(store);
    let mut store = open().expect("it is there");
    assert_eq!(
        check(&mut store),
        (40, false),
        "nothing but samples is hashed"
    );
    assert!(store.poll_timeout().is_none());
    drop(store);
    let path = scratch.0.join("out/t/x/a");
    let mut edited = bytes[..20 * B].to_vec();
    edited[3] ^= 1;
    std::fs::write(path, edited).expect("written");
    let mut store = open().expect("it is there");
    assert_eq!(check(&mut store), (39, true));
    assert_eq!(store.poll_warning().map(|it| it.kind), Some("disk.changed"));
}

#[test]
fn after_an_end_at_which_a_file_was_too_short_nothing_is_believed() {
    let scratch = Scratch::new();
    let bytes = content(40 * B);
    let files = [
        ("x/a", 20 * BLOCKS, FileKind::Regular),
        ("x/b", 20 * BLOCKS, FileKind::Regular),
    ];
    let meta = meta(B as u32, &files, &bytes);
    let open = || scratch.open(&meta).expect("free");
    let cut = |name: &str, len: u64| {
        let path = scratch.0.join("out/t/x").join(name);
        let file = std::fs::File::options().write(true).open(path);
        file.and_then(|file| file.set_len(len)).expect("there");
    };
    let mut store = open();
    assert_eq!(check(&mut store).0, 0);
    write(&mut store, &meta, &bytes, 0..10);
    store.handle_timeout(Instant::from_micros(1_000_000));
    // Cut, and grown again by what came later: of the same length, and with a hole.
    cut("a", 9 * BLOCKS);
    write(&mut store, &meta, &bytes, 10..40);
    cut("b", 1000);
    let ended = store.finish(torrent(0)).map_err(|error| error.kind);
    assert_eq!(ended, Err(DiskErrorKind::Changed));
    while store.flush(torrent(0)) {}
    drop(store);

    let mut store = open();
    let (good, _) = check(&mut store);
    // All of it was hashed: what is not there is not said to be.
    assert_eq!(good, 19);
}

#[test]
fn what_another_made_of_a_file_before_it_was_synced_is_not_vouched_for() {
    let scratch = Scratch::new();
    let bytes = content(20 * B);
    let files = [("x", 20 * BLOCKS, FileKind::Regular)];
    let meta = meta(B as u32, &files, &bytes);
    let mut store = scratch.open(&meta).expect("free");
    assert_eq!(check(&mut store).0, 0);
    write(&mut store, &meta, &bytes, 0..20);
    scratch.write_over("x");
    while store.flush(torrent(0)) {}
    drop(store);
    let mut store = scratch.open(&meta).expect("free");
    assert_eq!(check(&mut store), (19, true));
}

#[test]
fn what_was_seen_to_be_changed_is_not_believed_though_the_run_ends_early() {
    let scratch = Scratch::new();
    let bytes = content(20 * B);
    let files = [("x", 20 * BLOCKS, FileKind::Regular)];
    let meta = meta(B as u32, &files, &bytes);
    let mut store = scratch.open(&meta).expect("free");
    assert_eq!(check(&mut store).0, 0);
    write(&mut store, &meta, &bytes, 0..10);
    store.handle_timeout(Instant::from_micros(1_000_000));
    scratch.write_over("x");
    // By what comes next the file looks as if it were ours alone.
    write(&mut store, &meta, &bytes, 10..15);
    while store.flush(torrent(0)) {}
    drop(store);
    let mut store = scratch.open(&meta).expect("free");
    assert_eq!(check(&mut store), (14, true));
}

#[test]
fn a_file_that_was_not_wanted_before_and_is_now_is_not_said_to_have_changed() {
    let scratch = Scratch::new();
    let bytes = content(10 * B);
    // Both border pieces, 2 and 5, are partly of the file in the middle.
    let files = [
        ("a", 2 * BLOCKS + 7, FileKind::Regular),
        ("b", 3 * BLOCKS, FileKind::Regular),
        ("c", 5 * BLOCKS - 7, FileKind::Regular),
    ];
    let meta = meta(B as u32, &files, &bytes);
    let without = |unwanted: &[u32]| Place {
        unwanted: unwanted.iter().copied().collect(),
        ..scratch.place()
    };
    let some = || scratch.open_in(&meta, without(&[1])).expect("free");
    let warned = |store: &mut FileStore| {
        let warning = store.poll_warning();
        warning.map(|it| (it.kind, it.message))
    };
    let mut store = some();
    assert_eq!(check(&mut store).0, 0);
    write(&mut store, &meta, &bytes, 0..3);
    write(&mut store, &meta, &bytes, 5..10);
    store.finish(torrent(0)).expect("as it was left");
    while store.flush(torrent(0)) {}
    drop(store);

    // Only to look at, and then to fetch the rest: what lay apart is hashed at its new place, and that is all.
    let read_only = Place {
        read_only: true,
        ..scratch.place()
    };
    let mut store = scratch.open_in(&meta, read_only).expect("free");
    assert_eq!(
        check(&mut store).0,
        6,
        "the borders are not where they belong"
    );
    assert_eq!(warned(&mut store), None);
    while store.flush(torrent(0)) {}
    drop(store);
    let mut store = some();
    assert_eq!((check(&mut store).0, warned(&mut store)), (8, None));
    while store.flush(torrent(0)) {}
    drop(store);
    let mut store = scratch.open(&meta).expect("free");
    assert_eq!((check(&mut store).0, warned(&mut store)), (8, None));
    while store.flush(torrent(0)) {}
    drop(store);

    // What did change is named, and nothing else.
    let mut store = some();
    check(&mut store);
    assert_eq!(warned(&mut store), None);
    while store.flush(torrent(0)) {}
    drop(store);
    scratch.write_over("t/c");
    let mut store = scratch.open(&meta).expect("free");
    assert_eq!(check(&mut store).0, 7);
    let said = "t/c changed since the last run: 5 pieces are hashed again";
    assert_eq!(
        warned(&mut store),
        Some(("disk.changed", String::from(said)))
    );
}

#[test]
fn what_lay_apart_beside_what_was_written_since_is_not_said_to_have_changed() {
    let scratch = Scratch::new();
    let bytes = content(10 * B);
    // The second file is all in piece 2, and comes whole with the first; piece 5 has bytes of two others.
    let files = [
        ("a", 2 * BLOCKS + 7, FileKind::Regular),
        ("b", 10, FileKind::Regular),
        ("c", 3 * BLOCKS - 10, FileKind::Regular),
        ("d", 5 * BLOCKS - 7, FileKind::Regular),
    ];
    let meta = meta(B as u32, &files, &bytes);
    let mut there = 0;
    for (wanted, pieces) in [(0, 0..3), (3, 5..10), (1, 0..0)] {
        let place = Place {
            unwanted: (0..4).filter(|file| *file != wanted).collect(),
            ..scratch.place()
        };
        let mut store = scratch.open_in(&meta, place).expect("free");
        assert_eq!(check(&mut store).0, there);
        assert_eq!(store.poll_warning().map(|it| it.message), None);
        there += pieces.len();
        write(&mut store, &meta, &bytes, pieces);
        store.finish(torrent(0)).expect("as it was left");
        while store.flush(torrent(0)) {}
    }
}
