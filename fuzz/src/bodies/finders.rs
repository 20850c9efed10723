//! Bodies of what finds peers: DHT messages and nodes, announces of the neighbourhood, messages of extensions.

use std::net::SocketAddr;
use std::time::Duration;

use minitorrent::base::ids::InfoHash;
use minitorrent::base::limits;
use minitorrent::base::rng::Rng;
use minitorrent::base::time::Instant;
use minitorrent::engine::dht::{Action, Config, Dht};
use minitorrent::engine::lsd::{self, Lsd};
use minitorrent::wire::krpc::{self, Ask, Body, Message};
use minitorrent::wire::lsd::{Announce, COOKIE_MAX, DATAGRAM_MAX, GROUP_V4, HASHES_MAX};
use minitorrent::wire::tracker_http::is_peer_address;
use minitorrent::wire::ut_metadata::MetadataMessage;
use minitorrent::wire::ut_pex::Pex;

use super::source::Source;

/// DHT messages: what is read is written as a message that says the same.
pub fn krpc(bytes: &[u8]) {
    let transaction = krpc::transaction(bytes);
    let Ok(message) = Message::decode(bytes) else {
        return;
    };
    assert_eq!(transaction, Some(message.transaction));
    let is_unknown =
        matches!(&message.body, Body::Query(query) if matches!(query.ask, Ask::Unknown(_)));
    if !is_unknown {
        let written = message.encode();
        assert_eq!(Message::decode(&written).as_ref(), Ok(&message));
    }
    if let Body::Response(response) = &message.body {
        let nodes = krpc::read_nodes(response.nodes.unwrap_or_default()).count();
        let nodes6 = krpc::read_nodes6(response.nodes6.unwrap_or_default()).count();
        let values = response
            .values
            .map_or(0, |values| values.addresses().count());
        assert!((nodes + nodes6 + values) * 6 <= bytes.len());
    }
}

/// Announces in the neighbourhood, and the machine that hears them.
pub fn lsd(bytes: &[u8]) {
    let Some(announce) = Announce::decode(bytes) else {
        return;
    };
    assert!(bytes.len() <= DATAGRAM_MAX && announce.cookie.len() <= COOKIE_MAX);
    assert!((1..=HASHES_MAX).contains(&announce.torrents.len()) && announce.port > 0);
    if announce.cookie.iter().all(u8::is_ascii_graphic) {
        let written = announce.encode(GROUP_V4);
        let read = Announce::decode(&written);
        // So long a datagram is never made of what we announce.
        assert!(read == Some(announce.clone()) || written.len() > DATAGRAM_MAX);
    }
    let now = Instant::default();
    let mut machine = Lsd::new(now, 6881, true, true, &mut Rng::new([1; 32]));
    machine.add(now, announce.torrents[0]);
    machine.handle_timeout(now);
    let mut own_cookie = None;
    while let Some(action) = machine.poll_action() {
        let lsd::Action::Datagram { bytes, .. } = action else {
            panic!("nobody was heard yet");
        };
        own_cookie = Announce::decode(&bytes).map(|own| own.cookie);
    }
    let mut named = 0;
    for host in 1..=3u8 {
        for _ in 0..3 {
            machine.handle_datagram(now, ([192, 168, 0, host], 6771).into(), bytes);
        }
        machine.handle_datagram(now, ([8, 8, 8, host], 6771).into(), bytes);
    }
    while let Some(action) = machine.poll_action() {
        let lsd::Action::Peer { info_hash, peer } = action else {
            panic!("it was not its time to speak");
        };
        assert_eq!(
            (info_hash, peer.port()),
            (announce.torrents[0], announce.port)
        );
        named += 1;
    }
    // Coverage leads the fuzzer to the machine's own cookie in time: that is its own voice, from whatever host.
    let is_own = own_cookie.expect("it announced") == announce.cookie;
    assert_eq!(named, if is_own { 0 } else { 3 }, "each near host once");
}

/// Messages of the metadata and peer exchanges.
pub fn extended(bytes: &[u8]) {
    if let Ok(message) = MetadataMessage::decode(bytes) {
        if let MetadataMessage::Data { data, .. } = message {
            assert!(data.len() < bytes.len());
        }
        let written = message.encode();
        let is_plain = |message: &MetadataMessage<'_>| {
            matches!(
                message,
                MetadataMessage::Request { .. } | MetadataMessage::Reject { .. }
            )
        };
        if is_plain(&message) {
            assert_eq!(MetadataMessage::decode(&written), Ok(message));
        }
    }
    if let Ok(pex) = Pex::decode(bytes) {
        assert!(
            pex.added.len() <= limits::PEX_ADDED_MAX && pex.dropped.len() <= limits::PEX_ADDED_MAX
        );
        assert!(pex.added.iter().all(|peer| is_peer_address(*peer)));
        let again = Pex::decode(&pex.encode()).expect("our own");
        assert_eq!(again.added.len(), pex.added.len());
    }
}

/// A node of the DHT: saved nodes, then datagrams from anywhere, and time. What it sends is short, what it saves it
/// reads again, and it never asks to be woken in the past.
pub fn dht(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let saved = usize::from(source.short());
    let saved = source.take(saved);
    let config = Config {
        ipv6: true,
        ..Config::default()
    };
    let (mut now, mut rng) = (Instant::default(), Rng::new([7; 32]));
    let mut node = Dht::new(now, config.clone(), &mut rng);
    node.import(saved, true);
    node.search(now, InfoHash([5; 20]), Some(6881));
    let mut sent = Vec::new();
    for _ in 0..64 {
        if source.is_empty() {
            break;
        }
        let from: SocketAddr = match source.byte() {
            // Whoever was asked last answers.
            0..=127 => sent.pop().unwrap_or(([10, 0, 0, 1], 6881).into()),
            host @ 128..=191 => ([10, 0, 0, host], 6881).into(),
            host @ 192..=223 => ([93, 184, 216, host], 6881).into(),
            host => ([0x2a01, 0, 0, 0, 0, 0, 0, u16::from(host)], 6881).into(),
        };
        let len = usize::from(source.short()) % 2048;
        node.handle_datagram(now, from, source.take(len), &mut rng);
        drain(&mut node, &mut sent);
        if let Some(due) = node.poll_timeout() {
            now = now
                .max(due)
                .max(now + Duration::from_millis(u64::from(source.byte())));
            node.handle_timeout(now, &mut rng);
            drain(&mut node, &mut sent);
            assert!(node.poll_timeout().is_none_or(|due| due > now), "it spins");
        }
    }
    let snapshot = node.snapshot(now);
    assert!(snapshot.nodes.iter().all(|nodes| *nodes <= 2000));
    let export = node.export(now);
    let mut next = Dht::new(now, config, &mut rng);
    next.import(&export, true);
    assert_eq!(next.poll_action(), None, "what was saved is good");
}

fn drain(node: &mut Dht, sent: &mut Vec<SocketAddr>) {
    while let Some(action) = node.poll_action() {
        if let Action::Datagram { to, bytes, .. } = action {
            assert!(bytes.len() <= 1200 && bytes.first() == Some(&b'd'));
            assert!(to.port() > 0 && !to.ip().is_unspecified() && !to.ip().is_multicast());
            sent.push(to);
        }
    }
}
