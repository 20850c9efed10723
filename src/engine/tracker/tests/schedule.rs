//! Who is asked when, and what each is told.

use super::*;

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
