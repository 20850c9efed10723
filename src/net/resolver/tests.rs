use super::*;

/// A resolver, its clock, and what it asked for.
struct World {
    resolver: Resolver,
    rng: Rng,
    now: Instant,
    sent: Vec<Sent>,
    closed: Vec<SocketId>,
    connects: Vec<(SocketId, SocketAddr)>,
    tcp: Vec<(SocketId, Vec<u8>)>,
    config_reads: usize,
    resolved: Vec<(String, Result<Vec<IpAddr>, DnsError>)>,
}

#[derive(Clone, Debug)]
struct Sent {
    at: Instant,
    socket: SocketId,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl World {
    fn new(resolv_conf: &str) -> Self {
        Self::with(ResolverConfig::from_text(resolv_conf, "192.0.2.7 box\n"))
    }

    fn with(config: ResolverConfig) -> Self {
        Self {
            resolver: Resolver::new(config),
            rng: Rng::new([1; 32]),
            now: Instant::default(),
            sent: Vec::new(),
            closed: Vec::new(),
            connects: Vec::new(),
            tcp: Vec::new(),
            config_reads: 0,
            resolved: Vec::new(),
        }
    }

    fn resolve(&mut self, name: &str) {
        self.resolver.resolve(self.now, name, &mut self.rng);
        self.drain();
    }

    fn event(&mut self, socket: SocketId, event: SocketEvent<'_>) {
        self.resolver
            .handle_socket(self.now, socket, event, &mut self.rng);
        self.drain();
    }

    fn reply(&mut self, sent: &Sent, bytes: &[u8]) {
        let from = sent.to;
        self.event(sent.socket, SocketEvent::Datagram { from, bytes });
    }

    fn drain(&mut self) {
        while let Some(action) = self.resolver.poll_action() {
            match action {
                Action::Datagram { socket, to, bytes } => self.sent.push(Sent {
                    at: self.now,
                    socket,
                    to,
                    bytes,
                }),
                Action::Connect { socket, to } => self.connects.push((socket, to)),
                Action::Send { socket, bytes } => self.tcp.push((socket, bytes)),
                Action::Close { socket } => self.closed.push(socket),
                Action::ReadConfig => self.config_reads += 1,
            }
        }
        while let Some(one) = self.resolver.poll_resolved() {
            self.resolved.push(one);
        }
    }

    /// Lets time pass, with every time-out at its very moment; none may leave the next one in the past.
    fn run_until(&mut self, end: Instant) {
        while let Some(due) = self.resolver.poll_timeout().filter(|due| *due <= end) {
            assert!(due >= self.now);
            self.now = due;
            self.resolver.handle_timeout(due, &mut self.rng);
            self.drain();
            let next = self.resolver.poll_timeout();
            assert!(next.is_none_or(|next| next > due), "{next:?} after {due:?}");
        }
        self.now = end;
    }

    /// The last question about `name`, by its type.
    fn question(&self, name: &str, kind: u16) -> Sent {
        let tail = question(name, kind);
        let sent = self.sent.iter().rev().find(|s| s.bytes[12..] == tail);
        sent.expect("the question was asked").clone()
    }

    fn take_resolved(&mut self) -> Vec<(String, Result<Vec<IpAddr>, DnsError>)> {
        std::mem::take(&mut self.resolved)
    }
}

fn ms(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn ips<const N: usize>(texts: [&str; N]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn labels(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> = labels
        .flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat())
        .collect();
    bytes.push(0);
    bytes
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    [labels(name), kind.to_be_bytes().to_vec(), vec![0, 1]].concat()
}

fn record(name: &str, kind: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    [
        &labels(name)[..],
        &kind.to_be_bytes(),
        &[0, 1],
        &ttl.to_be_bytes(),
        &(rdata.len() as u16).to_be_bytes(),
        rdata,
    ]
    .concat()
}

fn a(name: &str, ttl: u32, last: u8) -> Vec<u8> {
    record(name, A, ttl, &[192, 0, 2, last])
}

fn aaaa(name: &str, ttl: u32, last: u8) -> Vec<u8> {
    let mut ip = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[15] = last;
    record(name, AAAA, ttl, &ip)
}

fn cname(name: &str, to: &str) -> Vec<u8> {
    record(name, 5, 300, &labels(to))
}

fn soa(minimum: u32) -> Vec<u8> {
    let numbers = [1, 2, 3, 4, minimum].map(u32::to_be_bytes).concat();
    record("example", 6, 600, &[vec![0, 0], numbers].concat())
}

/// An answer to `query` with the flags' second byte `rcode`.
fn answer(query: &[u8], rcode: u8, answers: &[Vec<u8>], authorities: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![query[0], query[1], 0x81, 0x80 | rcode, 0, 1];
    bytes.extend_from_slice(&(answers.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&(authorities.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&query[12..]);
    bytes.extend(answers.iter().chain(authorities).flatten());
    bytes
}

const A: u16 = 1;
const AAAA: u16 = 28;
const ONE: &str = "nameserver 192.0.2.53\n";
const TWO: &str = "nameserver 192.0.2.53\nnameserver 192.0.2.54\n";

#[test]
fn literals_hosts_and_localhost_are_answered_at_once() {
    let mut world = World::new(ONE);
    for name in [
        "192.0.2.9",
        "[2001:DB8::1]",
        "::ffff:192.0.2.1",
        "BOX",
        "a.localhost.",
        "x.onion",
    ] {
        world.resolve(name);
    }
    let names = [
        ("192.0.2.9", Ok(ips(["192.0.2.9"]))),
        ("[2001:db8::1]", Ok(ips(["2001:db8::1"]))),
        ("::ffff:192.0.2.1", Ok(ips(["192.0.2.1"]))),
        ("box", Ok(ips(["192.0.2.7"]))),
        ("a.localhost.", Ok(ips(["127.0.0.1", "::1"]))),
        ("x.onion", Err(DnsError::NotFound)),
    ];
    assert_eq!(
        world.resolved,
        names.map(|(name, result)| (name.to_owned(), result))
    );
    assert!(world.sent.is_empty());
    assert_eq!(world.config_reads, 0);
    assert_eq!(world.resolver.poll_timeout(), None);
}

#[test]
fn names_that_no_host_can_have_are_refused_at_once() {
    let mut world = World::new(ONE);
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join(".");
    let names = [
        String::new(),
        ".".to_owned(),
        "tracker..x".to_owned(),
        ".x".to_owned(),
        "x..".to_owned(),
        "a b".to_owned(),
        "[x]".to_owned(),
        "back\\slash".to_owned(),
        "d".repeat(64),
        format!("{long}.{}", "d".repeat(62)),
    ];
    for name in &names {
        world.resolve(name);
    }
    let expected = names.map(|name| (name, Err(DnsError::BadName)));
    assert_eq!(world.resolved, expected);
    world.resolve(&format!("{long}.{}.", "d".repeat(61)));
    assert_eq!(world.sent.len(), 2);
}

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

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
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
fn equal_names_share_a_lookup_and_a_result() {
    let mut world = World::new(ONE);
    for name in ["t.example", "T.example", "t.EXAMPLE"] {
        world.resolve(name);
    }
    assert_eq!(world.sent.len(), 2);
    world.run_until(ms(10_000));
    assert_eq!(world.resolved.len(), 1);
}

#[test]
fn names_that_never_resolve_delay_others_by_one_time_out_at_most() {
    let mut world = World::new(ONE);
    for n in 0..20 {
        world.resolve(&format!("dead{n}.example"));
    }
    world.resolve("good.example");
    assert_eq!(world.sent.len(), 32);
    world.run_until(ms(1500));
    let v4 = world.question("good.example", A);
    assert_eq!(v4.at, ms(1500));
    let v6 = world.question("good.example", AAAA);
    world.reply(&v4, &answer(&v4.bytes, 0, &[a("good.example", 60, 1)], &[]));
    world.reply(&v6, &answer(&v6.bytes, 0, &[], &[]));
    assert_eq!(
        world.take_resolved(),
        [("good.example".to_owned(), Ok(ips(["192.0.2.1"])))]
    );
    // Those that had to wait count their ten seconds from the beginning.
    world.run_until(ms(10_000));
    assert_eq!(world.resolved.len(), 20);
    assert_eq!(world.closed.len(), world.sent.len());
}

#[test]
fn lookups_sockets_and_the_queue_are_bounded() {
    let mut world = World::new(ONE);
    for n in 0..2000 {
        world.resolve(&format!("n{n}.example"));
    }
    let busy = |result: &(String, Result<_, _>)| result.1 == Err(DnsError::Busy);
    assert_eq!(
        world.resolved.iter().filter(|r| busy(r)).count(),
        2000 - 1040
    );
    while let Some(due) = world.resolver.poll_timeout() {
        world.run_until(due);
        assert!(world.sent.len() - world.closed.len() <= 128);
    }
    assert_eq!(world.resolved.len(), 2000);
    assert_eq!(world.sent.len(), world.closed.len());
    assert_eq!(world.now, ms(10_000));
}

#[test]
fn short_names_are_tried_with_the_search_list_first() {
    let mut world = World::new("nameserver 192.0.2.53\nsearch lan corp.example\n");
    world.resolve("tracker");
    for name in ["tracker.lan", "tracker.corp.example"] {
        for kind in [A, AAAA] {
            let sent = world.question(name, kind);
            world.reply(&sent, &answer(&sent.bytes, 3, &[], &[]));
        }
    }
    assert!(world.resolved.is_empty());
    let v4 = world.question("tracker", A);
    world.reply(&v4, &answer(&v4.bytes, 0, &[a("tracker", 60, 1)], &[]));
    world.run_until(ms(200));
    assert_eq!(
        world.take_resolved(),
        [("tracker".to_owned(), Ok(ips(["192.0.2.1"])))]
    );
    // A dot at the end means the name as it stands.
    world.resolve("other.");
    assert_eq!(
        world.sent.last().unwrap().bytes[12..],
        question("other", 28)
    );
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
