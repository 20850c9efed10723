//! The writing of the state, cut at every step.

use std::fs;
use std::process::Command;

use crate::program::judge::judge;
use crate::program::{PIECE, Running, Scene};

pub(crate) fn k2_a_kill_at_any_step_of_writing_the_state_leaves_the_old_or_the_new_under_strace() {
    let scene = Scene::new("places-k2", 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let arguments = ["x.torrent", "-o", "out", "--port", "0", "--peers", &address];
    // Its name is known after a first run.
    judge(&scene, &scene.run(&arguments), 0);
    let dirs = fs::read_dir(scene.path("state/minitorrent")).expect("state");
    let dirs: Vec<_> = dirs.flatten().map(|entry| entry.path()).collect();
    let dir = dirs
        .iter()
        .find(|dir| dir.join("lock").exists())
        .expect("the torrent's");
    let mut kills = 0;
    for call in [
        "mkdir",
        "openat",
        "flock",
        "ftruncate",
        "pwrite64",
        "unlinkat",
        "fdatasync",
        "fsync",
        "renameat",
        "close",
    ] {
        for n in 1.. {
            let _ = fs::remove_dir_all(scene.path("out"));
            if n % 2 == 1 {
                // Else there is the state of the run before.
                fs::remove_dir_all(dir).expect("done");
            }
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(dir);
            for name in ["journal", "journal.new", "lock"] {
                strace.arg("-P").arg(dir.join(name));
            }
            let inject = format!("inject={call}:signal=KILL:when={n}");
            strace.args(["-e", &inject]).arg("--");
            strace
                .arg(env!("CARGO_BIN_EXE_minitorrent"))
                .args(arguments);
            let cut = scene.start_command(strace).end();
            // strace ends as its child does.
            if cut.status() == Some(0) {
                break;
            }
            kills += 1;
            assert_eq!(cut.status(), None, "{call} {n}: {cut:?}");
            let again = scene.run(&arguments);
            judge(&scene, &again, 0);
            assert!(!again.stderr.contains("state.bad"), "{call} {n}: {again:?}");
            assert!(scene.is_complete("out/x.bin"), "{call} {n}");
            assert!(!dir.join("journal.new").exists(), "{call} {n}");
        }
    }
    assert!(kills > 20, "only {kills} steps were cut");
}
