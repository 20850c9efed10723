//! Peers without a tracker, and torrents that must not be looked for (RELIABILITY G).

use std::net::SocketAddr;
use std::sync::Arc;

use minitorrent::engine::command::{AddTorrent, Aim, Command, Settings};
use minitorrent::engine::dht::Router;
use minitorrent::engine::io::{ConnId, Input};
use minitorrent::wire::extension::{ExtensionHandshake, UT_PEX};
use minitorrent::wire::handshake::{self, Reserved};
use minitorrent::wire::lsd::{Announce, GROUP_V4, GROUP_V6};
use minitorrent::wire::message::{self, Decoded, Message};
use minitorrent::wire::metainfo::Metainfo;
use minitorrent::wire::ut_pex::Pex;

use crate::scene::{MODERN, Scene, listens};

/// All finders are on; the DHT begins at an address.
fn everything(settings: &mut Settings) {
    (settings.dht, settings.lsd, settings.pex) = (true, true, true);
    settings.dht_routers = vec![Router::Address(ROUTER.parse().expect("a literal"))];
}

/// A torrent of one piece, private or not.
fn torrent(private: bool) -> Arc<Metainfo> {
    let mut info = b"d6:lengthi16384e4:name1:f12:piece lengthi16384e6:pieces20:".to_vec();
    info.extend([0x55; 20]);
    info.extend(if private { &b"7:privatei1ee"[..] } else { b"e" });
    Arc::new(Metainfo::from_info(&info).expect("a plain torrent"))
}

fn scene(private: bool) -> Scene {
    let metainfo = torrent(private);
    let add = AddTorrent {
        metainfo: Arc::clone(&metainfo),
        aim: Aim::Download,
        peers: Vec::new(),
    };
    let mut scene = Scene::set(metainfo, everything, Command::Add(add));
    scene.checked(&[]);
    scene.run_to(1.0);
    scene
}

/// A peer with all bits set, which takes part in everything.
fn eager(scene: &mut Scene, host: u8) -> (ConnId, Vec<u8>) {
    let mut reserved = MODERN;
    reserved.set_dht(true);
    let conn = scene.accept(host).expect("there is room");
    scene.greet(conn, crate::scene::id(host), reserved);
    let mut said = scene.sent_bytes(conn);
    let payload = b"d1:md11:ut_metadatai3e6:ut_pexi1ee1:pi6881ee";
    scene.says(conn, Message::Extended { id: 0, payload });
    scene.says(conn, Message::Port(6999));
    said.extend(scene.sent_bytes(conn));
    (conn, said)
}

/// What our handshakes say: the bits, the extension handshake, and the DHT's port.
fn greetings(said: &[u8]) -> (Reserved, ExtensionHandshake, Option<u16>) {
    let greeting = handshake::decode_greeting(said)
        .expect("ours")
        .expect("whole");
    let (mut rest, mut theirs, mut port) = (&said[handshake::LEN..], None, None);
    while let Ok(Decoded::Message { message, used }) = message::decode(rest, 100) {
        rest = &rest[used..];
        match message {
            Message::Extended { id: 0, payload } => {
                theirs = ExtensionHandshake::decode(payload).ok();
            }
            Message::Port(number) => port = Some(number),
            _ => {}
        }
    }
    (
        greeting.reserved,
        theirs.expect("an extension handshake"),
        port,
    )
}

#[test]
fn a_public_torrent_is_announced_everywhere_and_its_peers_are_told_of_the_dht() {
    let mut scene = scene(false);
    let to: Vec<SocketAddr> = scene.datagrams.iter().map(|(to, _)| *to).collect();
    let router: SocketAddr = ROUTER.parse().expect("a literal");
    assert!(
        to.contains(&GROUP_V4) && to.contains(&GROUP_V6) && to.contains(&router),
        "{to:?}"
    );
    let (_, said) = eager(&mut scene, 1);
    let (reserved, theirs, port) = greetings(&said);
    assert!(reserved.dht() && theirs.ut_pex.is_some());
    assert_eq!(port, Some(6881));
    // The node of the peer's `port` message is asked.
    scene.datagrams.clear();
    scene.run_to(3.0);
    let node = SocketAddr::new(listens(1).ip(), 6999);
    assert!(scene.datagrams.iter().any(|(to, _)| *to == node));
}

#[test]
fn g8_of_a_private_torrent_nobody_hears_in_an_hour() {
    let mut scene = scene(true);
    let (peer, said) = eager(&mut scene, 1);
    let (reserved, theirs, port) = greetings(&said);
    assert!(!reserved.dht() && theirs.ut_pex.is_none() && port.is_none());
    // Nor are addresses taken that a peer tells of.
    let pex = Pex {
        added: vec![listens(77)],
        ..Pex::default()
    };
    let payload = &pex.encode()[..];
    scene.says(
        peer,
        Message::Extended {
            id: UT_PEX,
            payload,
        },
    );
    let (other, _) = eager(&mut scene, 2);
    for minute in 1..=60 {
        scene.says(peer, Message::KeepAlive);
        scene.says(other, Message::KeepAlive);
        scene.run_to(f64::from(minute) * 60.0);
        for conn in [peer, other] {
            let said = scene.sent(conn);
            assert!(
                said.iter().all(|word| !word.starts_with("extended")),
                "{said:?}"
            );
        }
    }
    assert!(scene.datagrams.is_empty(), "{:?}", scene.datagrams);
    assert!(scene.dials.iter().all(|(_, to)| *to != listens(77)));
}

#[test]
fn a_torrent_that_turns_out_to_be_private_is_told_no_more() {
    let metainfo = torrent(true);
    let add = AddTorrent {
        metainfo: Arc::new(Metainfo::stand_in(
            metainfo.info_hash,
            "f".into(),
            Vec::new(),
        )),
        aim: Aim::Download,
        peers: Vec::new(),
    };
    let undescribed = Command::AddUndescribed(add);
    let mut scene = Scene::set(Arc::clone(&metainfo), everything, undescribed);
    scene.run_to(2.0);
    assert!(!scene.datagrams.is_empty(), "nobody knows yet");
    let torrent = scene.torrent;
    scene.command(Command::Describe { torrent, metainfo });
    scene.checked(&[]);
    scene.datagrams.clear();
    scene.run_to(3600.0);
    assert!(scene.datagrams.is_empty(), "{:?}", scene.datagrams);
}

#[test]
fn a_neighbour_that_shouts_our_torrent_is_dialled_at_once_and_not_twice_a_minute() {
    let mut scene = scene(false);
    let shout = Announce {
        port: 6881,
        torrents: vec![scene.meta.info_hash],
        cookie: b"theirs".to_vec(),
    };
    let bytes = &shout.encode(GROUP_V4)[..];
    let from = SocketAddr::new(listens(5).ip(), 6771);
    for _ in 0..1000 {
        scene.handle(Input::Multicast { from, bytes });
    }
    scene.run_to(2.0);
    assert_eq!(scene.dials.len(), 1, "{:?}", scene.dials);
    assert_eq!(scene.dials[0].1, listens(5));
}

#[test]
fn g9_a_long_list_of_peers_is_cut_and_a_hurried_one_ignored() {
    let mut scene = scene(false);
    let (peer, _) = eager(&mut scene, 1);
    let known = scene.addresses();
    let many: Vec<u8> = (0..10_000u32)
        .flat_map(|n| {
            let ip = (0xac10_0000 + n).to_be_bytes();
            [&ip[..], &6881u16.to_be_bytes()].concat()
        })
        .collect();
    let payload = [format!("d5:added{}:", many.len()).as_bytes(), &many, b"e"].concat();
    let payload = &payload[..];
    for _ in 0..20 {
        scene.says(
            peer,
            Message::Extended {
                id: UT_PEX,
                payload,
            },
        );
    }
    assert!(!scene.is_closed(peer));
    assert_eq!(scene.addresses() - known, 50);
    scene.run_to(52.0);
    scene.says(
        peer,
        Message::Extended {
            id: UT_PEX,
            payload,
        },
    );
    assert!(scene.addresses() <= 1000);
}

#[test]
fn without_peer_exchange_nothing_of_it_is_said_or_heard() {
    let metainfo = torrent(false);
    let add = AddTorrent {
        metainfo: Arc::clone(&metainfo),
        aim: Aim::Download,
        peers: Vec::new(),
    };
    let quiet = |settings: &mut Settings| settings.pex = false;
    let mut scene = Scene::set(metainfo, quiet, Command::Add(add));
    scene.checked(&[]);
    let (peer, said) = eager(&mut scene, 1);
    assert!(greetings(&said).1.ut_pex.is_none());
    let known = scene.addresses();
    let pex = Pex {
        added: vec![listens(77)],
        ..Pex::default()
    };
    let payload = &pex.encode()[..];
    scene.says(
        peer,
        Message::Extended {
            id: UT_PEX,
            payload,
        },
    );
    assert_eq!(scene.addresses(), known);
    eager(&mut scene, 2);
    scene.run_to(100.0);
    assert!(
        scene
            .sent(peer)
            .iter()
            .all(|word| !word.starts_with("extended"))
    );
}

#[test]
fn with_the_dht_a_torrent_that_knows_nobody_has_a_source() {
    for (private, expected) in [(false, true), (true, false)] {
        let scene = scene(private);
        let snapshot = scene.session.snapshot(scene.now);
        assert_eq!(
            snapshot.torrents[0].has_source, expected,
            "private: {private}"
        );
    }
}

const ROUTER: &str = "10.9.9.9:6881";
