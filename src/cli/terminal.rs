//! Standard output and standard error, which may be closed, full or gone: to a run that goes on a lost line is no
//! reason to stop. A command whose line is all it was asked for has failed with it.

use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::exit::Exit;
use super::logger;
use crate::reactor::Interrupts;

/// Writes to standard output what the person asked for, however long its reader takes; if it is lost, that is said
/// and is the exit status. Whoever closes a pipe has read enough.
pub(super) fn answer(text: &str, interrupts: &Interrupts) -> Exit {
    let text = format!("{text}\n");
    match interrupts.write(io::stdout().lock(), text.as_bytes()) {
        Err(_) if interrupts.came() => {
            err(
                "error[interrupted]: standard output: interrupted by a signal, the answer is cut short",
            );
            Exit::Interrupted
        }
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            err(&format!(
                "error[output]: standard output: {error}, the answer is lost"
            ));
            Exit::Internal
        }
        Ok(()) | Err(_) => Exit::Complete,
    }
}

/// Tells standard output of a run that goes on: a reader that has stopped reading loses the line.
pub(super) fn tell(line: &str) {
    tell_within(NOT_AT_ALL, io::stdout().lock(), line);
}

/// Tells standard output how a run ended: its reader gets a second to take it.
pub(super) fn tell_end(line: &str) {
    tell_within(A_SECOND, io::stdout().lock(), line);
}

/// Writes a line to standard error, and to the log file if there is one. As [`tell`], it waits for nobody.
pub(super) fn err(text: &str) {
    logger::write(text);
    line(text);
}

/// Writes a line to standard error, if that can be done at once.
pub(super) fn line(line: &str) {
    tell_within(NOT_AT_ALL, io::stderr().lock(), line);
}

/// Writes a line unless `to` has no room for it within `patience`; what began to be written is a little more urgent.
fn tell_within(patience: Timespec, mut to: impl Write + AsFd, line: &str) {
    let text = format!("{line}\n");
    let mut patience = patience;
    for part in text.as_bytes().chunks(AT_ONCE) {
        let mut ready = [PollFd::new(&to, PollFlags::OUT)];
        let has_room = retry_on_intr(|| poll(&mut ready, Some(&patience))).is_ok_and(|n| n > 0);
        if !has_room || to.write_all(part).and_then(|()| to.flush()).is_err() {
            return;
        }
        patience = A_SECOND;
    }
}

/// How many lines the terminal at standard error has.
pub(super) fn lines() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.map_or(24, |size| usize::from(size.ws_row).max(1))
}

/// How many columns it has.
pub(super) fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.map_or(80, |size| usize::from(size.ws_col).max(1))
}

/// Whether standard error is a terminal that can redraw a line.
pub(super) fn can_redraw() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    io::stderr().is_terminal() && !dumb
}

/// What a pipe takes without waiting once it is ready (`PIPE_BUF`).
const AT_ONCE: usize = 4096;
const NOT_AT_ALL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
const A_SECOND: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
