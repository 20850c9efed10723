//! Where the library's log goes: lines on standard error.

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::options::Options;
use super::terminal;
use crate::base::escape::escape;

/// Lets the log through as far as the options ask for.
pub(super) fn start(options: &Options) {
    let level = match (options.verbose, options.quiet) {
        (true, _) => LevelFilter::Debug,
        (false, true) => LevelFilter::Error,
        (false, false) => LevelFilter::Warn,
    };
    // It fails only if there is a logger already, and then that one is as good.
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(level);
    }
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
        terminal::err(&format!("{level}: {text}"));
    }

    fn flush(&self) {}
}

/// Bytes of a line.
const LINE_MAX: usize = 500;
