//! Only what is wanted is fetched, and what is wanted can change.

use minitorrent::base::bitfield::Bitfield;
use minitorrent::base::ids::Piece;
use minitorrent::engine::command::{Command, Selection};
use minitorrent::engine::io::{DiskDone, Event};

use crate::scene::{MODERN, Scene};

fn select(scene: &mut Scene, pieces: Option<&[u32]>, sequential: bool) {
    let of = |pieces: &[u32]| {
        let mut wanted = Bitfield::new(scene.meta.geometry.pieces());
        pieces
            .iter()
            .for_each(|piece| assert!(wanted.insert(Piece(*piece))));
        wanted
    };
    let pieces = pieces.map(of);
    let selection = Selection {
        pieces,
        sequential,
        ..Selection::default()
    };
    let torrent = scene.torrent;
    let command = Command::Select { torrent, selection };
    let reply = scene.session.handle_command(scene.now, command);
    assert!(reply.is_ok());
    scene.drain();
}

fn requested(words: &[String]) -> Vec<&str> {
    words
        .iter()
        .filter_map(|word| word.strip_prefix("request "))
        .collect()
}

fn is_complete(scene: &Scene) -> bool {
    scene
        .events
        .iter()
        .any(|event| matches!(event, Event::Complete { .. }))
}

#[test]
fn only_wanted_pieces_are_asked_for_and_they_are_all_there_is_to_fetch() {
    let mut scene = Scene::new(4);
    select(&mut scene, Some(&[2]), false);
    let peer = scene.giver(1, MODERN, &[0, 1, 2, 3]);
    let asked = scene.sent(peer);
    assert_eq!(requested(&asked), ["2/0", "2/1"]);
    let torrent = &scene.session.snapshot(scene.now).torrents[0];
    assert_eq!((torrent.bytes, torrent.bytes_have), (32_768, 0));
    scene.gives(peer, 2, 0);
    scene.gives(peer, 2, 1);
    let (torrent, piece, good) = (scene.torrent, Piece(2), true);
    scene.disk(DiskDone::Verified {
        torrent,
        piece,
        good,
    });
    assert!(is_complete(&scene));
    assert_eq!(scene.pieces_have(), 1);
}

#[test]
fn who_has_only_what_is_not_wanted_is_of_no_interest() {
    let mut scene = Scene::new(4);
    select(&mut scene, Some(&[2]), false);
    let peer = scene.giver(1, MODERN, &[0, 1]);
    assert!(scene.sent(peer).is_empty());
    select(&mut scene, Some(&[1]), false);
    let words = scene.sent(peer);
    assert_eq!(words, ["interested", "request 1/0", "request 1/1"]);
    select(&mut scene, Some(&[3]), false);
    assert_eq!(scene.sent(peer), ["not interested"]);
}

#[test]
fn wanting_what_is_there_completes_and_wanting_more_goes_on() {
    let mut scene = Scene::with(
        4,
        minitorrent::engine::command::Aim::Download,
        |_| {},
        &[],
        &[0],
    );
    let peer = scene.giver(1, MODERN, &[0, 1, 2]);
    select(&mut scene, Some(&[0]), false);
    assert!(is_complete(&scene));
    scene.sent(peer);
    select(&mut scene, Some(&[0, 3]), false);
    assert!(scene.sent(peer).is_empty());
    scene.says(peer, minitorrent::wire::message::Message::Have(Piece(3)));
    assert_eq!(requested(&scene.sent(peer)), ["3/0", "3/1"]);
}

#[test]
fn in_sequence_the_first_piece_is_the_first_that_is_asked_for() {
    let mut scene = Scene::new(12);
    select(&mut scene, None, true);
    let peer = scene.giver(1, MODERN, &[1, 3, 4, 8, 9, 11]);
    let asked = scene.sent(peer);
    let pieces: Vec<&str> = requested(&asked)
        .iter()
        .map(|block| &block[..block.len() - 2])
        .collect();
    assert_eq!(
        pieces,
        ["1", "1", "3", "3", "4", "4", "8", "8", "9", "9", "11", "11"]
    );
}
