//! Programs that a test starts, waits for and never leaves behind.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of a real program lives in real time"
)]

use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What a test says when it fails.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// A running program; killed when it is dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts it; the name is for what is said when it fails.
    pub(crate) fn start(name: &str, command: &mut Command) -> Outcome<Self> {
        let child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        let mut status = None;
        let what = format!("the end of {}", self.name);
        until(&what, limit, || {
            status = self.child.try_wait().map_err(|e| e.to_string())?;
            Ok(status.is_some())
        })?;
        status.ok_or(what)
    }

    /// Waits for its end, which must be exit status 0.
    pub(crate) fn wait_for_success(&mut self, limit: Duration) -> Outcome {
        let status = self.wait(limit)?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{} ended with {status}", self.name))
        }
    }

    /// Fails if it has ended.
    pub(crate) fn alive(&mut self) -> Outcome {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} ended too early with {status}", self.name)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        kill_process(Pid::from_child(&self.child), signal).map_err(|e| e.to_string())
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub(crate) fn kill(&mut self) -> Outcome<ExitStatus> {
        self.child.kill().map_err(|e| e.to_string())?;
        self.child.wait().map_err(|e| e.to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ = self.kill();
    }
}

/// Asks every few milliseconds, until it is so, it cannot be any more, or the time is up.
pub(crate) fn until(
    what: &str,
    limit: Duration,
    mut is_so: impl FnMut() -> Outcome<bool>,
) -> Outcome {
    let end = Instant::now() + limit;
    while !is_so().map_err(|e| format!("waiting for {what}: {e}"))? {
        if Instant::now() > end {
            return Err(format!("{what} did not come within {} s", limit.as_secs()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
