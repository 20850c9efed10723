//! Little stack, few descriptors, no address space, no one who reads, and storms of signals.

use std::fs::{File, OpenOptions};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{PIECE, Running, Scene};
use crate::stage::{Process, judge};

/// Runs a download from a seeder in a shell that has set a limit; gives its exit status.
fn under(name: &str, limit: &str) -> i32 {
    let scene = Scene::new(&format!("hostile-{name}"), 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let script = format!(
        "{limit}; exec {} x.torrent -o out --port 0 --peers {address}",
        env!("CARGO_BIN_EXE_minitorrent")
    );
    let status = Command::new("sh")
        .args(["-c", &script])
        .current_dir(scene.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let code = status.expect("a shell").code().expect("no signal ended it");
    assert_eq!(code == 0, scene.is_complete("out/x.bin"));
    code
}

#[test]
fn l2_little_stack_few_descriptors_and_64_mib_of_addresses_are_enough() {
    assert_eq!(under("l2-stack", "ulimit -s 256"), 0);
    assert_eq!(under("l2-fds", "ulimit -n 24"), 0);
    assert_eq!(under("l2-space", "ulimit -v 65536"), 0);
}

#[test]
fn l2_a_limit_on_file_size_is_trouble_with_the_disk_and_no_death() {
    // In blocks of 512 bytes: 200 KiB of a file of 780.
    assert_eq!(under("l2-size", "ulimit -f 400"), 4);
}

#[test]
fn l6_a_download_goes_on_when_no_one_takes_its_words() {
    let scene = Scene::new("hostile-l6", 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let full = || -> File {
        let full = OpenOptions::new().write(true).open("/dev/full");
        full.expect("every Linux has it")
    };
    let arguments = ["x.torrent", "-o", "out", "--port", "0", "--peers", &address];
    let status = Command::new(env!("CARGO_BIN_EXE_minitorrent"))
        .args(arguments)
        .current_dir(scene.path(""))
        .stdout(full())
        .stderr(full())
        .status();
    assert_eq!(status.expect("it starts").code(), Some(0));
    assert!(scene.is_complete("out/x.bin"));
    let script = format!(
        "exec {} x.torrent -o out-after --port 0 --peers {address} >&- 2>&-",
        env!("CARGO_BIN_EXE_minitorrent")
    );
    let closed = Command::new("sh")
        .args(["-c", &script])
        .current_dir(scene.path(""))
        .status();
    assert_eq!(closed.expect("a shell").code(), Some(0));
    assert!(scene.is_complete("out-after/x.bin"));
}

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
