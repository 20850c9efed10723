mod answers;
mod servers;

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
