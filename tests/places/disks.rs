//! Disks.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::honest;
use crate::namespace::must;
use crate::program::judge::{Process, judge};
use crate::program::{Ended, PIECE, Running, Scene, download};

/// Mounts a file system on a directory of the scene, made for it.
fn mount(scene: &Scene, name: &str, kind: &str, options: &str) {
    let path = scene.path(name);
    fs::create_dir_all(&path).expect("a directory");
    must(&format!(
        "mount -t {kind} -o {options} {kind} {}",
        path.display()
    ));
}

/// Starts a download at this rate, and waits until a part of it is there.
fn part_of(scene: &Scene, address: &str, rate: &str) -> Running {
    let mut running = scene.start_download(address, &["--max-download-rate", rate]);
    while crate::program::number(&running.line_with("\"progress\""), "pieces") == 0 {}
    running
}

pub(crate) fn h2_a_full_state_directory_stops_nothing_and_harms_nothing() {
    let scene = Scene::new("places-h2", 40 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    mount(&scene, "state", "tmpfs", "size=64k");
    let running = part_of(&scene, &address, "500K");
    running.signal("-INT");
    judge(&scene, &running.end(), 6);
    let below = fs::read_dir(scene.path("state/minitorrent")).expect("state");
    let dirs: Vec<_> = below
        .flatten()
        .map(|entry| entry.path().join("journal"))
        .collect();
    let journal = dirs.iter().find(|path| path.exists()).expect("a journal");
    let before = fs::read(journal).expect("it is there");
    let _ = fs::write(scene.path("state/ballast"), vec![1; 1 << 20]);
    let ended = scene.download(&address, &[]);
    judge(&scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
    let after = fs::read(journal).expect("it is there");
    assert!(!after.is_empty() && after.starts_with(&before[..12]));
    // What it says is true: the rest is found by looking.
    fs::remove_file(scene.path("state/ballast")).expect("done");
    let checked = scene.run(&["check", "x.torrent", "-o", "out"]);
    judge(&scene, &checked, 0);
    assert!(!checked.stderr.contains("state.bad"), "{checked:?}");
    // Nothing can be noted at all: that is said once.
    fs::remove_dir_all(scene.path("out")).expect("done");
    fs::remove_file(journal).expect("done");
    let _ = fs::write(scene.path("state/ballast"), vec![1; 1 << 20]);
    let ended = scene.download(&address, &["--max-download-rate", "2M"]);
    judge(&scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
    let warnings = ended.stderr.matches("warning[state.write]").count();
    assert_eq!(warnings, 1, "{ended:?}");
}

/// Runs the program under strace, which spoils calls of it.
fn spoilt(scene: &Scene, inject: &str, address: &str, more: &[&str]) -> Running {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", inject, "--"]);
    strace.arg(env!("CARGO_BIN_EXE_minitorrent"));
    strace.args(download(address));
    strace.args(more);
    scene.start_command(strace)
}

pub(crate) fn h3_one_error_is_waited_for_and_a_second_ends_it_under_strace() {
    let scene = Scene::new("places-h3", 20 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    // Interrupted calls are made again.
    let ended = spoilt(
        &scene,
        "inject=pwritev,pwrite64:error=EINTR:when=1+3",
        &address,
        &[],
    )
    .end();
    judge(&scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
    fs::remove_dir_all(scene.path("out")).expect("done");
    // For ever: the end.
    let begin = Instant::now();
    let ended = spoilt(&scene, "inject=pwritev:error=EIO", &address, &[]).end();
    judge(&scene, &ended, 4);
    assert!(ended.stderr.contains("error[disk.io]"), "{ended:?}");
    assert!(begin.elapsed() < Duration::from_secs(60));
    // Once: it may pass, and does.
    let ended = spoilt(&scene, "inject=pwritev:error=EIO:when=2", &address, &[]).end();
    judge(&scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
}

pub(crate) fn h4_what_can_not_be_written_ends_with_4_at_once() {
    let scene = Scene::new("places-h4", 40 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let refused = |ended: Ended| {
        judge(&scene, &ended, 4);
        assert!(ended.stderr.contains("error[disk.denied]"), "{ended:?}");
        assert!(ended.stderr.contains("out"), "{ended:?}");
    };
    mount(&scene, "out", "tmpfs", "ro,size=10m");
    let begin = Instant::now();
    refused(scene.download(&address, &[]));
    assert!(begin.elapsed() < Duration::from_secs(1) * 10);
    // It becomes so later.
    let out = scene.path("out").display().to_string();
    must(&format!("mount -o remount,rw {out}"));
    let running = part_of(&scene, &address, "300K");
    // Files that are open for writing keep it writable: a bind mount does not ask.
    let script = format!("mount -o remount,ro {out} 2>/dev/null");
    let _ = Command::new("sh").args(["-c", &script]).status();
    running.signal("-INT");
    let code = running.end();
    assert!(matches!(code.code(), 4 | 6), "{code:?}");
    must(&format!("umount -l {out}"));
    // A directory of somebody else's.
    let mode = fs::Permissions::from_mode(0o555);
    fs::set_permissions(scene.path("out"), mode).expect("done");
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--clear-groups", "--"]);
    other.arg(env!("CARGO_BIN_EXE_minitorrent"));
    other.args(["x.torrent", "-o", "out", "--port", "0", "--peers", &address]);
    refused(scene.start_command(other).end());
}

pub(crate) fn h4_a_quota_is_waited_for_as_a_full_disk_is() {
    let scene = Scene::new("places-quota", 40 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    fs::create_dir(scene.path("out")).expect("done");
    // Where tmpfs knows no quotas, one by size says the same with another error.
    let path = scene.path("out").display().to_string();
    let quota = format!(
        "mount -t tmpfs -o usrquota,usrquota_block_hardlimit=1m tmpfs {path} 2>/dev/null || mount -t tmpfs -o size=1m tmpfs {path}"
    );
    let mounted = Command::new("sh").args(["-c", &quota]).status();
    assert!(mounted.is_ok_and(|status| status.success()));
    let mode = fs::Permissions::from_mode(0o777);
    fs::set_permissions(scene.path("out"), mode).expect("done");
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--clear-groups", "--"]);
    other.arg(env!("CARGO_BIN_EXE_minitorrent"));
    other.args(download(&address));
    let mut running = scene.start_command(other);
    running.line_with("disk.full");
    running.signal("-INT");
    judge(&scene, &running.end(), 6);
}

pub(crate) fn h7_a_disk_that_has_gone_is_not_replaced_by_what_lay_below() {
    let scene = Scene::new("places-h7", 40 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    mount(&scene, "disk-after", "tmpfs", "size=20m");
    fs::create_dir(scene.path("out")).expect("done");
    let (disk, out) = (scene.path("disk-after"), scene.path("out"));
    let bind = format!("mount --bind {} {}", disk.display(), out.display());
    must(&bind);
    // A part is there, and it is stopped: all its files are closed.
    let running = part_of(&scene, &address, "500K");
    running.signal("-INT");
    judge(&scene, &running.end(), 6);
    let mut running = part_of(&scene, &address, "500K");
    must(&format!("umount -l {}", out.display()));
    // It goes on where it was, or waits; never where it is not.
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(100));
        assert_eq!(fs::read_dir(&out).expect("the mount point").count(), 0);
    }
    must(&bind);
    while crate::program::number(&running.line_with("\"progress\""), "pieces") < 40 {}
    judge(&scene, &running.end(), 0);
    assert!(scene.is_complete("out/x.bin"));
}

pub(crate) fn h9_a_file_system_that_reserves_nothing_is_as_good() {
    for (kind, options, allocate) in [
        ("ramfs", "mode=755", "full"),
        ("ramfs", "mode=755", "sparse"),
        ("tmpfs", "size=20m", "full"),
    ] {
        let scene = Scene::new(&format!("places-h9-{kind}-{allocate}"), 40 * PIECE);
        let (_seeder, address) = Running::seeder(&scene, &[]);
        mount(&scene, "out", kind, options);
        let ended = scene.download(&address, &["--allocate", allocate]);
        judge(&scene, &ended, 0);
        assert!(!ended.stderr.contains("error"), "{ended:?}");
        assert!(scene.is_complete("out/x.bin"));
        must(&format!("umount {}", scene.path("out").display()));
    }
}

pub(crate) fn h12_two_thousand_files_need_few_descriptors() {
    let scene = Scene::new("places-h12", 2000 * 1000);
    // The same bytes, in two thousand files.
    let mut files = Vec::new();
    for n in 0..2000 {
        let name = format!("{n:04}.bin");
        files.extend(format!("d6:lengthi1000e4:pathl8:{name}ee").into_bytes());
        fs::create_dir_all(scene.path("seed/many")).expect("done");
        let bytes = &scene.payload[n * 1000..(n + 1) * 1000];
        scene.write(&format!("seed/many/{name}"), bytes);
    }
    let single = crate::program::torrent(&scene.payload, None);
    let at = single
        .windows(12)
        .position(|it| it == b"12:piece len")
        .expect("it is there");
    let head = b"d4:infod5:filesl".as_slice();
    let many = [head, &files, b"e4:name4:many", &single[at..]].concat();
    scene.write("x.torrent", &many);
    let limited = |arguments: &str| {
        let script = format!(
            "ulimit -n 32; exec {} {arguments}",
            env!("CARGO_BIN_EXE_minitorrent")
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        scene.start_command(shell)
    };
    let mut seeder = limited("seed x.torrent -o seed --port 7001 --json");
    while crate::program::number(&seeder.line_with("\"progress\""), "pieces") < 31 {}
    let ended = limited("x.torrent -o out --port 0 --peers 127.0.0.1:7001").end();
    judge(&scene, &ended, 0);
    for n in 0..2000 {
        let file = fs::read(scene.path(&format!("out/many/{n:04}.bin"))).expect("it is there");
        assert!(file == scene.payload[n * 1000..(n + 1) * 1000], "{n}");
    }
}

pub(crate) fn h13_a_slow_disk_costs_no_memory_under_strace() {
    let scene = Scene::new("places-h13", 100 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let peak = |inject: &str, out: &str| {
        let mut running = spoilt(&scene, inject, &address, &[]);
        // The program is strace's child.
        let children = format!("/proc/{0}/task/{0}/children", running.id());
        let mut most = 0;
        loop {
            let line = running.line_with("\"progress\"");
            if let Some(pid) = fs::read_to_string(&children)
                .ok()
                .and_then(|pids| pids.trim().parse().ok())
            {
                // The last line may be read when the program has gone.
                most = most.max(Process(pid).peak_memory_if_it_runs().unwrap_or(0));
            }
            if crate::program::number(&line, "pieces") >= 50 {
                break;
            }
        }
        judge(&scene, &running.end(), 0);
        assert!(scene.is_complete("out/x.bin"));
        fs::rename(scene.path("out"), scene.path(out)).expect("done");
        most
    };
    let usual = peak("inject=pwritev:delay_enter=0", "fast-after");
    let slow = peak("inject=pwritev:delay_enter=50000", "slow-after");
    assert!(
        slow <= usual + 4096,
        "{slow} KiB on a slow disk, {usual} KiB else"
    );
}

pub(crate) fn s1_a_download_that_waits_for_room_ends_within_three_seconds_with_6() {
    let scene = Scene::new("places-s1-full", 40 * PIECE);
    let payload = Arc::new(scene.payload.clone());
    let peer = honest(2, &payload, &Arc::new(AtomicBool::new(true))).to_string();
    mount(&scene, "out", "tmpfs", "size=1m");
    let mut running = scene.start_download(&peer, &[]);
    running.line_with("disk.full");
    let begin = Instant::now();
    running.signal("-TERM");
    let ended = running.end();
    assert!(begin.elapsed() < Duration::from_secs(3));
    judge(&scene, &ended, 6);
    // Whoever wishes not to wait is told by the status.
    let ended = scene.download(&peer, &["--exit-on-full"]);
    judge(&scene, &ended, 4);
    assert!(ended.stderr.contains("error[disk.full]"), "{ended:?}");
}
