//! What a choked newcomer may ask for (BEP 6).

use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::command::Aim;
use minitorrent::engine::io::ConnId;
use minitorrent::wire::message::Message;
use sha1::{Digest as _, Sha1};

use crate::scene::{MODERN, OLD, Scene, bits};

const PIECES: u32 = 100;

/// The set of BEP 6 for 10.0.0.0/24, as the BEP says it.
fn set(scene: &Scene) -> Vec<u32> {
    let mut x = [&[10, 0, 0, 0][..], &scene.meta.info_hash.0[..]].concat();
    let mut set = Vec::new();
    while set.len() < 10 {
        x = Sha1::digest(&x).to_vec();
        for four in x.chunks(4) {
            let y = four
                .iter()
                .fold(0, |y: u32, byte| y << 8 | u32::from(*byte));
            if set.len() < 10 && !set.contains(&(y % PIECES)) {
                set.push(y % PIECES);
            }
        }
    }
    set
}

/// A seed, and another peer that has all but the last piece.
fn scene() -> Scene {
    let mut scene = Scene::seeding(PIECES);
    let most: Vec<u32> = (0..PIECES - 1).collect();
    let other = scene.peer(9, MODERN);
    let bits = bits(&scene.meta, &most);
    scene.says(other, Message::Bitfield(&bits));
    assert!(
        scene.sent(other).is_empty(),
        "who has so much needs nothing"
    );
    scene
}

fn newcomer(scene: &mut Scene) -> ConnId {
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::HaveNone);
    peer
}

fn request(piece: u32, index: u32) -> Message<'static> {
    Message::Request(Block {
        piece: Piece(piece),
        begin: index * 16_384,
        len: 16_384,
    })
}

#[test]
fn a_newcomer_is_allowed_the_ten_pieces_that_its_address_gives() {
    let mut scene = scene();
    let peer = newcomer(&mut scene);
    let set = set(&scene);
    assert!(!set.contains(&(PIECES - 1)), "the other peer has them all");
    let words: Vec<_> = set.iter().map(|n| format!("allowed fast {n}")).collect();
    assert_eq!(scene.sent(peer), words);
}

#[test]
fn what_it_is_allowed_is_given_while_it_is_choked_and_nothing_else() {
    let mut scene = scene();
    let peer = newcomer(&mut scene);
    scene.sent(peer);
    let set = set(&scene);
    let other = (0..PIECES).find(|n| !set.contains(n)).expect("ninety");
    scene.says(peer, request(set[3], 1));
    scene.says(peer, request(other, 0));
    let given = format!("piece {}/1", set[3]);
    let refused = format!("reject {other}/0");
    let mut sent = scene.sent(peer);
    sent.sort();
    assert_eq!(sent, [given, refused]);
}

#[test]
fn it_is_given_once_and_no_more() {
    let mut scene = scene();
    let peer = newcomer(&mut scene);
    scene.sent(peer);
    let first = set(&scene)[0];
    // Ten pieces of two blocks each.
    for _ in 0..20 {
        scene.says(peer, request(first, 0));
        assert_eq!(scene.sent(peer), [format!("piece {first}/0")]);
    }
    scene.says(peer, request(first, 0));
    assert_eq!(scene.sent(peer), [format!("reject {first}/0")]);
}

#[test]
fn a_choke_leaves_the_requests_that_are_allowed() {
    let mut scene = scene();
    let peer = newcomer(&mut scene);
    scene.sent(peer);
    let set = set(&scene);
    let other = (0..PIECES).find(|n| !set.contains(n)).expect("ninety");
    scene.says(peer, Message::Interested);
    // Two blocks are in the outbox, where no choke reaches them.
    for piece in [other, other, other, set[0]] {
        scene.says(peer, request(piece, 0));
    }
    scene.says(peer, Message::NotInterested);
    scene.run_to(11.0);
    let (given, allowed) = (format!("piece {other}/0"), format!("piece {}/0", set[0]));
    let refused = format!("reject {other}/0");
    let words = ["unchoke", &given, &given, "choke", &refused, &allowed];
    assert_eq!(scene.sent(peer), words);
}

#[test]
fn what_nobody_else_has_is_not_allowed() {
    let mut scene = Scene::seeding(PIECES);
    let peer = newcomer(&mut scene);
    assert!(scene.sent(peer).is_empty());
}

#[test]
fn what_is_not_there_is_not_allowed() {
    let scene = Scene::with(PIECES, Aim::Download, |_| {}, &[], &[]);
    let has = set(&scene)[4];
    let mut scene = Scene::with(PIECES, Aim::Download, |_| {}, &[], &[has]);
    scene.giver(9, MODERN, &[has, 1, 2]);
    let peer = newcomer(&mut scene);
    assert_eq!(scene.sent(peer), [format!("allowed fast {has}")]);
}

#[test]
fn who_does_not_speak_of_it_or_has_ten_pieces_is_allowed_nothing() {
    let mut scene = scene();
    let old = scene.peer(1, OLD);
    scene.says(old, Message::Bitfield(&bits(&scene.meta, &[])));
    assert!(scene.sent(old).is_empty());
    let rich = scene.peer(2, MODERN);
    let ten: Vec<u32> = (0..10).collect();
    scene.says(rich, Message::Bitfield(&bits(&scene.meta, &ten)));
    assert!(scene.sent(rich).is_empty());
}

#[test]
fn it_is_said_once_however_often_the_peer_says_what_it_has() {
    let mut scene = scene();
    let peer = newcomer(&mut scene);
    assert_eq!(scene.sent(peer).len(), 10);
    scene.says(peer, Message::HaveNone);
    scene.says(peer, Message::Bitfield(&bits(&scene.meta, &[1])));
    assert!(scene.sent(peer).is_empty());
}

#[test]
fn of_a_torrent_of_few_pieces_an_eighth_is_allowed_at_most() {
    for (pieces, count) in [(7, 0), (8, 1), (40, 5)] {
        let mut scene = Scene::seeding(pieces);
        let other = scene.peer(9, MODERN);
        let most: Vec<u32> = (0..pieces - 1).collect();
        scene.says(other, Message::Bitfield(&bits(&scene.meta, &most)));
        // The piece that the other lacks may be among them.
        let peer = newcomer(&mut scene);
        let allowed = scene.sent(peer).len();
        assert!(
            allowed <= count && allowed + 1 >= count,
            "{allowed} of {pieces}"
        );
    }
}
