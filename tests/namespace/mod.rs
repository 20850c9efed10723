//! Trials that play in namespaces of their own: networks and mounts that nobody else sees.
//!
//! A trial starts this very program again in namespaces that it has to itself (`unshare`). Only root may do that: for
//! others such trials are ignored.
#![allow(dead_code, reason = "each test uses a part of this")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Arguments, Trial};

/// A trial: its name, what is played, and what it needs to itself.
pub(crate) type Play = (&'static str, fn(), Needs);

/// What a trial has to itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// What is mounted.
    Mounts,
    /// That, and a network with a loopback device alone.
    Network,
}

/// Runs all of them, or the one that this process was started for, in namespaces that `furnish` makes habitable.
pub(crate) fn run(plays: &'static [Play], furnish: fn()) {
    let arguments = Arguments::from_args();
    if let Ok(name) = env::var(INSIDE) {
        let (_, play, _) = plays.iter().find(|play| play.0 == name).expect("a trial");
        furnish();
        return play();
    }
    let is_able = ["unshare", "mount", "ip"].iter().all(|tool| is_there(tool))
        && rustix::process::geteuid().is_root();
    let trials = plays.iter().map(|(name, play, needs)| match needs {
        Needs::Nothing => Trial::test(*name, move || {
            play();
            Ok(())
        }),
        Needs::Mounts | Needs::Network => {
            // What a trial needs besides is in its name's last words.
            let lacks = name.ends_with("under_strace") && !is_there("strace")
                || name.ends_with("in_a_control_group") && !has_processor_groups();
            let trial = Trial::test(*name, move || outside(name, *needs));
            trial.with_ignored_flag(!is_able || lacks)
        }
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// Whether this machine has control groups for processors, of the first or the second version.
fn has_processor_groups() -> bool {
    let name = format!("minitorrent-probe-{}", std::process::id());
    let kinds = [("cpu", "cpu.cfs_quota_us"), ("", "cpu.max")];
    kinds.iter().any(|(controller, file)| {
        let group = Path::new("/sys/fs/cgroup").join(controller).join(&name);
        let is_one = fs::create_dir(&group).is_ok() && group.join(file).exists();
        let _ = fs::remove_dir(&group);
        is_one
    })
}

/// Plays a trial in namespaces of its own.
fn outside(name: &str, needs: Needs) -> Result<(), libtest_mimic::Failed> {
    let mut command = Command::new("unshare");
    if needs == Needs::Network {
        command.arg("--net");
    }
    command.args(["--mount", "--"]);
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

/// Runs a line of a program and its arguments, which must succeed.
pub(crate) fn must(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().expect("a word"))
        .args(words)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{line}");
}

/// Whether a program is in the path.
pub(crate) fn is_there(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(tool).exists())
}

const INSIDE: &str = "MINITORRENT_TRIAL_INSIDE";
