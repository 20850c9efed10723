//! One behaviour a test, in virtual time.

mod families;
mod reach;
mod schedule;
mod udp;
mod verdict;

use std::net::Ipv4Addr;

use super::*;
use crate::engine::io::ConnectError;
use crate::net::http_call::{HttpCall, HttpError};
use crate::wire::tracker_http::url::Host;

/// An announcer and its world: time passes only here.
struct Scene {
    announcer: Announcer,
    now: Instant,
    facts: Facts,
    rng: Rng,
}

/// A datagram that was sent.
struct Sent {
    ms: u64,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Scene {
    fn new(tiers: &[&[&str]], private: bool) -> Self {
        let tiers: Vec<Vec<String>> = tiers
            .iter()
            .map(|tier| tier.iter().map(ToString::to_string).collect())
            .collect();
        let mut rng = Rng::new([1; 32]);
        Self {
            announcer: Announcer::new(&tiers, private, identity(), &mut rng),
            now: Instant::default(),
            facts: Facts {
                left: 100,
                ..Facts::default()
            },
            rng,
        }
    }

    fn started(tiers: &[&[&str]], private: bool) -> Self {
        let mut scene = Self::new(tiers, private);
        scene.announcer.start(scene.now);
        scene
    }

    fn ms(&self) -> u64 {
        self.now.as_micros() / 1000
    }

    fn drain(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.announcer.poll_action()).collect()
    }

    /// Runs to `ms`, from one deadline to the next, and gives what was asked for, with the time.
    fn run_to(&mut self, ms: u64) -> Vec<(u64, Action)> {
        let end = Instant::from_micros(ms * 1000);
        let mut actions: Vec<_> = self.drain().into_iter().map(|a| (self.ms(), a)).collect();
        while let Some(due) = self.announcer.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.announcer
                .handle_timeout(self.now, &self.facts, &mut self.rng);
            let next = self.announcer.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "spins at {:?}",
                self.now
            );
            let ms = self.ms();
            actions.extend(self.drain().into_iter().map(|action| (ms, action)));
        }
        self.now = end;
        actions
    }

    /// Runs to `ms` and gives the calls that were begun: time, id, the host header and target.
    fn calls(&mut self, ms: u64) -> Vec<(u64, CallId, String)> {
        let actions = self.run_to(ms).into_iter();
        let call = |(ms, action)| match action {
            Action::Http { call, request, .. } => Some((ms, call, line(&request))),
            _ => None,
        };
        actions.filter_map(call).collect()
    }

    fn hosts(&mut self, ms: u64) -> Vec<(u64, String)> {
        let calls = self.calls(ms).into_iter();
        calls
            .map(|(ms, _, line)| (ms, line.split(' ').next().unwrap_or_default().into()))
            .collect()
    }

    fn datagrams(&mut self, ms: u64) -> Vec<Sent> {
        let actions = self.run_to(ms).into_iter();
        let sent = |(ms, action)| match action {
            Action::Datagram { to, bytes } => Some(Sent { ms, to, bytes }),
            _ => None,
        };
        actions.filter_map(sent).collect()
    }

    fn reply(&mut self, call: CallId, status: u16, body: &[u8]) -> Vec<Action> {
        let response = Response {
            status,
            location: None,
            body: body.to_vec(),
        };
        self.result(call, Ok(response))
    }

    fn result(&mut self, call: CallId, result: Result<Response, HttpFailure>) -> Vec<Action> {
        self.announcer
            .handle_http(self.now, call, result, &mut self.rng);
        self.drain()
    }

    fn receive(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        self.announcer
            .handle_datagram(self.now, from, bytes, &mut self.rng)
    }
}

fn identity() -> Identity {
    Identity {
        info_hash: InfoHash([0xaa; 20]),
        peer_id: PeerId([0xbb; 20]),
        port: 6881,
        key: 7,
        user_agent: "me/1".into(),
    }
}

/// The host header and the target of a request, as `host target`.
fn line(request: &HttpCall) -> String {
    let text = String::from_utf8_lossy(request.poll_transmit()).into_owned();
    let target = text.split(' ').nth(1).unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    format!("{} {target}", host.unwrap_or_default())
}

fn event(line: &str) -> &str {
    line.split_once("&event=").map_or("", |(_, event)| event)
}

fn error(actions: &[Action]) -> String {
    let shown = actions.iter().find_map(|action| match action {
        Action::Report {
            result: Err(error), ..
        } => Some(error.to_string()),
        _ => None,
    });
    shown.unwrap_or_default()
}

fn connected(request: &[u8], id: u64) -> Vec<u8> {
    [&[0, 0, 0, 0], &request[12..16], &id.to_be_bytes()].concat()
}

fn announced(request: &[u8], interval: u32, peers: &[u8]) -> Vec<u8> {
    let interval = interval.to_be_bytes();
    [&[0, 0, 0, 1], &request[12..16], &interval, &[0; 8], peers].concat()
}

fn refused(request: &[u8], text: &str) -> Vec<u8> {
    [&[0, 0, 0, 3], &request[12..16], text.as_bytes()].concat()
}

const ONE: &[u8] = b"d8:intervali1800e5:peers6:\x0a\0\0\x01\x1a\xe1e";
const NONE: &[u8] = b"d8:intervali1800e5:peers0:e";
const PEER: &[u8] = &[10, 0, 0, 1, 0x1a, 0xe1];
const A: &str = "http://192.0.2.1/announce";
const B: &str = "http://192.0.2.2/announce";
const C: &str = "http://192.0.2.3/announce";
const UDP: &str = "udp://192.0.2.9:6969/announce";

fn udp() -> SocketAddr {
    ([192, 0, 2, 9], 6969).into()
}
