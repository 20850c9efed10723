//! Trackers with several addresses and both families (BEP 7), and TLS.

use super::*;

/// The calls that were begun: id and where to.
fn calls(actions: &[Action]) -> Vec<(CallId, SocketAddr)> {
    let call = |action: &Action| match action {
        Action::Http { call, to, .. } => Some((*call, *to)),
        _ => None,
    };
    actions.iter().filter_map(call).collect()
}

/// Runs to `ms`, answering every question for a name with `addresses`.
fn run(scene: &mut Scene, ms: u64, addresses: &[&str]) -> Vec<Action> {
    let addresses: Vec<IpAddr> = addresses
        .iter()
        .map(|ip| ip.parse().expect("an address"))
        .collect();
    let mut actions = Vec::new();
    while scene.ms() < ms {
        let next = scene.ms() + 50;
        for (_, action) in scene.run_to(next.min(ms)) {
            if let Action::Resolve { name } = &action {
                scene
                    .announcer
                    .handle_resolved(scene.now, name, Ok(&addresses), &mut scene.rng);
            }
            actions.push(action);
        }
        actions.extend(scene.drain());
    }
    actions
}

const NAMED: &str = "http://t.example/announce";
const BOTH: [&str; 4] = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"];

fn reports(actions: &[Action]) -> usize {
    let is_report = |action: &&Action| matches!(action, Action::Report { .. });
    actions.iter().filter(is_report).count()
}

#[test]
fn a_public_tracker_is_told_once_over_each_family() {
    let mut scene = Scene::started(&[&[NAMED]], false);
    let actions = run(&mut scene, 1_000, &BOTH);
    let begun = calls(&actions);
    assert_eq!(
        begun.iter().map(|call| call.1).collect::<Vec<_>>(),
        [
            "192.0.2.1:80".parse().expect("v4"),
            "[2001:db8::1]:80".parse().expect("v6")
        ]
    );
    for (call, _) in begun {
        assert_eq!(reports(&scene.reply(call, 200, ONE)), 1);
    }
    assert_eq!(calls(&run(&mut scene, 1_799_000, &BOTH)), []);
    assert_eq!(calls(&run(&mut scene, 1_802_000, &BOTH)).len(), 2);
}

#[test]
fn the_second_family_is_told_although_the_first_named_peers_at_once() {
    let mut scene = Scene::started(&[&[NAMED]], false);
    let first = calls(&run(&mut scene, 60, &BOTH))[0];
    scene.reply(first.0, 200, ONE);
    let second = calls(&run(&mut scene, 1_000, &BOTH));
    assert_eq!(second.len(), 1);
    assert!(second[0].1.is_ipv6());
}

#[test]
fn a_private_tracker_is_told_once_and_over_ipv4_if_that_works() {
    let mut scene = Scene::started(&[&[NAMED]], true);
    let begun = calls(&run(&mut scene, 5_000, &BOTH));
    assert_eq!(begun.len(), 1);
    assert_eq!(begun[0].1, "192.0.2.1:80".parse().expect("v4"));
    scene.reply(begun[0].0, 200, ONE);
    assert_eq!(calls(&run(&mut scene, 1_799_000, &BOTH)), []);
}

#[test]
fn addresses_that_can_not_be_connected_to_are_passed_over_at_once() {
    let mut scene = Scene::started(&[&[NAMED]], true);
    let mut call = calls(&run(&mut scene, 100, &BOTH))[0];
    for next in ["192.0.2.2", "2001:db8::1", "2001:db8::2"] {
        let failure = HttpFailure::Connect(ConnectError::Unreachable);
        let actions = scene.result(call.0, Err(failure));
        assert_eq!(reports(&actions), 0);
        call = calls(&actions)[0];
        assert_eq!(call.1.ip(), next.parse::<IpAddr>().expect("an address"));
    }
    let failure = HttpFailure::Connect(ConnectError::Refused);
    let actions = scene.result(call.0, Err(failure));
    assert_eq!(
        error(&actions),
        "[tracker.connect] connection refused",
        "the last one's fault is told"
    );
}

#[test]
fn a_family_that_never_worked_is_not_spoken_of() {
    let mut scene = Scene::started(&[&[NAMED]], false);
    let both = ["192.0.2.1", "2001:db8::1"];
    let begun = calls(&run(&mut scene, 1_000, &both));
    scene.reply(begun[0].0, 200, ONE);
    let failure = HttpFailure::Connect(ConnectError::Unreachable);
    assert_eq!(reports(&scene.result(begun[1].0, Err(failure))), 0);
    let later = calls(&run(&mut scene, 1_700_000, &both));
    assert_eq!(later, [], "nor tried before half an hour has passed");
}

#[test]
fn a_silent_udp_tracker_with_another_address_is_asked_there() {
    let mut scene = Scene::started(&[&["udp://t.example:6969"]], true);
    let sent = |actions: &[Action]| -> Vec<SocketAddr> {
        let to = |action: &Action| match action {
            Action::Datagram { to, .. } => Some(*to),
            _ => None,
        };
        actions.iter().filter_map(to).collect()
    };
    let both = ["2001:db8::1", "192.0.2.1"];
    let first = sent(&run(&mut scene, 9_000, &both));
    assert_eq!(first, ["192.0.2.1:6969".parse().expect("v4")]);
    let second = sent(&run(&mut scene, 16_000, &both));
    assert_eq!(second, ["[2001:db8::1]:6969".parse().expect("v6")]);
}

#[test]
#[cfg(feature = "tls")]
fn an_https_tracker_must_prove_its_name_and_its_faults_have_their_own_words() {
    let mut scene = Scene::started(&[&["https://192.0.2.1/announce"]], false);
    let actions = scene.run_to(0);
    let [(0, Action::Http { call, to, tls, .. })] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(*to, "192.0.2.1:443".parse().expect("v4"));
    assert_eq!(*tls, Some(Host::Address("192.0.2.1".parse().expect("v4"))));
    let expired = crate::net::stream::TlsError::Expired;
    let actions = scene.result(*call, Err(HttpFailure::Tls(expired)));
    let expected = "[tls.expired] the server's certificate has expired";
    assert_eq!(error(&actions), expected);
}

#[test]
fn http_trackers_are_told_the_user_agent_that_was_chosen() {
    let mut scene = Scene::started(&[&[A]], false);
    let actions = scene.run_to(0);
    let [(0, Action::Http { request, .. })] = &actions[..] else {
        panic!("{actions:?}");
    };
    let text = String::from_utf8_lossy(request.poll_transmit()).into_owned();
    assert!(text.contains("\r\nuser-agent: me/1\r\n"), "{text}");
}

#[test]
fn a_name_server_that_is_not_there_is_asked_again_within_a_minute_for_ever() {
    let mut scene = Scene::started(&[&[NAMED]], false);
    let mut times = Vec::new();
    while times.len() < 8 {
        let next = scene.ms() + 1_000;
        for (ms, action) in scene.run_to(next) {
            if let Action::Resolve { name } = action {
                times.push(ms);
                let why = Err(DnsError::Unreachable);
                let now = Instant::from_micros(ms * 1000);
                scene
                    .announcer
                    .handle_resolved(now, &name, why, &mut scene.rng);
            }
        }
    }
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(
        pauses,
        [5_000, 10_000, 20_000, 40_000, 45_000, 45_000, 45_000]
    );
}
