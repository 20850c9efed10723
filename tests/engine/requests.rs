//! Whom we ask for what, and when somebody else is asked.

use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::io::Input;
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, OLD, Scene};

fn block(piece: u32, index: u32) -> Block {
    Block {
        piece: Piece(piece),
        begin: index * 16_384,
        len: 16_384,
    }
}

#[test]
fn an_unchoke_is_answered_by_requests_for_whole_pieces() {
    let mut scene = Scene::new(4);
    let peer = scene.giver(1, MODERN, &[2]);
    let sent = scene.sent(peer);
    assert_eq!(sent, ["interested", "request 2/0", "request 2/1"]);
}

#[test]
fn thirty_two_requests_go_to_a_new_peer_and_no_more_than_it_queues() {
    for (reqq, count) in [(None, 32), (Some(&b"d4:reqqi5ee"[..]), 5)] {
        let mut scene = Scene::new(40);
        let peer = scene.peer(1, MODERN);
        if let Some(payload) = reqq {
            scene.says(peer, Message::Extended { id: 0, payload });
        }
        scene.says(peer, Message::HaveAll);
        scene.says(peer, Message::Unchoke);
        assert_eq!(scene.sent(peer).len(), 1 + count);
    }
}

#[test]
fn nothing_is_asked_of_a_peer_that_chokes_but_what_it_allows() {
    let mut scene = Scene::new(4);
    let peer = scene.peer(1, MODERN);
    scene.says(peer, Message::HaveAll);
    assert_eq!(scene.sent(peer), ["interested"]);
    scene.says(peer, Message::AllowedFast(Piece(3)));
    assert_eq!(scene.sent(peer), ["request 3/0", "request 3/1"]);
}

#[test]
fn a_piece_is_fetched_from_one_peer_while_there_are_others_to_fetch() {
    let mut scene = Scene::new(4);
    let one = scene.giver(1, MODERN, &[0, 1]);
    assert_eq!(scene.sent(one).len(), 5);
    let two = scene.giver(2, MODERN, &[0, 1]);
    assert_eq!(scene.sent(two), ["interested"]);
    let three = scene.giver(3, MODERN, &[0, 2]);
    assert_eq!(
        scene.sent(three),
        ["interested", "request 2/0", "request 2/1"]
    );
}

#[test]
fn requests_of_a_peer_that_goes_are_asked_of_another_at_once() {
    let mut scene = Scene::new(4);
    let one = scene.giver(1, MODERN, &[0]);
    scene.sent(one);
    let two = scene.giver(2, MODERN, &[0]);
    assert_eq!(scene.sent(two), ["interested"]);
    scene.handle(Input::Failed { conn: one });
    assert_eq!(scene.sent(two), ["request 0/0", "request 0/1"]);
}

#[test]
fn requests_of_a_silent_peer_are_cancelled_and_asked_of_another_after_twenty_seconds() {
    let mut scene = Scene::new(4);
    let one = scene.giver(1, MODERN, &[0]);
    scene.sent(one);
    let two = scene.giver(2, MODERN, &[0]);
    scene.run_to(20.9);
    assert_eq!(scene.sent(two), ["interested"]);
    scene.run_to(21.0);
    assert_eq!(scene.sent(two), ["request 0/0", "request 0/1"]);
    assert_eq!(scene.sent(one), ["cancel 0/0", "cancel 0/1"]);
}

#[test]
fn a_silent_peer_does_not_take_a_piece_back_from_those_that_give() {
    let mut scene = Scene::new(4);
    let silent = scene.giver(1, MODERN, &[0]);
    let mut asked = 0;
    for round in 1..=20 {
        scene.run_to(f64::from(round) * 30.0);
        scene.says(silent, Message::KeepAlive);
        let sent = scene.sent(silent);
        asked += sent.iter().filter(|s| s.starts_with("request")).count();
    }
    assert!(
        (4..30).contains(&asked),
        "it is tried now and then: {asked}"
    );
    let giver = scene.giver(2, MODERN, &[0]);
    scene.run_to(630.0);
    let sent = scene.sent(giver);
    assert!(sent.contains(&"request 0/1".into()), "{sent:?}");
    let first = "request 0/0".into();
    scene.run_to(700.0);
    assert!(sent.contains(&first) || scene.sent(giver).contains(&first));
}

#[test]
fn a_block_in_time_keeps_the_others_from_timing_out() {
    let mut scene = Scene::new(4);
    let one = scene.giver(1, MODERN, &[0, 1]);
    scene.run_to(20.0);
    scene.gives(one, 0, 0);
    scene.gives(one, 1, 0);
    scene.sent(one);
    scene.run_to(30.0);
    assert!(scene.sent(one).iter().all(|s| !s.starts_with("cancel")));
}

#[test]
fn a_piece_is_kept_thirty_seconds_for_a_peer_that_chokes() {
    let mut scene = Scene::new(4);
    let one = scene.giver(1, OLD, &[0]);
    scene.sent(one);
    let two = scene.giver(2, OLD, &[0]);
    scene.says(one, Message::Choke);
    // Others may join a piece that has been with its peer for twenty seconds and more.
    scene.run_to(20.5);
    assert_eq!(scene.sent(two), ["interested"]);
    scene.says(one, Message::Unchoke);
    assert_eq!(scene.sent(one), ["request 0/0", "request 0/1"]);
}

#[test]
fn a_choke_of_a_modern_peer_takes_back_only_what_it_rejects() {
    let mut scene = Scene::new(4);
    let peer = scene.giver(1, MODERN, &[0]);
    scene.sent(peer);
    scene.says(peer, Message::Choke);
    scene.says(peer, Message::Reject(block(0, 1)));
    scene.gives(peer, 0, 0);
    assert_eq!(scene.take_ops(), ["write 0/0"]);
    scene.says(peer, Message::Unchoke);
    assert_eq!(scene.sent(peer), ["request 0/1"]);
}

#[test]
fn in_the_endgame_an_idle_peer_is_asked_too_and_cancelled_at_once() {
    let mut scene = Scene::new(2);
    let one = scene.giver(1, MODERN, &[0, 1]);
    scene.sent(one);
    let two = scene.giver(2, MODERN, &[0, 1]);
    let sent = scene.sent(two);
    assert_eq!(sent.len(), 5, "{sent:?}");
    let three = scene.giver(3, MODERN, &[0, 1]);
    assert_eq!(scene.sent(three), ["interested"], "one duplicate a block");
    scene.gives(two, 1, 0);
    assert_eq!(scene.sent(one), ["cancel 1/0"]);
    assert!(scene.sent(two).is_empty());
    scene.gives(one, 1, 0);
    assert_eq!(scene.take_ops(), ["write 1/0"]);
    assert_eq!(scene.wasted(), 16_384);
}

/// Two that hold out a piece and send nothing would otherwise keep it for as long as a first answer is waited for.
#[test]
fn where_neither_of_two_has_ever_given_a_third_that_has_is_asked_too() {
    let mut scene = Scene::new(2);
    let three = scene.giver(3, MODERN, &[0]);
    scene.gives(three, 0, 0);
    scene.gives(three, 0, 1);
    scene.sent(three);
    let one = scene.giver(1, MODERN, &[1]);
    let two = scene.giver(2, MODERN, &[1]);
    for peer in [one, two] {
        let sent = scene.sent(peer);
        assert!(sent.ends_with(&["request 1/0".into(), "request 1/1".into()]));
    }
    let four = scene.giver(4, MODERN, &[1]);
    assert_eq!(scene.sent(four), ["interested"]);
    scene.says(three, Message::Have(Piece(1)));
    let sent = scene.sent(three);
    assert!(
        sent.ends_with(&["request 1/0".into(), "request 1/1".into()]),
        "{sent:?}"
    );
    scene.gives(three, 1, 0);
    assert_eq!(scene.sent(one), ["cancel 1/0"]);
    assert_eq!(scene.sent(two), ["cancel 1/0"]);
}

#[test]
fn a_refused_request_is_asked_of_another_at_once_and_of_the_same_after_a_second() {
    let mut scene = Scene::new(4);
    let one = scene.giver(1, MODERN, &[0]);
    scene.sent(one);
    scene.says(one, Message::Reject(block(0, 0)));
    scene.says(one, Message::Reject(block(0, 1)));
    scene.run_to(1.9);
    assert!(scene.sent(one).is_empty());
    let two = scene.giver(2, MODERN, &[0]);
    assert_eq!(
        scene.sent(two),
        ["interested", "request 0/0", "request 0/1"]
    );
}

#[test]
fn who_refused_all_is_asked_again_within_two_seconds_though_nothing_else_happens() {
    let mut scene = Scene::new(4);
    let one = scene.giver(1, MODERN, &[0]);
    scene.sent(one);
    scene.says(one, Message::Reject(block(0, 0)));
    scene.says(one, Message::Reject(block(0, 1)));
    scene.run_to(3.0);
    assert_eq!(scene.sent(one), ["request 0/0", "request 0/1"]);
}

/// As Transmission does when its queue is full.
#[test]
fn who_refuses_one_request_among_blocks_goes_on_without_a_rest() {
    let mut scene = Scene::new(20);
    let has: Vec<u32> = (0..20).collect();
    let one = scene.giver(1, MODERN, &has);
    let asked: Vec<_> = scene
        .sent(one)
        .into_iter()
        .filter_map(|words| words.strip_prefix("request ").map(str::to_owned))
        .collect();
    assert_eq!(asked.len(), 32);
    let place = |at: usize| {
        let (piece, index) = asked[at].split_once('/').expect("a place");
        let number = |text: &str| text.parse::<u32>().expect("a number");
        (number(piece), number(index))
    };
    let gives = |scene: &mut Scene, at: usize| {
        let (piece, index) = place(at);
        scene.gives(one, piece, index);
    };
    scene.run_to(1.1);
    gives(&mut scene, 0);
    for at in [30, 31] {
        let (piece, index) = place(at);
        scene.says(one, Message::Reject(block(piece, index)));
    }
    (1..10).for_each(|at| gives(&mut scene, at));
    let sent = scene.sent(one);
    for again in [30, 31].map(|at| format!("request {}", asked[at])) {
        assert!(sent.contains(&again), "at once: {again} of {sent:?}");
    }
}

#[test]
fn a_reject_of_what_was_never_asked_is_nothing() {
    let mut scene = Scene::new(4);
    let peer = scene.giver(1, MODERN, &[0]);
    scene.sent(peer);
    scene.says(peer, Message::Reject(block(1, 0)));
    scene.run_to(5.0);
    assert!(!scene.is_closed(peer) && scene.sent(peer).is_empty());
}

#[test]
fn an_empty_block_is_a_refusal() {
    let mut scene = Scene::new(4);
    let peer = scene.giver(1, OLD, &[0]);
    scene.sent(peer);
    let (piece, data) = (Piece(0), &[][..]);
    let begin = 16_384;
    scene.says(peer, Message::Piece { piece, begin, data });
    assert!(scene.take_ops().is_empty());
    scene.run_to(6.5);
    assert_eq!(scene.sent(peer), ["request 0/1"]);
}

#[test]
fn the_first_four_pieces_are_random_and_then_the_rarest_comes_first() {
    let all: Vec<u32> = (0..40).collect();
    let mut scene = Scene::with(
        40,
        minitorrent::engine::command::Aim::Download,
        |_| {},
        &[],
        &[36, 37, 38, 39],
    );
    for host in 1..=3 {
        scene.peer(host, MODERN);
        let conn = scene.peer(host + 100, MODERN);
        let most: Vec<u32> = all.iter().copied().filter(|p| *p != 17).collect();
        scene.says(
            conn,
            Message::Bitfield(&crate::scene::bits(&scene.meta, &most)),
        );
    }
    let seed = scene.giver(50, MODERN, &all);
    assert_eq!(scene.sent(seed)[1], "request 17/0");
}
