//! A session in the DHT: when it searches, how soon it answers, and what it does with the peers it hears of.

use std::net::SocketAddr;

use minitorrent::engine::command::{Aim, Settings};
use minitorrent::engine::dht::Router;
use minitorrent::engine::io::Input;
use minitorrent::wire::krpc::{Ask, Body, Message, Node, NodeId, Response, push_node};

use crate::scene::{MODERN, Scene};

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

/// Lets time pass to this second, while all nodes answer at once: they know each other, and no peers. Says in which
/// seconds a search began.
fn run_among_nodes(scene: &mut Scene, from: u32, to: u32) -> Vec<u32> {
    let mut searches = Vec::new();
    for half in 2 * from..=2 * to {
        scene.run_to(f64::from(half) / 2.0);
        while !scene.datagrams.is_empty() {
            for (to, bytes) in std::mem::take(&mut scene.datagrams) {
                if answer(scene, to, &bytes) && searches.last() != Some(&(half / 2)) {
                    searches.push(half / 2);
                }
            }
        }
    }
    searches
}

/// A node answers what it was asked. Whether it was asked for peers.
fn answer(scene: &mut Scene, asked: SocketAddr, bytes: &[u8]) -> bool {
    let Ok(message) = Message::decode(bytes) else {
        return false;
    };
    let Body::Query(query) = &message.body else {
        return false;
    };
    let node = nodes().into_iter().find(|node| node.address == asked);
    let mut known = Vec::new();
    nodes().iter().for_each(|&node| push_node(&mut known, node));
    let response = Response {
        nodes: Some(&known),
        token: Some(b"token"),
        ..Response::new(node.expect("one of ours").id)
    };
    let reply = krpc(message.transaction, Body::Response(response));
    scene.handle(Input::Datagram {
        from: asked,
        bytes: &reply,
    });
    matches!(query.ask, Ask::GetPeers { .. })
}

fn krpc(transaction: &[u8], body: Body<'_>) -> Vec<u8> {
    let message = Message {
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
    let searches = run_among_nodes(&mut scene, 1, 3600);
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
    let mut searches = run_among_nodes(&mut scene, 1, 50);
    for minute in 1..4 {
        scene.sent(peer);
        searches.extend(run_among_nodes(&mut scene, 50 * minute, 50 * minute + 50));
    }
    assert_eq!(searches, [1]);
    scene.handle(Input::Ended { conn: peer });
    assert_eq!(run_among_nodes(&mut scene, 200, 400), [200, 260, 380]);
}

#[test]
fn who_has_everything_searches_every_fifteen_minutes_though_nobody_comes() {
    let mut scene = Scene::with(4, Aim::Seed, in_the_dht, &[], &[0, 1, 2, 3]);
    let searches = run_among_nodes(&mut scene, 1, 1780);
    assert_eq!(searches.len(), 2, "{searches:?}");
    assert!((841..=961).contains(&searches[1]), "{searches:?}");
}
