//! One behaviour a test, in virtual time.

mod families;

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

#[test]
fn public_announces_start_200_ms_apart_across_tiers_until_one_names_peers() {
    let mut scene = Scene::started(&[&[A], &[B], &[C]], false);
    let calls = scene.calls(300);
    let begun: Vec<_> = calls
        .iter()
        .map(|(ms, _, line)| (*ms, &line[..9]))
        .collect();
    assert_eq!(begun, [(0, "192.0.2.1"), (200, "192.0.2.2")]);
    let actions = scene.reply(calls[1].1, 200, ONE);
    let [
        Action::Report { url, result: Ok(1) },
        Action::Peers { peers, .. },
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(url, B);
    assert_eq!(peers[..], [([10, 0, 0, 1], 6881).into()]);
    assert!(scene.hosts(9_999).is_empty(), "the third is not needed");
}

#[test]
fn an_answer_without_peers_does_not_end_the_search() {
    let mut scene = Scene::started(&[&[A], &[B]], false);
    let first = scene.calls(100)[0].1;
    scene.reply(first, 200, NONE);
    assert_eq!(scene.hosts(1000), [(200, "192.0.2.2".into())]);
}

#[test]
fn fifty_silent_trackers_are_all_begun_within_ten_seconds() {
    let urls: Vec<String> = (0..60)
        .map(|n| format!("http://192.0.2.{n}/announce"))
        .collect();
    let tier: Vec<&str> = urls.iter().map(String::as_str).collect();
    let mut scene = Scene::started(&[&tier], false);
    let hosts = scene.hosts(9_999);
    assert_eq!(hosts.len(), limits::TRACKERS_MAX);
    assert_eq!(hosts[49].0, 9_800);
}

#[test]
fn a_tier_is_shuffled_and_the_tiers_keep_their_order() {
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..32 {
        let tiers = [vec![A.to_string(), B.to_string()], vec![C.to_string()]];
        let mut rng = Rng::new([seed; 32]);
        let announcer = Announcer::new(&tiers, true, identity(), &mut rng);
        assert_eq!(announcer.tiers[1], [2]);
        firsts.insert(announcer.tiers[0][0]);
    }
    assert_eq!(firsts.len(), 2);
}

#[test]
fn the_tracker_that_works_moves_to_the_front_of_its_tier() {
    let mut scene = Scene::started(&[&[A, B, C]], true);
    for _ in 0..2 {
        let call = scene.calls(scene.ms())[0].1;
        scene.result(call, Err(HttpFailure::Broken));
    }
    let last = scene.calls(0)[0].clone();
    scene.reply(last.1, 200, ONE);
    let next = scene.calls(1_800_000);
    let hosts: Vec<_> = next.iter().map(|(ms, _, line)| (*ms, &line[..9])).collect();
    assert_eq!(hosts, [(1_800_000, &last.2[..9])]);
}

#[test]
fn a_private_torrent_asks_one_tracker_at_a_time_in_order() {
    let mut scene = Scene::started(&[&[A], &[B], &[C]], true);
    let calls = scene.calls(5_000);
    assert_eq!(calls.len(), 1);
    assert!(calls[0].2.starts_with("192.0.2.1"));
    scene.result(calls[0].1, Err(HttpFailure::Connect(ConnectError::Refused)));
    let calls = scene.calls(6_000);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].0, 5_000);
    assert!(calls[0].2.starts_with("192.0.2.2"));
    scene.reply(calls[0].1, 200, NONE);
    assert!(
        scene.hosts(1_000_000).is_empty(),
        "an answer without peers is one"
    );
    assert_eq!(scene.hosts(1_806_000), [(1_806_000, "192.0.2.1".into())]);
}

#[test]
fn a_private_torrent_leaves_a_silent_tracker_after_ten_seconds() {
    let mut scene = Scene::started(&[&[UDP], &[A]], true);
    assert_eq!(scene.hosts(60_000), [(10_000, "192.0.2.1".into())]);
}

#[test]
fn started_is_first_then_plain_then_completed_with_true_numbers() {
    let mut scene = Scene::started(&[&[A]], false);
    let (_, call, line) = scene.calls(0)[0].clone();
    assert_eq!(event(&line), "started");
    assert!(line.contains("&uploaded=0&downloaded=0&left=100&"));
    scene.reply(call, 200, b"d8:intervali100e5:peers0:10:tracker id1:xe");
    scene.facts = Facts {
        uploaded: 1,
        downloaded: 60,
        left: 40,
    };
    let (ms, call, line) = scene.calls(100_000)[0].clone();
    assert_eq!((ms, event(&line)), (100_000, ""));
    assert!(line.contains("&uploaded=1&downloaded=60&left=40&") && line.ends_with("&trackerid=x"));
    scene.reply(call, 200, NONE);
    scene.now += Duration::from_secs(5);
    scene.facts.left = 0;
    scene.announcer.complete(scene.now);
    scene.announcer.complete(scene.now);
    let (ms, call, line) = scene.calls(105_000)[0].clone();
    assert_eq!((ms, event(&line)), (105_000, "completed&trackerid=x"));
    assert!(line.contains("&left=0&"));
    scene.reply(call, 200, NONE);
    assert!(
        scene.calls(1_904_999).is_empty(),
        "one announce an interval"
    );
    assert_eq!(event(&scene.calls(1_905_000)[0].2), "");
}

#[test]
fn a_tracker_that_did_not_answer_started_gets_it_again() {
    let mut scene = Scene::started(&[&[A]], false);
    let call = scene.calls(0)[0].1;
    scene.reply(call, 503, b"");
    let (ms, _, line) = scene.calls(100_000)[0].clone();
    assert_eq!((ms, event(&line)), (60_000, "started"));
}

#[test]
fn completed_waits_for_a_started_that_is_on_its_way() {
    let mut scene = Scene::started(&[&[A]], false);
    let call = scene.calls(0)[0].1;
    scene.announcer.complete(scene.now);
    scene.reply(call, 200, NONE);
    let (ms, _, line) = scene.calls(1000)[0].clone();
    assert_eq!((ms, event(&line)), (200, "completed"));
}

#[test]
fn stopped_goes_at_once_to_those_that_answered_started_and_to_no_other() {
    let mut scene = Scene::started(&[&[A], &[B], &[C]], false);
    let calls = scene.calls(1000);
    scene.reply(calls[0].1, 200, NONE);
    scene.reply(calls[1].1, 200, NONE);
    scene.announcer.stop(scene.now);
    assert!(!scene.announcer.is_stopped());
    let actions = scene.run_to(1000);
    let is_abandoned = |(_, action): &(u64, Action)| matches!(action, Action::Abandon { call } if *call == calls[2].1);
    assert!(actions.iter().any(is_abandoned));
    let stops: Vec<_> = actions
        .into_iter()
        .filter_map(|(_, action)| match action {
            Action::Http { call, request, .. } => Some((call, line(&request))),
            _ => None,
        })
        .collect();
    assert_eq!(stops.len(), 2);
    assert!(
        stops
            .iter()
            .all(|(_, line)| event(line) == "stopped" && line.contains("numwant=0"))
    );
    scene.reply(stops[0].0, 200, NONE);
    assert!(!scene.announcer.is_stopped());
    scene.reply(stops[1].0, 500, b"");
    assert!(scene.announcer.is_stopped());
    assert_eq!(scene.announcer.poll_timeout(), None);
}

#[test]
fn a_completed_is_not_lost_when_the_run_ends_right_after_it() {
    let mut scene = Scene::started(&[&[A]], false);
    let call = scene.calls(0)[0].1;
    scene.reply(call, 200, NONE);
    scene.announcer.complete(scene.now);
    scene.announcer.stop(scene.now);
    let calls = scene.calls(0);
    assert_eq!(event(&calls[0].2), "completed");
    scene.reply(calls[0].1, 200, NONE);
    let calls = scene.calls(0);
    assert_eq!(event(&calls[0].2), "stopped");
    scene.reply(calls[0].1, 200, NONE);
    assert!(scene.announcer.is_stopped());
}

#[test]
fn a_goodbye_to_a_silent_tracker_ends_after_ten_seconds() {
    let mut scene = Scene::started(&[&[A]], false);
    let call = scene.calls(0)[0].1;
    scene.reply(call, 200, NONE);
    scene.announcer.stop(scene.now);
    scene.run_to(9_999);
    assert!(!scene.announcer.is_stopped());
    scene.run_to(10_000);
    assert!(scene.announcer.is_stopped());
}

#[test]
fn a_call_has_ten_seconds_to_its_first_byte_and_thirty_for_the_whole() {
    let mut scene = Scene::started(&[&[A], &[B]], false);
    let calls = scene.calls(5_000);
    scene.announcer.handle_http_progress(calls[1].1);
    let abandoned: Vec<_> = scene
        .run_to(40_000)
        .into_iter()
        .filter_map(|(ms, action)| match action {
            Action::Abandon { call } => Some((ms, call)),
            _ => None,
        })
        .collect();
    assert_eq!(abandoned, [(10_000, calls[0].1), (30_200, calls[1].1)]);
}

/// The pauses, in seconds, between failures of a tracker that always fails the same way.
fn pauses(result: impl Fn() -> Result<Response, HttpFailure>, count: usize) -> Vec<u64> {
    let mut scene = Scene::started(&[&[A]], false);
    let mut call = scene.calls(0)[0].1;
    let mut pauses = Vec::new();
    while pauses.len() < count {
        scene.result(call, result());
        let failed = scene.ms();
        let due = scene.announcer.poll_timeout().expect("it is tried again");
        let (ms, next, _) = scene.calls(due.as_micros() / 1000)[0].clone();
        pauses.push((ms - failed) / 1000);
        call = next;
    }
    pauses
}

#[test]
fn refusals_and_server_errors_double_from_sixty_seconds_to_thirty_minutes() {
    let refused = || Err(HttpFailure::Connect(ConnectError::Refused));
    assert_eq!(first_pause(refused()), 60);
    let server = || {
        Ok(Response {
            status: 500,
            ..Response::default()
        })
    };
    assert_eq!(
        pauses_by_failures(server),
        [60, 120, 240, 480, 960, 1800, 1800]
    );
}

#[test]
fn trouble_on_our_side_doubles_from_five_seconds_to_five_minutes() {
    let local = || Err(HttpFailure::Connect(ConnectError::Unreachable));
    assert_eq!(pauses_by_failures(local), [5, 10, 20, 40, 80, 160, 300]);
}

#[test]
fn a_client_error_pauses_for_thirty_minutes_but_too_many_requests_is_the_servers() {
    let status = |status| {
        Ok(Response {
            status,
            ..Response::default()
        })
    };
    for code in [400, 403, 404] {
        assert_eq!(first_pause(status(code)), 1800);
    }
    assert_eq!(first_pause(status(429)), 60);
}

fn first_pause(result: Result<Response, HttpFailure>) -> u64 {
    pauses(|| result.clone(), 1)[0]
}

fn pauses_by_failures(result: impl Fn() -> Result<Response, HttpFailure>) -> Vec<u64> {
    pauses(result, 7)
}

#[test]
fn a_tracker_may_say_when_to_come_again_or_never() {
    let failure = |body: &[u8]| Response {
        status: 200,
        location: None,
        body: body.to_vec(),
    };
    let told = failure(b"d14:failure reason2:no8:retry ini5ee");
    assert_eq!(first_pause(Ok(told)), 300);
    let mut scene = Scene::started(&[&[A]], false);
    let call = scene.calls(0)[0].1;
    let actions = scene.reply(call, 404, b"d14:failure reason2:no8:retry in5:nevere");
    assert_eq!(error(&actions), "[tracker.failure] HTTP status 404: no");
    assert_eq!(scene.announcer.poll_timeout(), None);
}

#[test]
fn every_failure_says_what_it_is() {
    for (result, expected) in [
        (
            Err(HttpFailure::Http(HttpError::BodyTooLong)),
            "[tracker.too-large] ",
        ),
        (
            Err(HttpFailure::Http(HttpError::Protocol)),
            "[tracker.http] ",
        ),
        (Err(HttpFailure::Broken), "[tracker.connect] "),
        (Ok((200, &b"<html>"[..])), "[tracker.reply] "),
        (Ok((500, b"<html>")), "[tracker.status] HTTP status 500"),
        (
            Ok((200, b"d14:failure reason3:a\x1bbe")),
            "[tracker.failure] a\\u{1b}b",
        ),
    ] {
        let mut scene = Scene::started(&[&[A]], false);
        let call = scene.calls(0)[0].1;
        let result = result.map(|(status, body)| Response {
            status,
            location: None,
            body: body.to_vec(),
        });
        let shown = error(&scene.result(call, result));
        assert!(shown.starts_with(expected), "{shown}");
    }
}

#[test]
fn short_of_peers_is_announced_after_sixty_seconds_or_the_minimum_interval() {
    for (body, seconds) in [
        (&b"d8:intervali1800e5:peers0:e"[..], 60),
        (b"d8:intervali1800e12:min intervali300e5:peers0:e", 300),
        (b"d8:intervali1800e12:min intervali1e5:peers0:e", 60),
    ] {
        for private in [false, true] {
            let mut scene = Scene::started(&[&[A]], private);
            let call = scene.calls(0)[0].1;
            scene.reply(call, 200, body);
            scene.announcer.want_peers(scene.now);
            scene.announcer.want_peers(scene.now);
            assert_eq!(scene.hosts(1_000_000)[0].0, seconds * 1000);
        }
    }
}

#[test]
fn other_trackers_are_tried_when_none_has_named_peers_for_a_minute() {
    let mut scene = Scene::started(&[&[A], &[B]], false);
    let call = scene.calls(100)[0].1;
    scene.reply(call, 200, ONE);
    scene.announcer.want_peers(scene.now);
    assert!(scene.hosts(50_000).is_empty());
    scene.now = Instant::from_micros(60_100_000);
    scene.announcer.want_peers(scene.now);
    let hosts: Vec<_> = scene
        .hosts(60_400)
        .into_iter()
        .map(|(_, host)| host)
        .collect();
    assert_eq!(hosts, ["192.0.2.1", "192.0.2.2"]);
}

/// One that makes peers up answers within the 200 ms in which the next would be asked, each time.
#[test]
fn a_tracker_whose_peers_are_of_no_use_does_not_keep_the_others_from_being_asked() {
    let mut scene = Scene::started(&[&[A], &[B], &[C]], false);
    let call = scene.calls(100)[0].1;
    scene.reply(call, 200, ONE);
    scene.now = Instant::from_micros(60_100_000);
    scene.announcer.want_peers(scene.now);
    let call = scene.calls(60_100)[0].1;
    scene.reply(call, 200, ONE);
    let hosts: Vec<_> = scene.hosts(61_000);
    let at = |ms, host: &str| (ms, host.to_owned());
    assert_eq!(hosts, [at(60_300, "192.0.2.2"), at(60_500, "192.0.2.3")]);
}

#[test]
fn who_has_everything_tells_all_trackers_and_who_has_not_stops_at_peers() {
    for (left, told) in [(0, 3), (100, 1)] {
        let mut scene = Scene::started(&[&[A], &[B], &[C]], false);
        scene.facts.left = left;
        let call = scene.calls(0)[0].1;
        scene.reply(call, 200, ONE);
        assert_eq!(1 + scene.hosts(1_000).len(), told);
    }
}

#[test]
fn our_own_address_is_no_peer() {
    let mut scene = Scene::started(&[&[A]], false);
    let call = scene.calls(0)[0].1;
    let body = b"d11:external ip4:\x0a\0\0\x015:peers6:\x0a\0\0\x01\x1a\xe115:warning message2:hie";
    let actions = scene.reply(call, 200, body);
    let [
        Action::Warning { text, .. },
        Action::Report { result: Ok(0), .. },
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(text, "hi");
}

#[test]
fn a_udp_announce_connects_then_announces_and_gives_peers() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(0);
    assert_eq!(
        (sent.len(), sent[0].to, sent[0].bytes.len()),
        (1, udp(), 16)
    );
    assert!(scene.receive(udp(), &connected(&sent[0].bytes, 0x0102)));
    let sent = scene.datagrams(0);
    assert_eq!(sent[0].bytes.len(), 98);
    assert_eq!(sent[0].bytes[..8], [0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(sent[0].bytes[80..84], [0, 0, 0, 2], "started");
    assert!(scene.receive(udp(), &announced(&sent[0].bytes, 100, PEER)));
    let actions = scene.drain();
    assert!(
        matches!(&actions[1], Action::Peers { peers, .. } if peers[..] == [([10, 0, 0, 1], 6881).into()])
    );
    assert_eq!(scene.datagrams(200_000)[0].ms, 100_000, "the interval");
}

#[test]
fn a_udp_interval_is_clamped() {
    for (interval, ms) in [(0, 60_000), (u32::MAX, 86_400_000)] {
        let mut scene = Scene::started(&[&[UDP]], false);
        let sent = scene.datagrams(0);
        scene.receive(udp(), &connected(&sent[0].bytes, 1));
        let sent = scene.datagrams(0);
        scene.receive(udp(), &announced(&sent[0].bytes, interval, &[]));
        assert_eq!(scene.datagrams(90_000_000)[0].ms, ms);
    }
}

#[test]
fn an_unanswered_connect_is_sent_again_after_15_times_two_to_the_n_seconds_up_to_n_8() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(7_665_000);
    let times: Vec<_> = sent.iter().map(|sent| sent.ms / 1000).collect();
    assert_eq!(times, [0, 15, 45, 105, 225, 465, 945, 1905, 3825]);
    assert!(sent.iter().all(|other| other.bytes == sent[0].bytes));
    // Given up at 15 x (2^9 - 1) seconds, and begun anew half an hour later.
    assert_eq!(scene.datagrams(10_000_000)[0].ms, (7_665 + 1_800) * 1000);
}

#[test]
fn an_unanswered_announce_renews_its_connection_id_when_that_is_a_minute_old() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(1_000);
    scene.receive(udp(), &connected(&sent[0].bytes, 1));
    let sent = scene.datagrams(110_000);
    let seen: Vec<_> = sent
        .iter()
        .map(|sent| (sent.ms, sent.bytes.len()))
        .collect();
    assert_eq!(
        seen,
        [(1_000, 98), (16_000, 98), (46_000, 98), (106_000, 16)]
    );
    scene.receive(udp(), &connected(&sent[3].bytes, 2));
    let sent = scene.datagrams(240_000);
    let seen: Vec<_> = sent
        .iter()
        .map(|sent| (sent.ms, sent.bytes.len()))
        .collect();
    // The pause goes on doubling: 120 s now.
    assert_eq!(seen, [(110_000, 98), (230_000, 16)]);
}

#[test]
fn ten_seconds_of_silence_are_a_failure_and_a_late_answer_is_still_used() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(9_999);
    let actions = scene.run_to(10_000);
    let shown: Vec<Action> = actions.into_iter().map(|(_, action)| action).collect();
    assert_eq!(error(&shown), "[tracker.timeout] no answer within 10 s");
    scene.run_to(14_000);
    assert!(scene.receive(udp(), &connected(&sent[0].bytes, 1)));
    let sent = scene.datagrams(28_000);
    assert_eq!((sent.len(), sent[0].ms), (1, 14_000));
    assert!(scene.receive(udp(), &announced(&sent[0].bytes, 1800, PEER)));
    assert!(matches!(
        scene.drain()[..],
        [Action::Report { result: Ok(1), .. }, Action::Peers { .. }]
    ));
}

#[test]
fn a_connection_id_is_used_for_less_than_sixty_seconds() {
    for (seconds, len) in [(59, 98), (60, 16)] {
        let mut scene = Scene::started(&[&[UDP]], false);
        let sent = scene.datagrams(0);
        scene.receive(udp(), &connected(&sent[0].bytes, 1));
        let sent = scene.datagrams(0);
        scene.receive(udp(), &announced(&sent[0].bytes, 1800, &[]));
        scene.run_to(seconds * 1000);
        scene.announcer.stop(scene.now);
        let sent = scene.datagrams(seconds * 1000);
        assert_eq!((sent.len(), sent[0].bytes.len()), (1, len));
    }
}

#[test]
fn a_connection_id_that_the_tracker_has_forgotten_is_renewed_at_once() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(0);
    scene.receive(udp(), &connected(&sent[0].bytes, 1));
    let sent = scene.datagrams(0);
    scene.receive(udp(), &announced(&sent[0].bytes, 1800, &[]));
    scene.announcer.complete(scene.now);
    let sent = scene.datagrams(1_000);
    assert_eq!(sent[0].bytes.len(), 98);
    assert!(scene.receive(udp(), &refused(&sent[0].bytes, "bad id")));
    let sent = scene.datagrams(1_000);
    assert_eq!(sent[0].bytes.len(), 16);
    scene.receive(udp(), &connected(&sent[0].bytes, 2));
    let sent = scene.datagrams(1_000);
    assert_eq!(sent[0].bytes[80..84], [0, 0, 0, 1], "completed");
    assert!(scene.receive(udp(), &refused(&sent[0].bytes, "go away")));
    assert_eq!(error(&scene.drain()), "[tracker.failure] go away");
}

#[test]
fn datagrams_from_elsewhere_or_with_another_transaction_change_nothing() {
    let mut scene = Scene::started(&[&[UDP]], false);
    let sent = scene.datagrams(0);
    let good = connected(&sent[0].bytes, 1);
    let mut wrong = good.clone();
    wrong[7] ^= 1;
    assert!(!scene.receive(udp(), &wrong));
    assert!(!scene.receive(([192, 0, 2, 9], 6970).into(), &good));
    assert!(!scene.receive(([192, 0, 2, 8], 6969).into(), &good));
    assert!(!scene.receive(udp(), &good[..15]));
    assert!(!scene.receive(udp(), &[]));
    // Of an announce that was not made yet.
    let early = announced(&sent[0].bytes, 60, PEER);
    scene.receive(udp(), &early);
    assert!(scene.drain().is_empty());
    let mapped: SocketAddr = "[::ffff:192.0.2.9]:6969".parse().expect("an address");
    assert!(scene.receive(mapped, &good));
    assert_eq!(scene.datagrams(0)[0].bytes.len(), 98);
}

#[test]
fn a_udp_tracker_on_ipv6_gives_ipv6_peers() {
    let mut scene = Scene::started(&[&["udp://[2001:db8::9]:6969/announce"]], false);
    let sent = scene.datagrams(0);
    let from = sent[0].to;
    scene.receive(from, &connected(&sent[0].bytes, 1));
    let sent = scene.datagrams(0);
    let peer: SocketAddr = "[2001:db8::1]:80".parse().expect("an address");
    let SocketAddr::V6(v6) = peer else {
        panic!("not IPv6");
    };
    let list = [&v6.ip().octets()[..], &[0, 80]].concat();
    scene.receive(from, &announced(&sent[0].bytes, 60, &list));
    assert!(matches!(&scene.drain()[1], Action::Peers { peers, .. } if peers[..] == [peer]));
}

#[test]
fn urls_that_can_not_be_used_are_reported_and_the_rest_work() {
    let long = format!("http://{}/", "a".repeat(300));
    let tier = ["wss://h/", &long, A, A, "http://h:0/\x1b"];
    let mut scene = Scene::new(&[&tier], false);
    assert_eq!(scene.announcer.trackers(), 1);
    let reports: Vec<String> = scene
        .drain()
        .into_iter()
        .map(|action| match action {
            Action::Report {
                url,
                result: Err(error),
            } => format!("{url} {}", error.kind),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reports[0], "wss://h/ tracker.url");
    assert!(reports[1].ends_with("… tracker.url"));
    assert_eq!(reports[2], "http://h:0/\\u{1b} tracker.url");
    assert_eq!(reports.len(), 3);
    assert!(scene.announcer.is_stopped());
    assert_eq!(scene.announcer.poll_timeout(), None);
}

#[test]
fn a_name_is_resolved_once_for_all_that_wait_for_it_and_tried_address_by_address() {
    let tier = ["http://t.example/announce", "http://t.example:81/announce"];
    let mut scene = Scene::started(&[&tier[..1], &tier[1..]], false);
    let names: Vec<_> = scene.run_to(500);
    assert!(matches!(&names[..], [(0, Action::Resolve { name })] if name == "t.example"));
    let addresses = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().expect("an address"));
    scene
        .announcer
        .handle_resolved(scene.now, "t.example", Ok(&addresses), &mut scene.rng);
    let to = |actions: &[Action]| -> Vec<(CallId, SocketAddr)> {
        let call = |action: &Action| match action {
            Action::Http { call, to, .. } => Some((*call, *to)),
            _ => None,
        };
        actions.iter().filter_map(call).collect()
    };
    let calls = to(&scene.drain());
    assert_eq!(calls[0].1, ([192, 0, 2, 1], 80).into());
    assert_eq!(calls[1].1, ([192, 0, 2, 1], 81).into());
    scene.result(calls[0].0, Err(HttpFailure::Broken));
    scene.run_to(61_000);
    scene
        .announcer
        .handle_resolved(scene.now, "t.example", Ok(&addresses), &mut scene.rng);
    assert_eq!(to(&scene.drain())[0].1, ([192, 0, 2, 2], 80).into());
}

#[test]
fn a_name_that_is_not_found_is_our_trouble_and_a_silent_resolver_fails_in_ten_seconds() {
    let mut scene = Scene::started(&[&["http://t.example/announce"]], false);
    scene.run_to(0);
    scene.announcer.handle_resolved(
        scene.now,
        "t.example",
        Err(DnsError::NotFound),
        &mut scene.rng,
    );
    assert_eq!(
        error(&scene.drain()),
        "[dns] no such name, or it has no address"
    );
    let actions = scene.run_to(20_000);
    let times: Vec<_> = actions.iter().map(|(ms, _)| *ms).collect();
    assert_eq!(times, [5_000, 15_000], "asked again, and given up");
}

#[test]
fn localhost_is_never_asked_for() {
    let mut scene = Scene::started(&[&["http://localhost:6969/announce"]], false);
    let actions = scene.run_to(0);
    let [(0, Action::Http { to, request, .. })] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(*to, ([127, 0, 0, 1], 6969).into());
    assert!(line(request).starts_with("localhost:6969 /announce?info_hash=%AA"));
}

fn moved(location: &str) -> Result<Response, HttpFailure> {
    Ok(Response {
        status: 302,
        location: Some(location.as_bytes().to_vec()),
        body: Vec::new(),
    })
}

#[test]
fn six_requests_are_made_at_most_when_a_tracker_redirects_in_a_loop() {
    let mut scene = Scene::started(&[&[A]], false);
    let mut call = scene.calls(0)[0].1;
    for _ in 0..5 {
        scene.result(call, moved("/again")).clear();
        let tracker = scene.announcer.trackers[0].attempt.as_ref();
        let Some(Step::Http(next)) = tracker.map(|attempt| &attempt.step) else {
            panic!("no further call");
        };
        call = *next;
    }
    assert_eq!(
        error(&scene.result(call, moved("/again"))),
        "[tracker.http] more than 5 redirects"
    );
}

#[test]
fn a_public_tracker_can_not_send_us_to_a_local_service() {
    for location in [
        "http://127.0.0.1:6379/announce",
        "http://169.254.169.254/announce",
        "//localhost/announce",
    ] {
        let mut scene = Scene::started(&[&[A]], false);
        let call = scene.calls(0)[0].1;
        assert!(
            error(&scene.result(call, moved(location))).starts_with("[tracker.ssrf]"),
            "{location}"
        );
    }
    let mut scene = Scene::started(&[&[A]], false);
    let call = scene.calls(0)[0].1;
    let actions = scene.result(call, moved("http://inner.example/announce"));
    assert!(matches!(&actions[..], [Action::Resolve { .. }]));
    let local = [Ipv4Addr::LOCALHOST.into()];
    scene
        .announcer
        .handle_resolved(scene.now, "inner.example", Ok(&local), &mut scene.rng);
    assert!(error(&scene.drain()).starts_with("[tracker.ssrf]"));
}

#[test]
fn a_name_that_was_public_may_not_become_local() {
    let mut scene = Scene::started(&[&["http://t.example/announce"]], false);
    scene.run_to(0);
    let public = [Ipv4Addr::new(192, 0, 2, 1).into()];
    scene
        .announcer
        .handle_resolved(scene.now, "t.example", Ok(&public), &mut scene.rng);
    scene.run_to(10_000);
    scene.run_to(70_000);
    let local = [Ipv4Addr::LOCALHOST.into()];
    scene
        .announcer
        .handle_resolved(scene.now, "t.example", Ok(&local), &mut scene.rng);
    assert!(error(&scene.drain()).starts_with("[tracker.ssrf]"));
}

#[test]
fn a_local_tracker_is_asked_only_at_an_announce_path() {
    let mut scene = Scene::started(&[&["http://127.0.0.1:6379/flushall"]], false);
    let actions: Vec<_> = scene
        .run_to(0)
        .into_iter()
        .map(|(_, action)| action)
        .collect();
    assert!(error(&actions).starts_with("[tracker.ssrf]"));
    let mut scene = Scene::started(&[&["http://127.0.0.1:6969/announce"]], false);
    assert_eq!(scene.hosts(0).len(), 1);
}

#[test]
fn a_second_run_begins_with_started_again() {
    let mut scene = Scene::started(&[&[A]], false);
    let call = scene.calls(0)[0].1;
    scene.reply(call, 200, NONE);
    scene.announcer.stop(scene.now);
    let call = scene.calls(0)[0].1;
    scene.announcer.start(scene.now);
    let actions = scene.run_to(0);
    assert!(matches!(actions[0].1, Action::Abandon { call: old } if old == call));
    assert!(
        matches!(&actions[1].1, Action::Http { request, .. } if event(&line(request)) == "started")
    );
}
