//! Asking for counts instead of announcing (BEP 48, BEP 15).

use super::attempt::Tracker;
use super::blame::Blame;
use super::{Action, Announcer, Phase, TrackerError};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::net::http_call::Response;
use crate::wire::tracker_http::reply::ReplyError;
use crate::wire::tracker_http::scrape;
use crate::wire::tracker_http::url::Scheme;
use crate::wire::tracker_udp::Scrape;

impl Announcer {
    /// Makes the announce that begins a request for counts.
    pub(super) fn begin_scrape(&mut self, now: Instant, at: usize, rng: &mut Rng) {
        let info_hash = self.identity.info_hash;
        if self.trackers[at].url.scheme == Scheme::Udp {
            return self.find(now, at, rng);
        }
        // What was put behind the tracker's own target is for an announce.
        let own = &self.trackers[at].url.path_and_query;
        let Some(target) = scrape::target(own, &info_hash) else {
            let error = TrackerError::new("tracker.scrape", "its URL has no place for that");
            return self.fail(now, at, error, Blame::Tracker);
        };
        if let Some(attempt) = &mut self.trackers[at].attempt {
            attempt.url.path_and_query = target;
        }
        self.find(now, at, rng);
    }

    pub(super) fn read_counts(&mut self, now: Instant, at: usize, response: &Response) {
        let counts = scrape::parse(&response.body, &self.identity.info_hash);
        let is_good = (200..300).contains(&response.status);
        let (kind, message) = match counts {
            Ok(counts) if is_good => return self.end_scrape(at, Some(counts)),
            Err(ReplyError::Failure { reason, .. }) => ("tracker.failure", reason),
            Ok(_) | Err(ReplyError::Malformed) if !is_good => {
                ("tracker.status", format!("HTTP status {}", response.status))
            }
            Ok(_) | Err(ReplyError::Malformed) => {
                let message = "the reply says nothing of this torrent";
                ("tracker.reply", message.to_owned())
            }
        };
        let error = TrackerError::new(kind, message);
        self.fail(now, at, error, Blame::Tracker);
    }

    /// A tracker has answered or failed: it is not asked again. The last one ends the run.
    pub(super) fn end_scrape(&mut self, at: usize, counts: Option<Scrape>) {
        let tracker = &mut self.trackers[at];
        tracker.attempt = None;
        tracker.due = None;
        if let Some(counts) = counts {
            let url = tracker.shown.clone();
            self.actions.push_back(Action::Scraped { url, counts });
        }
        let is_over = |tracker: &Tracker| tracker.attempt.is_none() && tracker.due.is_none();
        if self.trackers.iter().all(is_over) {
            self.phase = Phase::Idle;
        }
    }
}
