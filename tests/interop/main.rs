//! The real program against real clients and trackers, on 127.0.0.0/8.
//!
//! The trials are ignored unless `MINITORRENT_INTEROP=1` says that the other programs are there;
//! then one that is missing is a failure. `MINITORRENT_INTEROP_SCALE=full` makes the payloads as
//! big as people's: 1 GiB in one file, 10,000 files, 1 GiB of 4 MiB pieces. `MINITORRENT_BINARY`
//! names another build of the program, and `MINITORRENT_PYTHON` a Python that has libtorrent.
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

use std::env;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::common::process::Outcome;
use crate::stage::Stage;

fn main() {
    let arguments = Arguments::from_args();
    let on = env::var("MINITORRENT_INTEROP").is_ok_and(|value| value == "1");
    let mut trials = matrix::drivers();
    trials.extend(matrix::downloads());
    trials.extend(matrix::uploads());
    trials.extend(ordeals::all());
    trials.extend(create::all());
    let trials = trials
        .into_iter()
        .map(|trial| trial.with_ignored_flag(!on))
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// A trial with a stage of its own; the logs of everything that played are part of its failure.
fn trial(name: String, play: impl FnOnce(&Stage) -> Outcome + Send + 'static) -> Trial {
    Trial::test(name.clone(), move || {
        let stage = Stage::new(&name);
        play(&stage).map_err(|why| Failed::from(format!("{why}{}", stage.logs())))
    })
}
