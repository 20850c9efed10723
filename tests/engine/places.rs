//! Several torrents in one session: who gets the places for peers, how one leaves, and what the router has to bear.

use std::net::SocketAddr;

use minitorrent::base::limits;
use minitorrent::engine::command::{AddTorrent, Aim, Command, CommandError, Reply};
use minitorrent::engine::io::{ConnId, DiskDone, Event, Input, TorrentId};
use minitorrent::wire::handshake;

use crate::scene::{MODERN, Scene, at, id, listens, meta};

/// Takes up another torrent, of so many pieces, and lets its check end.
fn add(scene: &mut Scene, pieces: u32, peers: &[SocketAddr]) -> TorrentId {
    let add = AddTorrent {
        metainfo: meta(pieces),
        aim: Aim::Download,
        peers: peers.to_vec(),
    };
    let reply = scene.session.handle_command(scene.now, Command::Add(add));
    let Ok(Reply::Added(torrent)) = reply else {
        panic!("{reply:?}");
    };
    scene.drain();
    scene.disk(DiskDone::CheckEnded {
        torrent,
        error: None,
    });
    torrent
}

/// Every connect that is asked for stands, and its other end greets as one of this torrent.
fn answer_dials(scene: &mut Scene, pieces: u32) -> Vec<ConnId> {
    let mut peers = Vec::new();
    for (conn, to) in std::mem::take(&mut scene.dials) {
        let SocketAddr::V4(to) = to else {
            panic!("{to}");
        };
        scene.handle(Input::Connected { conn });
        let theirs = handshake::encode(MODERN, meta(pieces).info_hash, id(to.ip().octets()[3]));
        scene.bytes(conn, &theirs);
        if !scene.is_closed(conn) {
            peers.push(conn);
        }
    }
    peers
}

/// Peers of each torrent.
fn peers(scene: &Scene) -> Vec<u32> {
    let torrents = scene.session.snapshot(scene.now).torrents;
    torrents.iter().map(|it| it.peers).collect()
}

fn hosts(range: std::ops::Range<u8>) -> Vec<SocketAddr> {
    range.map(listens).collect()
}

#[test]
fn torrents_dial_in_turns() {
    let mut scene = Scene::knowing(&[], |settings| settings.half_open = 6);
    add(&mut scene, 5, &hosts(1..100));
    add(&mut scene, 6, &hosts(100..200));
    scene.run_to(2.0);
    let second = |to: &SocketAddr| hosts(100..200).contains(to);
    let of_second = scene.dials.iter().filter(|(_, to)| second(to)).count();
    assert_eq!((scene.dials.len(), of_second), (6, 3));
}

#[test]
fn a_torrent_that_comes_late_gets_its_share_of_the_places_one_a_sweep() {
    let mut scene = Scene::knowing(&[], |settings| settings.max_peers = 4);
    let first = add(&mut scene, 5, &hosts(1..50));
    scene.run_to(1.5);
    let peers_of_first = answer_dials(&mut scene, 5);
    assert_eq!((peers_of_first.len(), peers(&scene)), (4, vec![0, 4]));
    add(&mut scene, 6, &hosts(100..150));
    for expected in [1, 2, 2] {
        let next = scene.session.poll_timeout().expect("the sweep goes on");
        scene.run_to(next.as_micros() as f64 / 1e6);
        answer_dials(&mut scene, 6);
        assert_eq!(peers(&scene), [0, 4 - expected, expected]);
    }
    let gone = |event: &&Event| {
        matches!(event, Event::PeerGone { torrent, why, .. }
        if *torrent == first && *why == "another torrent needs its place")
    };
    assert_eq!(scene.events.iter().filter(gone).count(), 2);
    // What the first torrent has is its share now: it stays.
    scene.run_to(20.0);
    assert_eq!(peers(&scene), [0, 2, 2]);
}

#[test]
fn a_torrent_alone_takes_all_places() {
    let mut scene = Scene::knowing(&[], |settings| settings.max_peers = 4);
    add(&mut scene, 5, &hosts(1..50));
    add(&mut scene, 6, &[]);
    scene.run_to(1.5);
    answer_dials(&mut scene, 5);
    assert_eq!(peers(&scene), [0, 4, 0]);
}

#[test]
fn a_removed_torrent_leaves_at_once_and_its_place_is_free_for_it_to_come_again() {
    let mut scene = Scene::new(4);
    let other = add(&mut scene, 5, &hosts(1..3));
    scene.run_to(1.5);
    let peers = answer_dials(&mut scene, 5);
    let (now, remove) = (scene.now, || Command::Remove(other));
    let reply = scene.session.handle_command(now, remove());
    assert_eq!(reply, Ok(Reply::Done));
    scene.drain();
    assert!(peers.iter().all(|peer| scene.is_closed(*peer)));
    // There is no tracker that has to be told.
    let removed = Event::Removed { torrent: other };
    assert_eq!(scene.events.last(), Some(&removed));
    let again = scene.session.handle_command(now, remove());
    assert_eq!(again, Err(CommandError::Unknown));
    assert_eq!(scene.session.snapshot(now).torrents.len(), 1);
    // An answer of the disk that comes late is nobody's.
    scene.disk(DiskDone::CheckEnded {
        torrent: other,
        error: None,
    });
    assert_ne!(add(&mut scene, 5, &[]), other);
}

#[test]
fn connections_are_begun_thirty_at_once_and_then_twenty_a_second() {
    let mut scene = Scene::knowing(&[], |settings| {
        (settings.max_peers, settings.half_open) = (200, 200);
    });
    add(&mut scene, 5, &hosts(1..200));
    let mut begun = Vec::new();
    for tenths in 10..=40 {
        let seconds = f64::from(tenths) / 10.0;
        scene.run_to(seconds);
        begun.push((tenths, scene.dials.len()));
    }
    let at_tenth = |tenth: i32| begun.iter().find(|(at, _)| *at == tenth).map(|(_, n)| *n);
    assert_eq!(at_tenth(10), Some(limits::CONNECTS_BURST as usize));
    assert_eq!(at_tenth(14), Some(30));
    for (tenth, expected) in [(15, 40), (19, 40), (20, 50), (25, 60), (40, 90)] {
        assert_eq!(at_tenth(tenth), Some(expected), "{tenth}");
    }
    assert_eq!(scene.now, at(4.0));
}

#[test]
fn the_snapshot_says_what_a_torrent_waits_for() {
    use minitorrent::engine::why::{Waiting, waiting};
    use minitorrent::wire::message::Message;

    let mut scene = Scene::new(4);
    let cause = |scene: &Scene| {
        let snapshot = scene.session.snapshot(scene.now);
        waiting(&snapshot.torrents[0])
    };
    assert_eq!(cause(&scene), Some(Waiting::NoPeers));
    let peer = scene.peer(1, MODERN);
    let expected = Waiting::NobodyHas {
        piece: 0,
        pieces: 4,
        peers: 1,
    };
    assert_eq!(cause(&scene), Some(expected));
    scene.says(peer, Message::Have(minitorrent::base::ids::Piece(2)));
    assert_eq!(cause(&scene), Some(Waiting::Choked { peers: 1 }));
    scene.says(peer, Message::Unchoke);
    assert_eq!(cause(&scene), Some(Waiting::Silent { peers: 1 }));
    scene.gives(peer, 2, 0);
    assert_eq!(cause(&scene), None);
    // It goes with the piece half done: that one can't be had of anyone now, as the others.
    scene.handle(Input::Failed { conn: peer });
    scene.peer(2, MODERN);
    scene.run_to(30.0);
    let expected = Waiting::NobodyHas {
        piece: 0,
        pieces: 4,
        peers: 1,
    };
    assert_eq!(cause(&scene), Some(expected));
}

#[test]
fn pieces_of_files_that_come_first_are_asked_for_before_the_others() {
    use minitorrent::base::bitfield::Bitfield;
    use minitorrent::base::ids::Piece;
    use minitorrent::engine::command::Selection;

    let mut scene = Scene::new(40);
    let mut first = Bitfield::new(40);
    for piece in [7, 30, 31] {
        first.insert(Piece(piece));
    }
    let (torrent, first) = (scene.torrent, Some(first));
    let selection = Selection {
        first,
        ..Selection::default()
    };
    let select = Command::Select { torrent, selection };
    let reply = scene.session.handle_command(scene.now, select);
    assert_eq!(reply, Ok(Reply::Done));
    scene.drain();
    let all: Vec<u32> = (0..40).collect();
    let peer = scene.giver(1, MODERN, &all);
    let sent = scene.sent(peer);
    let pieces = sent.iter().filter_map(|line| {
        let block = line.strip_prefix("request ")?;
        block.split_once('/')?.0.parse().ok()
    });
    let mut pieces: Vec<u32> = pieces.collect();
    pieces.dedup();
    pieces[..3].sort_unstable();
    assert_eq!(pieces[..3], [7, 30, 31]);
    // The pipeline has room for 32 blocks: the rest of it is other pieces.
    assert_eq!(pieces.len(), 16);
}
