//! The way to a tracker: its URL, its name, where it sends us.

use super::*;

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
