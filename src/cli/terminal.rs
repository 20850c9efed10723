//! Standard output and standard error, which may be closed, full or gone: a lost line is no reason to stop.

use std::io::{self, IsTerminal as _, Write as _};

use super::logger;

/// Writes a line to standard output.
pub(super) fn out(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}

/// Writes a line to standard error, and to the log file if there is one.
pub(super) fn err(text: &str) {
    logger::write(text);
    line(text);
}

/// Writes a line to standard error.
pub(super) fn line(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// How many lines the terminal at standard error has.
pub(super) fn lines() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.map_or(24, |size| usize::from(size.ws_row).max(1))
}

/// Whether standard error is a terminal that can redraw a line.
pub(super) fn can_redraw() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    io::stderr().is_terminal() && !dumb
}
