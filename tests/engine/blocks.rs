//! What becomes of data that comes in (RELIABILITY C7).

use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::io::{DiskDone, Event, Input};
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, OLD, Scene};

fn piece(piece: u32, begin: u32, data: &[u8]) -> Message<'_> {
    let piece = Piece(piece);
    Message::Piece { piece, begin, data }
}

#[test]
fn a_block_that_was_asked_for_is_written_and_its_piece_announced_when_it_is_right() {
    let mut scene = Scene::new(2);
    let peer = scene.giver(1, MODERN, &[0]);
    let other = scene.peer(2, MODERN);
    scene.gives(peer, 0, 0);
    scene.gives(peer, 0, 1);
    assert_eq!(scene.take_ops(), ["write 0/0", "write 0/1"]);
    assert!(scene.sent(other).is_empty());
    let torrent = scene.torrent;
    scene.disk(DiskDone::Verified {
        torrent,
        piece: Piece(0),
        good: true,
    });
    assert_eq!(scene.sent(other), ["have 0"]);
    assert_eq!(scene.pieces_have(), 1);
    let sent = scene.sent(peer);
    assert_eq!(sent[sent.len() - 2..], ["not interested", "have 0"]);
}

#[test]
fn data_that_was_never_asked_for_is_not_written_and_a_megabyte_of_it_closes() {
    let mut scene = Scene::new(4);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::HaveAll);
    for _ in 0..64 {
        scene.gives(peer, 1, 0);
        assert!(!scene.is_closed(peer));
    }
    scene.gives(peer, 1, 0);
    assert!(scene.is_closed(peer));
    assert!(scene.take_ops().is_empty());
    assert_eq!(scene.wasted(), 65 * 16_384);
}

#[test]
fn a_block_of_another_place_or_length_is_no_answer() {
    let mut scene = Scene::new(4);
    let peer = scene.giver(1, MODERN, &[0]);
    for wrong in [
        piece(0, 1, &[0; 16_384]),
        piece(0, 0, &[0; 16_383]),
        piece(0, 0, &[0; 16_385]),
        piece(9, 0, &[0; 16_384]),
        piece(0, u32::MAX, &[0; 16_384]),
    ] {
        scene.says(peer, wrong);
    }
    assert!(!scene.is_closed(peer) && scene.take_ops().is_empty());
    scene.gives(peer, 0, 0);
    assert_eq!(scene.take_ops(), ["write 0/0"]);
}

#[test]
fn the_same_block_twice_is_written_once() {
    let mut scene = Scene::new(4);
    let peer = scene.giver(1, MODERN, &[0]);
    scene.gives(peer, 0, 0);
    scene.gives(peer, 0, 0);
    assert_eq!(scene.take_ops(), ["write 0/0"]);
    assert_eq!(scene.wasted(), 16_384);
}

#[test]
fn an_answer_after_a_choke_is_used() {
    let mut scene = Scene::new(4);
    let peer = scene.giver(1, OLD, &[0]);
    scene.says(peer, Message::Choke);
    scene.gives(peer, 0, 0);
    assert_eq!(scene.take_ops(), ["write 0/0"]);
    assert_eq!(scene.wasted(), 0);
}

#[test]
fn an_answer_after_a_time_out_is_used_and_the_other_peer_is_told() {
    let mut scene = Scene::new(4);
    let late = scene.giver(1, MODERN, &[0]);
    let other = scene.giver(2, MODERN, &[0]);
    scene.run_to(22.0);
    scene.sent(other);
    scene.gives(late, 0, 0);
    assert_eq!(scene.take_ops(), ["write 0/0"]);
    assert_eq!(scene.sent(other), ["cancel 0/0"]);
}

#[test]
fn a_block_is_the_same_wherever_its_message_is_cut() {
    let mut bytes = Vec::new();
    let data = vec![3; 16_384];
    piece(0, 0, &data).encode(&mut bytes);
    for cut in (1..bytes.len()).step_by(97).chain([4, 5, 12, 13, 14]) {
        let mut scene = Scene::new(4);
        let peer = scene.giver(1, MODERN, &[0]);
        scene.bytes(peer, &bytes[..cut]);
        scene.bytes(peer, &bytes[cut..]);
        assert_eq!(scene.take_ops(), ["write 0/0"], "{cut}");
    }
}

#[test]
fn the_last_piece_completes_and_seeds_are_let_go() {
    let mut scene = Scene::new(1);
    let seed = scene.giver(1, MODERN, &[0]);
    let other = scene.peer(2, MODERN);
    scene.gives(seed, 0, 0);
    scene.gives(seed, 0, 1);
    let torrent = scene.torrent;
    let piece = Piece(0);
    scene.events.clear();
    scene.disk(DiskDone::Verified {
        torrent,
        piece,
        good: true,
    });
    assert_eq!(scene.events[0], Event::PieceDone { torrent, piece });
    assert_eq!(scene.events[1], Event::Complete { torrent });
    assert!(scene.is_closed(seed) && !scene.is_closed(other));
}

#[test]
fn a_slow_disk_stops_the_reading() {
    let mut scene = Scene::new(200);
    assert!(given_until_it_reads_no_more(&mut scene) >= 64);
}

/// Each leaves the front of a block behind; then as many blocks are taken as if nobody had been there.
#[test]
fn the_half_blocks_of_peers_that_went_are_forgotten() {
    let mut bytes = Vec::new();
    piece(0, 0, &[0; 16_384]).encode(&mut bytes);
    let mut scene = Scene::new(200);
    for host in 2..102 {
        let peer = scene.giver(host, MODERN, &[0]);
        scene.bytes(peer, &bytes[..8000]);
        scene.handle(Input::Ended { conn: peer });
        assert!(scene.is_closed(peer));
    }
    for host in 102..202 {
        let peer = scene.giver(host, MODERN, &[0]);
        // A byte of a length that turns out to be beyond belief.
        scene.bytes(peer, &[0xff]);
        scene.bytes(peer, &[0xff; 4]);
        assert!(scene.is_closed(peer));
    }
    let given = given_until_it_reads_no_more(&mut scene);
    assert_eq!(given, given_until_it_reads_no_more(&mut Scene::new(200)));
}

/// Blocks that a peer gives until nothing more is read of it, as the disk answers none of their writes.
fn given_until_it_reads_no_more(scene: &mut Scene) -> u32 {
    scene.disk_works = false;
    let all: Vec<u32> = (0..200).collect();
    let peer = scene.giver(1, MODERN, &all);
    let mut given = 0;
    loop {
        let sent = scene.sent(peer);
        let asked = sent.iter().filter_map(|s| s.strip_prefix("request "));
        let asked: Vec<_> = asked.collect();
        assert!(!asked.is_empty(), "it reads on, and asks for nothing");
        for place in asked {
            if scene.session.read_allowance(scene.now, peer) == 0 {
                return given;
            }
            let (piece, index) = place.split_once('/').expect("as it is written");
            let number = |text: &str| text.parse().expect("a number");
            let block: Block = scene
                .meta
                .geometry
                .block(Piece(number(piece)), number(index));
            let mut bytes = Vec::new();
            Message::Piece {
                piece: block.piece,
                begin: block.begin,
                data: &[0; 16_384],
            }
            .encode(&mut bytes);
            // Cut in two, so that it is put together in a buffer of the session's own.
            scene.bytes(peer, &bytes[..9]);
            scene.bytes(peer, &bytes[9..]);
            given += 1;
            assert!(given < 200, "a queue without an end");
        }
    }
}
