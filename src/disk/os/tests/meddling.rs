//! Files that another program has a hand in.

use super::*;

#[test]
fn files_that_were_cut_or_removed_while_seeding_are_said_to_have_changed() {
    let mut scene = Scene::new(B, &[("a", B, Regular), ("b", B, Regular)]);
    scene.add().expect("an empty place");
    scene.write_all();
    let a = std_fs::File::options()
        .write(true)
        .open(scene.scratch.path("out/t/a"));
    a.expect("there").set_len(B - 1).expect("cut");
    assert_eq!(scene.read(0, 0, B as u32), Err(DiskErrorKind::Changed));
    assert_eq!(
        scene.read(0, 0, B as u32 - 1).as_deref(),
        Ok(&scene.content[..B as usize - 1])
    );
    std_fs::remove_file(scene.scratch.path("out/t/b")).expect("there");
    scene.store.files_mut().close_all(torrent(0));
    assert_eq!(scene.read(1, 0, B as u32), Err(DiskErrorKind::Changed));
    assert_eq!(scene.check(), (vec![false, false], None));
    scene.write_all();
    assert_eq!(scene.check(), (vec![true, true], None));
}

#[test]
fn files_that_were_cut_or_removed_while_downloading_are_not_complete() {
    let whole = [("a", B, Regular), ("b", B, Regular), ("c", 0, Regular)];
    let written = || {
        let mut scene = Scene::new(B, &whole);
        scene.add().expect("an empty place");
        scene.write_all();
        scene
    };
    let finish = |scene: &mut Scene| {
        let result = scene.store.files_mut().finish(torrent(0));
        result.map_err(|error| {
            let named = ["out/t/a", "out/t/b"].map(|name| error.message.contains(name));
            (error.kind, named)
        })
    };
    let mut scene = written();
    assert_eq!(finish(&mut scene), Ok(()));

    let mut scene = written();
    std_fs::remove_file(scene.scratch.path("out/t/b")).expect("there");
    let gone = Err((DiskErrorKind::Changed, [false, true]));
    assert_eq!(finish(&mut scene), gone);

    let mut scene = written();
    let a = std_fs::File::options()
        .write(true)
        .open(scene.scratch.path("out/t/a"));
    a.expect("there").set_len(B - 1).expect("cut");
    let cut = Err((DiskErrorKind::Changed, [true, false]));
    assert_eq!(finish(&mut scene), cut);
}

/// Each of them leaves a file of the right length under the right name.

#[test]
fn files_that_another_program_changed_while_downloading_are_not_complete() {
    let finish = |act: &dyn Fn(&mut Scene, &Path)| {
        let mut scene = Scene::new(2 * B, &[("a", 3 * B, Regular), ("b", B, Regular)]);
        scene.add().expect("an empty place");
        assert_eq!(scene.write(0, 0..1), []);
        let path = scene.scratch.path("out/t/a");
        act(&mut scene, &path);
        assert_eq!(scene.write(0, 1..2), []);
        assert_eq!(scene.write(1, 0..2), []);
        let result = scene.store.files_mut().finish(torrent(0));
        result.map_err(|error| (error.kind, error.message.contains("out/t/a")))
    };
    assert_eq!(finish(&|_, _| {}), Ok(()));
    let changed = Err((DiskErrorKind::Changed, true));
    let cut = |_: &mut Scene, path: &Path| {
        let file = std_fs::File::options().write(true).open(path);
        file.and_then(|file| file.set_len(1)).expect("it is there");
    };
    assert_eq!(finish(&cut), changed);
    let written_over = |_: &mut Scene, path: &Path| {
        let file = std_fs::File::options().write(true).open(path);
        let file = file.expect("it is there");
        file.write_all_at(b"other", 7).expect("written");
        // The clock of old kernels stands still for some milliseconds.
        file.set_modified(SystemTime::UNIX_EPOCH).expect("set");
    };
    assert_eq!(finish(&written_over), changed);
    let replaced = |_: &mut Scene, path: &Path| {
        let other = path.with_extension("other");
        std_fs::copy(path, &other).expect("copied");
        std_fs::rename(other, path).expect("replaced");
    };
    // What is open is written to, and lies nowhere.
    assert_eq!(finish(&replaced), changed);
    let replaced_while_closed = |scene: &mut Scene, path: &Path| {
        replaced(scene, path);
        scene.store.files_mut().open.clear();
    };
    assert_eq!(finish(&replaced_while_closed), changed);
}

#[test]
fn a_file_that_another_program_made_longer_meanwhile_is_not_complete_though_it_may_be_cut() {
    let mut scene = Scene::new(B, &[("a", B, Regular), ("b", 0, Regular)]);
    let place = Place {
        force: true,
        ..scene.place()
    };
    scene.add_at(place).expect("an empty place");
    scene.scratch.put("out/t/a", &[7; 3 * B as usize]);
    scene.scratch.put("out/t/b", b"not empty");
    scene.write_all();
    let finish = |scene: &mut Scene| {
        let result = scene.store.files_mut().finish(torrent(0));
        result.map_err(|error| error.kind)
    };
    assert_eq!(finish(&mut scene), Err(DiskErrorKind::Changed));
    // They were looked at again: now it is known what is to be cut.
    assert_eq!(finish(&mut scene), Ok(()));
    assert_eq!(scene.check(), (vec![true], None));
    let len = |name| {
        std_fs::metadata(scene.scratch.path(name))
            .expect("there")
            .len()
    };
    assert_eq!((len("out/t/a"), len("out/t/b")), (B, 0));
}

#[test]
fn an_unwanted_file_that_another_program_changed_meanwhile_is_noticed_too() {
    let mut scene = Scene::new(B, &[("a", B, Regular), ("b", B, Regular)]);
    scene.scratch.put("out/t/b", &vec![1; B as usize]);
    let place = Place {
        unwanted: [1].into(),
        ..scene.place()
    };
    scene.add_at(place).expect("an empty place");
    assert_eq!(scene.write(0, 0..1), []);
    let file = std_fs::File::options()
        .write(true)
        .open(scene.scratch.path("out/t/b"));
    let file = file.expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH).expect("set");
    let mut finish = || {
        let result = scene.store.files_mut().finish(torrent(0));
        result.map_err(|error| (error.kind, error.message.contains("out/t/b")))
    };
    assert_eq!(finish(), Err((DiskErrorKind::Changed, true)));
    assert_eq!(finish(), Ok(()));
}

#[test]
fn where_files_can_not_be_watched_their_times_do_not_count() {
    let mut scene = Scene::new(B, &[("a", 2 * B, Regular), ("b", 0, Regular)]);
    scene.add().expect("an empty place");
    let tree = scene.store.files_mut().torrents.get_mut(&torrent(0));
    tree.expect("it was added").is_watched = false;
    assert_eq!(scene.write(0, 0..1), []);
    let file = std_fs::File::open(scene.scratch.path("out/t/a")).expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH).expect("set");
    assert_eq!(scene.write(1, 0..1), []);
    assert_eq!(scene.store.files_mut().finish(torrent(0)), Ok(()));
}

#[test]
fn a_file_is_touched_by_others_even_if_its_length_and_time_are_put_back_and_not_by_us() {
    let mut scene = Scene::new(B, &[("a", 2 * B, Regular)]);
    scene.add().expect("an empty directory");
    scene.write_all();
    let id = FileId {
        torrent: torrent(0),
        file: 0,
    };
    let is_touched = |scene: &mut Scene| scene.store.files_mut().is_touched(id);
    assert!(is_touched(&mut scene), "nobody asked before");
    assert!(!is_touched(&mut scene));
    assert_eq!(scene.read(0, 0, 1).map(|read| read.len()), Ok(1));
    scene
        .store
        .handle(&mut vec![forget(1)], &[], &mut VecDeque::new());
    assert_eq!(scene.write(1, 0..1), []);
    assert!(!is_touched(&mut scene));
    let path = scene.scratch.path("out/a");
    let was = std_fs::metadata(&path).expect("it is there");
    let file = std_fs::File::options()
        .write(true)
        .open(&path)
        .expect("it is there");
    // Times of files go in steps of a few milliseconds.
    while std_fs::metadata(&path).expect("it is there").ctime_nsec() == was.ctime_nsec() {
        file.write_all_at(b"x", 5).expect("ours");
        file.set_modified(was.modified().expect("known"))
            .expect("ours");
    }
    assert_eq!(
        std_fs::metadata(&path)
            .expect("it is there")
            .modified()
            .ok(),
        was.modified().ok()
    );
    assert!(is_touched(&mut scene));
    assert!(!is_touched(&mut scene));
    // Before one of our own writes, too.
    file.write_all_at(b"y", 5).expect("ours");
    file.set_modified(SystemTime::UNIX_EPOCH).expect("ours");
    scene
        .store
        .handle(&mut vec![forget(1)], &[], &mut VecDeque::new());
    assert_eq!(scene.write(1, 0..1), []);
    assert!(is_touched(&mut scene));
}

fn forget(piece: u32) -> DiskOp {
    DiskOp::Forget {
        torrent: torrent(0),
        piece: Piece(piece),
    }
}
