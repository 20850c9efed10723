//! Finding peers without a tracker: the real program in networks that it has to itself, alone and with other clients.
//!
//! A trial starts this very program again in a network namespace with a loopback device and a cable, so that
//! nothing leaves the machine and every packet can be seen. Only root may do that: for others the trials are ignored.
//! Trials with other people's programs run when `MINITORRENT_INTEROP` is set, those with npm's DHT when
//! `MINITORRENT_NPM_DHT` names its modules, too.
#![expect(
    clippy::disallowed_methods,
    reason = "the trials capture packets, and wait for real programs"
)]

mod capture;
mod foreign;
mod npm;
mod own;
#[path = "../program/mod.rs"]
mod program;

use std::env;
use std::process::Command;

use libtest_mimic::{Arguments, Trial};

/// A trial: its name, and what is done inside.
type Play = (&'static str, fn());

fn main() {
    let arguments = Arguments::from_args();
    let with_others = env::var("MINITORRENT_INTEROP").is_ok();
    let plays = own::ALL.iter().map(|play| (play, true));
    let plays = plays.chain(foreign::ALL.iter().map(|play| (play, with_others)));
    let with_npm = with_others && env::var_os(npm::MODULES).is_some();
    let plays = plays.chain(npm::ALL.iter().map(|play| (play, with_npm)));
    if let Ok(name) = env::var(INSIDE) {
        let mut plays = plays.map(|(play, _)| play);
        let (_, play) = plays.find(|play| play.0 == name).expect("a trial");
        inside(&name);
        return play();
    }
    let is_able = ["unshare", "mount", "ip"].iter().all(|tool| is_there(tool))
        && rustix::process::geteuid().is_root();
    let trials = plays.map(|((name, _), is_on)| {
        let trial = Trial::test(*name, move || outside(name));
        trial.with_ignored_flag(!is_able || !is_on)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Plays a trial in namespaces of its own.
fn outside(name: &str) -> Result<(), libtest_mimic::Failed> {
    let output = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ])
        .arg(env::current_exe()?)
        .env(INSIDE, name)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

/// Makes the namespaces habitable.
fn inside(name: &str) {
    let run = |line: &str| {
        let mut words = line.split(' ');
        let status = Command::new(words.next().expect("a word"))
            .args(words)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{line}");
    };
    run("ip link set lo up");
    // The loopback device does not carry groups over IPv6; a cable with both ends here does.
    run("ip link add v0 type veth peer name v1");
    run("ip link set v1 up");
    run(&format!("ip address add {HERE}/24 dev v0"));
    run("ip -6 address add fd77::1/64 dev v0 nodad");
    run("ip link set v0 up");
    let path = format!(
        "{}/hosts.{}",
        env!("CARGO_TARGET_TMPDIR"),
        name.replace([' ', '/'], "-")
    );
    std::fs::write(&path, format!("{HERE} node.test\n")).expect("a file");
    run(&format!("mount --bind {path} /etc/hosts"));
    std::fs::remove_file(&path).expect("it is mounted");
}

/// Whether a program is in the path.
fn is_there(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(tool).exists())
}

/// An address of the network inside, and `node.test`. Some clients don't speak to 127.0.0.0/8.
const HERE: &str = "10.77.0.1";
const INSIDE: &str = "MINITORRENT_FINDERS_INSIDE";
