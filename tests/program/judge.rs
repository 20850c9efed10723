//! What is looked at after and during every run of the real program.
#![allow(
    clippy::disallowed_methods,
    reason = "a test of a real program lives in real time"
)]

use std::fs;
use std::thread;
use std::time::Duration;

use super::{Ended, Scene};

/// What holds at every end: the exit status (I1, I8), lines fit for a terminal (I7), nothing beside the
/// directories (I5).
#[track_caller]
pub(crate) fn judge(scene: &Scene, ended: &Ended, status: i32) {
    assert_eq!(ended.code(), status, "{ended:?}");
    for line in ended.stderr.lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.len() < 1000, "{line:?}");
    }
    for entry in fs::read_dir(scene.path("")).expect("the scene") {
        let name = entry.expect("readable").file_name();
        let name = name.to_string_lossy();
        let known = ["seed", "out", "state", "config"].contains(&&*name)
            || [".torrent", "-before", "-after"]
                .iter()
                .any(|end| name.ends_with(end));
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
    pub(crate) fn settled_fds(&self) -> usize {
        let mut fds = self.fds();
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(50));
            fds = fds.min(self.fds());
        }
        fds
    }

    /// Threads of it.
    pub(crate) fn threads(&self) -> usize {
        let dir = fs::read_dir(format!("/proc/{}/task", self.0));
        dir.expect("it runs").count()
    }

    /// The most memory it ever had, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:").expect("it runs")
    }

    /// The same; nothing if it has ended, or is just about to.
    pub(crate) fn peak_memory_if_it_runs(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    /// The memory it has, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:").expect("it runs")
    }

    /// A number of that name; who has ended has no memory any more.
    fn status(&self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        let number = line.split_ascii_whitespace().nth(1);
        Some(number.expect("Linux says so").parse().expect("a number"))
    }

    /// Bytes it has read from files and sockets.
    pub(crate) fn bytes_read(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.0)).expect("it runs");
        let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
        line.expect("Linux says so").parse().expect("a number")
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
