//! The only source shows its pieces one by one (BEP 16).

use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::command::Aim;
use minitorrent::engine::io::{
    ConnId, DiskDone, DiskError, DiskErrorKind, Input, Segment, Segments,
};
use minitorrent::wire::handshake::Reserved;
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, OLD, Scene, id};

fn scene(pieces: u32) -> Scene {
    let all: Vec<u32> = (0..pieces).collect();
    Scene::with(
        pieces,
        Aim::Seed,
        |settings| settings.super_seed = true,
        &[],
        &all,
    )
}

/// Peers that came in at once; each with the pieces it was shown within the first sweep.
fn audience(scene: &mut Scene, hosts: u8) -> Vec<(ConnId, Piece)> {
    let peers: Vec<ConnId> = (1..=hosts).map(|host| scene.peer(host, MODERN)).collect();
    scene.run_to(1.5);
    let shown = |peer| (peer, haves(scene, peer));
    let all = peers.into_iter().map(shown);
    all.map(|(peer, shown)| {
        assert_eq!(shown.len(), 1, "{shown:?}");
        (peer, shown[0])
    })
    .collect()
}

/// The pieces that a peer was told of since it was last looked at.
fn haves(scene: &mut Scene, peer: ConnId) -> Vec<Piece> {
    let words = scene.sent(peer).into_iter();
    let pieces = words.filter_map(|word| word.strip_prefix("have ")?.parse().ok());
    pieces.map(Piece).collect()
}

fn opening(scene: &mut Scene, host: u8, reserved: Reserved) -> Vec<String> {
    let conn = scene.accept(host).expect("there is room");
    scene.greet(conn, id(host), reserved);
    scene.sent(conn)
}

#[test]
fn a_super_seed_says_that_it_has_nothing() {
    let mut scene = scene(40);
    let said = opening(&mut scene, 1, MODERN);
    assert_eq!(said, ["handshake", "have none", "extended 0"]);
    assert_eq!(opening(&mut scene, 2, OLD), ["handshake"]);
}

#[test]
fn nor_does_it_say_that_it_only_uploads() {
    for (super_seed, says) in [(true, false), (false, true)] {
        let change = |settings: &mut minitorrent::engine::command::Settings| {
            settings.super_seed = super_seed;
        };
        let mut scene = Scene::with(2, Aim::Seed, change, &[], &[0, 1]);
        let conn = scene.accept(1).expect("there is room");
        scene.greet(conn, id(1), MODERN);
        let mut segments = Segments::new(usize::MAX);
        scene.session.poll_transmit(scene.now, conn, &mut segments);
        let bytes = segments
            .as_slice()
            .iter()
            .flat_map(|segment| match segment {
                Segment::Bytes(bytes) => bytes.to_vec(),
                Segment::Block { .. } => panic!("nothing was asked for"),
            });
        let text = String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned();
        assert_eq!(text.contains("upload_onlyi1e"), says, "{text}");
    }
}

#[test]
fn each_peer_is_shown_a_piece_of_its_own_within_half_a_second() {
    let mut scene = scene(40);
    let mut shown: Vec<Piece> = audience(&mut scene, 8)
        .into_iter()
        .map(|(_, p)| p)
        .collect();
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(shown.len(), 8);
}

#[test]
fn the_next_piece_is_shown_when_the_last_was_seen_at_another_peer() {
    let mut scene = scene(40);
    let peers = audience(&mut scene, 6);
    let (first, piece) = peers[0];
    scene.says(first, Message::Have(piece));
    scene.run_to(20.0);
    assert!(
        haves(&mut scene, first).is_empty(),
        "nobody else has it yet"
    );
    scene.says(peers[1].0, Message::Have(piece));
    let next = haves(&mut scene, first);
    assert!(next.len() == 1 && peers.iter().all(|(_, p)| *p != next[0]));
    assert!(
        haves(&mut scene, peers[1].0).is_empty(),
        "it has not got its own"
    );
}

#[test]
fn a_peer_that_is_alone_is_shown_one_after_the_other() {
    let mut scene = scene(40);
    let peer = scene.peer(1, MODERN);
    scene.run_to(1.5);
    let mut shown = haves(&mut scene, peer);
    for _ in 1..40 {
        let last = *shown.last().expect("one is shown");
        scene.says(peer, Message::Have(last));
        shown.extend(haves(&mut scene, peer));
    }
    shown.sort_unstable();
    assert_eq!(shown, (0..40).map(Piece).collect::<Vec<_>>());
}

#[test]
fn the_line_never_idles_who_has_waited_longest_is_shown_another() {
    let mut scene = scene(40);
    let peers = audience(&mut scene, 5);
    // Four fetch, one for each slot: the fifth waits.
    scene.run_to(2.0);
    scene.says(peers[0].0, Message::Have(peers[0].1));
    assert!(haves(&mut scene, peers[0].0).is_empty());
    scene.run_to(3.0);
    scene.says(peers[1].0, Message::Have(peers[1].1));
    assert_eq!(haves(&mut scene, peers[0].0).len(), 1);
    assert!(haves(&mut scene, peers[1].0).is_empty());
}

#[test]
fn what_a_peer_takes_with_it_is_shown_to_another() {
    let mut scene = scene(2);
    let peers = audience(&mut scene, 2);
    scene.says(peers[0].0, Message::Have(peers[0].1));
    assert!(haves(&mut scene, peers[0].0).is_empty(), "no piece is left");
    scene.handle(Input::Ended { conn: peers[1].0 });
    assert_eq!(haves(&mut scene, peers[0].0), [peers[1].1]);
}

#[test]
fn a_piece_shown_in_vain_is_shown_to_another_after_a_minute() {
    let mut scene = scene(2);
    let peers = audience(&mut scene, 2);
    scene.says(peers[1].0, Message::Interested);
    scene.says(peers[0].0, Message::Have(peers[0].1));
    scene.run_to(61.0);
    assert!(haves(&mut scene, peers[0].0).is_empty());
    scene.run_to(70.0);
    assert_eq!(haves(&mut scene, peers[0].0), [peers[1].1]);
}

#[test]
fn when_one_copy_is_around_everybody_is_told_of_everything() {
    let mut scene = scene(4);
    let peers = audience(&mut scene, 4);
    for (peer, piece) in &peers[..3] {
        scene.says(*peer, Message::Have(*piece));
    }
    scene.run_to(10.0);
    assert!(haves(&mut scene, peers[0].0).is_empty());
    scene.says(peers[3].0, Message::Have(peers[3].1));
    for (peer, piece) in &peers {
        let mut told = haves(&mut scene, *peer);
        told.push(*piece);
        told.sort_unstable();
        assert_eq!(told, (0..4).map(Piece).collect::<Vec<_>>());
    }
    let said = opening(&mut scene, 9, MODERN);
    assert_eq!(said[..2], ["handshake", "have all"]);
}

#[test]
fn another_seed_ends_it() {
    let mut scene = scene(4);
    let peers = audience(&mut scene, 2);
    let seed = scene.peer(5, MODERN);
    scene.says(seed, Message::HaveAll);
    assert!(scene.is_closed(seed));
    scene.run_to(2.5);
    assert_eq!(haves(&mut scene, peers[0].0).len(), 3);
}

#[test]
fn many_pieces_are_told_a_thousand_at_a_time() {
    let mut scene = scene(2500);
    let peers = audience(&mut scene, 1);
    let seed = scene.peer(5, MODERN);
    scene.says(seed, Message::HaveAll);
    let mut told = vec![haves(&mut scene, peers[0].0).len()];
    while told.iter().sum::<usize>() < 2499 {
        let until = scene.now.as_micros() as f64 / 1e6 + 5.0;
        scene.run_to(until);
        told.push(haves(&mut scene, peers[0].0).len());
    }
    assert!(told.iter().all(|count| *count <= 2000), "{told:?}");
}

#[test]
fn a_piece_that_is_gone_from_disk_ends_it_and_is_not_told_of() {
    let mut scene = scene(4);
    let peers = audience(&mut scene, 2);
    let gone = (0..4)
        .map(Piece)
        .find(|p| peers.iter().all(|(_, q)| p != q));
    let gone = gone.expect("four less two");
    let torrent = scene.torrent;
    scene.disk(DiskDone::ReadFailed {
        torrent,
        block: Block {
            piece: gone,
            begin: 0,
            len: 16_384,
        },
        error: DiskError {
            kind: DiskErrorKind::Changed,
            message: "f".into(),
        },
    });
    scene.run_to(7.0);
    let told = haves(&mut scene, peers[0].0);
    assert!(told.len() == 2 && !told.contains(&gone), "{told:?}");
}

#[test]
fn what_is_not_all_there_is_seeded_as_ever() {
    let change = |settings: &mut minitorrent::engine::command::Settings| settings.super_seed = true;
    let mut scene = Scene::with(4, Aim::Download, change, &[], &[1]);
    let said = opening(&mut scene, 1, MODERN);
    assert_eq!(said[..2], ["handshake", "bitfield [40]"]);
}
