//! Requests of peers, and who may make them (RELIABILITY C6).

use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::command::Aim;
use minitorrent::engine::io::{ConnId, Input};
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, OLD, Scene};

fn request(piece: u32, begin: u32, len: u32) -> Message<'static> {
    let piece = Piece(piece);
    Message::Request(Block { piece, begin, len })
}

fn taker(scene: &mut Scene, host: u8) -> ConnId {
    let peer = scene.peer(host, MODERN);
    scene.says(peer, Message::Interested);
    assert_eq!(scene.sent(peer), ["unchoke"]);
    peer
}

#[test]
fn a_request_is_answered_by_its_bytes() {
    let mut scene = Scene::seeding(4);
    let peer = taker(&mut scene, 1);
    scene.says(peer, request(2, 16_384, 16_384));
    scene.says(peer, request(3, 100, 7));
    assert_eq!(scene.sent(peer), ["piece 2/1", "piece 3/0"]);
    let uploaded = scene.session.snapshot(scene.now).torrents[0].uploaded;
    assert_eq!(uploaded, 16_391);
}

#[test]
fn a_request_out_of_range_closes() {
    for bad in [
        request(4, 0, 16_384),
        request(u32::MAX, 0, 1),
        request(0, 32_768, 1),
        request(0, 32_767, 2),
        request(0, 0, 0),
        request(0, u32::MAX, 2),
        request(0, 1, u32::MAX),
    ] {
        let mut scene = Scene::seeding(4);
        let peer = taker(&mut scene, 1);
        scene.says(peer, bad);
        assert!(scene.is_closed(peer), "{bad:?}");
    }
}

#[test]
fn more_than_16_kib_are_rejected_or_ignored() {
    let mut scene = Scene::seeding(4);
    let peer = taker(&mut scene, 1);
    scene.says(peer, request(0, 0, 16_385));
    assert_eq!(scene.sent(peer), ["reject 0/0"]);
    let old = scene.peer(2, OLD);
    scene.says(old, Message::Interested);
    scene.says(old, request(0, 0, 16_385));
    assert_eq!(scene.sent(old), ["unchoke"]);
}

#[test]
fn a_request_while_choked_is_rejected_or_ignored() {
    let mut scene = Scene::seeding(4);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, request(0, 0, 16_384));
    assert_eq!(scene.sent(peer), ["reject 0/0"]);
    let old = scene.peer(2, OLD);
    scene.says(old, request(0, 0, 16_384));
    assert!(scene.sent(old).is_empty() && !scene.is_closed(old));
}

#[test]
fn a_piece_that_is_not_there_is_not_served() {
    let mut scene = Scene::with(4, Aim::Download, |_| {}, &[], &[1]);
    let peer = taker(&mut scene, 1);
    scene.says(peer, request(0, 0, 16_384));
    scene.says(peer, request(1, 0, 16_384));
    assert_eq!(scene.sent(peer), ["reject 0/0", "piece 1/0"]);
}

#[test]
fn above_two_thousand_the_newest_request_is_rejected() {
    let mut scene = Scene::seeding(4);
    let peer = taker(&mut scene, 1);
    for n in 0..2100 {
        scene.says(peer, request(n % 4, 0, 16_384 - n / 4));
    }
    let sent = scene.sent(peer);
    let served = sent.iter().filter(|s| s.starts_with("piece")).count();
    // Two blocks fill the outbox of a peer that has taken nothing yet, 2000 requests wait behind them.
    assert_eq!((served, sent.len()), (2002, 2100));
}

#[test]
fn tiny_requests_do_not_pile_up_as_answers() {
    let mut scene = Scene::seeding(4);
    let peer = taker(&mut scene, 1);
    for n in 0..10_000 {
        scene.says(peer, request(n % 4, n, 1));
    }
    let sent = scene.sent(peer);
    let served = sent.iter().filter(|s| s.starts_with("piece")).count();
    assert!((2000..2200).contains(&served), "{served}");
}

#[test]
fn a_cancelled_request_is_not_served() {
    let mut scene = Scene::seeding(40);
    let peer = taker(&mut scene, 1);
    for n in 0..20 {
        scene.says(peer, request(n, 0, 16_384));
    }
    let block = Block {
        piece: Piece(19),
        begin: 0,
        len: 16_384,
    };
    scene.says(peer, Message::Cancel(block));
    let sent = scene.sent(peer);
    assert_eq!(sent.len(), 20);
    assert!(sent.contains(&"reject 19/0".into()) && !sent.contains(&"piece 19/0".into()));
}

#[test]
fn four_slots_are_given_at_once_and_a_fifth_in_the_next_round() {
    let mut scene = Scene::seeding(4);
    for host in 1..=4 {
        taker(&mut scene, host);
    }
    let fifth = scene.peer(5, MODERN);
    scene.says(fifth, Message::Interested);
    let sixth = scene.peer(6, MODERN);
    scene.says(sixth, Message::Interested);
    assert!(scene.sent(fifth).is_empty());
    scene.run_to(11.0);
    let unchoked = [fifth, sixth].map(|peer| scene.sent(peer) == ["unchoke"]);
    assert_eq!(unchoked.iter().filter(|u| **u).count(), 1, "{unchoked:?}");
}

#[test]
fn who_has_had_its_share_of_a_seed_makes_room_and_its_waiting_requests_are_rejected() {
    let mut scene = Scene::seeding(4);
    let first = taker(&mut scene, 1);
    for host in 2..=9 {
        let peer = scene.peer(host, MODERN);
        scene.says(peer, Message::Interested);
    }
    for n in 0..60 {
        scene.says(first, request(n % 4, 0, 16_384));
    }
    assert_eq!(scene.sent(first).len(), 60);
    for n in 0..20 {
        scene.says(first, request(n % 4, 0, 16_000));
    }
    // Twenty pieces are its share; seventeen of these blocks fill the outbox.
    scene.run_to(31.5);
    let sent = scene.sent(first);
    let at = sent.iter().position(|s| s == "choke");
    let rejected = sent.iter().filter(|s| s.starts_with("reject")).count();
    assert!(at.is_some() && rejected == 3, "{sent:?}");
}

#[test]
fn who_wants_nothing_any_more_is_choked() {
    let mut scene = Scene::seeding(4);
    let peer = taker(&mut scene, 1);
    scene.says(peer, Message::NotInterested);
    scene.run_to(11.5);
    assert_eq!(scene.sent(peer), ["choke"]);
}

#[test]
fn a_slot_that_gets_free_is_given_at_once_to_who_waited_longest() {
    let mut scene = Scene::seeding(4);
    let first = taker(&mut scene, 1);
    for host in 2..=4 {
        taker(&mut scene, host);
    }
    let waiting = [5, 6].map(|host| {
        let peer = scene.peer(host, MODERN);
        scene.says(peer, Message::Interested);
        peer
    });
    scene.handle(Input::Ended { conn: first });
    let unchoked = waiting.map(|peer| scene.sent(peer) == ["unchoke"]);
    assert_eq!(unchoked, [true, false]);
    scene.run_to(11.5);
    assert_eq!(scene.sent(waiting[1]), ["unchoke"]);
}
