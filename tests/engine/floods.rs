//! What too many, too much and too slow come to.

use minitorrent::base::ids::{Block, Piece};
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, OLD, Scene, id};

#[test]
fn ten_thousand_words_a_second_for_five_seconds_end_a_connection() {
    let mut scene = Scene::new(4);
    let peer = scene.peer(1, MODERN);
    let mut flap = Vec::new();
    Message::Choke.encode(&mut flap);
    Message::Unchoke.encode(&mut flap);
    let burst = flap.repeat(500);
    for tenth in 0..50 {
        scene.run_to(2.0 + f64::from(tenth) / 10.0);
        scene.bytes(peer, &burst);
        assert!(!scene.is_closed(peer), "after {tenth} tenths");
    }
    scene.run_to(7.0);
    scene.bytes(peer, &flap);
    assert!(scene.is_closed(peer));
}

#[test]
fn requests_are_no_flood_however_many() {
    let mut scene = Scene::seeding(4);
    let peer = scene.peer(1, OLD);
    let mut request = Vec::new();
    Message::Request(scene.meta.geometry.block(Piece(0), 0)).encode(&mut request);
    let burst = request.repeat(20_000);
    for second in 0..8 {
        scene.run_to(2.0 + f64::from(second));
        scene.bytes(peer, &burst);
    }
    assert!(!scene.is_closed(peer));
}

#[test]
fn who_does_not_read_our_rejects_is_read_no_more_until_it_does() {
    let mut scene = Scene::seeding(4);
    let peer = scene.peer(1, MODERN);
    let mut request = Vec::new();
    let block = Block {
        piece: Piece(0),
        begin: 0,
        len: 1,
    };
    Message::Request(block).encode(&mut request);
    let burst = request.repeat(256 * 1024 / request.len() + 1);
    assert!(scene.session.read_allowance(scene.now, peer) > 0);
    scene.bytes(peer, &burst);
    assert_eq!(scene.session.read_allowance(scene.now, peer), 0);
    assert!(
        scene
            .sent(peer)
            .iter()
            .all(|word| word.starts_with("reject"))
    );
    assert!(scene.session.read_allowance(scene.now, peer) > 0);
}

#[test]
fn a_public_address_gets_four_places_and_a_near_one_all() {
    let mut scene = Scene::new(4);
    let mut from = |ip: [u8; 4], port| {
        let conn = scene.session.accept(scene.now, (ip, port).into());
        while scene.session.poll_output().is_some() {}
        conn
    };
    let public = (0..6).filter(|port| from([198, 51, 100, 7], 1000 + port).is_some());
    assert_eq!(public.count(), 4);
    assert!(from([198, 51, 100, 8], 1000).is_some());
    let near = (0..6).filter(|port| from([127, 0, 0, 7], 1000 + port).is_some());
    assert_eq!(near.count(), 6);
}

#[test]
fn a_slow_greeting_makes_room_for_a_new_one_after_two_seconds() {
    let mut scene = Scene::new(4);
    let slow: Vec<_> = (0..30)
        .map(|host| scene.accept(host).expect("room"))
        .collect();
    scene.run_to(2.9);
    assert_eq!(scene.accept(40), None);
    scene.run_to(3.0);
    let honest = scene.accept(40).expect("the oldest goes");
    assert!(scene.is_closed(slow[0]) && !scene.is_closed(slow[1]));
    scene.greet(honest, id(40), MODERN);
    assert!(!scene.is_closed(honest));
}
