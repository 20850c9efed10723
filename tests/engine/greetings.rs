//! How connections become peers, and which don't.

use minitorrent::base::ids::PeerId;
use minitorrent::engine::io::{Event, Input};
use minitorrent::wire::handshake;
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, OLD, OURS, Scene, from, id, listens};

#[test]
fn a_silent_greeting_is_closed_after_ten_seconds() {
    let mut scene = Scene::new(4);
    let conn = scene.accept(1).expect("there is room");
    scene.run_to(10.999);
    assert!(!scene.is_closed(conn));
    scene.run_to(11.0);
    assert!(scene.is_closed(conn));
    assert!(scene.sent(conn).is_empty());
}

#[test]
fn a_dribbling_greeting_is_closed_after_ten_seconds_all_the_same() {
    let mut scene = Scene::new(4);
    let conn = scene.accept(1).expect("there is room");
    let bytes = handshake::encode(MODERN, scene.meta.info_hash, id(1));
    for (at, byte) in bytes.iter().take(10).enumerate() {
        scene.run_to(1.0 + at as f64 * 0.99);
        scene.bytes(conn, &[*byte]);
    }
    scene.run_to(11.0);
    assert!(scene.is_closed(conn));
}

#[test]
fn a_greeting_is_answered_after_48_bytes_and_the_id_may_follow() {
    let mut scene = Scene::new(4);
    let conn = scene.accept(1).expect("there is room");
    let bytes = handshake::encode(MODERN, scene.meta.info_hash, id(1));
    scene.bytes(conn, &bytes[..47]);
    assert!(scene.sent(conn).is_empty());
    scene.bytes(conn, &bytes[47..48]);
    assert_eq!(scene.sent(conn), ["handshake"]);
    scene.bytes(conn, &bytes[48..67]);
    assert!(scene.events.is_empty());
    scene.bytes(conn, &bytes[67..]);
    assert_eq!(scene.sent(conn), ["have none", "extended 0"]);
    assert!(matches!(scene.events[..], [Event::PeerConnected { .. }]));
}

#[test]
fn how_long_the_pieces_of_a_peer_are_is_known_once_it_has_greeted() {
    let mut scene = Scene::new(4);
    let conn = scene.accept(1).expect("there is room");
    assert_eq!(scene.session.piece_length(conn), None);
    scene.greet(conn, id(1), MODERN);
    let length = scene.meta.geometry.piece_length();
    assert_eq!(scene.session.piece_length(conn), Some(length));
}

#[test]
fn an_old_peer_is_told_of_nothing_when_there_is_nothing() {
    let mut scene = Scene::new(4);
    let conn = scene.accept(1).expect("there is room");
    scene.greet(conn, id(1), OLD);
    assert_eq!(scene.sent(conn), ["handshake"]);
}

#[test]
fn a_seed_tells_a_modern_peer_in_one_byte_and_an_old_one_in_bits() {
    let mut scene = Scene::seeding(9);
    let new = scene.accept(1).expect("there is room");
    scene.greet(new, id(1), MODERN);
    assert_eq!(scene.sent(new), ["handshake", "have all", "extended 0"]);
    let old = scene.accept(2).expect("there is room");
    scene.greet(old, id(2), OLD);
    assert_eq!(scene.sent(old), ["handshake", "bitfield [ff, 80]"]);
}

#[test]
fn an_unknown_torrent_is_closed_without_a_reply() {
    let mut scene = Scene::new(4);
    let conn = scene.accept(1).expect("there is room");
    let unknown = minitorrent::base::ids::InfoHash([1; 20]);
    scene.bytes(conn, &handshake::encode(MODERN, unknown, id(1)));
    assert!(scene.is_closed(conn) && scene.sent(conn).is_empty());
}

#[test]
fn the_first_byte_that_no_handshake_has_closes() {
    for bytes in [
        &b"GET / HTTP/1.1"[..],
        b"\x16\x03\x01",
        b"\0",
        b"\xff",
        b"\x13BitTorrent PROT",
    ] {
        let mut scene = Scene::new(4);
        let conn = scene.accept(1).expect("there is room");
        scene.bytes(conn, bytes);
        assert!(scene.is_closed(conn), "{bytes:?}");
    }
}

#[test]
fn a_dialled_peer_is_greeted_at_once_and_must_greet_about_the_same_torrent() {
    let mut scene = Scene::knowing(&[listens(1)], |_| {});
    let conn = scene.connect();
    assert_eq!(scene.sent(conn), ["handshake"]);
    let other = minitorrent::base::ids::InfoHash([1; 20]);
    scene.bytes(conn, &handshake::encode(MODERN, other, id(1)));
    assert!(scene.is_closed(conn));
}

#[test]
fn our_own_id_is_refused_and_its_address_forgotten() {
    let mut scene = Scene::knowing(&[listens(1)], |_| {});
    let conn = scene.connect();
    scene.greet(conn, OURS, MODERN);
    assert!(scene.is_closed(conn));
    assert_eq!(scene.addresses(), 0);
}

#[test]
fn the_inbound_end_of_a_connection_to_ourselves_forgets_the_address_too() {
    // It closes at once, so the outbound end never reads who it was.
    let mut scene = Scene::knowing(&[listens(1)], |_| {});
    let conn = scene.accept(1).expect("there is room");
    scene.greet(conn, OURS, MODERN);
    assert!(scene.is_closed(conn));
    assert_eq!(scene.addresses(), 0);
}

#[test]
fn the_same_peer_id_is_taken_once() {
    let mut scene = Scene::new(4);
    let first = scene.peer(1, MODERN);
    let second = scene.accept(2).expect("there is room");
    scene.greet(second, id(1), MODERN);
    assert!(scene.is_closed(second) && !scene.is_closed(first));
}

#[test]
fn of_crossed_connections_the_greater_id_keeps_its_outgoing_one() {
    let (greater, lesser) = (PeerId([b'~'; 20]), PeerId([b'!'; 20]));
    for (theirs, ours_stays) in [(lesser, true), (greater, false)] {
        for inbound_first in [true, false] {
            let mut scene = Scene::knowing(&[listens(1)], |_| {});
            let outbound = scene.connect();
            let inbound = scene.accept(1).expect("there is room");
            let order = match inbound_first {
                true => [inbound, outbound],
                false => [outbound, inbound],
            };
            order
                .into_iter()
                .for_each(|conn| scene.greet(conn, theirs, MODERN));
            assert_eq!(scene.is_closed(inbound), ours_stays, "{theirs:?}");
            assert_eq!(scene.is_closed(outbound), !ours_stays, "{theirs:?}");
        }
    }
}

#[test]
fn max_peers_counts_both_directions() {
    let mut scene = Scene::knowing(&[listens(1), listens(2)], |s| s.max_peers = 2);
    assert_eq!(scene.dials.len(), 2);
    let (out, _) = scene.dials.remove(0);
    scene.handle(Input::Connected { conn: out });
    scene.greet(out, id(1), MODERN);
    scene.peer(3, MODERN);
    assert_eq!(scene.accept(4), None);
    let late = scene.connect();
    assert!(scene.is_closed(late) && !scene.is_closed(out));
}

#[test]
fn a_greeting_that_ends_when_all_places_are_taken_is_closed() {
    let mut scene = Scene::with(
        4,
        minitorrent::engine::command::Aim::Seed,
        |s| s.max_peers = 1,
        &[],
        &[],
    );
    let slow = scene.accept(1).expect("there is room");
    let quick = scene.peer(2, MODERN);
    scene.greet(slow, id(1), MODERN);
    assert!(scene.is_closed(slow) && !scene.is_closed(quick));
}

#[test]
fn at_most_thirty_connections_are_half_open_in_each_direction() {
    let many: Vec<_> = (1..=50).map(listens).collect();
    let mut scene = Scene::knowing(&many, |settings| settings.max_peers = 100);
    assert_eq!(scene.dials.len(), 30);
    let taken = (100..150).filter(|host| scene.accept(*host).is_some());
    assert_eq!(taken.count(), 30);
    scene.run_to(11.0);
    assert_eq!(scene.dials.len(), 20);
    assert!(scene.accept(200).is_some());
}

#[test]
fn a_connect_that_hangs_is_given_up_after_ten_seconds() {
    let mut scene = Scene::knowing(&[listens(1)], |_| {});
    let (conn, to) = scene.dials[0];
    assert_eq!(to, listens(1));
    scene.run_to(10.999);
    assert!(!scene.is_closed(conn));
    scene.run_to(11.0);
    assert!(scene.is_closed(conn));
}

#[test]
fn an_address_that_refuses_is_tried_after_60_and_120_seconds_and_then_dropped() {
    let mut scene = Scene::new(4);
    let peer = scene.peer(1, MODERN);
    // Told by the peer, not by the person: it may be dropped.
    scene.says(
        peer,
        Message::Extended {
            id: 0,
            payload: b"d1:pi6881ee",
        },
    );
    assert_eq!(scene.addresses(), 1);
    scene.run_to(10.0);
    assert_eq!(scene.dials, [], "it is there");
    scene.handle(Input::Ended { conn: peer });
    scene.run_to(11.0);
    assert_eq!(scene.dials.len(), 1);
    let first = scene.now;
    scene.refuse();
    for wait in [60, 120] {
        let since = scene.now;
        scene.run_to(seconds(since) + f64::from(wait) - 0.1);
        assert!(scene.dials.is_empty(), "{wait} after {first:?}");
        scene.run_to(seconds(since) + f64::from(wait) + 5.0);
        scene.refuse();
    }
    assert_eq!(scene.addresses(), 0);
}

#[test]
fn an_address_is_not_to_blame_when_we_are_full() {
    let mut scene = Scene::with(
        4,
        minitorrent::engine::command::Aim::Download,
        |settings| settings.max_peers = 1,
        &[],
        &[],
    );
    let teller = scene.peer(1, MODERN);
    scene.says(
        teller,
        Message::Extended {
            id: 0,
            payload: b"d1:pi6881ee",
        },
    );
    scene.handle(Input::Ended { conn: teller });
    for host in 2..6 {
        while scene.dials.is_empty() {
            let now = seconds(scene.now);
            assert!(now < 300.0, "never dialled again");
            scene.run_to(now + 1.0);
        }
        let out = scene.connect();
        let other = scene.peer(host, MODERN);
        scene.greet(out, id(1), MODERN);
        assert!(scene.is_closed(out) && !scene.is_closed(other));
        scene.handle(Input::Ended { conn: other });
    }
    assert_eq!(scene.addresses(), 1);
}

#[test]
fn we_dial_back_to_the_port_a_peer_names_and_never_to_a_source_port() {
    let mut scene = Scene::new(4);
    let peer = scene.peer(1, MODERN);
    assert_eq!(scene.addresses(), 0);
    scene.says(
        peer,
        Message::Extended {
            id: 0,
            payload: b"d1:pi7000ee",
        },
    );
    scene.handle(Input::Ended { conn: peer });
    scene.run_to(10.0);
    let to: Vec<_> = scene.dials.iter().map(|(_, to)| *to).collect();
    assert_eq!(to, [std::net::SocketAddr::new(from(1).ip(), 7000)]);
}

fn seconds(at: minitorrent::base::time::Instant) -> f64 {
    at.as_micros() as f64 / 1e6
}
