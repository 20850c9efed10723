//! The first messages of a conversation, in every order (RELIABILITY C4, C5, C18, C19).

use minitorrent::base::ids::{Block, Piece};
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, OLD, Scene};

const HANDSHAKE: Message<'static> = Message::Extended {
    id: 0,
    payload: b"d1:mde1:v1:xe",
};

#[test]
fn a_bitfield_may_come_behind_other_messages_of_the_opening() {
    for first in [
        HANDSHAKE,
        Message::Have(Piece(8)),
        Message::Port(6881),
        Message::KeepAlive,
        Message::AllowedFast(Piece(0)),
        Message::Suggest(Piece(1)),
        Message::Unchoke,
    ] {
        let mut scene = Scene::new(9);
        let peer = scene.peer(1, MODERN);
        scene.says(peer, first);
        scene.says(peer, Message::Bitfield(&[0x80, 0]));
        assert!(!scene.is_closed(peer), "{first:?}");
        assert_eq!(scene.session.snapshot(scene.now).peers[0].pieces_have, 1);
    }
}

#[test]
fn a_peer_that_says_nothing_has_nothing() {
    let mut scene = Scene::new(9);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::Unchoke);
    scene.run_to(5.0);
    assert!(scene.sent(peer).is_empty());
}

#[test]
fn a_second_bitfield_replaces_the_first() {
    let mut scene = Scene::new(9);
    let peer = scene.peer(1, OLD);
    scene.says(peer, Message::Bitfield(&[0xff, 0]));
    assert_eq!(scene.sent(peer), ["interested"]);
    scene.says(peer, Message::Bitfield(&[0, 0]));
    assert_eq!(scene.sent(peer), ["not interested"]);
    scene.says(peer, Message::Bitfield(&[0, 0x80]));
    scene.says(peer, Message::Unchoke);
    let sent = scene.sent(peer);
    assert_eq!(sent, ["interested", "request 8/0", "request 8/1"]);
}

#[test]
fn have_all_and_a_bitfield_replace_each_other() {
    let mut scene = Scene::new(9);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::HaveAll);
    scene.says(peer, Message::Bitfield(&[0x80, 0]));
    assert_eq!(scene.session.snapshot(scene.now).peers[0].pieces_have, 1);
    scene.says(peer, Message::HaveAll);
    assert_eq!(scene.session.snapshot(scene.now).peers[0].pieces_have, 9);
    scene.says(peer, Message::HaveNone);
    assert_eq!(scene.session.snapshot(scene.now).torrents[0].seeds, 0);
}

#[test]
fn spare_bits_are_masked() {
    let mut scene = Scene::new(9);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::Bitfield(&[0, 0x7f]));
    assert!(!scene.is_closed(peer) && scene.sent(peer).is_empty());
    scene.says(peer, Message::Bitfield(&[0xff, 0xff]));
    assert_eq!(scene.session.snapshot(scene.now).torrents[0].seeds, 1);
}

#[test]
fn what_no_honest_peer_sends_closes() {
    let far = Piece(9);
    for bad in [
        Message::Bitfield(&[0]),
        Message::Bitfield(&[0, 0, 0]),
        Message::Have(far),
        Message::Have(Piece(u32::MAX)),
        Message::AllowedFast(far),
        Message::Extended {
            id: 0,
            payload: &[b'l'; 64],
        },
    ] {
        let mut scene = Scene::new(9);
        let peer = scene.peer(1, MODERN);
        scene.says(peer, bad);
        assert!(scene.is_closed(peer), "{bad:?}");
    }
}

#[test]
fn a_bitfield_behind_the_opening_is_taken_too() {
    let mut scene = Scene::new(9);
    let peer = scene.peer(1, MODERN);
    scene.says(
        peer,
        Message::Request(Block {
            piece: Piece(0),
            begin: 0,
            len: 1,
        }),
    );
    // aria2 sends one where it is shorter than many `have`s.
    scene.says(peer, Message::Bitfield(&[0x80, 0]));
    assert!(!scene.is_closed(peer));
    assert_eq!(scene.session.snapshot(scene.now).peers[0].pieces_have, 1);
}

#[test]
fn an_incredible_length_closes_before_its_body_comes() {
    for front in [
        &[0xff, 0xff, 0xff, 0xff, 0][..],
        &[0, 0x10, 0, 1, 0x07],
        &[0, 1, 0, 1, 0x14],
        &[0, 0, 0, 6, 0x05],
        &[0, 0, 0, 2, 0x00],
    ] {
        let mut scene = Scene::new(9);
        let peer = scene.peer(1, MODERN);
        let (first, rest) = front.split_at(4);
        scene.bytes(peer, first);
        if !scene.is_closed(peer) {
            scene.bytes(peer, rest);
        }
        if !scene.is_closed(peer) {
            scene.bytes(peer, &[0]);
        }
        assert!(scene.is_closed(peer), "{front:02x?}");
    }
}

#[test]
fn messages_may_be_cut_anywhere_and_unknown_ones_are_passed_over() {
    let mut bytes = Vec::new();
    Message::Unknown(0x42).encode(&mut bytes);
    HANDSHAKE.encode(&mut bytes);
    Message::Bitfield(&[0, 0x80]).encode(&mut bytes);
    Message::KeepAlive.encode(&mut bytes);
    Message::Unchoke.encode(&mut bytes);
    for cut in 0..bytes.len() {
        let mut scene = Scene::new(9);
        let peer = scene.peer(1, MODERN);
        let (front, back) = bytes.split_at(cut);
        [front, back]
            .into_iter()
            .filter(|part| !part.is_empty())
            .for_each(|part| scene.bytes(peer, part));
        let sent = scene.sent(peer);
        assert_eq!(sent, ["interested", "request 8/0", "request 8/1"], "{cut}");
    }
}

#[test]
fn two_seeds_part() {
    let mut scene = Scene::seeding(4);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::HaveAll);
    assert!(scene.is_closed(peer));
}
