//! One torrent of a client: what is wanted of it, how far it is, and whether there is any sense in going on.
//!
//! It touches nothing: it is told of events and of how the torrent stands, and says what has to be done. So what
//! ends one torrent never ends another.

use std::sync::Arc;
use std::time::Duration;

use super::error::can_recover;
use super::outcome::Outcome;
use super::plan::{Goal, Plan};
use crate::base::time::Instant;
use crate::engine::io::{DiskError, DiskErrorKind, Event};
use crate::engine::stats::{Phase, TorrentSnapshot};
use crate::wire::metainfo::Metainfo;

/// A torrent that a [`Client`](super::Client) has taken up.
#[derive(Debug)]
pub struct Download {
    pub(super) metainfo: Arc<Metainfo>,
    plan: Plan,
    /// What was there is hashed.
    checked: bool,
    complete: bool,
    outcome: Option<Outcome>,
    /// How it stood when it ended.
    last: Option<TorrentSnapshot>,
    disk_faults: u32,
    /// How often all had to be hashed again because others were at work among the files, and since when.
    rechecks: (u32, Option<Instant>),
    /// When something last moved, and how much had by then.
    moved: (Instant, u64),
    /// Since when it seeds.
    seeding: Option<Instant>,
}

/// What has to be done for a torrent.
pub(super) enum Act {
    /// Everything is there: bring the files into their last form, and tell [`Download::handle_finished`].
    Finish,
    /// Judge this metadata and say what the torrent is.
    Describe(Vec<u8>),
}

impl Download {
    pub(super) fn new(now: Instant, metainfo: Arc<Metainfo>, plan: Plan) -> Self {
        Self {
            metainfo,
            plan,
            checked: false,
            complete: false,
            outcome: None,
            last: None,
            disk_faults: 0,
            rechecks: (0, None),
            moved: (now, 0),
            seeding: None,
        }
    }

    /// Something happened to it.
    pub(super) fn handle_event(&mut self, now: Instant, event: &Event) -> Option<Act> {
        match event {
            Event::Checked { missing, .. } => {
                let all = *missing == 0;
                match self.plan.goal {
                    Goal::Check if all => self.end(Outcome::Complete),
                    Goal::Check | Goal::Seed if !all => self.end(Outcome::Incomplete),
                    Goal::Check | Goal::Seed | Goal::Download | Goal::DownloadAndSeed => {}
                }
                self.checked = true;
                self.handle_moved(now);
            }
            Event::Complete { .. } if !self.complete && !self.plan.goal.only_reads() => {
                self.complete = true;
                return Some(Act::Finish);
            }
            Event::DiskTrouble { error, .. } => {
                self.disk_faults += 1;
                // An input/output error may pass; a second one without recovery will not.
                let again = error.kind == DiskErrorKind::Io && self.disk_faults == 1;
                let full = self.plan.exit_on_full && error.kind == DiskErrorKind::Full;
                let waits = (can_recover(error.kind) || again) && !full;
                if self.plan.goal == Goal::Check || !waits {
                    self.end(Outcome::Disk(error.clone()));
                }
            }
            Event::DiskRecovered { .. } => self.disk_faults = 0,
            Event::Metadata { info, .. } => return Some(Act::Describe(info.clone())),
            Event::Complete { .. }
            | Event::PieceDone { .. }
            | Event::PieceFailed { .. }
            | Event::Tracker { .. }
            | Event::Scraped { .. }
            | Event::PeerConnected { .. }
            | Event::PeerGone { .. }
            | Event::Banned { .. }
            | Event::Warning { .. }
            | Event::Removed { .. }
            | Event::Stopped => {}
        }
        None
    }

    /// The files have their last form, or can't have it. Says why, if all of them are to be hashed again.
    pub(super) fn handle_finished(
        &mut self,
        now: Instant,
        result: Result<(), DiskError>,
    ) -> Option<String> {
        match result {
            Err(error) if error.kind == DiskErrorKind::Changed && self.may_recheck(now) => {
                self.complete = false;
                return Some(error.message);
            }
            Err(error) => self.end(Outcome::Disk(error)),
            Ok(()) if self.plan.goal == Goal::Download => self.end(Outcome::Complete),
            Ok(()) => {}
        }
        None
    }

    /// Whether to hash all once more: not if others have been at it for too long.
    fn may_recheck(&mut self, now: Instant) -> bool {
        let (count, since) = &mut self.rechecks;
        *count += 1;
        let since = *since.get_or_insert(now);
        *count <= RECHECKS || now - since < RECHECK_FOR
    }

    /// It begins anew to be measured whether anything moves.
    pub(super) fn handle_moved(&mut self, now: Instant) {
        self.moved.0 = now;
    }

    /// Sees whether there is any sense in going on. While the client is `holding` nothing can move.
    pub(super) fn judge(&mut self, now: Instant, holding: bool, torrent: &TorrentSnapshot) {
        if self.outcome.is_some() {
            return;
        }
        if self.has_seeded_enough(now, torrent) {
            return self.end(self.short_of(torrent, Outcome::Complete));
        }
        let alone = !torrent.has_source && torrent.peers + torrent.half_open == 0;
        let fetching = matches!(torrent.phase, Phase::Describing | Phase::Downloading);
        if fetching && !holding && alone {
            return self.end(Outcome::NoSource);
        }
        let amount = torrent.downloaded + torrent.uploaded + u64::from(torrent.pieces_checked);
        let waits = holding || matches!(torrent.phase, Phase::DiskTrouble | Phase::Paused);
        if amount != self.moved.1 || waits {
            self.moved = (now, amount);
        }
        let limit = self.plan.stop_timeout;
        if limit.is_some_and(|limit| now - self.moved.0 >= limit) {
            let seeds = torrent.phase == Phase::Seeding;
            self.end(match self.has_all(torrent) || seeds {
                true => Outcome::Complete,
                false => self.short_of(torrent, Outcome::Stalled),
            });
        }
    }

    /// A signal asked the process to stop: a good end for whoever has nothing left to fetch.
    pub(super) fn interrupt(&mut self, torrent: &TorrentSnapshot) {
        self.end(match self.has_all(torrent) {
            true => Outcome::Complete,
            false => self.short_of(torrent, Outcome::Interrupted),
        });
    }

    /// How it ends that has not reached its goal: who only seeds and has lost something could not go on with that.
    fn short_of(&self, torrent: &TorrentSnapshot, outcome: Outcome) -> Outcome {
        match (self.plan.goal, torrent.phase) {
            (Goal::Seed, Phase::Idle) => Outcome::Incomplete,
            _ => outcome,
        }
    }

    /// Whether its goal is reached, and nothing of that was lost since to another program.
    fn has_all(&self, torrent: &TorrentSnapshot) -> bool {
        let seeds = self.plan.goal == Goal::Seed && torrent.phase == Phase::Seeding;
        seeds || self.complete && torrent.pieces_have == torrent.pieces
    }

    /// It ends so, unless it ended before.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    /// Keeps how it stood when it ended; the first time counts.
    pub(super) fn keep(&mut self, torrent: Option<TorrentSnapshot>) {
        self.last = self.last.take().or(torrent);
    }

    /// What it is; of a magnet link whose metadata is not there yet, a stand-in.
    pub fn metainfo(&self) -> &Metainfo {
        &self.metainfo
    }

    /// What is wanted of it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How it ended, once that is known.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether what was there is hashed.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// How it stood when it ended; `None` before that.
    pub(super) fn last(&self) -> Option<&TorrentSnapshot> {
        self.last.as_ref()
    }

    /// How soon it has to be judged again, if nothing happens.
    pub(super) fn judge_within(&self) -> Option<Duration> {
        if self.outcome.is_some() {
            return None;
        }
        let ends = self.plan.seed_ratio.is_some() || self.plan.seed_time.is_some();
        let seeding = (ends && self.seeding.is_some()).then_some(SEEDING_EVERY);
        self.plan.stop_timeout.map(|_| JUDGE_EVERY).or(seeding)
    }

    fn has_seeded_enough(&mut self, now: Instant, torrent: &TorrentSnapshot) -> bool {
        match (torrent.phase, self.plan.goal) {
            (Phase::Seeding, _) => {}
            // Who has lost something meanwhile goes on with the rest, and no longer for that.
            (Phase::Idle, Goal::Seed) if self.seeding.is_some() => {}
            _ => return false,
        }
        let since = *self.seeding.get_or_insert(now);
        let sent = torrent.uploaded as f64;
        let (ratio, time) = (self.plan.seed_ratio, self.plan.seed_time);
        ratio.is_some_and(|ratio| sent >= ratio * torrent.bytes_have as f64)
            || time.is_some_and(|time| now - since >= time)
    }
}

/// So often all is hashed again, however long it takes.
const RECHECKS: u32 = 3;
/// So long it is hashed again and again: who is at work among the files for longer will not stop.
const RECHECK_FOR: Duration = Duration::from_secs(20);
/// How often it is seen whether enough was seeded.
const SEEDING_EVERY: Duration = Duration::from_secs(1);
/// How often it is seen whether anything moves.
pub(super) const JUDGE_EVERY: Duration = Duration::from_millis(500);
