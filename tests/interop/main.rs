//! The real program against real clients and trackers, on 127.0.0.0/8.
//!
//! The trials are ignored unless `MINITORRENT_INTEROP=1` says that the other programs are there;
//! then one that is missing is a failure. `MINITORRENT_INTEROP_SCALE=full` makes the payloads as
//! big as people's: 1 GiB in one file, 10,000 files, 1 GiB of 4 MiB pieces. `MINITORRENT_BINARY`
//! names another build of the program, and `MINITORRENT_PYTHON` a Python that has libtorrent. The
//! trials under `wide/` are with clients that take long to install: they are ignored unless
//! `MINITORRENT_RQBIT` and `MINITORRENT_WEBTORRENT` name those programs.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests wait for programs of the real world"
)]

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod create;
mod matrix;
mod ordeals;
mod scripted;
mod stage;
mod tracker6;

use std::env;
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::common::process::Outcome;
use crate::stage::{AWAY, GUEST, Stage};

fn main() {
    let arguments = Arguments::from_args();
    let on = env::var("MINITORRENT_INTEROP").is_ok_and(|value| value == "1");
    let wide = ["MINITORRENT_RQBIT", "MINITORRENT_WEBTORRENT"];
    let wide = on && wide.iter().all(|name| env::var_os(name).is_some());
    let mut trials = matrix::drivers();
    trials.extend(matrix::downloads());
    trials.extend(matrix::uploads());
    trials.extend(ordeals::all());
    trials.extend(create::all());
    let mut trials: Vec<Trial> = trials
        .into_iter()
        .map(|trial| trial.with_ignored_flag(!on))
        .collect();
    let more = matrix::wide().into_iter();
    trials.extend(more.map(|trial| trial.with_ignored_flag(!wide)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    matrix::print();
    conclusion.exit();
}

/// As [`trial`], in a network of its own in which this machine has the addresses [`AWAY`] and [`GUEST`]: for a client
/// that talks to nobody on 127.0.0.0/8, or might talk to the whole world. `note` hears how it ended.
fn trial_away(
    name: String,
    play: impl FnOnce(&Stage) -> Outcome + Send + 'static,
    note: impl FnOnce(bool) + Send + 'static,
) -> Trial {
    if env::var_os(stage::ADDRESS).is_some() {
        return trial(name, play);
    }
    Trial::test(name.clone(), move || {
        let mut furnish = "ip link set lo up".to_owned();
        for ip in [AWAY, GUEST] {
            furnish += &format!(" && ip address add {ip}/32 dev lo");
        }
        furnish += " && exec \"$@\"";
        let output = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", &furnish, "sh"])
            .arg(env::current_exe()?)
            .args(["--exact", &name])
            .env(stage::ADDRESS, AWAY.to_string())
            .output()?;
        note(output.status.success());
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stdout).into_owned().into()),
        }
    })
}

/// A trial with a stage of its own; the logs of everything that played are part of its failure.
fn trial(name: String, play: impl FnOnce(&Stage) -> Outcome + Send + 'static) -> Trial {
    Trial::test(name.clone(), move || {
        let stage = Stage::new(&name);
        play(&stage).map_err(|why| Failed::from(format!("{why}{}", stage.logs())))
    })
}
