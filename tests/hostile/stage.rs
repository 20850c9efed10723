//! One harness for all cases: the invariants are checked here, once.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::Target;
use crate::program::judge::{Process, judge};
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
    fault(&Target::of(scene, &address));
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
    let ended = scene.download(&peers.join(","), &[]);
    judge(scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
    ended
}

/// KiB that a hostile input may cost.
const MORE_MEMORY: u64 = 8 * 1024;
