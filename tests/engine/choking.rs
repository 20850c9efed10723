//! Who gets an upload slot, and when (BEP 3).

use std::sync::Arc;

use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::command::{AddTorrent, Aim, Command, Reply};
use minitorrent::engine::io::{ConnId, Input};
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, Scene, bits, meta};

/// A session that fetches and has piece 0, and `count` peers that want it and have all others.
fn trade(count: u8) -> (Scene, Vec<ConnId>) {
    let mut scene = Scene::with(400, Aim::Download, |_| {}, &[], &[0]);
    let others: Vec<u32> = (1..400).collect();
    let others = bits(&scene.meta, &others);
    let peers = (1..=count).map(|host| {
        let peer = scene.peer(host, MODERN);
        scene.says(peer, Message::Bitfield(&others));
        scene.says(peer, Message::Interested);
        peer
    });
    let peers = peers.collect();
    (scene, peers)
}

/// The peer answers so many of the requests that it has got since it was last looked at; a second later, so that it is
/// not taken for so fast that it alone is asked for all.
fn give(scene: &mut Scene, peer: ConnId, count: usize) {
    scene.run_to(scene.now.as_micros() as f64 / 1e6 + 1.0);
    let sent = scene.sent(peer).into_iter();
    let asked = sent.filter_map(|word| {
        let (piece, index) = word.strip_prefix("request ")?.split_once('/')?;
        Some((piece.parse().ok()?, index.parse().ok()?))
    });
    let asked: Vec<(u32, u32)> = asked.take(count).collect();
    assert_eq!(asked.len(), count, "it was asked for enough");
    for (piece, index) in asked {
        scene.gives(peer, piece, index);
    }
}

/// Which of the peers may request now.
fn unchoked(scene: &Scene, peers: &[ConnId]) -> Vec<usize> {
    let snapshot = scene.session.snapshot(scene.now);
    assert_eq!(snapshot.peers.len(), peers.len(), "all are there, in order");
    let all = snapshot.peers.iter().enumerate();
    all.filter(|(_, peer)| peer.unchoked)
        .map(|(at, _)| at)
        .collect()
}

#[test]
fn the_four_that_give_most_have_the_slots_from_the_next_round_on() {
    let (mut scene, peers) = trade(7);
    assert_eq!(unchoked(&scene, &peers), [0, 1, 2, 3]);
    for (at, peer) in peers.iter().enumerate() {
        scene.says(*peer, Message::Unchoke);
        give(&mut scene, *peer, at + 1);
    }
    scene.run_to(10.9);
    assert_eq!(unchoked(&scene, &peers), [0, 1, 2, 3]);
    scene.run_to(11.0);
    let now = unchoked(&scene, &peers);
    assert!([3, 4, 5, 6].iter().all(|at| now.contains(at)), "{now:?}");
    // And a stranger.
    assert_eq!(now.len(), 5);
}

#[test]
fn what_was_given_twenty_seconds_ago_counts_no_more() {
    let (mut scene, peers) = trade(7);
    for at in [4, 5, 6, 3] {
        scene.says(peers[at], Message::Unchoke);
        give(&mut scene, peers[at], 10);
    }
    scene.run_to(31.0);
    for at in [0, 1, 2] {
        scene.says(peers[at], Message::Unchoke);
        give(&mut scene, peers[at], 5);
    }
    scene.run_to(51.0);
    let now = unchoked(&scene, &peers);
    assert!([0, 1, 2].iter().all(|at| now.contains(at)), "{now:?}");
}

#[test]
fn the_optimistic_slot_moves_every_thirty_seconds() {
    let (mut scene, peers) = trade(12);
    let optimistic = |scene: &Scene| {
        let mut now = unchoked(scene, &peers);
        now.retain(|at| *at > 3);
        assert_eq!(now.len(), 1, "one beside the four");
        now[0]
    };
    let mut seen = Vec::new();
    for second in (11..=131).step_by(10) {
        scene.run_to(f64::from(second));
        peers.iter().for_each(|peer| drop(scene.sent(*peer)));
        seen.push(optimistic(&scene));
    }
    for turn in seen.chunks(3) {
        assert!(turn.iter().all(|at| at == &turn[0]), "{seen:?}");
    }
    assert!(
        seen.chunks(3)
            .zip(seen.chunks(3).skip(1))
            .all(|(a, b)| a[0] != b[0])
    );
}

#[test]
fn who_owes_us_blocks_for_a_minute_loses_its_slot() {
    let (mut scene, peers) = trade(12);
    scene.says(peers[0], Message::Unchoke);
    give(&mut scene, peers[0], 1);
    for second in (11..=71).step_by(10) {
        scene.run_to(f64::from(second));
        peers.iter().for_each(|peer| drop(scene.sent(*peer)));
        let has = unchoked(&scene, &peers).contains(&0);
        assert_eq!(has, second < 71, "at {second}");
    }
}

#[test]
fn a_slot_that_is_not_wanted_any_more_goes_to_another_at_once() {
    let mut scene = Scene::seeding(4);
    let peers: Vec<ConnId> = (1..=6)
        .map(|host| {
            let peer = scene.peer(host, MODERN);
            scene.says(peer, Message::Interested);
            peer
        })
        .collect();
    assert_eq!(unchoked(&scene, &peers), [0, 1, 2, 3]);
    scene.run_to(5.0);
    scene.says(peers[2], Message::NotInterested);
    assert!(unchoked(&scene, &peers).contains(&4));
    scene.says(peers[2], Message::NotInterested);
    assert!(
        !unchoked(&scene, &peers).contains(&5),
        "it had only one to give up"
    );
}

#[test]
fn while_we_fetch_a_free_slot_goes_to_who_gives_most() {
    let (mut scene, peers) = trade(7);
    for (at, count) in [(4, 2), (5, 9), (6, 3)] {
        scene.says(peers[at], Message::Unchoke);
        give(&mut scene, peers[at], count);
    }
    scene.handle(Input::Ended { conn: peers[0] });
    assert_eq!(unchoked(&scene, &peers[1..]), [0, 1, 2, 4]);
}

#[test]
fn while_we_seed_a_turn_is_twenty_pieces() {
    let mut scene = Scene::seeding(40);
    let peers: Vec<ConnId> = (1..=9)
        .map(|host| {
            let peer = scene.peer(host, MODERN);
            scene.says(peer, Message::Interested);
            peer
        })
        .collect();
    let take = |scene: &mut Scene, peer, pieces: u32| {
        for block in 0..2 * pieces {
            let (piece, begin) = (Piece(block / 2), block % 2 * 16_384);
            let len = 16_384;
            scene.says(peer, Message::Request(Block { piece, begin, len }));
        }
        scene.sent(peer);
    };
    // The first had its turn, the second lacks a block of it.
    take(&mut scene, peers[0], 20);
    take(&mut scene, peers[1], 19);
    scene.run_to(11.0);
    let now = unchoked(&scene, &peers);
    assert!(now.contains(&1) && now.contains(&4), "{now:?}");
    take(&mut scene, peers[1], 1);
    for second in [21.0, 31.0, 41.0] {
        scene.run_to(second);
        peers.iter().for_each(|peer| drop(scene.sent(*peer)));
    }
    let now = unchoked(&scene, &peers);
    // The optimistic slot may be any of the others'.
    assert!([2, 3, 4, 5].iter().all(|at| now.contains(at)), "{now:?}");
}

#[test]
fn an_uplink_that_is_not_full_gets_a_slot_more_a_round() {
    let mut scene = Scene::seeding(40);
    let peers: Vec<ConnId> = (1..=12)
        .map(|host| {
            let peer = scene.peer(host, MODERN);
            scene.says(peer, Message::Interested);
            peer
        })
        .collect();
    let mut counts = Vec::new();
    for round in 1..=5 {
        for at in unchoked(&scene, &peers) {
            let (piece, begin, len) = (Piece(0), 0, 16_384);
            scene.says(peers[at], Message::Request(Block { piece, begin, len }));
        }
        peers.iter().for_each(|peer| drop(scene.sent(*peer)));
        scene.run_to(1.0 + 10.0 * f64::from(round));
        counts.push(unchoked(&scene, &peers).len());
    }
    // The first round judges; each then opens one more beside the optimistic one.
    assert_eq!(counts, [5, 6, 7, 8, 9]);
}

#[test]
fn a_newcomer_that_only_uploads_gets_no_slot() {
    let mut scene = Scene::seeding(4);
    let peer = scene.peer(1, MODERN);
    let payload = b"d11:upload_onlyi1ee";
    scene.says(peer, Message::Extended { id: 0, payload });
    scene.says(peer, Message::Interested);
    scene.run_to(31.0);
    assert!(unchoked(&scene, &[peer]).is_empty());
}

/// How many may request of a session that seeds so many torrents, after some rounds: six peers of each want to.
fn unchoked_of(torrents: u32) -> usize {
    let room = |settings: &mut minitorrent::engine::command::Settings| settings.max_peers = 100;
    let mut scene = Scene::with(4, Aim::Seed, room, &[], &[0, 1, 2, 3]);
    for torrent in 0..torrents {
        if torrent > 0 {
            let metainfo = meta(4 + torrent);
            let add = AddTorrent {
                metainfo: Arc::clone(&metainfo),
                aim: Aim::Seed,
                peers: Vec::new(),
            };
            let reply = scene.session.handle_command(scene.now, Command::Add(add));
            let Ok(Reply::Added(id)) = reply else {
                panic!("{reply:?}");
            };
            (scene.torrent, scene.meta) = (id, metainfo);
            scene.drain();
            scene.checked(&(0..4 + torrent).collect::<Vec<_>>());
        }
        for host in 1..=6 {
            let peer = scene.peer(torrent as u8 * 6 + host, MODERN);
            scene.says(peer, Message::Interested);
        }
    }
    scene.run_to(31.0);
    let snapshot = scene.session.snapshot(scene.now);
    assert_eq!(snapshot.peers.len(), 6 * torrents as usize);
    snapshot.peers.iter().filter(|peer| peer.unchoked).count()
}

#[test]
fn all_torrents_share_eight_slots_but_each_has_one_and_one_for_a_stranger() {
    assert_eq!(unchoked_of(1), 4 + 1);
    assert_eq!(unchoked_of(2), 8 + 2);
    assert_eq!(unchoked_of(4), 8 + 4);
    assert_eq!(unchoked_of(12), 12 + 12);
}
