//! A session in the DHT: when it searches, how soon it answers, and what it does with the peers it hears of.

use std::net::SocketAddr;
use std::sync::Arc;

use minitorrent::engine::command::{AddTorrent, Aim, Command, Reply, Settings};
use minitorrent::engine::dht::Router;
use minitorrent::engine::io::Input;
use minitorrent::wire::krpc::{
    self, AnnouncedPort, Ask, Body, Node, NodeId, Query, Response, push_node,
};
use minitorrent::wire::message::Message;

use crate::scene::{MODERN, Scene, id, meta};

/// The DHT is on and begins at the first of the [`nodes`].
fn in_the_dht(settings: &mut Settings) {
    settings.dht = true;
    settings.dht_routers = vec![Router::Address(nodes()[0].address)];
}

/// Nodes enough for any search.
fn nodes() -> Vec<Node> {
    let node = |n: u8| Node {
        id: NodeId([n * 16; 20]),
        address: SocketAddr::from(([10, 9, 0, n], 6881)),
    };
    (1..=12).map(node).collect()
}

/// Lets time pass to this second, while all nodes answer at once: they know each other, and no peers. Gives the
/// second of each query, and whether it was for peers.
fn run_among_nodes(scene: &mut Scene, from: u32, to: u32) -> Vec<(u32, bool)> {
    let mut queries = Vec::new();
    for half in 2 * from..=2 * to {
        scene.run_to(f64::from(half) / 2.0);
        while !scene.datagrams.is_empty() {
            for (to, bytes) in std::mem::take(&mut scene.datagrams) {
                let query = answer(scene, to, &bytes);
                queries.extend(query.map(|is_search| (half / 2, is_search)));
            }
        }
    }
    queries
}

/// The seconds in which a search began.
fn searches(scene: &mut Scene, from: u32, to: u32) -> Vec<u32> {
    let queries = run_among_nodes(scene, from, to).into_iter();
    let mut searches: Vec<u32> = queries
        .filter(|(_, is_search)| *is_search)
        .map(|(at, _)| at)
        .collect();
    searches.dedup();
    searches
}

/// A node answers what it was asked, if it was one. Whether it was asked for peers.
fn answer(scene: &mut Scene, asked: SocketAddr, bytes: &[u8]) -> Option<bool> {
    let message = krpc::Message::decode(bytes).ok()?;
    let Body::Query(query) = &message.body else {
        return None;
    };
    let node = nodes().into_iter().find(|node| node.address == asked)?;
    let mut known = Vec::new();
    nodes().iter().for_each(|&node| push_node(&mut known, node));
    let response = Response {
        nodes: Some(&known),
        token: Some(b"token"),
        ..Response::new(node.id)
    };
    let reply = krpc(message.transaction, Body::Response(response));
    scene.handle(Input::Datagram {
        from: asked,
        bytes: &reply,
    });
    Some(matches!(query.ask, Ask::GetPeers { .. }))
}

fn krpc(transaction: &[u8], body: Body<'_>) -> Vec<u8> {
    let message = krpc::Message {
        transaction,
        version: b"",
        seen_as: None,
        is_read_only: false,
        body,
    };
    message.encode()
}

#[test]
fn who_knows_no_peer_searches_again_after_one_two_four_and_eight_minutes_then_after_fifteen() {
    let mut scene = Scene::with(4, Aim::Download, in_the_dht, &[], &[]);
    let searches = searches(&mut scene, 1, 3600);
    assert_eq!(searches, [1, 61, 181, 421, 901, 1801, 2701]);
}

#[test]
fn who_has_peers_enough_searches_no_more_and_at_once_when_they_left_long_after_the_last_search() {
    let few = |settings: &mut Settings| {
        in_the_dht(settings);
        settings.max_peers = 2;
    };
    let mut scene = Scene::with(4, Aim::Download, few, &[], &[]);
    let peer = scene.giver(1, MODERN, &[0]);
    assert_eq!(searches(&mut scene, 1, 50), [1]);
    for minute in 1..4 {
        scene.sent(peer);
        let more = searches(&mut scene, 50 * minute, 50 * minute + 50);
        assert!(more.is_empty(), "{more:?}");
    }
    scene.handle(Input::Ended { conn: peer });
    assert_eq!(searches(&mut scene, 200, 400), [200, 260, 380]);
}

#[test]
fn who_has_everything_searches_every_fifteen_minutes_though_nobody_comes() {
    let mut scene = Scene::with(4, Aim::Seed, in_the_dht, &[], &[0, 1, 2, 3]);
    let searches = searches(&mut scene, 1, 1780);
    assert_eq!(searches.len(), 2, "{searches:?}");
    assert!((841..=961).contains(&searches[1]), "{searches:?}");
}

/// A stranger pings; whether it is answered at once.
fn pings(scene: &mut Scene, stranger: SocketAddr) -> bool {
    let query = Query {
        id: NodeId([7; 20]),
        want: None,
        ask: Ask::Ping,
    };
    scene.handle(Input::Datagram {
        from: stranger,
        bytes: &krpc(b"aa", Body::Query(query)),
    });
    let is_answer = |bytes: &[u8]| {
        let message = krpc::Message::decode(bytes);
        message.is_ok_and(|message| matches!(message.body, Body::Response(_)))
    };
    let mut sent = scene.datagrams.iter();
    sent.any(|(to, bytes)| *to == stranger && is_answer(bytes))
}

fn stranger(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::from(([10, 8, high, low], 6881))
}

#[test]
fn a_stranger_is_answered_at_once_while_our_own_queries_wait() {
    let mut scene = Scene::with(4, Aim::Download, in_the_dht, &[], &[]);
    // With a hundred torrents to search for, and nineteen strangers a second, more is to be sent than a router likes.
    for pieces in 5..105 {
        let metainfo = meta(pieces);
        let add = AddTorrent {
            metainfo: Arc::clone(&metainfo),
            aim: Aim::Download,
            peers: Vec::new(),
        };
        let reply = scene.session.handle_command(scene.now, Command::Add(add));
        let Ok(Reply::Added(torrent)) = reply else {
            panic!("{reply:?}");
        };
        (scene.torrent, scene.meta) = (torrent, metainfo);
        scene.drain();
        scene.checked(&[]);
    }
    let mut sent = 0;
    for second in 2..40 {
        sent += run_among_nodes(&mut scene, second, second).len();
        for n in 0..19 {
            let stranger = stranger(second as u16 * 19 + n);
            assert!(pings(&mut scene, stranger), "{second}");
        }
    }
    assert!((1400..=1500).contains(&sent), "{sent}");
}

#[test]
fn strangers_get_twenty_five_answers_at_once_and_as_many_a_second() {
    let mut scene = Scene::with(4, Aim::Download, in_the_dht, &[], &[]);
    let answers = |scene: &mut Scene, from: u16| {
        let hosts = (from..from + 100).map(stranger);
        hosts.filter(|host| pings(scene, *host)).count()
    };
    assert_eq!(answers(&mut scene, 0), 25);
    scene.run_to(2.0);
    assert_eq!(answers(&mut scene, 100), 25);
    // Four a second are answered to each and every one, for hours.
    for quarter in 20..2000 {
        scene.run_to(f64::from(quarter) / 4.0);
        assert!(pings(&mut scene, stranger(1000)));
    }
}

/// A node that announces a peer at this port of its host.
fn announces(scene: &mut Scene, from: SocketAddr, port: u16) {
    let info_hash = scene.meta.info_hash;
    let ask = |ask| {
        let query = Query {
            id: NodeId([7; 20]),
            want: None,
            ask,
        };
        krpc(b"aa", Body::Query(query))
    };
    let scrape = false;
    let bytes = &ask(Ask::GetPeers { info_hash, scrape })[..];
    scene.handle(Input::Datagram { from, bytes });
    let token = scene.datagrams.iter().find_map(|(to, bytes)| {
        let message = krpc::Message::decode(bytes).ok().filter(|_| *to == from)?;
        match message.body {
            Body::Response(response) => response.token.map(<[u8]>::to_vec),
            Body::Query(_) | Body::Error { .. } => None,
        }
    });
    let bytes = &ask(Ask::AnnouncePeer {
        info_hash,
        port: AnnouncedPort::Given(port),
        token: &token.expect("a token"),
        is_seed: false,
    })[..];
    scene.handle(Input::Datagram { from, bytes });
}

#[test]
fn who_has_everything_dials_a_peer_that_announces_itself_here_once_an_announce() {
    let mut scene = Scene::with(4, Aim::Seed, in_the_dht, &[], &[0, 1, 2, 3]);
    run_among_nodes(&mut scene, 1, 10);
    let peer = SocketAddr::new(stranger(1).ip(), 7000);
    for (announce, now) in [(0, 10), (1, 211)] {
        announces(&mut scene, stranger(1), 7000);
        run_among_nodes(&mut scene, now, now + 1);
        assert_eq!(scene.dials.len(), 1, "{announce}");
        assert_eq!(scene.dials[0].1, peer);
        let conn = scene.connect();
        scene.greet(conn, id(1), MODERN);
        assert_eq!(
            scene.sent(conn)[..3],
            ["handshake", "have all", "extended 0"]
        );
        scene.handle(Input::Ended { conn });
        run_among_nodes(&mut scene, now + 1, now + 201);
        assert!(scene.dials.is_empty(), "{:?}", scene.dials);
    }
}

#[test]
fn who_has_everything_dials_none_that_has_it_too_twice() {
    let mut scene = Scene::with(4, Aim::Seed, in_the_dht, &[], &[0, 1, 2, 3]);
    run_among_nodes(&mut scene, 1, 10);
    announces(&mut scene, stranger(1), 7000);
    run_among_nodes(&mut scene, 11, 12);
    let conn = scene.connect();
    scene.greet(conn, id(1), MODERN);
    scene.says(conn, Message::HaveAll);
    assert!(scene.is_closed(conn));
    run_among_nodes(&mut scene, 12, 320);
    announces(&mut scene, stranger(1), 7000);
    run_among_nodes(&mut scene, 320, 640);
    assert!(scene.dials.is_empty(), "{:?}", scene.dials);
}
