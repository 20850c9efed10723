//! Signals: storms of them, and an end in good order in whatever it is doing.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
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
        let mut running = scene.start_download("127.0.0.9:9", &[]);
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
    for signal in ["-INT", "-TERM", "-HUP"] {
        let scene = Scene::new(&format!("hostile-s1-read{signal}"), PIECE);
        let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/x.torrent", deaf.local_addr().expect("bound"));
        for command in [
            &["-o", "out"][..],
            &["check"],
            &["show"],
            &["magnet"],
            &["scrape"],
        ] {
            if signal == "-HUP" && command[0] == "-o" {
                // It ends no download.
                continue;
            }
            let mut waiting = started(&scene, &[command, &["-"]].concat());
            let mut stdin = waiting.stdin.take().expect("it is piped");
            stdin.write_all(b"d4:info").expect("it reads");
            is_caught(waiting.id());
            is_interrupted(waiting, signal, "-");
            drop(stdin);

            let mut calling = started(&scene, &[command, &[&url]].concat());
            let (mut call, _) = deaf.accept().expect("it calls");
            call.read_exact(&mut [0; 16]).expect("it asks");
            if signal == "-TERM" {
                // Half an answer makes no difference.
                let half = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nd4:info";
                call.write_all(half).expect("it listens");
            }
            drop(calling.stdin.take());
            is_interrupted(calling, signal, &url);
        }
        assert!(!scene.path("out").exists());
    }
}

#[test]
fn s1_a_torrent_that_is_made_of_too_much_ends_with_6() {
    let scene = Scene::new("hostile-s1-create", PIECE);
    let file = File::create(scene.path("seed/x.bin")).expect("a file");
    file.set_len(1 << 40).expect("holes cost nothing");
    let before = names(&scene);
    for signal in ["-TERM", "-HUP"] {
        let making = started(&scene, &["create", "seed", "-o", "out"]);
        is_caught(making.id());
        is_interrupted(making, signal, "seed");
        assert_eq!(names(&scene), before, "nothing is left behind");
    }
}

fn names(scene: &Scene) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(scene.path("")).expect("it is there");
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

#[test]
fn s1_a_hangup_ends_no_download_that_has_yet_to_read_its_torrent() {
    let scene = Scene::new("hostile-s1-hangup", PIECE);
    let bytes = torrent(&scene.payload, None);
    let mut waiting = started(&scene, &["-", "-o", "seed", "--port", "0"]);
    is_caught(waiting.id());
    signalled(waiting.id(), "-HUP");
    let mut stdin = waiting.stdin.take().expect("it is piped");
    stdin.write_all(&bytes).expect("it reads on");
    drop(stdin);
    let ended = waiting.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[test]
fn s1_a_hangup_that_is_ignored_ends_nothing() {
    let scene = Scene::new("hostile-s1-nohup", PIECE);
    let bytes = torrent(&scene.payload, None);
    let shell = "trap '' HUP; exec \"$0\" show -";
    let mut command = Command::new("sh");
    command.args(["-c", shell, env!("CARGO_BIN_EXE_minitorrent")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut showing = command.spawn().expect("every system has a shell");
    is_caught(showing.id());
    signalled(showing.id(), "-HUP");
    let mut stdin = showing.stdin.take().expect("it is piped");
    stdin.write_all(&bytes).expect("it reads on");
    drop(stdin);
    let ended = showing.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[test]
fn s1_an_answer_that_nobody_reads_ends_with_6() {
    let scene = Scene::new("hostile-s1-answer", PIECE);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut full = writer.try_clone().expect("a descriptor");
    rustix::io::ioctl_fionbio(&full, true).expect("a pipe can do that");
    while full.write(b"x").is_ok() {}
    rustix::io::ioctl_fionbio(&full, false).expect("a pipe can do that");
    let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
    command.args(["show", "x.torrent"]).stdout(writer);
    let showing = command
        .current_dir(scene.path(""))
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was built");
    is_caught(showing.id());
    is_interrupted(showing, "-INT", "standard output");
    drop(reader);
}

/// Starts the program. A hangup means to it what it usually means, even if the tests run below `nohup`.
fn started(scene: &Scene, arguments: &[&str]) -> Child {
    Command::new("env")
        .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_minitorrent")])
        .args(arguments)
        .current_dir(scene.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was built")
}

/// The signal ends it soon, with 6 and one line about `what`.
#[track_caller]
fn is_interrupted(process: Child, signal: &str, what: &str) {
    signalled(process.id(), signal);
    let begin = Instant::now();
    let ended = process.wait_with_output().expect("it ends");
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!(ended.status.code(), Some(6), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    let begins = format!("error[interrupted]: {what}: interrupted by a signal, ");
    assert!(said.starts_with(&begins), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Waits until a process has a handler for SIGTERM, which it sets behind that for SIGHUP.
fn is_caught(process: u32) {
    catches(process, rustix::process::Signal::TERM);
}

/// Waits until a process has a handler for a signal.
fn catches(process: u32, signal: rustix::process::Signal) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(line.expect("Linux").trim(), 16).expect("a mask");
        if mask >> (signal.as_raw() - 1) & 1 == 1 {
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

    for signal in ["-TERM", "-HUP"] {
        let checking = started(&scene, &["check", "x.torrent", "-o", "seed"]);
        // Only its loop catches that.
        catches(checking.id(), rustix::process::Signal::USR1);
        is_interrupted(checking, signal, "x.bin");
    }
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
