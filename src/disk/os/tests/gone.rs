//! Output directories that go, and come back.

use super::*;

#[test]
fn a_root_that_has_gone_is_not_made_again_and_one_that_comes_back_is_used() {
    let mut scene = Scene::new(B, &[("a", B, Regular), ("b", B, Regular)]);
    scene.add().expect("an empty place");
    assert_eq!(scene.write(0, 0..1), []);
    let (out, away) = (scene.scratch.path("out"), scene.scratch.path("away"));
    std_fs::remove_dir_all(&out).expect("there");
    assert_eq!(scene.write(1, 0..1), [DiskErrorKind::Gone]);
    assert_eq!(scene.scratch.names(), [""; 0]);
    assert_eq!(scene.check().1, Some(DiskErrorKind::Gone));
    std_fs::create_dir(&away).expect("made");
    std_fs::rename(&away, &out).expect("moved");
    assert_eq!(scene.write(1, 0..1), []);
    assert_eq!(scene.check(), (vec![false, true], None));
}

#[test]
fn another_file_system_at_the_root_is_not_written_to() {
    let mut scene = Scene::new(B, &[("a", B, Regular)]);
    scene.add().expect("an empty place");
    let files = scene.store.files_mut();
    files
        .torrents
        .values_mut()
        .for_each(|tree| tree.move_away());
    assert_eq!(scene.write(0, 0..1), [DiskErrorKind::Gone]);
    assert_eq!(scene.scratch.names(), ["out"]);
}

#[test]
fn a_disk_that_is_back_under_another_number_is_known_by_its_files() {
    let mut scene = Scene::new(B, &[("a", 2 * B, Regular), ("b", B, Regular)]);
    scene.add().expect("an empty place");
    assert_eq!(scene.write(0, 0..1), []);
    let moved = |scene: &mut Scene| {
        let files = scene.store.files_mut();
        files.close_all(torrent(0));
        let mut trees = files.torrents.values_mut();
        trees.next().expect("it was added").move_away();
    };
    moved(&mut scene);
    assert_eq!(scene.write(1, 0..1), []);
    moved(&mut scene);
    std_fs::rename(scene.scratch.path("out"), scene.scratch.path("away")).expect("moved");
    std_fs::create_dir(scene.scratch.path("out")).expect("a mount point");
    assert_eq!(scene.write(2, 0..1), [DiskErrorKind::Gone]);
    assert_eq!(scene.scratch.names(), ["away", "away/t", "away/t/a", "out"]);
}

#[test]
fn what_has_become_of_the_output_directory_is_said_in_so_many_words() {
    let mut scene = Scene::new(B, &[("x/a", B, Regular), ("x/b", B, Regular)]);
    scene.add().expect("an empty place");
    assert_eq!(scene.write(0, 0..1), []);
    let said = |scene: &mut Scene| {
        let ended = scene.store.finish(torrent(0));
        let error = ended.expect_err("it is gone");
        assert_eq!(error.kind, DiskErrorKind::Gone);
        error.message
    };
    let (out, away) = (scene.scratch.path("out"), scene.scratch.path("away"));
    std_fs::rename(&out, away).expect("moved");
    let cannot = format!("cannot use {}: ", out.display());
    let moved = "it is not there any more: moved away, removed or unmounted";
    assert_eq!(said(&mut scene), format!("{cannot}{moved}"));
    std_fs::create_dir(&out).expect("a mount point");
    let mut trees = scene.store.files_mut().torrents.values_mut();
    trees.next().expect("it was added").move_away();
    let other = "it is on another file system now: the disk it was on has gone";
    assert_eq!(said(&mut scene), format!("{cannot}{other}"));
}
