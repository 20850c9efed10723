//! Trackers and name servers: honest ones, and all the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use minitorrent::base::rng::Rng;
use minitorrent::wire::metainfo::Metainfo;
use minitorrent::wire::tracker_http::percent_encode;

use crate::script::Act;

/// What a tracker is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TrackerKind {
    /// Knows who announced, and tells.
    Honest,
    /// Takes everything and says nothing.
    Silent,
    /// Nobody is there.
    Gone,
    /// Refuses with a reason.
    Refusing,
    /// Answers with bytes that mean nothing.
    Garbage,
    /// HTTP: status 500. UDP: another transaction than asked.
    Broken,
    /// HTTP: redirects to itself. UDP: answers from another address.
    Elsewhere,
    /// HTTP: ends in the middle of its reply. UDP: a reply that is cut.
    Cut,
    /// HTTP: a body without end. UDP: a list of more peers than a datagram has.
    Endless,
}

impl TrackerKind {
    /// All kinds but the honest one.
    pub(crate) const FAULTY: [Self; 8] = [
        Self::Silent,
        Self::Gone,
        Self::Refusing,
        Self::Garbage,
        Self::Broken,
        Self::Elsewhere,
        Self::Cut,
        Self::Endless,
    ];
}

/// A tracker of the plan: its kind, where it is, its name if it goes by one, and whether it speaks UDP.
#[derive(Clone, Debug)]
pub(crate) struct TrackerPlan {
    pub(crate) kind: TrackerKind,
    pub(crate) address: SocketAddr,
    pub(crate) name: Option<String>,
    pub(crate) udp: bool,
}

impl TrackerPlan {
    /// What stands in the torrent.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.udp { "udp" } else { "http" };
        let port = self.address.port();
        let host = match &self.name {
            Some(name) => name.clone(),
            None => self.address.ip().to_string(),
        };
        format!("{scheme}://{host}:{port}/announce")
    }
}

/// A tracker, its swarm, and its conversations by socket.
pub(crate) struct Tracker {
    pub(crate) plan: TrackerPlan,
    meta: Arc<Metainfo>,
    swarm: BTreeSet<SocketAddr>,
    seen: BTreeSet<SocketAddr>,
    talks: BTreeMap<usize, Vec<u8>>,
    /// Connection ids that were given out over UDP, and to whom.
    given: BTreeMap<u64, SocketAddr>,
}

impl Tracker {
    /// A tracker that nobody has announced to.
    pub(crate) fn new(plan: TrackerPlan, meta: Arc<Metainfo>) -> Self {
        Self {
            plan,
            meta,
            swarm: BTreeSet::new(),
            seen: BTreeSet::new(),
            talks: BTreeMap::new(),
            given: BTreeMap::new(),
        }
    }

    /// Bytes of an HTTP request came.
    pub(crate) fn handle_bytes(
        &mut self,
        sock: usize,
        from: IpAddr,
        bytes: &[u8],
        rng: &mut Rng,
    ) -> Vec<Act> {
        let talk = self.talks.entry(sock).or_default();
        talk.extend_from_slice(bytes);
        assert!(talk.len() < 4096, "a request without end");
        if !talk.ends_with(b"\r\n\r\n") {
            return Vec::new();
        }
        let talk = std::mem::take(talk);
        let text = String::from_utf8(talk).expect("a request is text");
        let target = text.strip_prefix("GET ").expect("a GET");
        let target = target.split(' ').next().expect("a target");
        let reply = |status: &str, more: &str, body: &[u8]| {
            let head = format!(
                "HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n",
                body.len()
            );
            [head.as_bytes(), body].concat()
        };
        let bytes = match self.plan.kind {
            TrackerKind::Silent | TrackerKind::Gone => return Vec::new(),
            TrackerKind::Honest => {
                let mut body = b"d8:intervali".to_vec();
                body.extend(format!("{}e5:peers", 60 + rng.below(120)).bytes());
                let peers = self.announce(from, target);
                body.extend(format!("{}:", peers.len()).bytes());
                body.extend(peers);
                body.push(b'e');
                match rng.below(3) {
                    0 => [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &body].concat(),
                    _ => reply("200 OK", "", &body),
                }
            }
            TrackerKind::Refusing => reply("200 OK", "", b"d14:failure reason4:no!\x07e"),
            TrackerKind::Garbage => reply("200 OK", "", &[b'd'; 300]),
            TrackerKind::Broken => reply("500 Oh", "", b"<html>"),
            TrackerKind::Elsewhere => {
                let url = self.plan.url();
                reply("302 Found", &format!("location: {url}?again\r\n"), b"")
            }
            TrackerKind::Cut => b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\nd8:in".to_vec(),
            TrackerKind::Endless => {
                let mut bytes = b"HTTP/1.1 200 OK\r\n\r\nd5:peers99999999:".to_vec();
                bytes.resize(1_200_000, b'x');
                bytes
            }
        };
        let wait = rng.below(300_000) as u64;
        let end = match self.plan.kind {
            TrackerKind::Cut if rng.below(2) == 0 => Act::Break,
            _ => Act::End(wait + 1_000_000),
        };
        vec![Act::Send(wait, bytes), end]
    }

    /// A connection is gone.
    pub(crate) fn handle_gone(&mut self, sock: usize) {
        self.talks.remove(&sock);
    }

    /// Takes down who announces, and gives the others.
    fn announce(&mut self, from: IpAddr, target: &str) -> Vec<u8> {
        let mut hash = String::from("info_hash=");
        percent_encode(&self.meta.info_hash.0, &mut hash);
        assert!(target.contains(&hash), "of another torrent: {target}");
        let number = |key: &str| -> u64 {
            let value = target
                .split(['?', '&'])
                .find_map(|pair| pair.strip_prefix(key));
            let value = value.unwrap_or_else(|| panic!("no {key} in {target}"));
            value.parse().expect("a number")
        };
        assert!(number("left=") <= self.meta.geometry.total());
        let who = SocketAddr::new(from, number("port=") as u16);
        let event = target.split("event=").nth(1);
        let event = event.map(|rest| rest.split('&').next().expect("the first"));
        self.join(who, event.unwrap_or_default())
    }

    fn join(&mut self, who: SocketAddr, event: &str) -> Vec<u8> {
        assert_eq!(who.port(), 6881);
        if self.seen.insert(who) {
            assert_eq!(event, "started", "the first word");
        }
        match event {
            "stopped" => self.swarm.remove(&who),
            "" | "started" | "completed" => self.swarm.insert(who),
            other => panic!("event={other}"),
        };
        let others = self.swarm.iter().filter(|other| **other != who);
        others.flat_map(compact).collect()
    }

    /// A datagram came: what is answered, and from where.
    pub(crate) fn handle_datagram(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        rng: &mut Rng,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let kind = self.plan.kind;
        if matches!(kind, TrackerKind::Silent | TrackerKind::Gone) || !self.plan.udp {
            return None;
        }
        let action: [u8; 4] = bytes[8..12].try_into().expect("16 bytes at least");
        let mut transaction: [u8; 4] = bytes[12..16].try_into().expect("16 bytes at least");
        let id = u64::from_be_bytes(bytes[..8].try_into().expect("16 bytes at least"));
        let mut reply = Vec::new();
        match action {
            [0, 0, 0, 0] => {
                assert_eq!((id, bytes.len()), (0x0417_2710_1980, 16));
                let given = rng.next_u64();
                self.given.insert(given, from);
                reply.extend(given.to_be_bytes());
            }
            [0, 0, 0, 1] => {
                assert_eq!(self.given.get(&id), Some(&from), "an id of its own");
                assert!(bytes.len() >= 98 && bytes[16..36] == self.meta.info_hash.0);
                let port = u16::from_be_bytes([bytes[96], bytes[97]]);
                let event = ["", "completed", "started", "stopped"][usize::from(bytes[83])];
                let peers = match kind {
                    TrackerKind::Honest => self.join(SocketAddr::new(from.ip(), port), event),
                    TrackerKind::Endless => vec![0x0a; 6 * 5000],
                    _ => Vec::new(),
                };
                reply.extend((60 + rng.below(120) as u32).to_be_bytes());
                reply.extend([0; 8]);
                reply.extend(peers);
            }
            _ => panic!("asks for {action:?}"),
        }
        let mut source = self.plan.address;
        let mut said = action;
        match kind {
            TrackerKind::Refusing => {
                said = [0, 0, 0, 3];
                reply = b"no!\x07".to_vec();
            }
            TrackerKind::Broken => transaction[0] ^= 1,
            TrackerKind::Elsewhere => source.set_port(7),
            TrackerKind::Cut => reply.truncate(3),
            TrackerKind::Garbage => return Some((source, vec![0x55; 20])),
            _ => {}
        }
        Some((source, [&said[..], &transaction, &reply].concat()))
    }
}

fn compact(address: &SocketAddr) -> Vec<u8> {
    match address {
        SocketAddr::V4(v4) => [&v4.ip().octets()[..], &v4.port().to_be_bytes()].concat(),
        SocketAddr::V6(_) => Vec::new(),
    }
}

/// What a name server is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NameKind {
    /// Knows every tracker.
    Honest,
    /// Says nothing.
    Silent,
    /// Answers another question, with an address of its own.
    WrongId,
    /// The same, with the right id.
    WrongQuestion,
    /// Can't answer.
    Failing,
    /// Sends noise.
    Noise,
    /// Answers over TCP only.
    Cut,
    /// The port is closed.
    Closed,
}

impl NameKind {
    /// Those that keep nobody from asking the next one.
    pub(crate) const ALL: [Self; 8] = [
        Self::Honest,
        Self::Silent,
        Self::WrongId,
        Self::WrongQuestion,
        Self::Failing,
        Self::Noise,
        Self::Cut,
        Self::Closed,
    ];
}

/// What comes back for a question over UDP, or over TCP, to a name server of this kind. A name that nobody has never
/// gets an answer.
pub(crate) fn answer(
    kind: NameKind,
    trackers: &[Tracker],
    query: &[u8],
    tcp: bool,
) -> Option<Vec<u8>> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0)? + 5;
    let name = name_of(&query[12..end]);
    let known = trackers
        .iter()
        .find(|tracker| tracker.plan.name.as_ref() == Some(&name));
    let address = match known.map(|tracker| tracker.plan.address.ip()) {
        Some(IpAddr::V4(v4)) => v4,
        _ => return None,
    };
    let mut reply = vec![query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    reply.extend(&query[12..end]);
    let put = |reply: &mut Vec<u8>, address: Ipv4Addr| {
        if query[end - 3] == 1 {
            reply[7] = 1;
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            reply.extend(address.octets());
        }
    };
    match kind {
        NameKind::Honest => put(&mut reply, address),
        NameKind::Cut if tcp => put(&mut reply, address),
        NameKind::Cut => reply[2] |= 2,
        NameKind::WrongId => {
            put(&mut reply, Ipv4Addr::new(10, 66, 0, 1));
            reply[0] ^= 0x40;
        }
        NameKind::WrongQuestion => {
            put(&mut reply, Ipv4Addr::new(10, 66, 0, 1));
            reply[13] = b'x';
        }
        NameKind::Failing => reply[3] |= 2,
        NameKind::Noise => reply = vec![0x5a; 40],
        NameKind::Silent | NameKind::Closed => return None,
    }
    Some(reply)
}

/// The name in a question, with dots.
fn name_of(mut labels: &[u8]) -> String {
    let mut name = String::new();
    while let [len, rest @ ..] = labels
        && *len > 0
    {
        let (label, more) = rest.split_at(usize::from(*len));
        name.push_str(if name.is_empty() { "" } else { "." });
        name.push_str(&String::from_utf8_lossy(label).to_lowercase());
        labels = more;
    }
    name
}
