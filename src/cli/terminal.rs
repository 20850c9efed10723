//! Standard output and standard error, which may be closed, full or gone: to a run that goes on a lost line is no
//! reason to stop. A command whose line is all it was asked for has failed with it.

use std::io::{self, IsTerminal as _, Write as _};

use super::exit::Exit;
use super::logger;

/// Writes a line to standard output, whatever becomes of it.
pub(super) fn out(line: &str) {
    let _ = write(line);
}

/// Writes to standard output what the person asked for; if it is lost, that is said and is the exit status. Whoever
/// closes a pipe has read enough.
pub(super) fn answer(text: &str) -> Exit {
    match write(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            err(&format!(
                "error[output]: standard output: {error}, the answer is lost"
            ));
            Exit::Internal
        }
        Ok(()) | Err(_) => Exit::Complete,
    }
}

fn write(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
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
