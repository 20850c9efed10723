//! Crowds: callers by the thousand, no descriptor for them, and peers that come and go all day.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::kit::{Target, message, numbers, read_message};
use crate::program::judge::{Process, judge};
use crate::program::{PIECE, Running, Scene};
use crate::stage::{a_seeder_survives, fetch};

#[test]
fn c14_five_thousand_callers_do_not_keep_it_from_its_work() {
    a_seeder_survives("c14", |target| {
        for _ in 0..25 {
            let crowd: Vec<_> = (0..200u8).map(|n| target.connect(1 + n)).collect();
            drop(crowd);
        }
        // Whoever was let in last is a caller that has left: that is seen at once.
        thread::sleep(Duration::from_millis(200));
    });
}

#[test]
fn c15_without_descriptors_it_waits_and_goes_on_when_there_are_some() {
    let scene = Scene::new("hostile-c15", 12 * PIECE + 777);
    let (mut seeder, address) = Running::seeder(&scene, &[]);
    let target = Target::of(&scene, &address);
    let process = Process(seeder.id());
    let before = process.settled_fds();
    let pid = Pid::from_raw(seeder.id() as i32);
    let set = |soft: u64| {
        let limit = Rlimit {
            current: Some(soft),
            maximum: Some(1000),
        };
        prlimit(pid, Resource::Nofile, limit).expect("it is ours");
    };
    set(before as u64);
    let mut callers: Vec<TcpStream> = (2..12).map(|host| target.connect(host)).collect();
    let line = seeder.line_with("net.fds");
    assert!(line.contains("trying again"), "{line}");
    let cpu = process.cpu();
    thread::sleep(Duration::from_secs(3));
    let busy = process.cpu() - cpu;
    assert!(busy <= Duration::from_millis(150), "it spins: {busy:?}");
    set(1000);
    let freed = Instant::now();
    let caller = callers.last_mut().expect("ten");
    caller.write_all(&target.handshake(11)).expect("it waits");
    caller.read_exact(&mut [0; 68]).expect("it is greeted");
    assert!(freed.elapsed() < Duration::from_secs(5));
    drop(callers);
    fetch(&scene, &address, "fetched-after");
    let end = Instant::now() + Duration::from_secs(20);
    while process.fds() > before {
        assert!(
            Instant::now() < end,
            "{} fds, {before} before",
            process.fds()
        );
        thread::sleep(Duration::from_millis(50));
    }
    seeder.signal("-INT");
    let ended = seeder.end();
    judge(&scene, &ended, 0);
    assert_eq!(ended.stderr.matches("net.fds").count(), 1, "{ended:?}");
}

/// A day of a busy seed: the number of sessions can be set for a longer one.
#[test]
fn c23_ten_thousand_sessions_leave_nothing_behind() {
    let sessions = variable("MINITORRENT_SESSIONS", 10_000);
    let scene = Scene::new("hostile-c23", 12 * PIECE + 777);
    let (seeder, address) = Running::seeder(&scene, &["--max-peers", "50"]);
    let target = Target::of(&scene, &address);
    let process = Process(seeder.id());
    come_and_go(&target, sessions / 5);
    let (fds, memory) = (process.settled_fds(), process.memory());
    come_and_go(&target, sessions - sessions / 5);
    let end = Instant::now() + Duration::from_secs(20);
    while process.fds() > fds {
        assert!(Instant::now() < end, "{} fds, {fds} before", process.fds());
        thread::sleep(Duration::from_millis(50));
    }
    let drift = process.memory().saturating_sub(memory);
    assert!(drift <= 1024, "{drift} KiB more than the {memory} before");
    assert_eq!(process.threads(), 1);
    fetch(&scene, &address, "fetched-after");
    seeder.signal("-INT");
    judge(&scene, &seeder.end(), 0);
}

/// So many peers greet, ask for a block and leave, twenty at a time: fewer than may greet at once.
fn come_and_go(target: &Target, sessions: usize) {
    const AT_ONCE: usize = 20;
    thread::scope(|scope| {
        for host in 1..=AT_ONCE {
            scope.spawn(move || {
                let mut opening = target.handshake(host as u8);
                opening.extend(message(2, &[]));
                opening.extend(message(6, &numbers([0, 0, 16_384])));
                for session in 0..sessions / AT_ONCE {
                    // Somebody else each time: the one before may not have been seen to leave.
                    opening[60..67].copy_from_slice(format!("{session:07}").as_bytes());
                    let mut stream = target.connect(host as u8);
                    stream.write_all(&opening).expect("it reads");
                    let mut theirs = [0; 68];
                    stream.read_exact(&mut theirs).expect("it greets");
                    // The block, or a reject.
                    while let Some((id, _)) = read_message(&mut stream) {
                        if matches!(id, 7 | 16) {
                            break;
                        }
                    }
                }
            });
        }
    });
}

/// A number that the environment may say.
pub(crate) fn variable(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
