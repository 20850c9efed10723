//! What happens because time passes.

use minitorrent::engine::io::Input;
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, Scene};

#[test]
fn a_keep_alive_goes_out_after_100_seconds() {
    let mut scene = Scene::new(4);
    let peer = scene.peer(1, MODERN);
    scene.run_to(100.9);
    assert!(scene.sent(peer).is_empty());
    scene.run_to(106.0);
    assert_eq!(scene.sent(peer), ["keep-alive"]);
    scene.run_to(200.9);
    assert!(scene.sent(peer).is_empty());
}

#[test]
fn a_peer_silent_for_240_seconds_is_closed() {
    let mut scene = Scene::new(4);
    let peer = scene.peer(1, MODERN);
    for second in 2..=49 {
        scene.run_to(f64::from(second) * 5.0);
        scene.sent(peer);
        assert_eq!(scene.is_closed(peer), second == 49, "at {}", second * 5);
    }
}

#[test]
fn a_keep_alive_is_a_sign_of_life() {
    let mut scene = Scene::new(4);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::Interested);
    for round in 1..=100 {
        scene.run_to(f64::from(round) * 23.0);
        if round % 10 == 0 {
            scene.says(peer, Message::KeepAlive);
        }
        scene.sent(peer);
    }
    assert!(!scene.is_closed(peer));
}

#[test]
fn a_connection_that_neither_side_wants_anything_of_is_closed_after_600_seconds() {
    let mut scene = Scene::new(4);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::Interested);
    for second in (5..=100).step_by(5) {
        scene.run_to(f64::from(second));
        scene.sent(peer);
    }
    scene.says(peer, Message::NotInterested);
    for second in (105..=695).step_by(5) {
        assert!(!scene.is_closed(peer), "before {second}");
        scene.run_to(f64::from(second));
        // It says that it lives, and takes what we say.
        scene.says(peer, Message::KeepAlive);
        scene.sent(peer);
    }
    scene.run_to(705.0);
    assert!(scene.is_closed(peer));
}

#[test]
fn a_peer_that_takes_nothing_for_a_minute_is_closed() {
    let mut scene = Scene::seeding(4);
    let peer = scene.peer(1, MODERN);
    scene.run_to(50.0);
    scene.says(peer, Message::Interested);
    scene.run_to(104.0);
    assert!(!scene.is_closed(peer));
    scene.run_to(115.0);
    assert!(scene.is_closed(peer));
}

#[test]
fn a_session_that_seeds_to_nobody_sleeps() {
    let mut scene = Scene::seeding(4);
    scene.run_to(2.0);
    assert_eq!(scene.session.poll_timeout(), None);
    let peer = scene.peer(1, MODERN);
    scene.handle(Input::Ended { conn: peer });
    scene.run_to(20.0);
    assert_eq!(scene.session.poll_timeout(), None);
}

#[test]
fn an_idle_session_with_peers_wakes_less_than_once_a_second() {
    let mut scene = Scene::seeding(4);
    let peers: Vec<_> = (1..=12).map(|host| scene.peer(host, MODERN)).collect();
    scene.run_to(10.0);
    scene.timeouts = 0;
    scene.run_to(110.0);
    peers
        .iter()
        .for_each(|peer| assert!(!scene.is_closed(*peer)));
    assert!(scene.timeouts <= 40, "{} in 100 s", scene.timeouts);
}

#[test]
fn a_greeting_that_was_refused_leaves_no_timer_behind() {
    let mut scene = Scene::seeding(4);
    let conn = scene.accept(1).expect("there is room");
    scene.bytes(conn, b"GET /");
    scene.run_to(20.0);
    assert_eq!(scene.session.poll_timeout(), None);
}
