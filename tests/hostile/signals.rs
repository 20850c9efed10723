//! Signals: storms of them, and an end in good order in whatever it is doing.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::{honest, listen};
use crate::program::judge::{Process, judge};
use crate::program::{PIECE, Running, Scene, torrent, tracker_answer};

#[test]
fn s1_a_download_that_waits_for_peers_ends_within_three_seconds_with_6() {
    for signal in ["-INT", "-TERM"] {
        let scene = Scene::new(&format!("hostile-s1{signal}"), 12 * PIECE);
        // Nobody is there: it dials, and waits.
        let arguments = ["x.torrent", "-o", "out", "--port", "0", "--json"];
        let arguments = [&arguments[..], &["--peers", "127.0.0.9:9"]].concat();
        let mut running = scene.start(&arguments);
        running.line_with("\"progress\"");
        let begin = Instant::now();
        running.signal(signal);
        let ended = running.end();
        assert!(begin.elapsed() < Duration::from_secs(3));
        judge(&scene, &ended, 6);
    }
}

#[test]
fn s3_a_storm_of_signals_ends_nothing() {
    let scene = Scene::new("hostile-s3", 12 * PIECE);
    let (seeder, _) = Running::seeder(&scene, &[]);
    let process = Process(seeder.id());
    let pid = rustix::process::Pid::from_raw(seeder.id() as i32).expect("a pid");
    let before = process.cpu();
    let begin = Instant::now();
    for _ in 0..2000 {
        for signal in [
            rustix::process::Signal::HUP,
            rustix::process::Signal::PIPE,
            rustix::process::Signal::WINCH,
        ] {
            rustix::process::kill_process(pid, signal).expect("it runs");
        }
        thread::sleep(Duration::from_micros(300));
    }
    let busy = process.cpu() - before;
    assert!(busy < begin.elapsed().mul_f64(0.5), "{busy:?}");
    seeder.signal("-INT");
    judge(&scene, &seeder.end(), 0);
}

/// SIGTERM comes: it ends within three seconds.
#[track_caller]
fn ends_soon(running: Running, scene: &Scene, status: i32) {
    let begin = Instant::now();
    running.signal("-TERM");
    let ended = running.end();
    assert!(begin.elapsed() < Duration::from_secs(3), "{ended:?}");
    judge(scene, &ended, status);
}

#[test]
fn s1_a_torrent_that_is_read_or_fetched_for_ever_ends_with_6() {
    for signal in ["-INT", "-TERM"] {
        let scene = Scene::new(&format!("hostile-s1-read{signal}"), PIECE);
        let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/x.torrent", deaf.local_addr().expect("bound"));
        for source in ["-", &url] {
            let mut child = Command::new(env!("CARGO_BIN_EXE_minitorrent"))
                .args([source, "-o", "out"])
                .current_dir(scene.path(""))
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("it was built");
            // It has begun when it reads, or when it has called.
            if source == "-" {
                let mut stdin = child.stdin.take().expect("it is piped");
                stdin.write_all(b"d4:info").expect("it reads");
                is_caught(child.id());
                signalled(child.id(), signal);
                assert_eq!(child.wait().expect("it ends").code(), Some(6));
            } else {
                let (mut call, _) = deaf.accept().expect("it calls");
                let mut head = [0; 16];
                call.read_exact(&mut head).expect("it asks");
                signalled(child.id(), signal);
                let begin = Instant::now();
                assert_eq!(child.wait().expect("it ends").code(), Some(6));
                assert!(begin.elapsed() < Duration::from_secs(3));
            }
        }
        assert!(!scene.path("out").exists());
    }
}

/// Waits until a process has a handler for SIGTERM.
fn is_caught(process: u32) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(line.expect("Linux").trim(), 16).expect("a mask");
        if mask & 1 << 14 != 0 {
            return;
        }
        assert!(Instant::now() < end, "it catches nothing");
        thread::sleep(Duration::from_millis(2));
    }
}

fn signalled(process: u32, signal: &str) {
    let kill = Command::new("kill")
        .args([signal, &process.to_string()])
        .status();
    assert!(kill.is_ok_and(|status| status.success()));
}

#[test]
fn s1_a_check_ends_within_three_seconds_with_6() {
    let scene = Scene::new("hostile-s1-check", PIECE);
    // Enough to hash for a while: zeros that are really there, since holes cost no time.
    let (pieces, piece) = (384u64, 1 << 20);
    let length = pieces * piece as u64;
    let hash: Vec<u8> = sha1::Digest::finalize(<sha1::Sha1 as sha1::Digest>::new()).to_vec();
    let head = format!(
        "d4:infod6:lengthi{length}e4:name5:x.bin12:piece lengthi{piece}e6:pieces{}:",
        pieces * 20
    );
    let bytes = [head.as_bytes(), &hash.repeat(pieces as usize), b"ee"].concat();
    scene.write("x.torrent", &bytes);
    let mut file = File::create(scene.path("seed/x.bin")).expect("a file");
    for _ in 0..pieces {
        file.write_all(&vec![0; piece]).expect("there is room");
    }
    let mut running = scene.start(&["seed", "x.torrent", "-o", "seed", "--port", "0", "--json"]);
    running.line_with("\"started\"");
    ends_soon(running, &scene, 6);
}

#[test]
fn s1_a_magnet_link_whose_peers_say_nothing_ends_within_three_seconds_with_6() {
    let scene = Scene::new("hostile-s1-magnet", PIECE);
    let payload = Arc::new(scene.payload.clone());
    let mute = listen(2, &payload, |stream, _| {
        let _ = stream.read(&mut [0; 1]);
        thread::sleep(Duration::from_secs(10));
    });
    let shown = scene.run(&["magnet", "x.torrent"]).stdout;
    let link = format!("{}&x.pe={mute}", shown.trim());
    let mut running = scene.start(&[&link, "-o", "out", "--port", "0", "--json"]);
    running.line_with("\"connected\"");
    ends_soon(running, &scene, 6);
}

#[test]
fn s1_a_seeder_ends_within_three_seconds_with_0() {
    let scene = Scene::new("hostile-s1-seed", 12 * PIECE);
    let (seeder, _) = Running::seeder(&scene, &[]);
    ends_soon(seeder, &scene, 0);
}

/// A tracker that answers the first announce, with this peer, and keeps all others waiting.
fn half_deaf(peer: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/announce", listener.local_addr().expect("bound"));
    let answer = tracker_answer(peer);
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if kept.is_empty() {
                let _ = stream.read(&mut [0; 4096]);
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                    answer.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &answer].concat());
            }
            kept.push(stream);
        }
    });
    url
}

/// A download that has a tracker which will not take its goodbye, and a seed that gives nothing.
fn held_up(name: &str) -> (Scene, Running) {
    let scene = Scene::new(name, 12 * PIECE);
    let payload = Arc::new(scene.payload.clone());
    let peer = honest(2, &payload, &Arc::new(AtomicBool::new(false)));
    let url = half_deaf(&peer.to_string());
    scene.write("x.torrent", &torrent(&scene.payload, Some(&url)));
    let mut running = scene.start(&["x.torrent", "-o", "out", "--port", "0", "--json"]);
    running.line_with("\"connected\"");
    (scene, running)
}

#[test]
fn d15_a_goodbye_that_no_tracker_takes_delays_no_end() {
    let (scene, running) = held_up("hostile-d15");
    ends_soon(running, &scene, 6);
}

#[test]
fn s2_a_second_interrupt_ends_at_once() {
    let (scene, running) = held_up("hostile-s2");
    running.signal("-INT");
    thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    running.signal("-INT");
    let ended = running.end();
    assert!(begin.elapsed() < Duration::from_millis(1000), "{ended:?}");
    judge(&scene, &ended, 6);
    let checked = scene.run(&["check", "x.torrent", "-o", "out"]);
    judge(&scene, &checked, 8);
    assert!(!checked.stderr.contains("state.bad"), "{checked:?}");
}
