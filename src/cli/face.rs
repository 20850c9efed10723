//! The face of a run: what a person or a script gets to see while it goes on.
//!
//! Errors and warnings are lines on standard error, `error[kind]: what, where, what happens next`. Progress is a
//! bar, lines or JSON; see [`super::progress`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;

use super::exit::Exit;
use super::options::Options;
use super::progress::{Progress, json};
use super::terminal;
use crate::base::escape::escape_field;
use crate::client::{DiskErrorKind, Error, Event, Goal, TorrentId, TorrentSnapshot, disk_kind};
use crate::wire::metainfo::Metainfo;

/// Everything that is said during a run.
pub(super) struct Face {
    progress: Progress,
    quiet: bool,
    /// Whether what is run leaves all files as they are.
    only_reads: bool,
    due: Duration,
    /// What the torrents are called.
    labels: BTreeMap<TorrentId, Label>,
    /// Whether a torrent is one of several.
    several: bool,
    /// When a kind of warning was last said, and how many were not since.
    said: BTreeMap<String, (Duration, u32)>,
}

impl Face {
    /// A face that shows progress so, says only errors if it is to be quiet, and advises nothing that the command does
    /// not take.
    pub(super) fn new(progress: Progress, options: &Options) -> Self {
        Self {
            progress,
            quiet: options.quiet,
            only_reads: options.plan.goal.only_reads(),
            due: Duration::ZERO,
            labels: BTreeMap::new(),
            several: false,
            said: BTreeMap::new(),
        }
    }

    /// There are several torrents: what is said of one names it.
    pub(super) fn expect_several(&mut self) {
        self.several = true;
    }

    /// A torrent was taken up, and that is what it is called.
    pub(super) fn meet(&mut self, torrent: TorrentId, metainfo: &Metainfo) {
        let label = Label {
            name: escape_field(metainfo.name.as_bytes()),
            hash: metainfo.info_hash.to_string(),
        };
        self.labels.insert(torrent, label);
    }

    /// It is known what a torrent is, and it begins.
    pub(super) fn started(&mut self, torrent: TorrentId, metainfo: &Metainfo, port: u16) {
        self.meet(torrent, metainfo);
        self.progress.started(metainfo, port);
        for warning in &metainfo.warnings {
            let (kind, message) = (warning.kind, &warning.message);
            self.say(Duration::ZERO, Level::Warning, kind, message, Some(torrent));
        }
    }

    /// Shows how it goes, if it is time to.
    pub(super) fn tick(&mut self, state: &State) {
        if state.elapsed >= self.due {
            self.due = state.elapsed + self.progress.every();
            self.progress.tick(state, &self.labels);
        }
    }

    /// How long the loop may wait before the next `tick`.
    pub(super) fn wait(&self, elapsed: Duration) -> Duration {
        self.due.saturating_sub(elapsed)
    }

    /// Tells of what happened at `elapsed`.
    pub(super) fn event(&mut self, elapsed: Duration, event: &Event) {
        let torrent = event.torrent();
        let hash = torrent.and_then(|id| Some(self.labels.get(&id)?.hash.as_str()));
        self.progress.event(event, hash);
        let mut warn =
            |kind, message: &str| self.say(elapsed, Level::Warning, kind, message, torrent);
        match event {
            Event::Banned { address, piece, .. } => {
                let message = format!(
                    "{address} sent bad data in piece {piece}, nobody at {} is spoken to again",
                    address.ip()
                );
                warn("peer.banned", &message);
            }
            Event::Tracker {
                url,
                result: Err(why),
                ..
            } => {
                let message = format!("{url}: {why}, it is asked again later");
                warn("tracker", &message);
            }
            Event::DiskTrouble { error, .. } => {
                let message = format!("{}, waiting and trying again", error.message);
                let kind = disk_kind(error.kind);
                self.say(elapsed, Level::Error, kind, &message, torrent);
            }
            Event::DiskRecovered { .. } => {
                let message = format!("{}the disk works again, going on", self.naming(torrent));
                self.note(&message);
            }
            Event::Warning { kind, message, .. } => warn(kind, message),
            Event::Tracker {
                url,
                result: Ok(peers),
                ..
            } => self.log(torrent, &format_args!("{url} named {peers} peers")),
            Event::PeerConnected {
                address, client, ..
            } => self.log(torrent, &format_args!("{address} connected: {client}")),
            Event::PeerGone { address, why, .. } => {
                self.log(torrent, &format_args!("{address} has gone: {why}"));
            }
            Event::PieceFailed { piece, .. } => {
                self.log(torrent, &format_args!("piece {} is wrong", piece.0));
            }
            Event::Checked { .. }
            | Event::PieceDone { .. }
            | Event::Complete { .. }
            | Event::Metadata { .. }
            | Event::Scraped { .. }
            | Event::Removed { .. }
            | Event::Stopped => {}
        }
    }

    /// For who wants to know more (`--verbose`).
    fn log(&self, torrent: Option<TorrentId>, message: &dyn fmt::Display) {
        if log::log_enabled!(log::Level::Debug) {
            let naming = self.naming(torrent);
            self.progress.aside(|| log::debug!("{naming}{message}"));
        }
    }

    /// Something odd that does not stop anything.
    pub(super) fn warning(&mut self, elapsed: Duration, kind: &str, message: &str) {
        self.say(elapsed, Level::Warning, kind, message, None);
    }

    /// What stands before a line about a torrent: its name, if there are several.
    fn naming(&self, torrent: Option<TorrentId>) -> String {
        let label = torrent.and_then(|id| self.labels.get(&id));
        let label = label.filter(|_| self.several);
        label.map_or(String::new(), |label| format!("{}: ", label.name))
    }

    /// Says something while the run goes on; the same at most once in ten seconds, with a count of the rest.
    fn say(
        &mut self,
        elapsed: Duration,
        level: Level,
        kind: &str,
        message: &str,
        torrent: Option<TorrentId>,
    ) {
        let naming = self.naming(torrent);
        let key = format!("{kind}: {naming}{message}");
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
            let label = torrent.and_then(|id| self.labels.get(&id));
            json::line(&json_line, label.map(|label| label.hash.as_str()));
        }
        if !self.quiet || level == Level::Error {
            let line = format!("{word}[{kind}]: {naming}{message}{again}");
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
        self.fatal(kind, message, next, None);
    }

    fn fatal(&mut self, kind: &str, message: &str, next: &str, hash: Option<&str>) {
        let message = format!("{message}, {next}");
        if let Progress::Json(_) = self.progress {
            let message = &message;
            json::line(&json::Line::Error { kind, message }, hash);
        }
        self.progress.abandon();
        terminal::err(&format!("error[{kind}]: {message}"));
    }

    /// As [`Face::error`], for an error of the client's.
    pub(super) fn client_error(&mut self, error: &Error, name: &str) {
        self.failed(error, name, "", None);
    }

    /// A torrent of this name can't be read; gives the exit status.
    pub(super) fn unread(&mut self, error: &Error, named: &OsStr) -> Exit {
        // What is wrong with it says where.
        let name = match error {
            Error::Interrupted => escape_field(named.as_encoded_bytes()),
            _ => String::new(),
        };
        self.client_error(error, &name);
        Exit::of(error)
    }

    /// As [`Face::error`], for what ended a torrent while others may go on; `more` goes behind its name, `why` behind
    /// the error.
    pub(super) fn torrent_error(
        &mut self,
        error: &Error,
        target: &Metainfo,
        more: &str,
        why: &str,
    ) {
        let name = escape_field(target.name.as_bytes());
        let hash = target.info_hash.to_string();
        self.failed(error, &format!("{name}{more}"), why, Some(&hash));
    }

    fn failed(&mut self, error: &Error, name: &str, why: &str, hash: Option<&str>) {
        let own = |error: &Error| match self.several && !name.is_empty() {
            true => format!("{name}: {error}"),
            false => error.to_string(),
        };
        let (message, next) = match error {
            Error::Torrent { .. } | Error::Memory { .. } if self.several => {
                (own(error), "it is left out")
            }
            Error::Torrent { .. } | Error::Memory { .. } => {
                (error.to_string(), "nothing was started")
            }
            Error::Create { .. } | Error::CreateDisk { .. } => {
                (error.to_string(), "no torrent was made")
            }
            Error::Unselected { .. } => {
                let next = "it is left out; `show` lists its files";
                (format!("{name}: {error}"), next)
            }
            Error::Duplicate(_) => (own(error), "it is taken once"),
            Error::Clash { .. } => {
                let next = "it is left out; give it an output directory of its own";
                (format!("{name}: {error}"), next)
            }
            Error::Disk(disk) => (own(error), advice(disk.kind, self.only_reads)),
            Error::NoSource | Error::NoTracker | Error::NoAnswer => {
                (format!("{name}: {error}{why}"), "giving up")
            }
            Error::Stalled => {
                let next = "giving up; run again to go on";
                (format!("{name}: {error}{why}"), next)
            }
            Error::Incomplete => (
                format!("{name}: {error}"),
                "run a download to fetch the rest",
            ),
            Error::Interrupted => (format!("{name}: {error}"), "run again to go on"),
            Error::Stopped | Error::System { .. } => (own(error), "ending"),
        };
        self.fatal(error.kind(), &message, next, hash);
    }

    /// A torrent has reached its goal.
    pub(super) fn complete(&mut self, state: &State, torrent: &TorrentSnapshot, goal: Goal) {
        if let Some(label) = self.labels.get(&torrent.torrent) {
            let quiet = self.quiet;
            self.progress.complete(state, torrent, goal, label, quiet);
        }
    }

    /// Nothing more is shown.
    pub(super) fn close(&mut self) {
        self.progress.abandon();
    }
}

/// What a person can do when the disk has ended it: a run that only reads, or one that writes.
fn advice(kind: DiskErrorKind, only_reads: bool) -> &'static str {
    match kind {
        DiskErrorKind::Full => "stopped; run again when there is space",
        DiskErrorKind::Denied => "nothing is written; -o names another directory",
        DiskErrorKind::NotRegular => {
            "nothing is written there; move it away, or name another directory with -o"
        }
        DiskErrorKind::Longer if only_reads => {
            "it is left alone; a download with --force cuts it, -o names another directory"
        }
        DiskErrorKind::Longer => {
            "it is left alone; --force lets it be cut, -o names another directory"
        }
        DiskErrorKind::TooBig => {
            "nothing is written; name a directory on another file system with -o"
        }
        DiskErrorKind::Gone => "stopped; run again when it is back",
        DiskErrorKind::Changed => "stopped; run again when nobody else is at work there",
        DiskErrorKind::Io => "stopped; see to the disk, then run again to go on",
        DiskErrorKind::Locked => "this one ends",
    }
}

/// How bad something is that a run survives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Warning,
    Error,
}

/// What a torrent is called.
pub(super) struct Label {
    /// Its name, escaped.
    pub(super) name: String,
    /// Its info-hash, 40 hexadecimal digits.
    pub(super) hash: String,
}

/// How a run stands.
pub(super) struct State {
    /// Since it began.
    pub(super) elapsed: Duration,
    /// The torrents that have not ended.
    pub(super) torrents: Vec<TorrentSnapshot>,
    /// How many have.
    pub(super) ended: usize,
    /// The longest turn of the loop.
    pub(super) longest_turn: Duration,
    /// Bytes of lasting state written.
    pub(super) state_written: u64,
}

/// How soon the same line is said again.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// Lines remembered for that.
const SAID_MAX: usize = 256;
