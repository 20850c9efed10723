//! Which server is asked when, and for how long.

use super::*;

#[test]
fn both_families_are_asked_for_at_once_from_sockets_of_their_own() {
    let mut world = World::new(ONE);
    world.resolve("Tracker.Example");
    assert_eq!(world.sent.len(), 2);
    for (sent, kind) in world.sent.iter().zip([1, 28]) {
        let head = [1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let rest = b"\x07tracker\x07example\0\0";
        assert_eq!(sent.bytes[2..], [&head[..], rest, &[kind, 0, 1]].concat());
        assert_eq!(sent.to, "192.0.2.53:53".parse().unwrap());
    }
    assert_ne!(world.sent[0].socket, world.sent[1].socket);
    assert_ne!(world.sent[0].bytes[..2], world.sent[1].bytes[..2]);

    let (v4, v6) = (world.sent[0].clone(), world.sent[1].clone());
    // The name may come back in any case.
    let records = [a("TRACKER.example", 300, 1), a("tracker.example", 300, 2)];
    let mut bytes = answer(&v4.bytes, 0, &records, &[]);
    bytes[13] = b'T';
    world.reply(&v4, &bytes);
    assert!(world.resolved.is_empty());
    world.reply(
        &v6,
        &answer(&v6.bytes, 0, &[aaaa("tracker.example", 300, 9)], &[]),
    );
    let both = ips(["192.0.2.1", "2001:db8::9", "192.0.2.2"]);
    assert_eq!(world.resolved, [("tracker.example".to_owned(), Ok(both))]);
    assert_eq!(world.closed, [v4.socket, v6.socket]);
    assert_eq!(world.resolver.poll_timeout(), None);
}

#[test]
fn a_silent_server_gives_way_to_the_next_and_is_not_asked_first_for_a_minute() {
    let mut world = World::new(TWO);
    world.resolve("t.example");
    world.run_until(ms(1500));
    assert_eq!(world.sent.len(), 4);
    assert_eq!(world.sent[2].at, ms(1500));
    assert_eq!(world.sent[2].to, "192.0.2.54:53".parse().unwrap());
    assert_eq!(world.closed.len(), 2);
    // A late answer of the first comes to a closed socket.
    let late = world.sent[0].clone();
    world.reply(&late, &answer(&late.bytes, 0, &[a("t.example", 9, 1)], &[]));
    assert!(world.resolved.is_empty());

    world.resolve("u.example");
    for name in ["t.example", "u.example"] {
        for kind in [A, AAAA] {
            let second = world.question(name, kind);
            assert_eq!(second.to, "192.0.2.54:53".parse().unwrap());
            world.reply(&second, &answer(&second.bytes, 0, &[], &[]));
        }
    }
    world.run_until(ms(61_499));
    world.resolve("v.example");
    assert_eq!(
        world.question("v.example", A).to,
        "192.0.2.54:53".parse().unwrap()
    );
    // Then the first has its chance again.
    world.now = ms(61_500);
    world.resolve("w.example");
    assert_eq!(
        world.question("w.example", A).to,
        "192.0.2.53:53".parse().unwrap()
    );
}

#[test]
fn a_name_that_nobody_answers_fails_after_ten_seconds() {
    let mut world = World::new(ONE);
    world.resolve("t.example");
    world.run_until(ms(9_999));
    let times: Vec<_> = world.sent.iter().step_by(2).map(|s| s.at).collect();
    assert_eq!(times, [ms(0), ms(1500), ms(4500)]);
    assert!(world.resolved.is_empty());
    world.run_until(ms(10_000));
    let failed = ("t.example".to_owned(), Err(DnsError::TimedOut));
    assert_eq!(world.take_resolved(), std::slice::from_ref(&failed));
    assert_eq!(world.closed.len(), 6);
    assert_eq!(world.resolver.poll_timeout(), None);
    // The failure is remembered for five seconds, so that a storm of questions stays here.
    world.run_until(ms(14_999));
    world.resolve("t.example");
    assert_eq!(world.take_resolved(), [failed]);
    assert_eq!(world.sent.len(), 6);
    world.run_until(ms(15_000));
    world.resolve("t.example");
    assert_eq!(world.sent.len(), 8);
}

#[test]
fn each_question_has_a_fresh_id_and_socket_at_each_try() {
    let mut world = World::new(ONE);
    world.resolve("t.example");
    world.run_until(ms(10_000));
    let mut ids: Vec<_> = world.sent.iter().map(|s| s.bytes[..2].to_vec()).collect();
    let mut sockets: Vec<_> = world.sent.iter().map(|s| s.socket).collect();
    ids.sort_unstable();
    ids.dedup();
    sockets.sort_unstable();
    sockets.dedup();
    assert_eq!((ids.len(), sockets.len()), (6, 6));
}

#[test]
fn a_server_that_fails_gives_way_at_once_and_is_not_asked_again() {
    for rcode in [1, 2, 4, 5] {
        let mut world = World::new(TWO);
        world.resolve("t.example");
        for kind in [A, AAAA] {
            let first = world.question("t.example", kind);
            world.reply(&first, &answer(&first.bytes, rcode, &[], &[]));
        }
        assert_eq!(world.sent.len(), 4);
        for kind in [A, AAAA] {
            let second = world.question("t.example", kind);
            assert_eq!(second.to, "192.0.2.54:53".parse().unwrap());
            world.reply(&second, &answer(&second.bytes, rcode, &[], &[]));
        }
        let failed = ("t.example".to_owned(), Err(DnsError::ServerFailure));
        assert_eq!(world.take_resolved(), [failed]);
        assert_eq!((world.sent.len(), world.closed.len()), (4, 4));
    }
}

#[test]
fn servers_that_cant_be_reached_are_said_to_be_so_at_once() {
    let mut world = World::new(TWO);
    world.resolve("t.example");
    for at in 0..4 {
        let socket = world.sent[at].socket;
        world.event(socket, SocketEvent::Failed);
    }
    let failed = ("t.example".to_owned(), Err(DnsError::Unreachable));
    assert_eq!(world.take_resolved(), [failed]);
    assert_eq!((world.sent.len(), world.closed.len()), (4, 4));
}

#[test]
fn the_second_family_is_waited_for_no_longer_than_200_ms() {
    let mut world = World::new(ONE);
    world.resolve("t.example");
    world.now = ms(40);
    let v4 = world.question("t.example", A);
    world.reply(&v4, &answer(&v4.bytes, 0, &[a("t.example", 900, 1)], &[]));
    assert_eq!(world.resolver.poll_timeout(), Some(ms(240)));
    world.run_until(ms(240));
    let found = ("t.example".to_owned(), Ok(ips(["192.0.2.1"])));
    assert_eq!(world.take_resolved(), [found]);
    assert_eq!(world.closed.len(), 2);
    // Half an answer is remembered for a minute at most.
    world.now = ms(60_240);
    world.resolve("t.example");
    assert_eq!(world.sent.len(), 4);
}

#[test]
fn no_address_of_one_family_does_not_cut_the_other_short() {
    let mut world = World::new(ONE);
    world.resolve("t.example");
    let v6 = world.question("t.example", AAAA);
    world.reply(&v6, &answer(&v6.bytes, 0, &[], &[]));
    world.run_until(ms(1400));
    assert!(world.resolved.is_empty());
    let v4 = world.question("t.example", A);
    world.reply(&v4, &answer(&v4.bytes, 0, &[a("t.example", 9, 1)], &[]));
    assert_eq!(world.resolved[0].1, Ok(ips(["192.0.2.1"])));
}

#[test]
fn a_network_that_comes_up_later_is_used_as_soon_as_its_servers_are_known() {
    let mut world = World::new("");
    world.resolve("t.example");
    assert_eq!(world.config_reads, 1);
    assert_eq!(world.sent[0].to, "127.0.0.1:53".parse().unwrap());
    for at in 0..2 {
        let socket = world.sent[at].socket;
        world.event(socket, SocketEvent::Failed);
    }
    assert_eq!(world.take_resolved()[0].1, Err(DnsError::Unreachable));
    // Within five seconds the failure is remembered; then the configuration is asked for before the server.
    world.now = ms(5_000);
    world.resolve("t.example");
    assert_eq!(world.config_reads, 2);
    let config = ResolverConfig::from_text(TWO, "192.0.2.8 later.example\n");
    world.resolve("later.example");
    assert_eq!(world.config_reads, 2);
    world
        .resolver
        .reconfigure(world.now, config.clone(), &mut world.rng);
    world.drain();
    assert_eq!(
        world.take_resolved(),
        [("later.example".to_owned(), Ok(ips(["192.0.2.8"])))]
    );
    assert_eq!(world.closed.len(), 6);
    let v4 = world.question("t.example", A);
    assert_eq!(v4.to, "192.0.2.53:53".parse().unwrap());
    // The same again changes nothing.
    let sent = world.sent.len();
    world
        .resolver
        .reconfigure(world.now, config, &mut world.rng);
    world.drain();
    assert_eq!(world.sent.len(), sent);
    // The lookup keeps the deadline it had.
    world.run_until(ms(14_999));
    assert!(world.resolved.is_empty());
    world.run_until(ms(15_000));
    assert_eq!(world.resolved[0].1, Err(DnsError::TimedOut));
}

#[test]
fn without_servers_nothing_is_sent_and_the_name_fails_at_once() {
    let mut world = World::with(ResolverConfig {
        servers: Vec::new(),
        ..ResolverConfig::default()
    });
    world.resolve("t.example");
    let failed = ("t.example".to_owned(), Err(DnsError::Unreachable));
    assert_eq!(world.resolved, [failed]);
    assert_eq!(world.resolver.poll_timeout(), None);
}
