//! UDP trackers (BEP 15).

use super::*;

#[test]
fn a_udp_announce_connects_then_announces_and_gives_peers() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(0);
    assert_eq!(
        (sent.len(), sent[0].to, sent[0].bytes.len()),
        (1, udp(), 16)
    );
    assert!(scene.receive(udp(), &connected(&sent[0].bytes, 0x0102)));
    let sent = scene.datagrams(0);
    assert_eq!(sent[0].bytes.len(), 98);
    assert_eq!(sent[0].bytes[..8], [0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(sent[0].bytes[80..84], [0, 0, 0, 2], "started");
    assert!(scene.receive(udp(), &announced(&sent[0].bytes, 100, PEER)));
    let actions = scene.drain();
    assert!(
        matches!(&actions[1], Action::Peers { peers, .. } if peers[..] == [([10, 0, 0, 1], 6881).into()])
    );
    assert_eq!(scene.datagrams(200_000)[0].ms, 100_000, "the interval");
}

#[test]
fn a_udp_interval_is_clamped() {
    for (interval, ms) in [(0, 60_000), (u32::MAX, 86_400_000)] {
        let mut scene = Scene::started(&[&[UDP]], false);
        let sent = scene.datagrams(0);
        scene.receive(udp(), &connected(&sent[0].bytes, 1));
        let sent = scene.datagrams(0);
        scene.receive(udp(), &announced(&sent[0].bytes, interval, &[]));
        assert_eq!(scene.datagrams(90_000_000)[0].ms, ms);
    }
}

#[test]
fn an_unanswered_connect_is_sent_again_after_15_times_two_to_the_n_seconds_up_to_n_8() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(7_665_000);
    let times: Vec<_> = sent.iter().map(|sent| sent.ms / 1000).collect();
    assert_eq!(times, [0, 15, 45, 105, 225, 465, 945, 1905, 3825]);
    assert!(sent.iter().all(|other| other.bytes == sent[0].bytes));
    // Given up at 15 x (2^9 - 1) seconds, and begun anew half an hour later.
    assert_eq!(scene.datagrams(10_000_000)[0].ms, (7_665 + 1_800) * 1000);
}

#[test]
fn an_unanswered_announce_renews_its_connection_id_when_that_is_a_minute_old() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(1_000);
    scene.receive(udp(), &connected(&sent[0].bytes, 1));
    let sent = scene.datagrams(110_000);
    let seen: Vec<_> = sent
        .iter()
        .map(|sent| (sent.ms, sent.bytes.len()))
        .collect();
    assert_eq!(
        seen,
        [(1_000, 98), (16_000, 98), (46_000, 98), (106_000, 16)]
    );
    scene.receive(udp(), &connected(&sent[3].bytes, 2));
    let sent = scene.datagrams(240_000);
    let seen: Vec<_> = sent
        .iter()
        .map(|sent| (sent.ms, sent.bytes.len()))
        .collect();
    // The pause goes on doubling: 120 s now.
    assert_eq!(seen, [(110_000, 98), (230_000, 16)]);
}

#[test]
fn ten_seconds_of_silence_are_a_failure_and_a_late_answer_is_still_used() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(9_999);
    let actions = scene.run_to(10_000);
    let shown: Vec<Action> = actions.into_iter().map(|(_, action)| action).collect();
    assert_eq!(error(&shown), "[tracker.timeout] no answer within 10 s");
    scene.run_to(14_000);
    assert!(scene.receive(udp(), &connected(&sent[0].bytes, 1)));
    let sent = scene.datagrams(28_000);
    assert_eq!((sent.len(), sent[0].ms), (1, 14_000));
    assert!(scene.receive(udp(), &announced(&sent[0].bytes, 1800, PEER)));
    assert!(matches!(
        scene.drain()[..],
        [Action::Report { result: Ok(1), .. }, Action::Peers { .. }]
    ));
}

#[test]
fn a_connection_id_is_used_for_less_than_sixty_seconds() {
    for (seconds, len) in [(59, 98), (60, 16)] {
        let mut scene = Scene::started(&[&[UDP]], false);
        let sent = scene.datagrams(0);
        scene.receive(udp(), &connected(&sent[0].bytes, 1));
        let sent = scene.datagrams(0);
        scene.receive(udp(), &announced(&sent[0].bytes, 1800, &[]));
        scene.run_to(seconds * 1000);
        scene.announcer.stop(scene.now);
        let sent = scene.datagrams(seconds * 1000);
        assert_eq!((sent.len(), sent[0].bytes.len()), (1, len));
    }
}

#[test]
fn a_connection_id_that_the_tracker_has_forgotten_is_renewed_at_once() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(0);
    scene.receive(udp(), &connected(&sent[0].bytes, 1));
    let sent = scene.datagrams(0);
    scene.receive(udp(), &announced(&sent[0].bytes, 1800, &[]));
    scene.announcer.complete(scene.now);
    let sent = scene.datagrams(1_000);
    assert_eq!(sent[0].bytes.len(), 98);
    assert!(scene.receive(udp(), &refused(&sent[0].bytes, "bad id")));
    let sent = scene.datagrams(1_000);
    assert_eq!(sent[0].bytes.len(), 16);
    scene.receive(udp(), &connected(&sent[0].bytes, 2));
    let sent = scene.datagrams(1_000);
    assert_eq!(sent[0].bytes[80..84], [0, 0, 0, 1], "completed");
    assert!(scene.receive(udp(), &refused(&sent[0].bytes, "go away")));
    assert_eq!(error(&scene.drain()), "[tracker.failure] go away");
}

#[test]
fn datagrams_from_elsewhere_or_with_another_transaction_change_nothing() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(0);
    let good = connected(&sent[0].bytes, 1);
    let mut wrong = good.clone();
    wrong[7] ^= 1;
    assert!(!scene.receive(udp(), &wrong));
    assert!(!scene.receive(([192, 0, 2, 9], 6970).into(), &good));
    assert!(!scene.receive(([192, 0, 2, 8], 6969).into(), &good));
    assert!(!scene.receive(udp(), &good[..15]));
    assert!(!scene.receive(udp(), &[]));
    // Of an announce that was not made yet.
    let early = announced(&sent[0].bytes, 60, PEER);
    scene.receive(udp(), &early);
    assert!(scene.drain().is_empty());
    let mapped: SocketAddr = "[::ffff:192.0.2.9]:6969".parse().expect("an address");
    assert!(scene.receive(mapped, &good));
    assert_eq!(scene.datagrams(0)[0].bytes.len(), 98);
}

#[test]
fn a_udp_tracker_on_ipv6_gives_ipv6_peers() {
    let mut scene = Scene::started(&[&["udp://[2001:db8::9]:6969/announce"]], false);
    let sent = scene.datagrams(0);
    let from = sent[0].to;
    scene.receive(from, &connected(&sent[0].bytes, 1));
    let sent = scene.datagrams(0);
    let peer: SocketAddr = "[2001:db8::1]:80".parse().expect("an address");
    let SocketAddr::V6(v6) = peer else {
        panic!("not IPv6");
    };
    let list = [&v6.ip().octets()[..], &[0, 80]].concat();
    scene.receive(from, &announced(&sent[0].bytes, 60, &list));
    assert!(matches!(&scene.drain()[1], Action::Peers { peers, .. } if peers[..] == [peer]));
}
