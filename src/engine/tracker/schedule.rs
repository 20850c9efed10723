//! Which tracker comes next, when, and what it is told.

use super::attempt::{Attempt, Step, Tracker};
use super::{Announcer, Facts, IN_FLIGHT_MAX, Phase, SILENCE, STAGGER, WHOLE};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::net::http_call::Redirects;
use crate::wire::tracker_http::url::Scheme;
use crate::wire::tracker_http::{Announce, Event};

impl Announcer {
    /// The first tracker, in tier order, whose time has come.
    pub(super) fn ready(&self, now: Instant) -> Option<usize> {
        if self.in_flight() >= IN_FLIGHT_MAX {
            return None;
        }
        let is_ready = |at: &usize| {
            let tracker = &self.trackers[*at];
            tracker.attempt.is_none() && self.ready_at(tracker).is_some_and(|time| time <= now)
        };
        self.tiers.iter().flatten().copied().find(is_ready)
    }

    /// When a tracker that is not being asked may be; `None` if not as things are.
    pub(super) fn ready_at(&self, tracker: &Tracker) -> Option<Instant> {
        match self.phase {
            Phase::Idle => None,
            Phase::Stopping => {
                (tracker.owes_stopped || tracker.owes_completed).then_some(self.gate)
            }
            Phase::Running if self.is_private && self.in_flight() > 0 => None,
            Phase::Running if self.is_private && tracker.owes_completed => tracker.due,
            Phase::Running if self.is_private => tracker.due.map(|due| due.max(self.gate)),
            Phase::Running if self.is_hunting || tracker.is_working || tracker.owes_completed => {
                tracker.due.map(|due| due.max(self.gate))
            }
            Phase::Running if self.twin_works(tracker) => tracker.due.map(|due| due.max(self.gate)),
            Phase::Running => None,
        }
    }

    /// Trackers that are being asked and have not been silent for long.
    pub(super) fn in_flight(&self) -> usize {
        let attempts = self
            .trackers
            .iter()
            .filter_map(|tracker| tracker.attempt.as_ref());
        attempts.filter(|attempt| !attempt.is_judged).count()
    }

    pub(super) fn begin(&mut self, now: Instant, at: usize, facts: &Facts, rng: &mut Rng) {
        let tracker = &mut self.trackers[at];
        let event = match self.phase {
            Phase::Stopping if tracker.owes_completed => Event::Completed,
            Phase::Stopping => Event::Stopped,
            Phase::Idle | Phase::Running if !tracker.knows_us => Event::Started,
            Phase::Idle | Phase::Running if tracker.owes_completed => Event::Completed,
            Phase::Idle | Phase::Running => Event::Interval,
        };
        if self.phase == Phase::Running && !self.is_private {
            self.gate = now + STAGGER;
        }
        let announce = Announce {
            info_hash: self.identity.info_hash,
            peer_id: self.identity.peer_id,
            port: self.identity.port,
            uploaded: facts.uploaded,
            downloaded: facts.downloaded,
            left: facts.left,
            event,
            numwant: limits::NUMWANT,
            key: self.identity.key,
        };
        let mut url = tracker.url.clone();
        if url.scheme != Scheme::Udp {
            url.path_and_query =
                announce.target(&url.path_and_query, tracker.tracker_id.as_deref());
        }
        tracker.attempt = Some(Attempt {
            announce,
            url,
            redirects: Redirects::default(),
            untried: Vec::new(),
            step: Step::Between,
            silent_at: now + SILENCE,
            whole_by: now + WHOLE,
            is_judged: false,
        });
        if self.is_scraping {
            return self.begin_scrape(now, at, rng);
        }
        // A goodbye has no time for names: the address that was good for the rest will do.
        if self.phase == Phase::Stopping && !tracker.addresses.is_empty() {
            let known = tracker.addresses.clone();
            return self.reach(now, at, known, rng);
        }
        self.find(now, at, rng);
    }

    /// Whether the entry of the same tracker for the other family works.
    pub(super) fn twin_works(&self, tracker: &Tracker) -> bool {
        let twin = tracker.twin.and_then(|twin| self.trackers.get(twin));
        twin.is_some_and(|twin| twin.is_working)
    }
}
