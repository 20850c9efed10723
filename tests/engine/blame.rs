//! Who is banned for wrong bytes, and who is not (RELIABILITY C8, C9, C10).

use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::io::{ConnId, DiskDone, DiskError, DiskErrorKind, Event};
use minitorrent::engine::why::Waiting;
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, Scene, from};

fn verified(scene: &mut Scene, piece: u32, good: bool) {
    let (torrent, piece) = (scene.torrent, Piece(piece));
    scene.disk(DiskDone::Verified {
        torrent,
        piece,
        good,
    });
}

fn digests(scene: &mut Scene, piece: u32, blocks: [u8; 2]) {
    let (torrent, piece) = (scene.torrent, Piece(piece));
    let blocks = blocks.map(|byte| [byte; 20]).to_vec();
    scene.disk(DiskDone::Digests {
        torrent,
        piece,
        blocks,
    });
}

fn banned(scene: &Scene) -> Vec<std::net::SocketAddr> {
    let address = |event: &Event| match event {
        Event::Banned { address, .. } => Some(*address),
        _ => None,
    };
    scene.events.iter().filter_map(address).collect()
}

/// Two peers have each given a block of piece 0.
fn mixed(scene: &mut Scene) -> [ConnId; 2] {
    let one = scene.giver(1, MODERN, &[0]);
    scene.gives(one, 0, 0);
    scene.sent(one);
    scene.says(one, Message::Choke);
    let rest = Block {
        piece: Piece(0),
        begin: 16_384,
        len: 16_384,
    };
    scene.says(one, Message::Reject(rest));
    scene.run_to(40.0);
    let two = scene.giver(2, MODERN, &[0]);
    assert_eq!(scene.sent(two), ["interested", "request 0/1"]);
    scene.gives(two, 0, 1);
    [one, two]
}

#[test]
fn a_wrong_piece_from_one_peer_bans_its_host_at_once() {
    let mut scene = Scene::new(4);
    let liar = scene.giver(1, MODERN, &[0]);
    scene.gives(liar, 0, 0);
    scene.gives(liar, 0, 1);
    verified(&mut scene, 0, false);
    assert!(scene.is_closed(liar));
    assert_eq!(banned(&scene), [from(1)]);
    assert_eq!(scene.accept(1), None);
    assert!(scene.accept(2).is_some());
    assert_eq!(scene.pieces_have(), 0);
}

#[test]
fn a_download_that_knew_nobody_but_who_is_banned_says_so() {
    let mut scene = Scene::new(4);
    assert_eq!(scene.waiting(), Some(Waiting::NoPeers));
    let liar = scene.giver(1, MODERN, &[0]);
    scene.gives(liar, 0, 0);
    scene.gives(liar, 0, 1);
    verified(&mut scene, 0, false);
    assert_eq!(scene.waiting(), Some(Waiting::Banned));
}

#[test]
fn a_wrong_piece_is_fetched_again() {
    let mut scene = Scene::new(4);
    let liar = scene.giver(1, MODERN, &[0]);
    scene.gives(liar, 0, 0);
    scene.gives(liar, 0, 1);
    let honest = scene.giver(2, MODERN, &[0]);
    scene.sent(honest);
    verified(&mut scene, 0, false);
    assert_eq!(scene.sent(honest), ["request 0/0", "request 0/1"]);
}

#[test]
fn of_two_givers_the_one_whose_block_differs_is_banned() {
    let mut scene = Scene::new(4);
    let [one, two] = mixed(&mut scene);
    scene.take_ops();
    verified(&mut scene, 0, false);
    assert_eq!(scene.take_ops(), ["digest 0"]);
    assert!(banned(&scene).is_empty());
    digests(&mut scene, 0, [1, 9]);
    assert!(scene.sent(two).contains(&"request 0/0".into()));
    scene.gives(two, 0, 0);
    scene.gives(two, 0, 1);
    verified(&mut scene, 0, true);
    assert_eq!(scene.take_ops(), ["write 0/0", "write 0/1", "digest 0"]);
    digests(&mut scene, 0, [2, 9]);
    assert_eq!(banned(&scene), [from(1)]);
    assert!(scene.is_closed(one) && !scene.is_closed(two));
    assert_eq!(scene.pieces_have(), 1);
}

#[test]
fn nobody_is_banned_for_what_the_disk_can_not_read_back() {
    let mut scene = Scene::new(4);
    let peer = scene.giver(1, MODERN, &[0]);
    scene.gives(peer, 0, 0);
    scene.gives(peer, 0, 1);
    let torrent = scene.torrent;
    let error = DiskError {
        kind: DiskErrorKind::Io,
        message: "broken".into(),
    };
    scene.disk(DiskDone::ReadFailed {
        torrent,
        block: scene.meta.geometry.block(Piece(0), 0),
        error: error.clone(),
    });
    verified(&mut scene, 0, false);
    assert!(banned(&scene).is_empty() && !scene.is_closed(peer));
    assert!(
        scene
            .events
            .contains(&Event::DiskTrouble { torrent, error })
    );
    scene.sent(peer);
    scene.run_to(11.5);
    assert_eq!(scene.sent(peer), ["request 0/0"]);
}

#[test]
fn a_piece_that_fails_five_times_rests_a_minute() {
    let mut scene = Scene::new(4);
    for host in 1..=5 {
        let liar = scene.giver(host, MODERN, &[0]);
        assert_eq!(scene.sent(liar).len(), 3, "host {host}");
        scene.gives(liar, 0, 0);
        scene.gives(liar, 0, 1);
        verified(&mut scene, 0, false);
    }
    assert_eq!(banned(&scene).len(), 5);
    let honest = scene.giver(6, MODERN, &[0]);
    scene.run_to(60.9);
    assert_eq!(scene.sent(honest), ["interested"]);
    scene.run_to(61.0);
    assert_eq!(scene.sent(honest), ["request 0/0", "request 0/1"]);
}

#[test]
fn a_ban_covers_the_64_of_an_ipv6_host_and_no_more() {
    let mut scene = Scene::new(4);
    let address = |text: &str| text.parse().expect("a literal");
    let conn = scene
        .session
        .accept(scene.now, address("[2001:db8::1]:1000"));
    let conn = conn.expect("there is room");
    scene.greet(conn, crate::scene::id(1), MODERN);
    scene.says(conn, Message::HaveAll);
    scene.says(conn, Message::Unchoke);
    let mut given: Vec<_> = scene.sent(conn);
    given.retain(|s| s.starts_with("request 0"));
    assert_eq!(given.len(), 2);
    scene.gives(conn, 0, 0);
    scene.gives(conn, 0, 1);
    verified(&mut scene, 0, false);
    let mut taken = |text| scene.session.accept(scene.now, address(text)).is_some();
    assert!(!taken("[2001:db8::ffff:1]:7"));
    assert!(taken("[2001:db8:0:1::1]:7"));
}
