//! What becomes of a call: how long it may take, and how long a tracker that failed rests.

use super::*;

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
