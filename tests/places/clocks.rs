//! Clocks that jump.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::kit::honest;
use crate::program::judge::{Process, judge};
use crate::program::{PIECE, Running, Scene, download, number};

/// A clock between the program and the system: it adds the seconds that two files name to the monotonic and the wall
/// clock. It comes as C because that is what the system's own looks like.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <sys/mman.h>
#include <fcntl.h>
int clock_gettime(clockid_t id, struct timespec *to) {
    static int (*real)(clockid_t, struct timespec *);
    static volatile long *more;
    if (!real) {
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
        int fd = open(getenv("CLOCK_OFFSETS"), O_RDONLY);
        more = mmap(0, 16, PROT_READ, MAP_SHARED, fd, 0);
    }
    int result = real(id, to);
    if (id == CLOCK_MONOTONIC) to->tv_sec += more[0];
    if (id == CLOCK_REALTIME) to->tv_sec += more[1];
    return result;
}
"#;

/// Compiles that clock; its offsets are in the second path.
fn clock(scene: &Scene) -> (PathBuf, PathBuf) {
    let (source, library) = (scene.path("clock-after"), scene.path("clock.so-after"));
    let offsets = scene.path("offsets-after");
    fs::write(&source, CLOCK).expect("done");
    fs::write(&offsets, [0; 16]).expect("done");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library);
    compiler.args(["-x", "c"]).arg(&source).arg("-ldl");
    assert!(compiler.status().is_ok_and(|status| status.success()));
    (library, offsets)
}

/// Sets the clock: seconds more than it is.
fn set(offsets: &PathBuf, monotonic: i64, wall: i64) {
    let bytes = [monotonic.to_le_bytes(), wall.to_le_bytes()].concat();
    let file = fs::File::options()
        .write(true)
        .open(offsets)
        .expect("it is there");
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).expect("done");
}

/// A download with four peers that hold back until `go`, on such a clock; they are all there.
fn waiting(scene: &Scene, go: &Arc<AtomicBool>) -> (Running, PathBuf) {
    let (library, offsets) = clock(scene);
    let payload = Arc::new(scene.payload.clone());
    let peers: Vec<String> = (2..6)
        .map(|host| honest(host, &payload, go).to_string())
        .collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
    command.args(download(&peers.join(",")));
    command
        .env("LD_PRELOAD", library)
        .env("CLOCK_OFFSETS", &offsets);
    let mut running = scene.start_command(command);
    while number(&running.line_with("\"progress\""), "peers") < 4 {}
    (running, offsets)
}

/// What it does in a second, and then to its end.
fn goes_on(scene: &Scene, running: Running, go: &AtomicBool) {
    let process = Process(running.id());
    let before = process.cpu();
    thread::sleep(Duration::from_secs(2));
    let busy = process.cpu() - before;
    assert!(
        busy <= Duration::from_millis(200),
        "{busy:?} of two seconds"
    );
    go.store(true, Ordering::Relaxed);
    let ended = running.end();
    judge(scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
    let given_up = ended.given_up();
    assert!(given_up.is_empty(), "{given_up:?}");
}

pub(crate) fn l4_a_clock_that_jumps_ahead_a_day_ends_nothing() {
    let scene = Scene::new("places-l4", 20 * PIECE);
    let go = Arc::new(AtomicBool::new(false));
    let (running, offsets) = waiting(&scene, &go);
    set(&offsets, 28 * 3600, 0);
    goes_on(&scene, running, &go);
}

pub(crate) fn l4_no_date_is_too_odd() {
    let scene = Scene::new("places-l4-wall", 20 * PIECE);
    let go = Arc::new(AtomicBool::new(false));
    let (running, offsets) = waiting(&scene, &go);
    set(&offsets, 0, -10 * 365 * 86_400);
    thread::sleep(Duration::from_millis(500));
    set(&offsets, 0, 40 * 365 * 86_400);
    goes_on(&scene, running, &go);
    // What was noted under that date is doubted, not believed.
    let checked = scene.run(&["check", "x.torrent", "-o", "out"]);
    judge(&scene, &checked, 0);
}

pub(crate) fn l4_a_machine_that_has_run_for_a_century_is_no_trouble() {
    let scene = Scene::new("places-l4-age", 20 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let mut aged = Command::new("unshare");
    aged.args([
        "--time",
        "--monotonic",
        "3155760000",
        "--boottime",
        "3155760000",
        "--",
    ]);
    aged.arg(env!("CARGO_BIN_EXE_minitorrent"));
    aged.args(["x.torrent", "-o", "out", "--port", "0", "--peers", &address]);
    judge(&scene, &scene.start_command(aged).end(), 0);
    assert!(scene.is_complete("out/x.bin"));
}

pub(crate) fn l5_stopped_for_ten_minutes_it_goes_on() {
    let scene = Scene::new("places-l5", 20 * PIECE);
    let go = Arc::new(AtomicBool::new(false));
    let (running, offsets) = waiting(&scene, &go);
    running.signal("-STOP");
    thread::sleep(Duration::from_millis(300));
    // Ten minutes by its clock.
    set(&offsets, 600, 600);
    running.signal("-CONT");
    goes_on(&scene, running, &go);
}
