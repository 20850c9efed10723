//! A torrent of which the info-hash is known and nothing else (RELIABILITY B).

use std::sync::Arc;

use minitorrent::base::ids::Piece;
use minitorrent::base::time::Instant;
use minitorrent::engine::command::{AddTorrent, Aim, Command};
use minitorrent::engine::io::{ConnId, Event, Input};
use minitorrent::wire::message::{self, Decoded, Message};
use minitorrent::wire::metainfo::Metainfo;
use minitorrent::wire::ut_metadata::MetadataMessage;

use crate::scene::{MODERN, Scene};

/// So many pieces that the metadata has two pieces itself.
const PIECES: u32 = 900;
/// The id under which the peers of these tests take metadata messages.
const THEIRS: u8 = 3;
/// Ours.
const OURS: u8 = minitorrent::wire::extension::UT_METADATA;

/// A peer that gives metadata and says that it has `size` bytes, in bencode.
fn giver(scene: &mut Scene, host: u8, size: &str) -> ConnId {
    let peer = scene.peer(host, MODERN);
    let payload = format!("d1:md11:ut_metadatai{THEIRS}ee13:metadata_size{size}e");
    scene.says(
        peer,
        Message::Extended {
            id: 0,
            payload: payload.as_bytes(),
        },
    );
    peer
}

fn honest(scene: &mut Scene, host: u8) -> ConnId {
    let size = format!("i{}e", scene.meta.info().len());
    giver(scene, host, &size)
}

/// The metadata messages that were sent to a peer.
fn asked(scene: &mut Scene, peer: ConnId) -> Vec<String> {
    let bytes = scene.sent_bytes(peer);
    let (mut rest, mut found) = (&bytes[..], Vec::new());
    while let Ok(Decoded::Message { message, used }) = message::decode(rest, 1 << 16) {
        rest = &rest[used..];
        if let Message::Extended {
            id: THEIRS,
            payload,
        } = message
        {
            found.push(match MetadataMessage::decode(payload) {
                Ok(MetadataMessage::Request { piece }) => format!("request {piece}"),
                Ok(MetadataMessage::Data { piece, data, .. }) => {
                    format!("data {piece}: {}", data.len())
                }
                Ok(MetadataMessage::Reject { piece }) => format!("reject {piece}"),
                other => panic!("{other:?}"),
            });
        }
    }
    found
}

fn says(scene: &mut Scene, peer: ConnId, message: &MetadataMessage<'_>) {
    let payload = message.encode();
    let payload = &payload[..];
    scene.says(peer, Message::Extended { id: OURS, payload });
}

/// A peer sends a piece of `info`.
fn gives(scene: &mut Scene, peer: ConnId, piece: usize, info: &[u8]) {
    let end = info.len().min((piece + 1) * 16_384);
    let message = MetadataMessage::Data {
        piece: piece as i64,
        total_size: Some(info.len() as i64),
        data: &info[piece * 16_384..end],
    };
    says(scene, peer, &message);
}

/// The metadata, if it was found.
fn found(scene: &Scene) -> Option<&[u8]> {
    scene.events.iter().find_map(|event| match event {
        Event::Metadata { info, .. } => Some(&info[..]),
        _ => None,
    })
}

#[test]
fn two_peers_give_the_metadata_between_them() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    let info = scene.meta.info().to_vec();
    let (one, two) = (honest(&mut scene, 1), honest(&mut scene, 2));
    assert_eq!(asked(&mut scene, one), ["request 0"]);
    assert_eq!(asked(&mut scene, two), ["request 1"]);
    gives(&mut scene, two, 1, &info);
    assert_eq!(found(&scene), None);
    gives(&mut scene, one, 0, &info);
    assert_eq!(found(&scene), Some(&info[..]));
}

#[test]
fn before_the_metadata_is_known_trackers_are_told_that_a_piece_of_16_kib_is_missing() {
    let meta = crate::scene::meta(9);
    let trackers = vec![vec!["http://10.0.0.9:80/announce".to_owned()]];
    let add = AddTorrent {
        metainfo: Arc::new(Metainfo::stand_in(meta.info_hash, "f".into(), trackers)),
        aim: Aim::Download,
        peers: Vec::new(),
    };
    let mut scene = Scene::set(meta, |_| {}, Command::AddUndescribed(add));
    let tracker = scene.connect();
    let request = scene.sent_bytes(tracker);
    let request = String::from_utf8_lossy(&request);
    assert!(request.contains("&left=16384&"), "{request}");
}

#[test]
fn b4_sizes_that_no_metadata_has_are_ignored_and_the_peer_stays() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    for (host, size) in (1..).zip([
        "i0e",
        "i-1e",
        "i2147483648e",
        "i9223372036854775807e",
        "i33554433e",
        "3:abc",
        "i99999999999999999999e",
    ]) {
        let peer = giver(&mut scene, host, size);
        assert!(asked(&mut scene, peer).is_empty(), "{size}");
        assert!(!scene.is_closed(peer), "{size}");
    }
    assert_eq!(
        scene.session.snapshot(scene.now).torrents[0].metadata,
        (0, 0)
    );
    let peer = honest(&mut scene, 20);
    assert_eq!(asked(&mut scene, peer), ["request 0"]);
}

#[test]
fn b5_peers_that_differ_on_the_size_do_not_disturb_each_other() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    let info = scene.meta.info().to_vec();
    let wrong = vec![b'x'; 40_000];
    let liar = giver(&mut scene, 1, "i40000e");
    let peer = honest(&mut scene, 2);
    let late = giver(&mut scene, 3, "i50000e");
    let later = giver(&mut scene, 4, "i60000e");
    assert_eq!(asked(&mut scene, liar), ["request 0"]);
    assert_eq!(asked(&mut scene, peer), ["request 0"]);
    assert_eq!(asked(&mut scene, late), ["request 0"]);
    assert!(asked(&mut scene, later).is_empty(), "a fourth size");
    gives(&mut scene, liar, 0, &wrong);
    gives(&mut scene, peer, 0, &info);
    gives(&mut scene, liar, 1, &wrong);
    gives(&mut scene, peer, 1, &info);
    assert_eq!(found(&scene), Some(&info[..]));
}

#[test]
fn b6_a_single_giver_of_wrong_metadata_is_banned_and_an_honest_one_asked() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    let info = scene.meta.info().to_vec();
    let mut wrong = info.clone();
    wrong[17_000] ^= 1;
    let liar = honest(&mut scene, 1);
    gives(&mut scene, liar, 0, &wrong);
    gives(&mut scene, liar, 1, &wrong);
    assert!(scene.is_closed(liar) && found(&scene).is_none());
    assert_eq!(scene.accept(1), None, "banned");
    let peer = honest(&mut scene, 2);
    gives(&mut scene, peer, 0, &info);
    gives(&mut scene, peer, 1, &info);
    assert_eq!(found(&scene), Some(&info[..]));
}

#[test]
fn b6_of_a_mix_each_gives_it_alone_until_it_is_right_within_thirty_seconds() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    let info = scene.meta.info().to_vec();
    let mut wrong = info.clone();
    wrong[3] ^= 1;
    // Nine liars and an honest one, the last to come.
    let peers: Vec<_> = (1..=10).map(|host| honest(&mut scene, host)).collect();
    let began = scene.now;
    while found(&scene).is_none() {
        scene.run_to((scene.now - Instant::default()).as_secs_f64() + 0.5);
        for (at, peer) in peers.iter().enumerate() {
            if scene.is_closed(*peer) {
                continue;
            }
            for request in asked(&mut scene, *peer) {
                let piece = usize::from(request.ends_with('1'));
                let bytes = if at == 9 { &info } else { &wrong };
                if !scene.is_closed(*peer) {
                    gives(&mut scene, *peer, piece, bytes);
                }
            }
        }
        assert!((scene.now - began).as_secs() <= 30, "too late");
    }
    assert_eq!(found(&scene), Some(&info[..]));
    assert!(!scene.is_closed(peers[9]));
}

#[test]
fn b7_three_odd_messages_close_a_peer_and_cost_nobody_else() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    let info = scene.meta.info().to_vec();
    let data = |piece: i64, total_size: i64, data| MetadataMessage::Data {
        piece,
        total_size: Some(total_size),
        data,
    };
    let size = info.len() as i64;
    let long = vec![0; 20_000];
    for (host, odd) in (1..).zip([
        data(99, size, &info[..16_384]),
        data(-1, size, &info[..16_384]),
        data(1, size, &info[16_384..]),
        data(0, size + 1, &info[..16_384]),
        data(0, size, &long),
        data(0, size, &info[..100]),
        data(0, size, b""),
    ]) {
        let peer = honest(&mut scene, host);
        for round in 1..=3 {
            assert!(!scene.is_closed(peer), "{odd:?} {round}");
            says(&mut scene, peer, &odd);
        }
        assert!(scene.is_closed(peer), "{odd:?}");
    }
    let peer = honest(&mut scene, 100);
    gives(&mut scene, peer, 0, &info);
    gives(&mut scene, peer, 1, &info);
    assert_eq!(found(&scene), Some(&info[..]));
}

#[test]
fn b8_who_refuses_or_is_silent_rests_a_minute_and_another_is_asked() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    let info = scene.meta.info().to_vec();
    let silent = honest(&mut scene, 1);
    let refuser = honest(&mut scene, 2);
    assert_eq!(asked(&mut scene, silent), ["request 0"]);
    assert_eq!(asked(&mut scene, refuser), ["request 1"]);
    says(&mut scene, refuser, &MetadataMessage::Reject { piece: 1 });
    let peer = honest(&mut scene, 3);
    assert_eq!(asked(&mut scene, peer), ["request 1"]);
    gives(&mut scene, peer, 1, &info);
    assert!(asked(&mut scene, peer).is_empty(), "the other is under way");
    scene.run_to(11.6);
    assert_eq!(asked(&mut scene, peer), ["request 0"]);
    assert!(asked(&mut scene, refuser).is_empty());
    gives(&mut scene, peer, 0, &info);
    assert_eq!(found(&scene), Some(&info[..]));
}

#[test]
fn b8_the_same_peer_is_asked_again_after_a_minute_if_there_is_no_other() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    let peer = honest(&mut scene, 1);
    assert_eq!(asked(&mut scene, peer), ["request 0"]);
    says(&mut scene, peer, &MetadataMessage::Reject { piece: 0 });
    scene.run_to(60.5);
    assert!(asked(&mut scene, peer).is_empty());
    scene.run_to(62.0);
    assert_eq!(asked(&mut scene, peer), ["request 0"]);
}

#[test]
fn a_peer_that_leaves_passes_its_turn_on() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    let (one, two) = (honest(&mut scene, 1), honest(&mut scene, 2));
    let info = scene.meta.info().to_vec();
    let mut wrong = info.clone();
    wrong[17_000] ^= 1;
    gives(&mut scene, one, 0, &info);
    gives(&mut scene, two, 1, &wrong);
    // A mix that is wrong: the last to speak is to give all of it, and leaves.
    assert_eq!(asked(&mut scene, two), ["request 1", "request 0"]);
    assert_eq!(
        asked(&mut scene, one),
        ["request 0"],
        "before the mix was seen"
    );
    scene.handle(Input::Ended { conn: two });
    scene.run_to(3.0);
    assert_eq!(asked(&mut scene, one), ["request 0"]);
}

#[test]
fn b10_what_is_said_of_pieces_too_early_is_judged_later() {
    let mut scene = Scene::undescribed(9, |_| {});
    let good = honest(&mut scene, 1);
    let bad = scene.peer(2, MODERN);
    let long = scene.peer(3, MODERN);
    scene.says(good, Message::Bitfield(&[0xff, 0x80]));
    scene.says(bad, Message::Bitfield(&[0xff]));
    scene.says(long, Message::Have(Piece(9)));
    let info = scene.meta.info().to_vec();
    gives(&mut scene, good, 0, &info);
    let (torrent, metainfo) = (scene.torrent, Arc::clone(&scene.meta));
    scene.command(Command::Describe { torrent, metainfo });
    assert!(!scene.is_closed(bad) && !scene.is_closed(long), "not yet");
    scene.checked(&[]);
    assert!(scene.is_closed(bad) && scene.is_closed(long));
    assert_eq!(scene.session.snapshot(scene.now).peers[0].pieces_have, 9);
}

#[test]
fn b10_a_flood_of_early_words_ends_a_connection() {
    let mut scene = Scene::undescribed(9, |_| {});
    let peer = scene.peer(1, MODERN);
    let bits = vec![0xff; 200_000];
    scene.says(peer, Message::Bitfield(&bits));
    scene.says(peer, Message::Bitfield(&bits));
    assert!(!scene.is_closed(peer));
    scene.says(peer, Message::Bitfield(&bits));
    assert!(scene.is_closed(peer), "more than 512 KiB");
}

#[test]
fn b11_metadata_is_given_twice_to_one_peer_and_nothing_else_is() {
    let mut scene = Scene::seeding(PIECES);
    let peer = honest(&mut scene, 1);
    for odd in [1_000_000_000, -1, i64::MIN, 2] {
        says(&mut scene, peer, &MetadataMessage::Request { piece: odd });
        assert_eq!(asked(&mut scene, peer), [format!("reject {odd}")]);
    }
    let rest = scene.meta.info().len() - 16_384;
    let mut given = 0;
    for round in 0..50 {
        for piece in [0, 1] {
            says(&mut scene, peer, &MetadataMessage::Request { piece });
            let answer = asked(&mut scene, peer).concat();
            let expected = match (round < 2, piece) {
                (true, 0) => "data 0: 16384".to_owned(),
                (true, _) => format!("data 1: {rest}"),
                (false, _) => format!("reject {piece}"),
            };
            assert_eq!(answer, expected, "round {round}");
            given += usize::from(answer.starts_with("data"));
        }
    }
    assert_eq!(given, 4);
}

#[test]
fn b11_before_we_have_it_every_request_is_refused() {
    let mut scene = Scene::undescribed(PIECES, |_| {});
    let peer = giver(&mut scene, 1, "i0e");
    says(&mut scene, peer, &MetadataMessage::Request { piece: 0 });
    assert_eq!(asked(&mut scene, peer), ["reject 0"]);
}
