//! Limits of all peers together: exact over time, fair, and without spinning.

use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::command::{Aim, Settings};
use minitorrent::engine::io::{ConnId, Input, Segments};
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, Scene};

const RATE: u64 = 200_000;

fn limited(aim: Aim, have: &[u32]) -> Scene {
    let change = |settings: &mut Settings| {
        settings.max_upload_rate = Some(RATE);
        settings.max_download_rate = Some(RATE);
    };
    Scene::with(4, aim, change, &[], have)
}

/// Sends what may be sent on this connection at once, and gives how many bytes that is.
fn take(scene: &mut Scene, conn: ConnId) -> u64 {
    let mut segments = Segments::new(usize::MAX);
    scene.session.poll_transmit(scene.now, conn, &mut segments);
    let bytes = segments.bytes();
    if bytes > 0 {
        scene.session.transmitted(scene.now, conn, bytes);
        scene.drain();
    }
    bytes as u64
}

/// Lets time pass to the next deadline, at most to this second; false at that second.
fn next(scene: &mut Scene, end: f64) -> bool {
    let end = crate::scene::at(end);
    let due = scene.session.poll_timeout().filter(|due| *due < end);
    let Some(due) = due else { return false };
    assert!(due > scene.now, "it spins");
    scene.now = due;
    scene.timeouts += 1;
    scene.handle(Input::Timeout);
    true
}

#[test]
fn what_all_peers_are_sent_stays_at_the_limit_and_each_gets_its_part() {
    let mut scene = limited(Aim::Seed, &[0, 1, 2, 3]);
    let peers = [1, 2, 3].map(|host| {
        let peer = scene.peer(host, MODERN);
        scene.says(peer, Message::Interested);
        for n in 0..200 {
            let piece = Piece(n % 4);
            let (begin, len) = (0, 16_384 - n / 4);
            scene.says(peer, Message::Request(Block { piece, begin, len }));
        }
        peer
    });
    let (mut sent, before) = ([0; 3], scene.timeouts);
    loop {
        for (sent, peer) in sent.iter_mut().zip(peers) {
            *sent += take(&mut scene, peer);
        }
        if !next(&mut scene, 11.0) {
            break;
        }
    }
    let all: u64 = sent.iter().sum();
    assert!(
        (RATE * 95 / 10..=RATE * 105 / 10).contains(&all),
        "{sent:?}"
    );
    assert!(scene.timeouts - before < 150, "{} wake-ups", scene.timeouts);
}

#[test]
fn who_was_sent_something_last_is_told_last_when_there_is_more() {
    let mut scene = limited(Aim::Seed, &[0, 1, 2, 3]);
    let peers = [1, 2, 3].map(|host| {
        let peer = scene.peer(host, MODERN);
        scene.says(peer, Message::Interested);
        scene.sent(peer);
        let (piece, begin, len) = (Piece(0), 0, 16_384);
        (0..20).for_each(|_| scene.says(peer, Message::Request(Block { piece, begin, len })));
        peer
    });
    while take(&mut scene, peers[1]) > 0 {}
    scene.transmits.clear();
    while scene.transmits.is_empty() {
        assert!(next(&mut scene, 11.0));
    }
    assert_eq!(scene.transmits, [peers[2], peers[0], peers[1]]);
}

#[test]
fn requests_go_ahead_while_payload_is_held_back() {
    let mut scene = limited(Aim::Download, &[0]);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::Interested);
    let (piece, begin, len) = (Piece(0), 0, 16_384);
    (0..2).for_each(|_| scene.says(peer, Message::Request(Block { piece, begin, len })));
    while take(&mut scene, peer) > 0 {}
    let other = scene.giver(2, MODERN, &[1, 2, 3]);
    let asked = scene.sent(other);
    assert!(
        asked.iter().any(|word| word.starts_with("request")),
        "{asked:?}"
    );
}

#[test]
fn what_may_be_read_of_all_peers_stays_at_the_limit() {
    let mut scene = limited(Aim::Download, &[]);
    let peers = [1, 2].map(|host| scene.peer(host, MODERN));
    let mut nothing = Vec::new();
    (0..20_000).for_each(|_| Message::KeepAlive.encode(&mut nothing));
    let (mut read, before) = (0, scene.timeouts);
    loop {
        for peer in peers {
            let allowed = scene.session.read_allowance(scene.now, peer);
            let bytes = allowed.min(nothing.len()) / 4 * 4;
            if bytes > 0 {
                scene.bytes(peer, &nothing[..bytes]);
                read += bytes as u64;
            }
        }
        if !next(&mut scene, 11.0) {
            break;
        }
    }
    assert!((RATE * 95 / 10..=RATE * 105 / 10).contains(&read), "{read}");
    assert!(scene.timeouts - before < 150, "{} wake-ups", scene.timeouts);
}
