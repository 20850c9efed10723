//! Where the library's log goes: lines on standard error, or in a file with the time before each.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::terminal;
use crate::base::escape::escape;

/// Lets the log through up to `level`, into `file` if there is one.
///
/// # Errors
///
/// What the system says if the file can't be opened.
pub(super) fn start(level: LevelFilter, file: Option<&Path>) -> io::Result<()> {
    if let Some(path) = file {
        let opened = LogFile {
            file: open(path)?,
            path: path.to_owned(),
        };
        // It fails only if there is one already, and then that one is as good.
        let _ = FILE.set(Mutex::new(opened));
    }
    // As above.
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

/// Opens the log file anew, so that the old one can be taken away. If that fails the old one stays.
///
/// # Errors
///
/// What the system says.
pub(super) fn reopen() -> io::Result<()> {
    let Some(file) = FILE.get() else {
        return Ok(());
    };
    let mut log = file.lock().unwrap_or_else(PoisonError::into_inner);
    log.file = open(&log.path)?;
    Ok(())
}

/// Writes a line into the log file, if there is one; whether there is.
pub(super) fn write(line: &str) -> bool {
    let Some(file) = FILE.get() else {
        return false;
    };
    let mut log = file.lock().unwrap_or_else(PoisonError::into_inner);
    // A full disk is no reason to stop, and there is nowhere left to say so.
    let _ = log.file.write_all(format!("{} {line}\n", now()).as_bytes());
    true
}

/// A line a record.
struct Lines;

impl Log for Lines {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target().starts_with("minitorrent")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        let text = escape(record.args().to_string().as_bytes(), LINE_MAX);
        let line = format!("{level}: {text}");
        if !write(&line) {
            terminal::line(&line);
        }
    }

    fn flush(&self) {}
}

/// An open log file and where it is.
struct LogFile {
    file: File,
    path: PathBuf,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The wall clock as a log shows it.
#[expect(
    clippy::disallowed_methods,
    reason = "a log says when; nothing depends on it"
)]
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    stamp(since.map_or(0, |since| since.as_secs()))
}

/// Seconds since 1970 as a date and a time in UTC: `2024-02-29T12:00:00Z`.
fn stamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from March on, so that the odd day is their last: 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

static FILE: OnceLock<Mutex<LogFile>> = OnceLock::new();
/// Bytes of a line.
const LINE_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_know_leap_years_and_centuries() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(stamp(seconds), text);
        }
    }
}
