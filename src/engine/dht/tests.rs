use std::net::{Ipv4Addr, SocketAddr};

use super::searches::SEARCHES_AT_ONCE;
use super::table::K;
use super::*;
use crate::wire::krpc::{AnnouncedPort, Body, Message, Query, Response, Values, push_node};

const TORRENT: InfoHash = InfoHash([0xa5; 20]);
const PEER_ID: NodeId = NodeId([0x11; 20]);

/// One node, and what it sends.
struct Scene {
    dht: Dht,
    rng: Rng,
    now: Instant,
    sent: Vec<(SocketAddr, Vec<u8>)>,
    told: Vec<Action>,
}

impl Scene {
    fn new(config: Config) -> Self {
        let mut rng = Rng::new([5; 32]);
        let now = Instant::from_micros(0);
        Self {
            dht: Dht::new(now, config, &mut rng),
            rng,
            now,
            sent: Vec::new(),
            told: Vec::new(),
        }
    }

    fn with_router() -> Self {
        Self::new(Config {
            routers: vec![Router::Address(host(1))],
            ..Config::default()
        })
    }

    /// A node that knows one other.
    fn acquainted() -> Self {
        let mut scene = Self::with_router();
        scene.run_until(0);
        scene.answer(|_| Response::new(PEER_ID));
        scene
    }

    fn drain(&mut self) {
        while let Some(action) = self.dht.poll_action() {
            match action {
                Action::Datagram { to, bytes, .. } => self.sent.push((to, bytes)),
                other => self.told.push(other),
            }
        }
    }

    fn run_until(&mut self, ms: u64) {
        let end = Instant::from_micros(ms * 1000);
        self.drain();
        while let Some(at) = self.dht.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.dht.handle_timeout(self.now, &mut self.rng);
            assert!(self.dht.poll_timeout().is_none_or(|at| at > self.now));
            self.drain();
        }
        self.now = end;
    }

    fn receive(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        let taken = self
            .dht
            .handle_datagram(self.now, from, bytes, &mut self.rng);
        self.drain();
        taken
    }

    fn ask(&mut self, from: SocketAddr, ask: Ask<'_>) -> Option<Vec<u8>> {
        self.receive(from, &query(ask));
        let at = self.sent.iter().position(|(to, bytes)| {
            let reply = Message::decode(bytes).map(|reply| !matches!(reply.body, Body::Query(_)));
            *to == from && reply == Ok(true)
        });
        at.map(|at| self.sent.remove(at).1)
    }

    /// Answers every query that was sent, and gives how many there were.
    fn answer<'a>(&mut self, answer: impl Fn(&Query<'_>) -> Response<'a>) -> usize {
        let sent = std::mem::take(&mut self.sent);
        for (to, bytes) in &sent {
            let asked = Message::decode(bytes).expect("our own");
            if let Body::Query(query) = &asked.body {
                let bytes = message(asked.transaction, Body::Response(answer(query))).encode();
                assert!(self.receive(*to, &bytes));
            }
        }
        sent.len()
    }

    fn token(&mut self, from: SocketAddr) -> Vec<u8> {
        let reply = self.ask(from, get_peers()).expect("an answer");
        let reply = response(&reply).token.expect("a token");
        reply.to_vec()
    }

    fn nodes(&self) -> usize {
        self.dht.snapshot(self.now).nodes[0]
    }
}

fn host(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 6881).into()
}

fn query(ask: Ask<'_>) -> Vec<u8> {
    let id = PEER_ID;
    let want = None;
    message(b"aa", Body::Query(Query { id, want, ask })).encode()
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

fn response(bytes: &[u8]) -> Response<'_> {
    match Message::decode(bytes).map(|message| message.body) {
        Ok(Body::Response(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn refusal(bytes: &[u8]) -> i64 {
    match Message::decode(bytes).map(|message| message.body) {
        Ok(Body::Error { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

fn get_peers() -> Ask<'static> {
    Ask::GetPeers {
        info_hash: TORRENT,
        scrape: false,
    }
}

fn announce(port: AnnouncedPort, token: &[u8]) -> Ask<'_> {
    Ask::AnnouncePeer {
        info_hash: TORRENT,
        port,
        token,
        is_seed: false,
    }
}

#[test]
fn the_router_is_asked_for_our_own_id_at_once_again_after_two_seconds_and_after_a_pause() {
    let mut scene = Scene::with_router();
    assert_eq!(scene.dht.poll_timeout(), Some(scene.now));
    scene.run_until(0);
    assert_eq!(scene.sent.len(), 1);
    let (to, bytes) = scene.sent[0].clone();
    assert_eq!(to, host(1));
    let id = scene.dht.snapshot(scene.now).ids[0];
    let mut expected = b"d1:ad2:id20:".to_vec();
    expected.extend_from_slice(&id.0);
    expected.extend_from_slice(b"6:target20:");
    expected.extend_from_slice(&id.0);
    expected.extend_from_slice(b"e1:q9:find_node1:t4:");
    expected.extend_from_slice(Message::decode(&bytes).expect("our own").transaction);
    expected.extend_from_slice(b"1:v4:MI\x00\x011:y1:qe");
    assert_eq!(bytes, expected);
    scene.run_until(1999);
    assert_eq!(scene.sent.len(), 1);
    scene.run_until(2000);
    assert_eq!(scene.sent[1..], [(to, bytes)]);
    scene.run_until(9_999);
    assert_eq!(scene.sent.len(), 2);
    // At 5 s the first attempt was still under way; at 15 s it is over.
    scene.run_until(15_000);
    assert_eq!(scene.sent.len(), 3);
}

#[test]
fn names_that_never_resolve_are_asked_for_with_growing_pauses_and_one_warning() {
    let name = "dht.example".to_string();
    let mut scene = Scene::new(Config {
        routers: vec![Router::Name {
            name: name.clone(),
            port: 6881,
        }],
        ..Config::default()
    });
    let resolve = Action::Resolve { name: name.clone() };
    let mut asked = Vec::new();
    for second in 0..2000 {
        scene.run_until(second * 1000);
        if scene.told.contains(&resolve) {
            asked.push(second);
            scene.told.retain(|action| *action != resolve);
            scene
                .dht
                .handle_resolved(scene.now, &name, &[], &mut scene.rng);
        }
    }
    assert_eq!(asked, [0, 5, 15, 35, 75, 155, 315, 635, 1275]);
    assert_eq!(scene.told, [Action::Warning(Warning::NoNodes)]);
    assert!(scene.sent.is_empty());
    let ips = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9))];
    scene
        .dht
        .handle_resolved(scene.now, &name, &ips, &mut scene.rng);
    scene.drain();
    assert_eq!(scene.sent[0].0, host(9));
}

#[test]
fn a_spoofed_answer_is_ignored_and_the_true_one_counts() {
    let mut scene = Scene::with_router();
    scene.run_until(0);
    let bytes = scene.sent[0].1.clone();
    let transaction = Message::decode(&bytes).expect("our own").transaction;
    let answer = |t| message(t, Body::Response(Response::new(PEER_ID))).encode();
    for from in [host(2), ([10, 0, 0, 1], 6882).into()] {
        scene.receive(from, &answer(transaction));
        assert_eq!(scene.nodes(), 0);
    }
    for wrong in [&[0; 4][..], b"aa", &transaction[..3]] {
        scene.receive(host(1), &answer(wrong));
        assert_eq!(scene.nodes(), 0);
    }
    scene.receive(host(1), &answer(transaction));
    assert_eq!(scene.nodes(), 1);
    assert_eq!(scene.dht.snapshot(scene.now).in_flight, 0);
}

#[test]
fn nonsense_in_answer_to_a_query_ends_it_and_counts_against_the_node() {
    let mut scene = Scene::acquainted();
    for round in 0..4 {
        scene.sent.clear();
        scene.dht.search(scene.now, TORRENT, None);
        scene.run_until(1000 * (round + 1));
        let queries = scene.sent.len();
        // Twice it is asked; then it is bad, and nobody is left to be asked.
        assert_eq!(queries, usize::from(round < 2), "round {round}");
        for (to, bytes) in std::mem::take(&mut scene.sent) {
            let t = Message::decode(&bytes).expect("our own").transaction;
            let bytes = [b"d1:rd2:id19:aaaaaaaaaaaaaaaaaaae1:t4:", t, b"1:y1:re"].concat();
            assert!(scene.receive(to, &bytes));
        }
        assert_eq!(scene.dht.snapshot(scene.now).in_flight, 0);
    }
    assert_eq!(scene.dht.snapshot(scene.now).good[0], 0);
}

#[test]
fn a_torrents_peers_are_named_once_and_we_are_announced_with_the_token() {
    let mut scene = Scene::acquainted();
    scene.dht.search(scene.now, TORRENT, Some(7000));
    scene.run_until(100);
    let values = Values::new(
        b"l6:\x0a\x00\x00\x09\x1a\xe16:\x0a\x00\x00\x09\x1a\xe16:\x00\x00\x00\x00\x1a\xe1e",
    );
    let answer = Response {
        token: Some(b"tok"),
        values,
        ..Response::new(PEER_ID)
    };
    assert_eq!(scene.answer(|_| answer.clone()), 1);
    let info_hash = TORRENT;
    let peers = vec![host(9)];
    let done = Action::LookupDone { info_hash };
    assert_eq!(scene.told, [Action::Peers { info_hash, peers }, done]);
    assert_eq!(scene.sent.len(), 1);
    let message = Message::decode(&scene.sent[0].1).expect("our own");
    let Body::Query(query) = message.body else {
        panic!("not a query");
    };
    assert_eq!(query.ask, announce(AnnouncedPort::Given(7000), b"tok"));
}

#[test]
fn a_search_begins_again_sooner_if_few_answered_and_ends_when_forgotten() {
    let mut scene = Scene::acquainted();
    scene.dht.search(scene.now, TORRENT, None);
    let mut times = Vec::new();
    for second in 0..2500 {
        scene.run_until(second * 1000);
        let is_search = |(_, bytes): &(SocketAddr, Vec<u8>)| {
            bytes.windows(12).any(|window| window == b"1:q9:get_pee")
        };
        if scene.sent.iter().any(is_search) {
            times.push(second);
        }
        scene.answer(|_| Response::new(PEER_ID));
    }
    assert_eq!(times, [0, 60, 180, 420, 900, 1800]);
    scene.dht.forget(TORRENT);
    scene.run_until(10_000_000);
    assert_eq!(scene.dht.snapshot(scene.now).searches, 0);
}

#[test]
fn with_enough_answers_a_search_begins_again_after_fifteen_minutes_give_or_take_one() {
    let mut rng = Rng::new([0; 32]);
    let mut search = Search {
        port: None,
        is_seed: false,
        is_again: false,
        is_short: false,
        due: Instant::from_micros(0),
        ended: Instant::from_micros(0),
        running: 0,
        answered: K,
        shortfalls: 3,
    };
    let pauses: Vec<_> = (0..1000)
        .map(|_| search.pause(&mut rng).as_secs())
        .collect();
    assert!(pauses.iter().all(|pause| (840..960).contains(pause)));
    assert!(pauses.iter().min() < Some(&850) && pauses.iter().max() > Some(&950));
}

#[test]
fn a_hundred_thousand_queries_a_second_of_one_address_get_five_answers() {
    let mut scene = Scene::with_router();
    scene.run_until(0);
    scene.sent.clear();
    let bytes = query(get_peers());
    for n in 0..100_000u64 {
        scene.now = Instant::from_micros(n * 10);
        scene.receive(host(66), &bytes);
    }
    let is_answer = |(_, bytes): &&(SocketAddr, Vec<u8>)| bytes.windows(5).any(|w| w == b"1:rd2");
    assert_eq!(scene.sent.iter().filter(is_answer).count(), 5);
    let snapshot = scene.dht.snapshot(scene.now);
    assert_eq!((snapshot.blocked, snapshot.queries.1), (1, 5));
    scene.sent.clear();
    scene.run_until(300_000);
    assert_eq!(scene.ask(host(66), Ask::Ping), None);
    scene.run_until(301_000);
    assert!(scene.ask(host(66), Ask::Ping).is_some());
}

#[test]
fn queries_from_everywhere_get_eight_kilobytes_a_second_and_no_answer_is_ten_times_its_query() {
    let mut scene = Scene::acquainted();
    for n in 0..250u16 {
        let peer = ([10, 1, 0, n as u8], 1000 + n).into();
        let (id, now) = (PEER_ID, scene.now);
        scene.dht.store.add(now, id, TORRENT, peer, n % 2 == 0);
    }
    scene.sent.clear();
    let asks = [
        get_peers(),
        Ask::GetPeers {
            info_hash: TORRENT,
            scrape: true,
        },
        Ask::Ping,
    ];
    for n in 0..100_000u32 {
        scene.now = Instant::from_micros(u64::from(n) * 100);
        let from = (Ipv4Addr::from(0x0b00_0000 + n % 900 * 256), 6881).into();
        let bytes = query(asks[n as usize % 3]);
        let before = scene.sent.len();
        scene.receive(from, &bytes);
        let answer = scene.sent[before..]
            .iter()
            .find(|(_, sent)| !sent.starts_with(b"d1:a"));
        if let Some((_, answer)) = answer {
            assert!(
                answer.len() <= 1200 && answer.len() <= 10 * bytes.len(),
                "{}",
                answer.len()
            );
        }
    }
    let bytes: usize = scene.sent.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!((25_000..=8000 * 11).contains(&bytes), "{bytes}");
}

#[test]
fn an_announce_needs_the_token_that_its_address_was_given() {
    let mut scene = Scene::with_router();
    let given = AnnouncedPort::Given(7000);
    let reply = scene
        .ask(host(3), announce(given, b"wrong"))
        .expect("a refusal");
    assert_eq!(refusal(&reply), 203);
    let token = scene.token(host(3));
    let reply = scene
        .ask(host(4), announce(given, &token))
        .expect("a refusal");
    assert_eq!(refusal(&reply), 203);
    let reply = scene
        .ask(host(3), announce(given, &token))
        .expect("an answer");
    assert_eq!(response(&reply).token, None);
    let source = AnnouncedPort::Source { listen: 0 };
    let reply = scene
        .ask(host(3), announce(source, &token))
        .expect("an answer");
    assert_eq!(response(&reply).id, scene.dht.snapshot(scene.now).ids[0]);
    let reply = scene.ask(host(5), get_peers()).expect("an answer");
    let peers = response(&reply).values.expect("peers");
    let mut peers: Vec<_> = peers.addresses().collect();
    peers.sort_unstable();
    assert_eq!(peers, [host(3), ([10, 0, 0, 3], 7000).into()]);
    scene.run_until(600_000);
    let reply = scene
        .ask(host(3), announce(given, &token))
        .expect("a refusal");
    assert_eq!(refusal(&reply), 203);
}

#[test]
fn a_port_of_zero_is_not_stored() {
    let mut scene = Scene::with_router();
    let token = scene.token(host(3));
    let bytes = query(announce(AnnouncedPort::Given(7000), &token));
    let text = bytes.escape_ascii().to_string();
    assert!(text.contains("4:porti7000e"));
    let at = bytes
        .windows(4)
        .position(|w| w == b"7000")
        .expect("the port");
    let zero = [&bytes[..at], b"0", &bytes[at + 4..]].concat();
    scene.receive(host(3), &zero);
    assert_eq!(scene.dht.snapshot(scene.now).stored, (0, 0));
    scene.receive(host(3), &bytes);
    assert_eq!(scene.dht.snapshot(scene.now).stored, (1, 1));
}

#[test]
fn an_unknown_method_is_refused_by_its_number() {
    let mut scene = Scene::with_router();
    let reply = scene
        .ask(host(3), Ask::Unknown(b"vote"))
        .expect("a refusal");
    assert_eq!(refusal(&reply), 204);
}

#[test]
fn a_read_only_node_says_so_and_answers_nobody() {
    let mut scene = Scene::new(Config {
        read_only: true,
        routers: vec![Router::Address(host(1))],
        ..Config::default()
    });
    scene.run_until(0);
    let bytes = scene.sent.remove(0).1;
    assert!(Message::decode(&bytes).expect("our own").is_read_only);
    assert_eq!(scene.ask(host(3), Ask::Ping), None);
    assert!(scene.sent.is_empty());
}

#[test]
fn a_node_that_asks_is_pinged_before_it_is_believed_unless_it_is_read_only() {
    let mut scene = Scene::with_router();
    scene.run_until(0);
    scene.sent.clear();
    scene.receive(host(3), &query(Ask::Ping).replace_ro());
    assert_eq!(scene.sent.len(), 1);
    scene.sent.clear();
    assert!(scene.ask(host(3), Ask::Ping).is_some());
    assert_eq!((scene.nodes(), scene.sent.len()), (0, 1));
    scene.answer(|_| Response::new(PEER_ID));
    assert_eq!(scene.nodes(), 1);
}

trait ReadOnly {
    fn replace_ro(self) -> Vec<u8>;
}

impl ReadOnly for Vec<u8> {
    fn replace_ro(self) -> Vec<u8> {
        let mut message = Message::decode(&self).expect("a query");
        message.is_read_only = true;
        message.encode()
    }
}

#[test]
fn a_node_of_a_port_message_is_pinged_and_its_neighbours_are_looked_for() {
    let mut scene = Scene::new(Config::default());
    scene.run_until(0);
    assert!(scene.sent.is_empty());
    scene.dht.add_node(scene.now, host(8));
    scene.dht.add_node(scene.now, ([0, 0, 0, 0], 6881).into());
    scene.dht.add_node(scene.now, ([10, 0, 0, 1], 0).into());
    scene.run_until(1);
    assert_eq!(scene.answer(|_| Response::new(PEER_ID)), 1);
    scene.run_until(2);
    assert_eq!(scene.nodes(), 1);
    assert_eq!(scene.sent.len(), 1);
    assert!(
        scene.sent[0]
            .1
            .windows(9)
            .any(|window| window == b"find_node")
    );
}

#[test]
fn a_public_node_can_send_us_neither_into_our_network_nor_to_nowhere() {
    let public: SocketAddr = ([9, 9, 9, 9], 6881).into();
    let mut scene = Scene::new(Config {
        routers: vec![Router::Address(public)],
        ..Config::default()
    });
    scene.run_until(0);
    let mut nodes = Vec::new();
    for (n, address) in [
        host(1),
        ([127, 0, 0, 1], 80).into(),
        ([8, 8, 8, 8], 0).into(),
    ]
    .into_iter()
    .enumerate()
    {
        push_node(
            &mut nodes,
            Node {
                id: NodeId([n as u8; 20]),
                address,
            },
        );
    }
    let good = ([8, 8, 8, 8], 6881).into();
    push_node(
        &mut nodes,
        Node {
            id: NodeId([0x77; 20]),
            address: good,
        },
    );
    scene.answer(|_| Response {
        nodes: Some(&nodes),
        ..Response::new(PEER_ID)
    });
    let asked: Vec<_> = scene.sent.iter().map(|(to, _)| *to).collect();
    assert_eq!(asked, [good]);
}

#[test]
fn saved_nodes_are_asked_after_a_restart_and_damaged_ones_only_warn() {
    let mut scene = Scene::acquainted();
    scene.run_until(1000);
    let saved = scene.dht.export(scene.now);
    let id = scene.dht.snapshot(scene.now).ids[0];

    let mut fresh = Scene::new(Config::default());
    fresh.dht.import(&saved, true);
    fresh.run_until(0);
    assert_eq!(fresh.dht.snapshot(fresh.now).ids[0], id);
    assert_eq!(
        fresh.sent.iter().map(|(to, _)| *to).collect::<Vec<_>>(),
        [host(1)]
    );
    assert_eq!(fresh.dht.export(fresh.now), saved);

    let mut damaged = Scene::new(Config::default());
    let own = damaged.dht.snapshot(damaged.now).ids;
    for bytes in [&saved[..saved.len() - 1], b"", &[0xff; 100_000]] {
        damaged.dht.import(bytes, true);
    }
    damaged.run_until(0);
    assert_eq!(damaged.told, vec![Action::Warning(Warning::SavedNodes); 3]);
    assert_eq!(damaged.dht.snapshot(damaged.now).ids, own);
    assert!(damaged.sent.is_empty());
}

#[test]
fn four_networks_that_agree_on_our_address_give_us_an_id_that_belongs_to_it() {
    let routers = (1..=6).map(|n| SocketAddr::from(([20 + n, 0, 0, 1], 6881)));
    let mut scene = Scene::new(Config {
        routers: routers.clone().map(Router::Address).collect(),
        ..Config::default()
    });
    scene.run_until(0);
    let ours: IpAddr = [9, 8, 7, 6].into();
    let mut answered = 0;
    while answered < 6 {
        let before = scene.dht.snapshot(scene.now);
        assert_eq!(
            before.external[0],
            (answered >= 5).then_some(ours),
            "{answered}"
        );
        assert_eq!(id::is_secure(before.ids[0], ours), answered >= 5);
        let (to, bytes) = scene.sent.remove(0);
        let asked = Message::decode(&bytes).expect("our own");
        // The first one lies.
        let seen: IpAddr = if answered == 0 {
            [6, 6, 6, 6].into()
        } else {
            ours
        };
        let id = NodeId([answered; 20]);
        let mut reply = message(asked.transaction, Body::Response(Response::new(id)));
        reply.seen_as = Some((seen, 6881).into());
        let bytes = reply.encode();
        scene.receive(to, &bytes);
        answered += 1;
    }
    assert!(scene.nodes() > 0);
}

#[test]
fn what_is_not_for_the_dht_is_left_to_others_and_nothing_panics() {
    let mut scene = Scene::acquainted();
    assert!(!scene.receive(host(3), &[b'l'; 65_000]));
    assert!(!scene.receive(host(3), b""));
    assert!(!scene.receive(host(3), &[0, 0, 0, 1, 0, 0, 0, 9]));
    assert!(scene.receive(host(3), &[b'd'; 65_000]));
    let seed = query(announce(AnnouncedPort::Given(7000), b"token"));
    let mut rng = Rng::new([2; 32]);
    for n in 0..20_000u32 {
        let mut bytes = seed.clone();
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = rng.next_u32() as u8;
        }
        scene.now = Instant::from_micros(u64::from(n) * 10_000);
        let from = (Ipv4Addr::from(0x0a00_0000 + n), rng.next_u32() as u16).into();
        scene.receive(from, &bytes);
        scene.sent.clear();
    }
    assert!(scene.dht.snapshot(scene.now).queries.1 > 1000);
}

#[test]
fn servers_ports_of_public_addresses_get_no_answer() {
    let mut scene = Scene::with_router();
    assert_eq!(scene.ask(([9, 9, 9, 9], 53).into(), Ask::Ping), None);
    assert!(scene.ask(([9, 9, 9, 9], 1024).into(), Ask::Ping).is_some());
    assert!(scene.ask(([10, 0, 0, 9], 53).into(), Ask::Ping).is_some());
}

#[test]
fn a_thousand_searches_wait_their_turn_within_the_budget() {
    let mut scene = Scene::acquainted();
    for n in 0..2000u16 {
        let mut hash = TORRENT;
        hash.0[..2].copy_from_slice(&n.to_be_bytes());
        scene.dht.search(scene.now, hash, Some(7000));
    }
    assert_eq!(scene.dht.snapshot(scene.now).searches, 1000);
    let token = Response {
        token: Some(b"t"),
        ..Response::new(PEER_ID)
    };
    let (mut done, mut announced, mut bytes) = (0, 0, 0);
    let is_announce =
        |(_, bytes): &&(SocketAddr, Vec<u8>)| bytes.windows(13).any(|w| w == b"announce_peer");
    for tick in 1..600 {
        scene.run_until(tick * 100);
        announced += scene.sent.iter().filter(is_announce).count();
        bytes += scene
            .sent
            .iter()
            .map(|(_, bytes)| bytes.len())
            .sum::<usize>();
        scene.answer(|_| token.clone());
        assert!(scene.dht.snapshot(scene.now).lookups <= SEARCHES_AT_ONCE + 2);
        done += scene.told.drain(..).count();
    }
    assert_eq!((done, announced), (1000, 1000));
    assert!(bytes <= 8000 * 61, "{bytes}");
}
