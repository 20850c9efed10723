//! The real program and names, TLS and IPv6: each trial in a network and with a `resolv.conf` of its own.
//!
//! A trial starts this very program again in namespaces that it has to itself (`unshare`), with a loopback device, a
//! public-looking address on it, and a name server that the trial plays. Only root may do that: for others the
//! trials are ignored.
#![cfg_attr(
    feature = "tls",
    expect(
        clippy::disallowed_methods,
        reason = "the trials play servers, and wait for a real program"
    )
)]

#[cfg(feature = "tls")]
mod certificates;
#[path = "../program/mod.rs"]
mod program;
#[cfg(feature = "tls")]
mod servers;
#[cfg(feature = "tls")]
mod trials;

use std::env;
use std::process::Command;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    #[cfg(feature = "tls")]
    let plays = trials::ALL;
    #[cfg(not(feature = "tls"))]
    let plays: &[(&str, fn())] = &[];
    if let Ok(name) = env::var(INSIDE) {
        let (_, play) = plays.iter().find(|play| play.0 == name).expect("a trial");
        inside();
        return play();
    }
    let is_able = ["unshare", "mount", "ip"].iter().all(|tool| is_there(tool))
        && rustix::process::geteuid().is_root();
    let trials = plays.iter().map(|(name, _)| {
        let trial = Trial::test(*name, move || outside(name));
        trial.with_ignored_flag(!is_able)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Plays a trial in namespaces of its own.
fn outside(name: &str) -> Result<(), libtest_mimic::Failed> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--"]);
    command.arg(env::current_exe()?).env(INSIDE, name);
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(variable);
    }
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

/// Makes the namespaces habitable.
fn inside() {
    let run = |line: &str| {
        let mut words = line.split(' ');
        let status = Command::new(words.next().expect("a word"))
            .args(words)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{line}");
    };
    run("ip link set lo up");
    run("ip address add 198.51.100.7/32 dev lo");
    let path = format!("{}/resolv.conf", env!("CARGO_TARGET_TMPDIR"));
    let path = format!("{path}.{}", std::process::id());
    std::fs::write(&path, "").expect("a file");
    run(&format!("mount --bind {path} /etc/resolv.conf"));
    std::fs::remove_file(&path).expect("it is mounted");
}

/// Whether a program is in the path.
fn is_there(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(tool).exists())
}

const INSIDE: &str = "MINITORRENT_NAMES_INSIDE";
