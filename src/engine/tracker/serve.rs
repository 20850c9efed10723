//! A tiny tracker (BEP 3, 7, 23): who announced a torrent is named to the next. For `demo` and for tests.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::ids::InfoHash;
use crate::base::time::Instant;
use crate::wire::tracker_http::percent_decode;

/// A table of swarms, of bounded size: what is too much pushes out what was heard of least recently.
#[derive(Default)]
pub struct TinyTracker {
    swarms: BTreeMap<InfoHash, BTreeMap<SocketAddr, Member>>,
}

impl TinyTracker {
    /// Answers a GET of `path_and_query` from `from`; the body is bencoded unless the path is unknown.
    pub fn handle_request(&mut self, now: Instant, from: IpAddr, path_and_query: &str) -> Answer {
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        if path != "/announce" {
            let body = b"not found".to_vec();
            return Answer { status: 404, body };
        }
        let body = match Asked::parse(query) {
            Ok(asked) => self.announce(now, from.to_canonical(), &asked),
            Err(reason) => format!("d14:failure reason{}:{reason}e", reason.len()).into_bytes(),
        };
        Answer { status: 200, body }
    }

    /// How many peers of a torrent are known.
    pub fn peers(&self, info_hash: InfoHash) -> usize {
        self.swarms.get(&info_hash).map_or(0, BTreeMap::len)
    }

    fn announce(&mut self, now: Instant, from: IpAddr, asked: &Asked) -> Vec<u8> {
        let address = SocketAddr::new(from, asked.port);
        self.make_room(now, asked.info_hash);
        let swarm = self.swarms.entry(asked.info_hash).or_default();
        swarm.retain(|_, member| now.since(member.seen) < LIFE);
        if asked.is_stopped {
            swarm.remove(&address);
        } else {
            if swarm.len() >= PEERS_MAX && !swarm.contains_key(&address) {
                let oldest = swarm.iter().min_by_key(|(_, member)| member.seen);
                let oldest = oldest.map(|(&address, _)| address);
                oldest.map(|address| swarm.remove(&address));
            }
            let member = Member {
                is_seed: asked.is_seed,
                seen: now,
            };
            swarm.insert(address, member);
        }
        let seeds = swarm.values().filter(|member| member.is_seed).count();
        let others = swarm.iter().filter(|(other, member)| {
            // A seed has nothing to ask of a seed.
            **other != address && !(asked.is_seed && member.is_seed)
        });
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (other, _) in others.take(asked.numwant) {
            let list = match other.ip() {
                IpAddr::V4(ip) => {
                    v4.extend_from_slice(&ip.octets());
                    &mut v4
                }
                IpAddr::V6(ip) => {
                    v6.extend_from_slice(&ip.octets());
                    &mut v6
                }
            };
            list.extend_from_slice(&other.port().to_be_bytes());
        }
        let counts = format!(
            "d8:completei{seeds}e10:incompletei{}e8:intervali{}e5:peers{}:",
            swarm.len() - seeds,
            INTERVAL.as_secs(),
            v4.len()
        );
        let mut body = counts.into_bytes();
        body.extend_from_slice(&v4);
        if !v6.is_empty() {
            body.extend_from_slice(format!("6:peers6{}:", v6.len()).as_bytes());
            body.extend_from_slice(&v6);
        }
        body.push(b'e');
        if swarm.is_empty() {
            self.swarms.remove(&asked.info_hash);
        }
        body
    }

    fn make_room(&mut self, now: Instant, info_hash: InfoHash) {
        if self.swarms.len() < SWARMS_MAX || self.swarms.contains_key(&info_hash) {
            return;
        }
        let last_seen = |swarm: &BTreeMap<SocketAddr, Member>| {
            swarm
                .values()
                .map(|member| member.seen)
                .max()
                .unwrap_or(now)
        };
        let oldest = self.swarms.iter().min_by_key(|(_, swarm)| last_seen(swarm));
        if let Some(oldest) = oldest.map(|(&info_hash, _)| info_hash) {
            self.swarms.remove(&oldest);
        }
    }
}

/// An answer over HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, plain text.
    pub body: Vec<u8>,
}

struct Member {
    is_seed: bool,
    seen: Instant,
}

/// What an announce asks.
struct Asked {
    info_hash: InfoHash,
    port: u16,
    numwant: usize,
    is_seed: bool,
    is_stopped: bool,
}

impl Asked {
    fn parse(query: &str) -> Result<Self, &'static str> {
        let mut info_hash = None;
        let mut port = None;
        let mut numwant = NUMWANT_DEFAULT;
        let mut is_seed = false;
        let mut is_stopped = false;
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "info_hash" => info_hash = percent_decode(value.as_bytes()).try_into().ok(),
                "port" => port = value.parse().ok().filter(|&port| port != 0),
                "numwant" => numwant = value.parse().unwrap_or(numwant).min(NUMWANT_MAX),
                "left" => is_seed = value == "0",
                "event" => is_stopped = value == "stopped",
                _ => {}
            }
        }
        Ok(Self {
            info_hash: InfoHash(info_hash.ok_or("info_hash is not 20 bytes")?),
            port: port.ok_or("port is not from 1 to 65535")?,
            numwant,
            is_seed,
            is_stopped,
        })
    }
}

/// Torrents known at once.
const SWARMS_MAX: usize = 64;
/// Peers known of one torrent.
const PEERS_MAX: usize = 200;
/// Peers named if the client doesn't say how many.
const NUMWANT_DEFAULT: usize = 50;
/// Peers named at most.
const NUMWANT_MAX: usize = 200;
/// What clients are told to wait.
const INTERVAL: Duration = Duration::from_secs(60);
/// A peer that has not announced for so long is gone.
const LIFE: Duration = Duration::from_secs(150);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::PeerId;
    use crate::wire::tracker_http::reply::Reply;
    use crate::wire::tracker_http::{Announce, Event};

    const HASH: InfoHash = InfoHash([0x25; 20]);

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    fn target(info_hash: InfoHash, port: u16, left: u64, event: Event) -> String {
        let announce = Announce {
            info_hash,
            peer_id: PeerId([0; 20]),
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event,
            numwant: 200,
            key: 0,
        };
        announce.target("/announce", None)
    }

    fn ask(tracker: &mut TinyTracker, now: Instant, ip: &str, target: &str) -> Vec<u8> {
        let from = ip.parse().expect("an address");
        tracker.handle_request(now, from, target).body
    }

    #[test]
    fn each_is_named_the_others_in_exact_bytes() {
        let mut tracker = TinyTracker::default();
        let seed = target(HASH, 0x1ae1, 0, Event::Started);
        let first = ask(&mut tracker, at(0), "127.0.0.1", &seed);
        assert_eq!(
            first,
            b"d8:completei1e10:incompletei0e8:intervali60e5:peers0:e"
        );
        let leech = target(HASH, 0x1ae2, 9, Event::Started);
        let second = ask(&mut tracker, at(1), "127.0.0.2", &leech);
        let expected =
            b"d8:completei1e10:incompletei1e8:intervali60e5:peers6:\x7f\0\0\x01\x1a\xe1e";
        assert_eq!(second, expected);
        let third = ask(&mut tracker, at(2), "::1", &leech);
        let peers = Reply::parse(&third).expect("a good reply").peers;
        assert_eq!(peers.len(), 2);
        let fourth = ask(&mut tracker, at(3), "127.0.0.1", &seed);
        let peers = Reply::parse(&fourth).expect("a good reply").peers;
        let shown: Vec<_> = peers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.2:6882", "[::1]:6882"]);
    }

    #[test]
    fn who_stops_or_falls_silent_is_forgotten() {
        let mut tracker = TinyTracker::default();
        ask(
            &mut tracker,
            at(0),
            "127.0.0.1",
            &target(HASH, 1, 0, Event::Started),
        );
        ask(
            &mut tracker,
            at(0),
            "127.0.0.1",
            &target(HASH, 2, 0, Event::Started),
        );
        ask(
            &mut tracker,
            at(1),
            "127.0.0.1",
            &target(HASH, 1, 0, Event::Stopped),
        );
        assert_eq!(tracker.peers(HASH), 1);
        ask(
            &mut tracker,
            at(150),
            "127.0.0.1",
            &target(HASH, 3, 0, Event::Started),
        );
        assert_eq!(tracker.peers(HASH), 1);
        ask(
            &mut tracker,
            at(151),
            "127.0.0.1",
            &target(HASH, 3, 0, Event::Stopped),
        );
        assert!(tracker.swarms.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_go_first() {
        let mut tracker = TinyTracker::default();
        for port in 1..=201u16 {
            let now = Instant::from_micros(port.into());
            ask(
                &mut tracker,
                now,
                "127.0.0.1",
                &target(HASH, port, 9, Event::Started),
            );
        }
        assert_eq!(tracker.peers(HASH), 200);
        assert!(!tracker.swarms[&HASH].contains_key(&([127, 0, 0, 1], 1).into()));
        for n in 0..64u8 {
            let other = InfoHash([n; 20]);
            ask(
                &mut tracker,
                at(1 + u64::from(n)),
                "127.0.0.1",
                &target(other, 1, 9, Event::Started),
            );
        }
        assert_eq!(tracker.swarms.len(), 64);
        let last = target(InfoHash([0xff; 20]), 1, 9, Event::Started);
        ask(&mut tracker, at(100), "127.0.0.1", &last);
        assert_eq!(tracker.swarms.len(), 64);
        assert_eq!(tracker.peers(InfoHash([0; 20])), 0);
    }

    #[test]
    fn bad_requests_are_told_so() {
        let mut tracker = TinyTracker::default();
        let mut body =
            |target: &str| String::from_utf8(ask(&mut tracker, at(0), "127.0.0.1", target));
        let no_hash = "d14:failure reason25:info_hash is not 20 bytese";
        assert_eq!(body("/announce").as_deref(), Ok(no_hash));
        assert_eq!(
            body("/announce?info_hash=abc&port=1").as_deref(),
            Ok(no_hash)
        );
        let hash = "/announce?info_hash=%00%010123456789012345%FF%fe";
        let no_port = "d14:failure reason27:port is not from 1 to 65535e";
        assert_eq!(body(hash).as_deref(), Ok(no_port));
        assert_eq!(body(&format!("{hash}&port=65536")).as_deref(), Ok(no_port));
        assert_eq!(body("/").as_deref(), Ok("not found"));
    }
}
