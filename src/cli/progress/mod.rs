//! Progress: a bar on a terminal, plain lines in a file, JSON for a program, or nothing.

mod bar;
pub(super) mod json;
mod lines;

use std::collections::BTreeMap;
use std::time::Duration;

use super::face::{Label, State};
use super::options::{Options, ProgressKind};
use super::{terminal, units};
use crate::client::{Event, Goal, Phase, TorrentId, TorrentSnapshot};
use crate::wire::metainfo::Metainfo;

/// A way to show progress.
pub(super) enum Progress {
    /// Lines that are redrawn.
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
            false => Self::Lines(lines::Lines),
        };
        match options.progress {
            _ if options.json => Self::Json(json::Json),
            _ if options.quiet => Self::None,
            ProgressKind::Auto | ProgressKind::Bar => bar_or_lines(),
            ProgressKind::Lines => Self::Lines(lines::Lines),
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
            Self::Lines(lines) => lines.started(metainfo),
            Self::Json(json) => json.started(metainfo, port),
            Self::Bar(_) | Self::None => {}
        }
    }

    pub(super) fn tick(&mut self, state: &State, labels: &Labels) {
        match self {
            Self::Bar(bar) => bar.tick(state, labels),
            Self::Lines(lines) => lines.tick(state, labels),
            Self::Json(json) => json.tick(state, labels),
            Self::None => {}
        }
    }

    pub(super) fn event(&mut self, event: &Event, hash: Option<&str>) {
        if let Self::Json(json) = self {
            json.event(event, hash);
        }
    }

    /// Writes something else without tearing the bar.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        match self {
            Self::Bar(bar) => bar.aside(write),
            Self::Lines(_) | Self::Json(_) | Self::None => write(),
        }
    }

    /// What was redrawn is taken away, so that what is said next stands alone. It comes back with the next tick.
    pub(super) fn abandon(&mut self) {
        if let Self::Bar(bar) = self {
            bar.end();
        }
    }

    /// A torrent's goal is reached, which may have been to seed it.
    pub(super) fn complete(
        &mut self,
        state: &State,
        torrent: &TorrentSnapshot,
        goal: Goal,
        label: &Label,
        quiet: bool,
    ) {
        self.abandon();
        match self {
            Self::Json(json) => json.complete(state, torrent, label),
            Self::Bar(_) | Self::Lines(_) | Self::None if !quiet => {
                terminal::tell_end(&summary(state.elapsed, torrent, goal, &label.name));
            }
            Self::Bar(_) | Self::Lines(_) | Self::None => {}
        }
    }
}

/// The last line of a torrent. The ratio is that of `--seed-ratio`: what was sent in this run to what is there.
fn summary(elapsed: Duration, it: &TorrentSnapshot, goal: Goal, name: &str) -> String {
    let ratio = match goal {
        Goal::Download | Goal::Check => String::new(),
        Goal::DownloadAndSeed | Goal::Seed => {
            let ratio = it.uploaded as f64 / it.bytes_have.max(1) as f64;
            format!(" (ratio {ratio:.2})")
        }
    };
    if !ratio.is_empty() && it.downloaded == 0 {
        return format!(
            "seeded: {name}, {} for {}; {} up{ratio}",
            units::bytes(it.bytes_have),
            units::time(elapsed),
            units::bytes(it.uploaded),
        );
    }
    let seconds = elapsed.as_secs_f64().max(0.001);
    format!(
        "complete: {name}, {} verified; {} down in {} ({}/s), {} up{ratio}, {} wasted",
        units::bytes(it.bytes_have),
        units::bytes(it.downloaded),
        units::time(elapsed),
        units::bytes((it.downloaded as f64 / seconds) as u64),
        units::bytes(it.uploaded),
        units::bytes(it.wasted),
    )
}

/// What is shown of many torrents together when there is no room for a line each.
fn together(state: &State) -> String {
    let all = &state.torrents;
    let rate = |of: fn(&TorrentSnapshot) -> u64| units::bytes(all.iter().map(of).sum());
    let peers: u32 = all.iter().map(|it| it.peers).sum();
    format!(
        "{} torrents, {} ended, {}/s down, {}/s up, peers: {peers}",
        all.len() + state.ended,
        state.ended,
        rate(|it| it.down_rate),
        rate(|it| it.up_rate),
    )
}

/// How the torrents are called.
type Labels = BTreeMap<TorrentId, Label>;

/// What a torrent waits for whose metadata is not known yet.
fn describing(it: &TorrentSnapshot) -> String {
    let looking = match (it.peers, it.half_open, it.addresses) {
        (0, 0, 0) if it.has_source => "looking for peers",
        (0, 0, 0) => "nobody is known to ask",
        (0, 0, _) => "no peer answers, trying again",
        (0, _, _) => "connecting to peers",
        (_, _, _) => "",
    };
    match (looking, it.metadata) {
        ("", (_, 0)) => format!("waiting for the metadata, peers: {}", it.peers),
        ("", (have, of)) => format!("metadata {have} of {of}, peers: {}", it.peers),
        (looking, (_, 0)) => format!("waiting for the metadata: {looking}"),
        (looking, (have, of)) => format!("metadata {have} of {of}: {looking}"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::InfoHash;

    #[test]
    fn the_last_line_says_whether_it_was_fetched_or_seeded_and_how_much_was_given_back() {
        let (id, hash) = (TorrentId::from_bits(0), InfoHash([0; 20]));
        let seeded = TorrentSnapshot {
            bytes_have: 400 << 10,
            uploaded: 600 << 10,
            ..TorrentSnapshot::empty(id, hash)
        };
        let fetched = TorrentSnapshot {
            downloaded: 400 << 10,
            ..seeded.clone()
        };
        let said = |it, goal| summary(Duration::from_secs(2), it, goal, "n");
        let line = "seeded: n, 400.0 KiB for 2.0s; 600.0 KiB up (ratio 1.50)";
        assert_eq!(said(&seeded, Goal::Seed), line);
        assert_eq!(said(&seeded, Goal::DownloadAndSeed), line);
        assert_eq!(
            said(&fetched, Goal::DownloadAndSeed),
            "complete: n, 400.0 KiB verified; 400.0 KiB down in 2.0s (200.0 KiB/s), \
             600.0 KiB up (ratio 1.50), 0 B wasted"
        );
        assert_eq!(
            said(&seeded, Goal::Download),
            "complete: n, 400.0 KiB verified; 0 B down in 2.0s (0 B/s), 600.0 KiB up, 0 B wasted"
        );
    }
}
