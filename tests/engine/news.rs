//! When peers hear of new pieces: at once if they can act on it, together with others if not.

use minitorrent::base::ids::{Block, Piece};
use minitorrent::base::limits;
use minitorrent::engine::command::{Command, Selection};
use minitorrent::engine::io::{ConnId, DiskDone, DiskError, DiskErrorKind};
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, Scene};

/// A torrent of `pieces` pieces that are fetched in order from a seed.
fn fetching(pieces: u32) -> (Scene, ConnId) {
    let mut scene = Scene::new(pieces);
    let torrent = scene.torrent;
    let selection = Selection {
        sequential: true,
        ..Selection::default()
    };
    scene.command(Command::Select { torrent, selection });
    let all: Vec<u32> = (0..pieces).collect();
    let seed = scene.giver(1, MODERN, &all);
    (scene, seed)
}

/// The seed gives these pieces, and they are right.
fn fetch(scene: &mut Scene, seed: ConnId, pieces: impl IntoIterator<Item = u32>) {
    for piece in pieces {
        scene.gives(seed, piece, 0);
        scene.gives(seed, piece, 1);
        let (torrent, piece, good) = (scene.torrent, Piece(piece), true);
        scene.disk(DiskDone::Verified {
            torrent,
            piece,
            good,
        });
    }
}

#[test]
fn a_piece_that_comes_seldom_is_told_at_once_and_those_that_come_fast_together_after_four_seconds()
{
    let (mut scene, seed) = fetching(8);
    let peers = [scene.peer(2, MODERN), scene.peer(3, MODERN)];
    fetch(&mut scene, seed, [0]);
    for peer in peers {
        assert_eq!(scene.sent(peer), ["have 0"]);
    }
    scene.transmits.clear();
    scene.run_to(2.0);
    fetch(&mut scene, seed, [1]);
    scene.run_to(4.0);
    fetch(&mut scene, seed, [2, 3]);
    scene.run_to(4.9);
    for peer in peers {
        assert!(scene.sent(peer).is_empty());
    }
    scene.run_to(5.0);
    assert_eq!(scene.transmits, peers);
    for peer in peers {
        assert_eq!(scene.sent(peer), ["have 1", "have 2", "have 3"]);
    }
    scene.run_to(9.0);
    fetch(&mut scene, seed, [4]);
    for peer in peers {
        assert_eq!(scene.sent(peer), ["have 4"]);
    }
}

#[test]
fn who_may_request_hears_of_each_piece_at_once_and_who_waits_for_a_slot_when_it_gets_one() {
    let (mut scene, seed) = fetching(8);
    fetch(&mut scene, seed, [0]);
    let peers: Vec<ConnId> = (2..=7).map(|host| scene.peer(host, MODERN)).collect();
    for peer in &peers {
        scene.says(*peer, Message::Interested);
    }
    let unchoked: Vec<bool> = peers
        .iter()
        .map(|peer| scene.sent(*peer) == ["unchoke"])
        .collect();
    assert_eq!(unchoked, [true, true, true, true, false, false]);
    fetch(&mut scene, seed, [1]);
    for peer in &peers[..4] {
        assert_eq!(scene.sent(*peer), ["have 1"]);
    }
    fetch(&mut scene, seed, [2]);
    assert!(scene.sent(peers[4]).is_empty());
    assert!(scene.sent(peers[5]).is_empty());
    scene.says(peers[0], Message::NotInterested);
    let next = [scene.sent(peers[4]), scene.sent(peers[5])];
    assert!(
        next.contains(&vec!["unchoke".into(), "have 1".into(), "have 2".into()]),
        "{next:?}"
    );
    assert!(next.contains(&Vec::new()), "{next:?}");
}

#[test]
fn who_lacked_nothing_hears_at_once_of_the_first_piece_that_it_lacks() {
    let (mut scene, seed) = fetching(8);
    let ahead = scene.giver(2, MODERN, &[0, 1]);
    fetch(&mut scene, seed, [0]);
    scene.sent(ahead);
    // It has this one, too, and so there is no hurry.
    scene.run_to(1.5);
    let other = scene.peer(3, MODERN);
    fetch(&mut scene, seed, [2]);
    assert_eq!(scene.sent(ahead), ["have 2"]);
    assert!(scene.sent(other).is_empty());
    // It wants nothing though it could, and so there is none either.
    fetch(&mut scene, seed, [3]);
    assert!(scene.sent(ahead).is_empty());
    scene.run_to(6.0);
    assert_eq!(scene.sent(ahead), ["have 3"]);
    assert_eq!(scene.sent(other), ["have 2", "have 3"]);
}

#[test]
fn news_goes_along_with_whatever_is_sent_anyway() {
    let (mut scene, seed) = fetching(8);
    let peer = scene.peer(2, MODERN);
    fetch(&mut scene, seed, [0, 1]);
    assert_eq!(scene.sent(peer), ["have 0"]);
    scene.says(peer, Message::Have(Piece(7)));
    assert_eq!(scene.sent(peer), ["interested", "have 1"]);
    scene.run_to(7.0);
    assert!(scene.sent(peer).is_empty(), "it is told once");
}

#[test]
fn who_has_a_piece_hears_of_it_too_and_a_seed_of_none() {
    let (mut scene, seed) = fetching(8);
    let same = scene.peer(2, MODERN);
    scene.says(same, Message::Have(Piece(0)));
    assert_eq!(scene.sent(same), ["interested"]);
    fetch(&mut scene, seed, [0]);
    assert_eq!(scene.sent(same), ["not interested", "have 0"]);
    scene.run_to(7.0);
    let said = scene.sent(seed);
    assert!(
        said.iter().all(|word| !word.starts_with("have")),
        "{said:?}"
    );
}

#[test]
fn with_the_last_piece_everybody_hears_of_all_at_once() {
    let (mut scene, seed) = fetching(4);
    let peer = scene.peer(2, MODERN);
    fetch(&mut scene, seed, 0..4);
    assert_eq!(scene.sent(peer), ["have 0", "have 1", "have 2", "have 3"]);
    assert!(!scene.is_closed(peer));
}

#[test]
fn as_many_pieces_as_one_packet_carries_are_told_sooner() {
    let most = limits::NEWS_MAX as u32;
    let (mut scene, seed) = fetching(2 * most);
    let peer = scene.peer(2, MODERN);
    fetch(&mut scene, seed, 0..most);
    assert_eq!(scene.sent(peer), ["have 0"]);
    fetch(&mut scene, seed, [most]);
    let told = scene.sent(peer);
    assert_eq!(told.len(), limits::NEWS_MAX);
    assert_eq!(told.last(), Some(&format!("have {most}")));
    assert!(told.len() * 9 <= 1220, "fits the least packet of IPv6");
}

#[test]
fn a_newcomer_is_not_told_again_what_its_bitfield_said() {
    let (mut scene, seed) = fetching(8);
    fetch(&mut scene, seed, [0]);
    scene.peer(2, MODERN);
    fetch(&mut scene, seed, [1]);
    let late = scene.accept(3).expect("there is room");
    scene.greet(late, crate::scene::id(3), MODERN);
    assert_eq!(
        scene.sent(late),
        ["handshake", "bitfield [c0]", "extended 0"]
    );
    scene.run_to(7.0);
    assert!(scene.sent(late).is_empty());
}

#[test]
fn a_piece_that_is_gone_again_is_not_told() {
    let (mut scene, seed) = fetching(8);
    let peer = scene.peer(2, MODERN);
    fetch(&mut scene, seed, [0, 1, 2]);
    let (torrent, begin, len) = (scene.torrent, 0, limits::BLOCK);
    let piece = Piece(1);
    scene.disk(DiskDone::ReadFailed {
        torrent,
        block: Block { piece, begin, len },
        error: DiskError {
            kind: DiskErrorKind::Changed,
            message: "f: another file".into(),
        },
    });
    scene.run_to(6.0);
    assert_eq!(scene.sent(peer), ["have 0", "have 2"]);
}

#[test]
fn what_a_newcomer_is_allowed_it_has_heard_of() {
    let (mut scene, seed) = fetching(100);
    // Only what others have, too, is allowed.
    let most: Vec<u32> = (0..99).collect();
    scene.giver(3, MODERN, &most);
    fetch(&mut scene, seed, [0]);
    let new = scene.peer(2, MODERN);
    fetch(&mut scene, seed, 1..50);
    assert!(scene.sent(new).is_empty());
    scene.says(new, Message::HaveNone);
    let said = scene.sent(new);
    let place = |word: &str| said.iter().position(|said| said == word);
    let allowed = said
        .iter()
        .filter_map(|word| word.strip_prefix("allowed fast "));
    let mut count = 0;
    for piece in allowed.filter(|piece| *piece != "0") {
        assert!(
            place(&format!("have {piece}")) < place(&format!("allowed fast {piece}")),
            "{said:?}"
        );
        assert!(place(&format!("have {piece}")).is_some());
        count += 1;
    }
    assert!(count > 0, "{said:?}");
}
