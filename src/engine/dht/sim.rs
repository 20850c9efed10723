//! Many nodes on a virtual network with delay and loss.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Action, Config, Dht, Router};
use crate::base::ids::InfoHash;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::krpc::{Ask, Body, Message, Node, NodeId, Query, Response, Want, push_node};

const TORRENT: InfoHash = InfoHash([0xa5; 20]);
const PORT: u16 = 7000;
const LIARS: usize = 10_000;

struct World {
    now: Instant,
    rng: Rng,
    sequence: u64,
    /// One in so many datagrams arrives.
    loss_percent: usize,
    wire: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    hosts: Vec<Host>,
    places: BTreeMap<SocketAddr, usize>,
    liars: BTreeSet<SocketAddr>,
    trace: u64,
}

struct Host {
    address: SocketAddr,
    dht: Dht,
    rng: Rng,
    found: BTreeSet<SocketAddr>,
    done: usize,
    wakes: u64,
}

impl World {
    /// `count` nodes in as many networks; all begin at the first.
    fn new(seed: u8, count: u8, v6: bool) -> Self {
        let mut world = Self {
            now: Instant::from_micros(0),
            rng: Rng::new([seed; 32]),
            sequence: 0,
            loss_percent: 5,
            wire: BTreeMap::new(),
            hosts: Vec::new(),
            places: BTreeMap::new(),
            liars: BTreeSet::new(),
            trace: 0,
        };
        (0..count).for_each(|n| world.add(n, v6, Some(address(0, v6))));
        world
    }

    fn add(&mut self, n: u8, v6: bool, router: Option<SocketAddr>) {
        let mut rng = Rng::new([n ^ self.rng.next_u32() as u8; 32]);
        let config = Config {
            ipv4: !v6,
            ipv6: v6,
            routers: router.map(Router::Address).into_iter().collect(),
            ..Config::default()
        };
        let address = address(n, v6);
        self.places.insert(address, self.hosts.len());
        self.hosts.push(Host {
            address,
            dht: Dht::new(self.now, config, &mut rng),
            rng,
            found: BTreeSet::new(),
            done: 0,
            wakes: 0,
        });
    }

    fn run_for(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            (0..self.hosts.len()).for_each(|at| self.drain(at));
            let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
            let timers = self.hosts.iter().filter_map(|host| host.dht.poll_timeout());
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = next.max(self.now);
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        let now = self.now;
        for host in &mut self.hosts {
            if host.dht.poll_timeout().is_some_and(|at| at <= now) {
                host.dht.handle_timeout(now, &mut host.rng);
                host.wakes += 1;
                assert!(host.dht.poll_timeout().is_none_or(|at| at > now), "spins");
            }
        }
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= now) {
            let (from, to, bytes) = entry.remove();
            if let Some(&at) = self.places.get(&to) {
                let host = &mut self.hosts[at];
                assert!(host.dht.handle_datagram(now, from, &bytes, &mut host.rng));
                host.wakes += 1;
            } else if self.liars.contains(&to) {
                self.lie(to, from, &bytes);
            }
        }
    }

    fn drain(&mut self, at: usize) {
        while let Some(action) = self.hosts[at].dht.poll_action() {
            match action {
                Action::Datagram { to, bytes, .. } => self.send(self.hosts[at].address, to, bytes),
                Action::Peers { info_hash, peers } => {
                    assert_eq!(info_hash, TORRENT);
                    self.hosts[at].found.extend(peers);
                }
                Action::LookupDone { .. } => self.hosts[at].done += 1,
                Action::Scraped { .. } | Action::Resolve { .. } | Action::Warning(_) => {}
            }
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        for byte in &bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let delay = Duration::from_millis(10 + self.rng.below(190) as u64);
        if self.rng.below(100) >= self.loss_percent {
            self.sequence += 1;
            self.wire
                .insert((self.now + delay, self.sequence), (from, to, bytes));
        }
    }

    /// Ten thousand nodes of one network whose ids surround the torrent, and who make themselves known.
    fn poison(&mut self) {
        for n in 0..LIARS as u16 {
            let liar = node(n).address;
            self.liars.insert(liar);
        }
        for (n, liar) in self.liars.clone().into_iter().enumerate() {
            let id = liar_id(liar);
            let ask = Ask::FindNode {
                target: NodeId(TORRENT.0),
            };
            let query = message(
                b"li",
                Body::Query(Query {
                    id,
                    want: None,
                    ask,
                }),
            );
            for round in 0..3 {
                let to = self.hosts[(n + 17 * round) % self.hosts.len()].address;
                let at = self.now + Duration::from_millis(n as u64 * 6);
                self.sequence += 1;
                self.wire
                    .insert((at, self.sequence), (liar, to, query.encode()));
            }
        }
    }

    fn lie(&mut self, liar: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Ok(query) = Message::decode(bytes) else {
            return;
        };
        if let Body::Query(_) = query.body {
            let mut nodes = Vec::new();
            for _ in 0..8 {
                let n = self.rng.below(LIARS);
                push_node(&mut nodes, node(n as u16));
            }
            let response = Response {
                nodes: Some(&nodes),
                token: Some(b"lie"),
                ..Response::new(liar_id(liar))
            };
            let answer = message(query.transaction, Body::Response(response)).encode();
            self.send(liar, to, answer);
        }
    }

    fn everyone_finds_what_one_announces(&mut self) {
        let now = self.now;
        self.hosts[7].dht.search(now, TORRENT, Some(PORT));
        self.run_for(60);
        assert_eq!(self.hosts[7].done, 1);
        let now = self.now;
        self.hosts
            .iter_mut()
            .for_each(|host| host.dht.search(now, TORRENT, None));
        self.run_for(60);
        let peer = SocketAddr::new(self.hosts[7].address.ip(), PORT);
        for host in &self.hosts {
            assert!(
                host.found.contains(&peer),
                "{} found {:?}",
                host.address,
                host.found
            );
            assert!(host.done >= 1);
        }
    }
}

fn node(liar: u16) -> Node {
    let [a, b] = liar.to_be_bytes();
    let address = ([66, 66, 66, b], 2000 + u16::from(a)).into();
    let id = liar_id(address);
    Node { id, address }
}

fn liar_id(liar: SocketAddr) -> NodeId {
    let mut id = NodeId(TORRENT.0);
    let [a, b] = liar.port().to_be_bytes();
    id.0[16..18].copy_from_slice(&[a, b]);
    if let SocketAddr::V4(liar) = liar {
        id.0[18] = liar.ip().octets()[3];
    }
    id
}

fn message<'a>(transaction: &'a [u8], body: Body<'a>) -> Message<'a> {
    Message {
        transaction,
        version: b"",
        seen_as: None,
        is_read_only: false,
        body,
    }
}

fn address(n: u8, v6: bool) -> SocketAddr {
    if v6 {
        (Ipv6Addr::new(0x2a01, u16::from(n), 3, 0, 0, 0, 0, 1), 6881).into()
    } else {
        (Ipv4Addr::new(11 + n / 4, n, 3, 9), 6881).into()
    }
}

#[test]
fn each_of_fifty_nodes_finds_the_peer_that_one_announced() {
    for seed in 0..5 {
        let mut world = World::new(seed, 50, false);
        world.run_for(120);
        world.everyone_finds_what_one_announces();
    }
}

#[test]
fn the_same_holds_over_ipv6() {
    let mut world = World::new(9, 50, true);
    world.run_for(120);
    world.everyone_finds_what_one_announces();
}

#[test]
fn a_fifth_of_all_datagrams_may_be_lost() {
    let mut world = World::new(3, 50, false);
    world.loss_percent = 20;
    world.run_for(300);
    world.everyone_finds_what_one_announces();
}

#[test]
fn ten_thousand_liars_of_one_network_around_the_torrent_hide_nothing() {
    for seed in 0..3 {
        let mut world = World::new(seed, 50, false);
        world.run_for(120);
        world.poison();
        world.run_for(120);
        let liars = &world.liars;
        for host in &world.hosts {
            let nodes = host.dht.planes[0].table.closest(NodeId(TORRENT.0), 2000);
            let lies = nodes
                .iter()
                .filter(|node| liars.contains(&node.address))
                .count();
            assert!(
                nodes.len() <= 1000 && lies <= 2,
                "{lies} of {}",
                nodes.len()
            );
        }
        world.everyone_finds_what_one_announces();
    }
}

#[test]
fn every_node_gets_an_id_that_belongs_to_its_address() {
    let mut world = World::new(1, 50, false);
    world.run_for(600);
    for host in &world.hosts {
        let snapshot = host.dht.snapshot(world.now);
        assert_eq!(snapshot.external[0], Some(host.address.ip()));
        assert!(super::id::is_secure(snapshot.ids[0], host.address.ip()));
    }
}

#[test]
fn an_idle_node_wakes_up_less_than_once_a_second() {
    let mut world = World::new(1, 50, false);
    world.run_for(600);
    world.hosts.iter_mut().for_each(|host| host.wakes = 0);
    world.run_for(3600);
    let most = world.hosts.iter().map(|host| host.wakes).max();
    assert!(most < Some(3600), "{most:?}");
}

#[test]
fn a_lonely_node_wakes_up_hardly_ever() {
    let mut world = World::new(1, 1, false);
    world.run_for(3600);
    assert!(world.hosts[0].wakes < 60, "{}", world.hosts[0].wakes);
}

#[test]
fn a_restarted_node_needs_no_router() {
    let mut world = World::new(1, 30, false);
    world.run_for(120);
    let saved = world.hosts[20].dht.export(world.now);
    world.add(100, false, None);
    world.hosts[30].dht.import(&saved, true);
    world.run_for(30);
    let nodes = world.hosts[30].dht.snapshot(world.now).good[0];
    assert!(nodes >= 8, "{nodes}");
}

#[test]
fn after_hours_without_a_line_the_network_comes_together_again() {
    let mut world = World::new(1, 30, false);
    world.run_for(120);
    world.loss_percent = 100;
    world.run_for(4 * 3600);
    let nodes = world
        .hosts
        .iter()
        .map(|host| host.dht.snapshot(world.now).nodes[0]);
    assert_eq!(nodes.max(), Some(0));
    world.hosts.iter_mut().for_each(|host| host.wakes = 0);
    world.run_for(3600);
    let most = world.hosts.iter().map(|host| host.wakes).max();
    assert!(most < Some(500), "{most:?}");
    world.loss_percent = 5;
    world.run_for(20 * 60);
    world.everyone_finds_what_one_announces();
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let trace = |seed| {
        let mut world = World::new(seed, 20, false);
        world.run_for(60);
        world.everyone_finds_what_one_announces();
        world.trace
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn seeds_and_others_are_counted_across_nodes() {
    let mut world = World::new(1, 50, false);
    world.run_for(120);
    let now = world.now;
    for (n, host) in world.hosts.iter_mut().enumerate().take(30) {
        host.dht.search(now, TORRENT, Some(PORT));
        host.dht.set_seed(TORRENT, n < 10);
    }
    world.run_for(120);
    let (now, host) = (world.now, &mut world.hosts[40]);
    host.dht.scrape(now, TORRENT);
    let mut counted = None;
    for _ in 0..40 {
        world.run_for_until(1, 40, &mut counted);
    }
    let (seeds, leechers) = counted.expect("a scrape ends");
    assert!(
        (9..=11).contains(&seeds) && (18..=22).contains(&leechers),
        "{seeds} {leechers}"
    );
}

impl World {
    /// As `run_for`, and keeps what the host `at` counted.
    fn run_for_until(&mut self, seconds: u64, at: usize, counted: &mut Option<(u32, u32)>) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.now += Duration::from_millis(100);
            self.step();
            while let Some(action) = self.hosts[at].dht.poll_action() {
                match action {
                    Action::Datagram { to, bytes, .. } => {
                        self.send(self.hosts[at].address, to, bytes)
                    }
                    Action::Scraped {
                        seeds, leechers, ..
                    } => *counted = Some((seeds, leechers)),
                    other => panic!("{other:?}"),
                }
            }
            (0..self.hosts.len()).for_each(|at| self.drain(at));
        }
    }
}

#[test]
fn both_families_are_wanted_by_a_node_that_has_both() {
    let mut rng = Rng::new([1; 32]);
    let config = Config {
        ipv6: true,
        routers: vec![
            Router::Address(address(0, false)),
            Router::Address(address(0, true)),
        ],
        ..Config::default()
    };
    let now = Instant::from_micros(0);
    let mut dht = Dht::new(now, config, &mut rng);
    dht.handle_timeout(now, &mut rng);
    let mut families = Vec::new();
    while let Some(Action::Datagram { to, bytes, .. }) = dht.poll_action() {
        let Ok(Message {
            body: Body::Query(query),
            ..
        }) = Message::decode(&bytes)
        else {
            panic!("not a query");
        };
        assert_eq!(query.want, Some(Want { v4: true, v6: true }));
        families.push(to.is_ipv6());
    }
    assert_eq!(families, [false, true]);
}
