//! What is believed of an answer, and for how long.

use super::*;

#[test]
fn an_answer_is_believed_only_from_its_server_to_its_socket_id_and_question() {
    let mut world = World::new(ONE);
    world.resolve("t.example");
    let v4 = world.question("t.example", A);
    let good = answer(&v4.bytes, 0, &[a("t.example", 300, 1)], &[]);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= byte;
        bytes
    };
    world.event(
        v4.socket,
        SocketEvent::Datagram {
            from: "192.0.2.53:54".parse().unwrap(),
            bytes: &good,
        },
    );
    world.event(
        v4.socket,
        SocketEvent::Datagram {
            from: "192.0.2.54:53".parse().unwrap(),
            bytes: &good,
        },
    );
    for forged in [
        with(0, 1),    // the id
        with(1, 1),    // its other byte
        with(2, 0x80), // a question, not an answer
        with(2, 0x08), // another opcode
        with(5, 1),    // no question
        with(13, 1),   // another name
        with(24, 1),   // another type
        with(26, 1),   // another class
        good[..11].to_vec(),
        Vec::new(),
    ] {
        world.reply(&v4, &forged);
    }
    let other = world.question("t.example", AAAA);
    world.reply(&Sent { to: v4.to, ..other }, &good);
    assert!(world.closed.is_empty());
    assert_eq!(world.sent.len(), 2);
    world.reply(&v4, &good);
    assert_eq!(world.closed, [v4.socket]);
}

#[test]
fn no_such_name_is_remembered_as_long_as_the_zone_says_within_bounds() {
    for (authorities, seconds) in [
        (vec![], 30),
        (vec![soa(60)], 60),
        (vec![soa(0)], 5),
        (vec![soa(86_400)], 300),
    ] {
        for rcode in [0, 3] {
            let mut world = World::new(ONE);
            world.resolve("t.example");
            for kind in [A, AAAA] {
                let sent = world.question("t.example", kind);
                world.reply(&sent, &answer(&sent.bytes, rcode, &[], &authorities));
            }
            let failed = ("t.example".to_owned(), Err(DnsError::NotFound));
            assert_eq!(world.take_resolved(), std::slice::from_ref(&failed));
            world.now = ms(seconds * 1000 - 1);
            world.resolve("t.example");
            assert_eq!(world.take_resolved(), [failed]);
            world.now = ms(seconds * 1000);
            world.resolve("t.example");
            assert_eq!(world.sent.len(), 4);
        }
    }
}

#[test]
fn addresses_are_remembered_as_long_as_their_records_say_within_bounds() {
    for (ttls, seconds) in [
        ([300, 60], 60),
        ([0, 300], 5),
        ([86_400, 90_000], 3600),
        ([u32::MAX, 300], 5),
    ] {
        let mut world = World::new(ONE);
        world.resolve("t.example");
        let v4 = world.question("t.example", A);
        let records = ttls.map(|ttl| a("t.example", ttl, ttl as u8));
        world.reply(&v4, &answer(&v4.bytes, 0, &records, &[]));
        let v6 = world.question("t.example", AAAA);
        world.reply(&v6, &answer(&v6.bytes, 0, &[], &[soa(1)]));
        assert_eq!(world.take_resolved().len(), 1);
        world.now = ms(seconds * 1000 - 1);
        world.resolve("t.example");
        assert_eq!(world.take_resolved().len(), 1);
        world.now = ms(seconds * 1000);
        world.resolve("t.example");
        assert_eq!(world.sent.len(), 4);
    }
}

#[test]
fn aliases_are_followed_eight_times_and_loops_end() {
    let chain = |length: usize| -> Vec<Vec<u8>> {
        let name = |n: usize| match n {
            0 => "t.example".to_owned(),
            n => format!("alias{n}.example"),
        };
        let mut records: Vec<_> = (0..length).map(|n| cname(&name(n), &name(n + 1))).collect();
        records.push(a(&name(length), 60, 1));
        records.reverse();
        records
    };
    let looped = vec![
        cname("t.example", "u.example"),
        cname("u.example", "t.example"),
    ];
    let stranger = vec![a("other.example", 60, 1)];
    for (records, result) in [
        (chain(8), Ok(ips(["192.0.2.1"]))),
        (chain(9), Err(DnsError::ServerFailure)),
        (looped, Err(DnsError::ServerFailure)),
        (stranger, Err(DnsError::NotFound)),
    ] {
        let mut world = World::new(ONE);
        world.resolve("t.example");
        let v4 = world.question("t.example", A);
        world.reply(&v4, &answer(&v4.bytes, 0, &records, &[]));
        let v6 = world.question("t.example", AAAA);
        world.reply(&v6, &answer(&v6.bytes, 0, &[], &[]));
        assert_eq!(world.resolved, [("t.example".to_owned(), result)]);
    }
}

#[test]
fn sixteen_of_a_thousand_addresses_are_kept_and_none_that_means_this_machine() {
    let mut world = World::new(ONE);
    world.resolve("t.example");
    let mut records = vec![record("t.example", A, 60, &[0; 4])];
    records.extend((0..1000u16).map(|n| {
        let [high, low] = n.to_be_bytes();
        record("t.example", A, 60, &[198, 18, high, low])
    }));
    let v4 = world.question("t.example", A);
    world.reply(&v4, &answer(&v4.bytes, 0, &records, &[]));
    let v6 = world.question("t.example", AAAA);
    world.reply(&v6, &answer(&v6.bytes, 0, &[], &[]));
    let (_, result) = world.take_resolved().remove(0);
    let expected: Vec<IpAddr> = (0..16).map(|n| IpAddr::from([198, 18, 0, n])).collect();
    assert_eq!(result, Ok(expected));
}

#[test]
fn what_an_answer_promises_beyond_256_records_is_not_looked_at() {
    for (whole, is_found) in [(256, true), (255, false)] {
        let mut world = World::new(ONE);
        world.resolve("t.example");
        let v4 = world.question("t.example", A);
        let records: Vec<_> = (0..whole).map(|n| a("t.example", 60, n as u8)).collect();
        let mut bytes = answer(&v4.bytes, 0, &records, &[]);
        bytes[6..12].fill(0xff);
        bytes.extend_from_slice(&[0xff; 40]);
        world.reply(&v4, &bytes);
        let v6 = world.question("t.example", AAAA);
        world.reply(&v6, &answer(&v6.bytes, 0, &[], &[]));
        let (_, result) = world.take_resolved().remove(0);
        match is_found {
            true => assert_eq!(result.map(|ips| ips.len()), Ok(16)),
            false => assert_eq!(result, Err(DnsError::ServerFailure)),
        }
    }
}

/// A world that was answered with one address and the word that there are more, and what it had asked.
fn truncated() -> (World, Sent) {
    let config = ResolverConfig {
        families: Families::V4,
        ..ResolverConfig::from_text(ONE, "")
    };
    let mut world = World::with(config);
    world.resolve("t.example");
    let udp = world.question("t.example", A);
    let mut bytes = answer(&udp.bytes, 0, &[a("t.example", 60, 1)], &[]);
    bytes[2] |= 2;
    world.reply(&udp, &bytes);
    (world, udp)
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let (mut world, udp) = truncated();
    let (socket, to) = world.connects[0];
    assert_eq!((to, world.closed.clone()), (udp.to, vec![udp.socket]));
    world.event(socket, SocketEvent::Connected);
    let query = [&[0, udp.bytes.len() as u8][..], &udp.bytes].concat();
    assert_eq!(world.tcp, [(socket, query)]);

    let records: Vec<_> = (1..=20).map(|n| a("t.example", 60, n)).collect();
    let whole = answer(&udp.bytes, 0, &records, &[]);
    let framed = [&(whole.len() as u16).to_be_bytes()[..], &whole].concat();
    for byte in &framed {
        assert!(world.resolved.is_empty());
        world.event(socket, SocketEvent::Received(&[*byte]));
    }
    let expected: Vec<IpAddr> = (1..=16).map(|n| IpAddr::from([192, 0, 2, n])).collect();
    assert_eq!(world.resolved[0].1, Ok(expected));
    assert_eq!(world.closed, [udp.socket, socket]);
}

#[test]
fn without_a_way_over_tcp_the_truncated_addresses_do() {
    for is_silent in [false, true] {
        let (mut world, udp) = truncated();
        if is_silent {
            world.run_until(ms(2_999));
            assert!(world.resolved.is_empty());
            world.run_until(ms(3_000));
        } else {
            world.event(world.connects[0].0, SocketEvent::Failed);
        }
        assert_eq!(world.resolved[0].1, Ok(ips(["192.0.2.1"])));
        assert_eq!(world.closed, [udp.socket, world.connects[0].0]);
    }
}

#[test]
fn a_tcp_answer_of_64_kib_is_taken_and_garbage_of_that_size_refused() {
    for is_good in [true, false] {
        let config = ResolverConfig {
            families: Families::V4,
            ..ResolverConfig::from_text(ONE, "")
        };
        let mut world = World::with(config);
        world.resolve("t.example");
        let udp = world.question("t.example", A);
        let mut bytes = answer(&udp.bytes, 0, &[], &[]);
        bytes[2] |= 2;
        world.reply(&udp, &bytes);
        let socket = world.connects[0].0;
        world.event(socket, SocketEvent::Connected);
        let records: Vec<_> = (0..2000).map(|n| a("t.example", 60, n as u8)).collect();
        let mut whole = answer(&udp.bytes, 0, &records, &[]);
        whole.resize(65_535, 0xff);
        if !is_good {
            whole[12..].fill(0xc0);
        }
        world.event(socket, SocketEvent::Received(&[0xff, 0xff]));
        world.event(socket, SocketEvent::Received(&whole[..40_000]));
        assert!(world.resolved.is_empty());
        // What comes behind the answer is left alone.
        world.event(
            socket,
            SocketEvent::Received(&[&whole[40_000..], &[7; 99]].concat()),
        );
        match is_good {
            true => assert_eq!(world.resolved[0].1.as_ref().map(Vec::len), Ok(16)),
            false => assert_eq!(world.resolved[0].1, Err(DnsError::ServerFailure)),
        }
    }
}

#[test]
fn answers_with_any_bytes_changed_never_panic_or_hang() {
    let mut chance = Rng::new([9; 32]);
    for round in 0..4000 {
        let mut world = World::new(ONE);
        world.resolve("t.example");
        let v4 = world.question("t.example", A);
        let records = [
            cname("t.example", "u.example"),
            a("u.example", 60, 1),
            aaaa("u.example", 60, 1),
            record("u.example", 16, 60, b"\x04text"),
            record("u.example", 41, 60, b""),
        ];
        let mut bytes = answer(&v4.bytes, 0, &records, &[soa(60)]);
        for _ in 0..=chance.below(4) {
            let at = 2 + chance.below(bytes.len() - 2);
            bytes[at] = chance.next_u32() as u8;
        }
        if round % 3 == 0 {
            bytes.truncate(chance.below(bytes.len()));
        }
        world.reply(&v4, &bytes);
        world.run_until(ms(10_000));
        assert_eq!(world.resolved.len(), 1);
        assert!(
            world.resolved[0]
                .1
                .as_ref()
                .is_ok_and(|ips| !ips.is_empty())
                || world.resolved[0].1.is_err()
        );
    }
}
