//! Killed at any time, again and again: nothing is lost, nothing is believed that is not there.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::crowds::variable;
use crate::kit::{answer, listen_in, message, piece};
use crate::program::judge::{Process, judge};
use crate::program::{PIECE, Running, Scene, number, torrent_in};

/// Bytes of a piece of what is fetched between kills.
const LARGE: usize = 256 * 1024;

/// A download is ended by `signal` again and again, and in the end completes. Its one peer sends a block each few
/// milliseconds, so that little is on the way when it ends, and counts what it sends.
fn interrupted_download(name: &str, signal: &str, rounds: usize) {
    let pieces = (rounds * 2).clamp(40, 192);
    let scene = Scene::new(name, pieces * LARGE + 777);
    scene.write("x.torrent", &torrent_in(&scene.payload, LARGE, None));
    let payload = Arc::new(scene.payload.clone());
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let peer = listen_in(2, &payload, LARGE, move |stream, target| {
        let _ = stream.set_nodelay(true);
        let _ = stream.write_all(&message(1, &[]));
        answer(stream, target, |index, begin, data| {
            thread::sleep(Duration::from_millis(3));
            counted.fetch_add(data.len() as u64, Ordering::Relaxed);
            piece(index, begin, data)
        });
    });
    let peer = peer.to_string();
    let mut kills = 0;
    for round in 0..rounds {
        let mut running = scene.start_download(&peer, &[]);
        running.line_with("\"connected\"");
        // Spread over what it does: greeting, fetching, noting.
        thread::sleep(Duration::from_millis((round as u64 * 37) % 160));
        running.signal(signal);
        let ended = running.end();
        if ended.status() == Some(0) {
            break;
        }
        kills += 1;
        assert_eq!(
            ended.status(),
            (signal == "-TERM").then_some(6),
            "{ended:?}"
        );
    }
    judge(&scene, &scene.download(&peer, &[]), 0);
    assert!(scene.is_complete("out/x.bin"));
    let twice = sent
        .load(Ordering::Relaxed)
        .saturating_sub(scene.payload.len() as u64);
    println!("{kills} times {signal}: {twice} bytes were fetched twice");
    assert!(
        twice <= kills * LARGE as u64,
        "{twice} bytes twice in {kills} kills"
    );
    assert!(kills as usize >= rounds / 2, "it was too quick: {kills}");
}

#[test]
fn k1_a_kill_at_any_time_costs_at_most_a_piece() {
    let rounds = variable("MINITORRENT_KILLS", 20);
    interrupted_download("hostile-k1", "-KILL", rounds);
}

#[test]
fn s4_an_end_at_any_time_costs_at_most_a_piece() {
    let rounds = variable("MINITORRENT_KILLS", 20);
    interrupted_download("hostile-s4", "-TERM", rounds);
}

#[test]
fn k7_a_kill_in_the_first_check_leaves_everything_where_it_was() {
    let scene = Scene::new("hostile-k7", 600 * PIECE + 777);
    for round in 0..6 {
        let mut running = scene.start(&["x.torrent", "-o", "seed", "--port", "0", "--json"]);
        running.line_with("\"started\"");
        thread::sleep(Duration::from_millis(3 * round));
        running.signal("-KILL");
        running.end();
    }
    // No one is there to ask for anything.
    let ended = scene.run(&["x.torrent", "-o", "seed", "--port", "0"]);
    judge(&scene, &ended, 0);
    assert!(scene.is_complete("seed/x.bin"));
    let files = fs::read_dir(scene.path("seed")).expect("it is there");
    assert_eq!(files.count(), 1);
}

#[test]
fn k8_a_killed_seeder_starts_at_once_and_forgets_nothing() {
    const SMALL: usize = 1024;
    let scene = Scene::new("hostile-k8", 10_000 * SMALL);
    scene.write("x.torrent", &torrent_in(&scene.payload, SMALL, None));
    let (first, _) = Running::seeder(&scene, &[]);
    first.signal("-INT");
    judge(&scene, &first.end(), 0);
    let journal = || {
        let below = scene.path("state/minitorrent");
        let torrent = fs::read_dir(below).expect("state").next().expect("one");
        fs::read(torrent.expect("readable").path().join("journal")).expect("a journal")
    };
    let before = journal();
    for _ in 0..10 * variable("MINITORRENT_KILLS", 20) {
        let begin = Instant::now();
        let mut seeder = scene.start(&["seed", "x.torrent", "-o", "seed", "--port", "0", "--json"]);
        while number(&seeder.line_with("\"progress\""), "pieces") < 10_000 {}
        let cpu = Process(seeder.id()).cpu();
        assert!(cpu <= Duration::from_millis(200), "{cpu:?}");
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "it waited for something"
        );
        // A few pieces are looked at as a sample.
        let read = Process(seeder.id()).bytes_read();
        assert!(read < 2 << 20, "{read} bytes were read");
        seeder.signal("-KILL");
        seeder.end();
        assert!(journal().starts_with(&before), "something was forgotten");
    }
    let checked = scene.run(&["check", "x.torrent", "-o", "seed"]);
    judge(&scene, &checked, 0);
}

/// Nothing of a process that was killed holds a torrent.
#[test]
fn k1_a_dead_process_leaves_no_lock() {
    let scene = Scene::new("hostile-k1-lock", 4 * PIECE);
    let (seeder, _) = Running::seeder(&scene, &[]);
    let arguments = ["seed", "x.torrent", "-o", "seed", "--port", "0"];
    let second = scene.run(&arguments);
    judge(&scene, &second, 7);
    assert!(
        second.stderr.starts_with("error[state.locked]"),
        "{second:?}"
    );
    assert!(
        second.stderr.contains(&seeder.id().to_string()),
        "{second:?}"
    );
    let kill = Command::new("kill")
        .args(["-KILL", &seeder.id().to_string()])
        .status();
    assert!(kill.is_ok_and(|status| status.success()));
    seeder.end();
    let (third, _) = Running::seeder(&scene, &[]);
    third.signal("-INT");
    judge(&scene, &third.end(), 0);
}
