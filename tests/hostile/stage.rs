//! One harness for all cases: the invariants are checked here, once.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::Target;
use crate::program::{Ended, PIECE, Running, Scene};

/// A seeder goes through `fault`, and is afterwards what it was: it serves, and has let everything go.
#[track_caller]
pub(crate) fn a_seeder_survives(name: &str, fault: impl Fn(&Target)) {
    let scene = Scene::new(&format!("hostile-{name}"), 12 * PIECE + 777);
    let clean = seeder_run(&scene, "clean", |_| {});
    let faulty = seeder_run(&scene, "faulty", fault);
    // I2
    assert!(
        faulty <= clean + MORE_MEMORY,
        "{faulty} KiB at the most, {clean} KiB in a clean run"
    );
}

fn seeder_run(scene: &Scene, out: &str, fault: impl Fn(&Target)) -> u64 {
    let (seeder, address) = Running::seeder(scene, &["--max-peers", "50"]);
    fetch(scene, &address, &format!("{out}-before"));
    let process = Process(seeder.id());
    let fds = process.settled_fds();
    fault(&Target {
        address: address.parse().expect("an address"),
        payload: Arc::new(scene.payload.clone()),
    });
    fetch(scene, &address, &format!("{out}-after"));
    // I4: what the hostile party took is given back; a greeting may last ten seconds.
    let end = Instant::now() + Duration::from_secs(20);
    while process.fds() > fds {
        assert!(Instant::now() < end, "{} fds, {fds} before", process.fds());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(process.threads(), 1);
    let memory = process.peak_memory();
    seeder.signal("-INT");
    judge(scene, &seeder.end(), 0);
    assert!(scene.is_complete("seed/x.bin"));
    memory
}

/// An honest client gets everything from `address`.
#[track_caller]
pub(crate) fn fetch(scene: &Scene, address: &str, out: &str) {
    let ended = scene.run(&["x.torrent", "-o", out, "--port", "0", "--peers", address]);
    judge(scene, &ended, 0);
    assert!(scene.is_complete(&format!("{out}/x.bin")));
}

/// A download from these peers completes; gives what it said.
#[track_caller]
pub(crate) fn a_download_completes(scene: &Scene, peers: &[SocketAddr]) -> Ended {
    let peers: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
    let peers = peers.join(",");
    let arguments = ["x.torrent", "-o", "out", "--port", "0", "--json"];
    let running = scene.start(&[&arguments[..], &["--peers", &peers]].concat());
    let ended = running.end();
    judge(scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
    ended
}

/// What holds at every end: the exit status (I1, I8), lines fit for a terminal (I7), nothing beside the
/// directories (I5).
#[track_caller]
pub(crate) fn judge(scene: &Scene, ended: &Ended, status: i32) {
    assert_eq!(ended.code(), status, "{ended:?}");
    for line in ended.stderr.lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.len() < 1000, "{line:?}");
    }
    let ours = ["seed", "x.torrent", "out", "state", "config"];
    for entry in fs::read_dir(scene.path("")).expect("the scene") {
        let name = entry.expect("readable").file_name();
        let name = name.to_string_lossy();
        let known = ours.contains(&&*name) || name.ends_with("-before") || name.ends_with("-after");
        assert!(known, "{name} was made");
    }
}

/// A running program, seen from outside.
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Descriptors that are open.
    pub(crate) fn fds(&self) -> usize {
        let dir = fs::read_dir(format!("/proc/{}/fd", self.0));
        dir.expect("it runs").count()
    }

    /// The descriptors of a seeder whose last peer has left.
    fn settled_fds(&self) -> usize {
        let mut fds = self.fds();
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(50));
            fds = fds.min(self.fds());
        }
        fds
    }

    fn threads(&self) -> usize {
        let dir = fs::read_dir(format!("/proc/{}/task", self.0));
        dir.expect("it runs").count()
    }

    /// The most memory it ever had, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.and_then(|line| line.split_ascii_whitespace().nth(1));
        number.expect("Linux says so").parse().expect("a number")
    }

    /// Processor time it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).expect("it runs");
        let behind = stat.rsplit(')').next().expect("a name in brackets");
        let mut fields = behind.split_ascii_whitespace().skip(11);
        let mut ticks = || {
            fields
                .next()
                .expect("a field")
                .parse::<u64>()
                .expect("ticks")
        };
        Duration::from_millis((ticks() + ticks()) * 10)
    }
}

/// KiB that a hostile input may cost.
const MORE_MEMORY: u64 = 8 * 1024;
