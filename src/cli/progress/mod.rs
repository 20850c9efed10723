//! Progress: a bar on a terminal, plain lines in a file, JSON for a program, or nothing.

mod bar;
pub(super) mod json;
mod lines;

use std::time::Duration;

use super::face::Run;
use super::options::{Options, ProgressKind};
use super::{terminal, units};
use crate::client::{Event, Phase};
use crate::wire::metainfo::Metainfo;

/// A way to show progress.
pub(super) enum Progress {
    /// One line that is redrawn.
    Bar(bar::Bar),
    /// A line now and then.
    Lines(lines::Lines),
    /// An object a line.
    Json(json::Json),
    /// Nothing but the last line.
    None,
}

impl Progress {
    /// What the options ask for, as far as the terminal can do it.
    pub(super) fn new(options: &Options) -> Self {
        let bar_or_lines = || match terminal::can_redraw() {
            true => Self::Bar(bar::Bar::default()),
            false => Self::Lines(lines::Lines::default()),
        };
        match options.progress {
            _ if options.json => Self::Json(json::Json),
            _ if options.quiet => Self::None,
            ProgressKind::Auto | ProgressKind::Bar => bar_or_lines(),
            ProgressKind::Lines => Self::Lines(lines::Lines::default()),
            ProgressKind::Json => Self::Json(json::Json),
            ProgressKind::None => Self::None,
        }
    }

    /// How often it wants to be told how it goes.
    pub(super) fn every(&self) -> Duration {
        match self {
            Self::Bar(_) => Duration::from_millis(150),
            Self::Lines(_) => Duration::from_secs(10),
            Self::Json(_) => Duration::from_secs(1),
            Self::None => Duration::from_secs(3600),
        }
    }

    pub(super) fn started(&mut self, metainfo: &Metainfo, port: u16) {
        match self {
            Self::Bar(bar) => bar.started(metainfo),
            Self::Lines(lines) => lines.started(metainfo),
            Self::Json(json) => json.started(metainfo, port),
            Self::None => {}
        }
    }

    pub(super) fn tick(&mut self, run: &Run) {
        match self {
            Self::Bar(bar) => bar.tick(run),
            Self::Lines(lines) => lines.tick(run),
            Self::Json(json) => json.tick(run),
            Self::None => {}
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        if let Self::Json(json) = self {
            json.event(event);
        }
    }

    /// Writes something else without tearing the bar.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        match self {
            Self::Bar(bar) => bar.aside(write),
            Self::Lines(_) | Self::Json(_) | Self::None => write(),
        }
    }

    /// It ends before its time.
    pub(super) fn abandon(&mut self) {
        if let Self::Bar(bar) = self {
            bar.end();
        }
    }

    /// The goal is reached.
    pub(super) fn complete(&mut self, run: &Run, name: &str, quiet: bool) {
        self.abandon();
        match self {
            Self::Json(json) => json.complete(run),
            Self::Bar(_) | Self::Lines(_) | Self::None if !quiet => {
                terminal::out(&summary(run, name));
            }
            Self::Bar(_) | Self::Lines(_) | Self::None => {}
        }
    }
}

/// The last line of a run.
fn summary(run: &Run, name: &str) -> String {
    let it = &run.torrent;
    let seconds = run.elapsed.as_secs_f64().max(0.001);
    format!(
        "complete: {name}, {} verified; {} down in {} ({}/s), {} up, {} wasted",
        units::bytes(it.bytes_have),
        units::bytes(it.downloaded),
        units::time(run.elapsed),
        units::bytes((it.downloaded as f64 / seconds) as u64),
        units::bytes(it.uploaded),
        units::bytes(it.wasted),
    )
}

/// What the torrent is doing, in a word.
fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Describing => "fetching the metadata",
        Phase::Checking => "checking",
        Phase::Downloading => "downloading",
        Phase::Seeding => "seeding",
        Phase::Idle => "idle",
        Phase::Paused => "paused",
        Phase::DiskTrouble => "waiting for the disk",
    }
}
