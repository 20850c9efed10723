//! A disk that fails, and one whose files change (RELIABILITY H1, H3, H5).

use minitorrent::base::ids::Piece;
use minitorrent::engine::command::{Aim, Command};
use minitorrent::engine::io::{DiskDone, DiskError, DiskErrorKind, Event};
use minitorrent::engine::stats::Phase;
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, OLD, Scene};

fn error(kind: DiskErrorKind) -> DiskError {
    DiskError {
        kind,
        message: "no".into(),
    }
}

fn failed(scene: &mut Scene, piece: u32, index: u32) {
    failed_with(scene, piece, index, DiskErrorKind::Full);
}

fn failed_with(scene: &mut Scene, piece: u32, index: u32, kind: DiskErrorKind) {
    let torrent = scene.torrent;
    let block = scene.meta.geometry.block(Piece(piece), index);
    scene.disk(DiskDone::WriteFailed {
        torrent,
        block,
        buffer: None,
        error: error(kind),
    });
}

#[test]
fn a_full_disk_pauses_and_one_block_tries_it_after_ten_seconds() {
    let mut scene = Scene::new(4);
    scene.disk_works = false;
    let peer = scene.giver(1, MODERN, &[0, 1]);
    scene.sent(peer);
    for (piece, index) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        scene.gives(peer, piece, index);
        failed(&mut scene, piece, index);
    }
    let trouble = |event: &&Event| matches!(event, Event::DiskTrouble { .. });
    assert_eq!(scene.events.iter().filter(trouble).count(), 1);
    let phase = scene.session.snapshot(scene.now).torrents[0].phase;
    assert_eq!(phase, Phase::DiskTrouble);
    scene.run_to(10.9);
    assert!(scene.sent(peer).is_empty() && !scene.is_closed(peer));
    scene.run_to(11.0);
    assert_eq!(scene.sent(peer).len(), 1);
    scene.run_to(12.0);
    scene.disk_works = true;
    scene.take_ops();
    let (piece, index) = (0, 0);
    scene.gives(peer, piece, index);
    if scene.take_ops().is_empty() {
        scene.gives(peer, 1, 0);
    }
    assert!(matches!(
        scene.events.last(),
        Some(Event::DiskRecovered { .. })
    ));
    let sent = scene.sent(peer);
    assert_eq!(sent.len(), 3, "all the rest: {sent:?}");
}

#[test]
fn an_input_output_error_is_told_again_if_it_is_still_there_at_the_second_try() {
    let mut scene = Scene::new(4);
    scene.disk_works = false;
    let peer = scene.giver(1, MODERN, &[0, 1]);
    let trouble = |event: &&Event| matches!(event, Event::DiskTrouble { .. });
    for (piece, index) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        scene.gives(peer, piece, index);
        failed_with(&mut scene, piece, index, DiskErrorKind::Io);
    }
    assert_eq!(scene.events.iter().filter(trouble).count(), 1);
    scene.sent(peer);
    scene.run_to(12.0);
    let asked = scene.sent(peer);
    assert_eq!(asked.len(), 1, "{asked:?}");
    let (piece, index) = if asked[0].contains("0/0") {
        (0, 0)
    } else {
        (1, 0)
    };
    scene.gives(peer, piece, index);
    failed_with(&mut scene, piece, index, DiskErrorKind::Io);
    assert_eq!(scene.events.iter().filter(trouble).count(), 2);
}

#[test]
fn a_full_disk_does_not_stop_the_serving() {
    let mut scene = Scene::with(4, Aim::Download, |_| {}, &[], &[3]);
    scene.disk_works = false;
    let peer = scene.giver(1, MODERN, &[0]);
    scene.gives(peer, 0, 0);
    failed(&mut scene, 0, 0);
    scene.says(peer, Message::Interested);
    let block = scene.meta.geometry.block(Piece(3), 0);
    scene.says(peer, Message::Request(block));
    assert!(scene.sent(peer).contains(&"piece 3/0".into()));
}

#[test]
fn a_piece_that_can_not_be_read_is_lost_and_fetched_again() {
    let mut scene = Scene::with(4, Aim::Download, |_| {}, &[], &[0]);
    let source = scene.giver(1, OLD, &[0]);
    assert!(scene.sent(source).is_empty());
    let torrent = scene.torrent;
    let block = scene.meta.geometry.block(Piece(0), 1);
    scene.disk(DiskDone::ReadFailed {
        torrent,
        block,
        error: error(DiskErrorKind::Changed),
    });
    assert_eq!(scene.take_ops(), ["forget 0"]);
    assert_eq!(scene.pieces_have(), 0);
    let sent = scene.sent(source);
    assert_eq!(sent, ["interested", "request 0/0", "request 0/1"]);
}

#[test]
fn of_a_piece_that_is_gone_only_who_asks_for_it_hears_and_is_refused_it() {
    let mut scene = Scene::seeding(4);
    let (asks, old, other) = (
        scene.peer(1, MODERN),
        scene.peer(2, OLD),
        scene.peer(3, OLD),
    );
    let block = |scene: &Scene, piece, index| scene.meta.geometry.block(Piece(piece), index);
    for peer in [asks, old, other] {
        scene.says(peer, Message::Interested);
        assert_eq!(scene.sent(peer), ["unchoke"]);
    }
    for (peer, piece, index) in [
        (asks, 3, 0),
        (asks, 2, 0),
        (asks, 2, 1),
        (old, 2, 1),
        (other, 1, 0),
    ] {
        let block = block(&scene, piece, index);
        scene.says(peer, Message::Request(block));
    }
    lose(&mut scene, 2);
    assert!(scene.is_closed(old) && !scene.is_closed(other));
    assert_eq!(scene.sent(asks), ["piece 3/0", "reject 2/0", "reject 2/1"]);
    assert_eq!(scene.sent(other), ["piece 1/0"]);
    // A choke changes nothing about what is on its way.
    let block = block(&scene, 1, 0);
    scene.says(asks, Message::Request(block));
    scene.says(asks, Message::NotInterested);
    scene.run_to(11.0);
    lose(&mut scene, 1);
    assert_eq!(scene.sent(asks), ["choke", "reject 1/0"]);
    // Who asks later finds no answer there, and is told so by an end if nothing else can tell it.
    scene.says(other, Message::Request(block));
    assert!(scene.is_closed(other));
}

fn lose(scene: &mut Scene, piece: u32) {
    scene.disk(DiskDone::ReadFailed {
        torrent: scene.torrent,
        block: scene.meta.geometry.block(Piece(piece), 0),
        error: error(DiskErrorKind::Changed),
    });
}

#[test]
fn of_many_pieces_of_a_file_that_can_not_be_read_one_line_is_said() {
    let mut scene = Scene::seeding(4);
    let torrent = scene.torrent;
    for (piece, message) in [(0, "a"), (1, "a"), (2, "b"), (2, "c"), (3, "b")] {
        let kind = DiskErrorKind::Changed;
        let message = message.into();
        scene.disk(DiskDone::ReadFailed {
            torrent,
            block: scene.meta.geometry.block(Piece(piece), 0),
            error: DiskError { kind, message },
        });
    }
    let said = scene.events.iter().filter_map(|event| match event {
        Event::Warning { message, .. } => Some(message.as_str()),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(scene.pieces_have(), 0);
}

/// The header of a block says what follows it, and that can't be taken back.
#[test]
fn who_was_promised_a_piece_that_is_gone_is_closed() {
    let mut scene = Scene::seeding(4);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::Interested);
    assert_eq!(scene.sent(peer), ["unchoke"]);
    let block = scene.meta.geometry.block(Piece(2), 0);
    scene.says(peer, Message::Request(block));
    scene.session.transmitted(scene.now, peer, 5);
    lose(&mut scene, 2);
    assert!(scene.is_closed(peer));
    let again = scene.accept(1).expect("there is room");
    scene.greet(again, crate::scene::id(1), MODERN);
    assert_eq!(
        scene.sent(again),
        ["handshake", "bitfield [d0]", "extended 0"]
    );
}

#[test]
fn when_all_is_hashed_again_nobody_is_promised_anything_and_what_is_lost_is_fetched() {
    let mut scene = Scene::with(4, Aim::Download, |_| {}, &[], &[0, 1, 2, 3]);
    let peer = scene.peer(1, MODERN);
    let complete = |scene: &Scene| {
        let complete = |event: &&Event| matches!(event, Event::Complete { .. });
        scene.events.iter().filter(complete).count()
    };
    let before = complete(&scene);
    scene.command(Command::Recheck(scene.torrent));
    assert!(scene.is_closed(peer));
    assert_eq!(scene.take_ops(), ["check"]);
    assert_eq!(scene.pieces_have(), 0);
    // Once is enough.
    scene.command(Command::Recheck(scene.torrent));
    assert_eq!(scene.take_ops(), [""; 0]);
    scene.checked(&[0, 1, 3]);
    assert_eq!(complete(&scene), before);
    let source = scene.giver(2, OLD, &[0, 1, 2, 3]);
    let sent = scene.sent(source);
    assert_eq!(sent, ["interested", "request 2/0", "request 2/1"]);
    scene.gives(source, 2, 0);
    scene.gives(source, 2, 1);
    assert_eq!(scene.take_ops(), ["write 2/0", "write 2/1"]);
    let torrent = scene.torrent;
    scene.disk(DiskDone::Verified {
        torrent,
        piece: Piece(2),
        good: true,
    });
    assert_eq!(complete(&scene), before + 1);
}
