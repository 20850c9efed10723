//! The face of a run: what a person or a script gets to see while it goes on.
//!
//! Errors and warnings are lines on standard error, `error[kind]: what, where, what happens next`. Progress is a
//! bar, lines or JSON; see [`super::progress`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::progress::{Progress, json};
use super::terminal;
use crate::client::{DiskErrorKind, Error, Event, TorrentSnapshot, can_recover, disk_kind};
use crate::wire::metainfo::Metainfo;

/// Everything that is said during a run.
pub(super) struct Face {
    progress: Progress,
    quiet: bool,
    due: Duration,
    /// When a kind of warning was last said, and how many were not since.
    said: BTreeMap<String, (Duration, u32)>,
}

impl Face {
    /// A face that shows progress so, and says only errors if it is to be quiet.
    pub(super) fn new(progress: Progress, quiet: bool) -> Self {
        Self {
            progress,
            quiet,
            due: Duration::ZERO,
            said: BTreeMap::new(),
        }
    }

    /// A torrent was taken up.
    pub(super) fn started(&mut self, metainfo: &Metainfo, port: u16) {
        self.progress.started(metainfo, port);
        for warning in &metainfo.warnings {
            self.warning(Duration::ZERO, warning.kind, &warning.message);
        }
    }

    /// Shows how it goes, if it is time to.
    pub(super) fn tick(&mut self, run: &Run) {
        if run.elapsed >= self.due {
            self.due = run.elapsed + self.progress.every();
            self.progress.tick(run);
        }
    }

    /// How long the loop may wait before the next `tick`.
    pub(super) fn wait(&self, elapsed: Duration) -> Duration {
        self.due.saturating_sub(elapsed)
    }

    /// Tells of what happened at `elapsed`.
    pub(super) fn event(&mut self, elapsed: Duration, event: &Event) {
        self.progress.event(event);
        match event {
            Event::Banned { address, piece, .. } => {
                let message =
                    format!("{address} sent bad data in piece {piece}, it is not spoken to again");
                self.warning(elapsed, "peer.banned", &message);
            }
            Event::Tracker {
                url,
                result: Err(why),
                ..
            } => {
                let message = format!("{url}: {why}, it is asked again later");
                self.warning(elapsed, "tracker", &message);
            }
            // What can't pass ends the run, and is said then.
            Event::DiskTrouble { error, .. } if can_recover(error.kind) => {
                let message = format!("{}, waiting and trying again", error.message);
                self.say(elapsed, Level::Error, disk_kind(error.kind), &message);
            }
            Event::DiskRecovered { .. } => self.note("the disk works again, going on"),
            Event::Warning { kind, message } => self.warning(elapsed, kind, message),
            Event::Checked { .. }
            | Event::PieceDone { .. }
            | Event::PieceFailed { .. }
            | Event::Complete { .. }
            | Event::DiskTrouble { .. }
            | Event::Metadata { .. }
            | Event::Tracker { result: Ok(_), .. }
            | Event::PeerConnected { .. }
            | Event::PeerGone { .. }
            | Event::Scraped { .. }
            | Event::Stopped => {}
        }
    }

    /// Something odd that does not stop anything.
    pub(super) fn warning(&mut self, elapsed: Duration, kind: &str, message: &str) {
        self.say(elapsed, Level::Warning, kind, message);
    }

    /// Says something while the run goes on; the same at most once in ten seconds, with a count of the rest.
    fn say(&mut self, elapsed: Duration, level: Level, kind: &str, message: &str) {
        let key = format!("{kind}: {message}");
        if self.said.len() >= SAID_MAX {
            self.said.clear();
        }
        let mut unsaid = 0;
        if let Some((since, more)) = self.said.get_mut(&key) {
            if elapsed.saturating_sub(*since) < SAY_AGAIN {
                *more += 1;
                return;
            }
            unsaid = *more;
        }
        self.said.insert(key, (elapsed, 0));
        let again = match unsaid {
            0 => String::new(),
            times => format!(" ({times} more of these)"),
        };
        let (word, json_line) = match level {
            Level::Warning => ("warning", json::Line::Warning { kind, message }),
            Level::Error => ("error", json::Line::Error { kind, message }),
        };
        if let Progress::Json(_) = self.progress {
            json::line(&json_line);
        }
        if !self.quiet || level == Level::Error {
            let line = format!("{word}[{kind}]: {message}{again}");
            self.progress.aside(|| terminal::err(&line));
        }
    }

    /// Something that a person may like to know.
    pub(super) fn note(&mut self, message: &str) {
        if !self.quiet {
            self.progress.aside(|| terminal::err(message));
        }
    }

    /// What ends it, and what a person can do now.
    pub(super) fn error(&mut self, kind: &str, message: &str, next: &str) {
        let message = format!("{message}, {next}");
        if let Progress::Json(_) = self.progress {
            let message = &message;
            json::line(&json::Line::Error { kind, message });
        }
        self.progress.abandon();
        terminal::err(&format!("error[{kind}]: {message}"));
    }

    /// As [`Face::error`], for an error of the client's.
    pub(super) fn client_error(&mut self, error: &Error, name: &str) {
        let (message, next) = match error {
            Error::Torrent { .. } | Error::Create { .. } => {
                (error.to_string(), "nothing was started")
            }
            Error::Disk(disk) if disk.kind == DiskErrorKind::Locked => {
                (error.to_string(), "this one ends")
            }
            Error::Disk(_) => (error.to_string(), "stopped; run again to go on"),
            Error::NoSource | Error::NoAnswer => (format!("{name}: {error}"), "giving up"),
            Error::Stalled => (format!("{name}: {error}"), "giving up; run again to go on"),
            Error::Incomplete => (
                format!("{name}: {error}"),
                "run a download to fetch the rest",
            ),
            Error::Interrupted => (format!("{name}: {error}"), "run again to resume"),
            Error::Stopped | Error::System { .. } => (error.to_string(), "ending"),
        };
        self.error(error.kind(), &message, next);
    }

    /// The goal is reached.
    pub(super) fn complete(&mut self, run: &Run, name: &str) {
        self.progress.complete(run, name, self.quiet);
    }
}

/// How bad something is that a run survives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Warning,
    Error,
}

/// How a run stands.
pub(super) struct Run {
    /// Since it began.
    pub(super) elapsed: Duration,
    /// The torrent.
    pub(super) torrent: TorrentSnapshot,
    /// The longest turn of the loop.
    pub(super) longest_turn: Duration,
}

/// How soon the same line is said again.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// Lines remembered for that.
const SAID_MAX: usize = 256;
