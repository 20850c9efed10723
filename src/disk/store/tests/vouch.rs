//! Hashing before sending.

use super::*;

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
    scene.disk.set_reads(B, B);
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
