//! What became of an announce, and when its tracker is asked again.

use std::net::SocketAddr;

use super::attempt::{Attempt, Step};
use super::blame::{Blame, TRACKER_PAUSE_MAX};
use super::{Action, Announcer, Phase, SILENCE, TrackerError, WHOLE, udp};
use crate::base::crc32c::crc32c;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::net::resolver::{DnsError, Families};
use crate::wire::tracker_http::Event;
use crate::wire::tracker_http::reply::{Reply, clamp_interval};

impl Announcer {
    pub(super) fn expire(&mut self, now: Instant, at: usize, rng: &mut Rng) {
        let tracker = &mut self.trackers[at];
        let Some(attempt) = &mut tracker.attempt else {
            return;
        };
        if !attempt.is_judged && attempt.silent_at <= now {
            let is_whole = attempt.silent_at == attempt.whole_by;
            let seconds = if is_whole { WHOLE } else { SILENCE }.as_secs();
            let message = format!("no answer within {seconds} s");
            let error = TrackerError::new("tracker.timeout", message);
            match attempt.step {
                // Another address is not known to be silent.
                Step::Udp(_) if !attempt.untried.is_empty() => {
                    return self.fail(now, at, error, Blame::Ourselves);
                }
                // Retransmission goes on behind it, and a late answer is used.
                Step::Udp(_) if self.phase == Phase::Running && !self.is_scraping => {
                    attempt.is_judged = true;
                    self.count_failure(at, error);
                }
                Step::Resolving(_) => return self.fail(now, at, error, Blame::Names),
                Step::Http(_) | Step::Udp(_) | Step::Between => {
                    return self.fail(now, at, error, Blame::Tracker);
                }
            }
        }
        let tracker = &mut self.trackers[at];
        if let Some(Attempt {
            step: Step::Udp(exchange),
            ..
        }) = &mut tracker.attempt
        {
            let progress = exchange.handle_timeout(now, rng);
            tracker.connection = exchange.connection();
            self.progress(now, at, progress);
        }
    }

    pub(super) fn progress(&mut self, now: Instant, at: usize, progress: udp::Progress) {
        match progress {
            udp::Progress::None => {}
            udp::Progress::Send(bytes) => {
                if let Some(to) = self.trackers[at].exchange_with() {
                    self.actions.push_back(Action::Datagram { to, bytes });
                }
            }
            udp::Progress::Announced { interval, peers } => {
                let reply = Reply::new(peers, clamp_interval(interval.into()));
                self.succeed(now, at, reply);
            }
            udp::Progress::Scraped(counts) => self.end_scrape(at, Some(counts)),
            udp::Progress::Refused(reason) => {
                let error = TrackerError::new("tracker.failure", reason);
                self.fail(now, at, error, Blame::Tracker);
            }
            udp::Progress::GaveUp => {
                // Its silence was reported when it had lasted ten seconds.
                let tracker = &mut self.trackers[at];
                tracker.attempt = None;
                tracker.due = Some(now + TRACKER_PAUSE_MAX);
            }
        }
    }

    pub(super) fn succeed(&mut self, now: Instant, at: usize, mut reply: Reply) {
        let tracker = &mut self.trackers[at];
        let Some(attempt) = tracker.attempt.take() else {
            return;
        };
        match attempt.announce.event {
            Event::Started => tracker.knows_us = true,
            Event::Completed => tracker.owes_completed = false,
            Event::Stopped => tracker.owes_stopped = false,
            Event::Interval => {}
        }
        if self.phase != Phase::Running {
            return;
        }
        tracker.failures = 0;
        tracker.is_working = true;
        tracker.has_worked = true;
        let least = reply.min_interval.unwrap_or(limits::INTERVAL_MIN);
        tracker.not_before = now + least;
        let next = now + reply.interval.max(least);
        tracker.due = Some(if tracker.owes_completed { now } else { next });
        tracker.tracker_id = reply.tracker_id.or(tracker.tracker_id.take());
        self.external_ip = reply.external_ip.or(self.external_ip);
        let us = self
            .external_ip
            .map(|ip| SocketAddr::new(ip, self.identity.port));
        reply.peers.retain(|&peer| Some(peer) != us);
        if self.is_private {
            self.gate = next;
        }
        let url = tracker.shown.clone();
        let tracker = crc32c(url.as_bytes());
        self.promote(at);
        if let Some(text) = reply.warning {
            let url = url.clone();
            self.actions.push_back(Action::Warning { url, text });
        }
        let result = Ok(reply.peers.len() as u32);
        self.actions.push_back(Action::Report { url, result });
        if !reply.peers.is_empty() {
            // Who has everything wants to be found, and says so everywhere.
            let is_sated = attempt.announce.left > 0 && !self.is_starving;
            self.is_hunting &= !is_sated;
            self.fed_at = Some(now);
            let peers = reply.peers;
            self.actions.push_back(Action::Peers { tracker, peers });
        }
    }

    /// The one that works moves to the front of its tier (BEP 12).
    pub(super) fn promote(&mut self, at: usize) {
        for tier in &mut self.tiers {
            if let Some(place) = tier.iter().position(|&other| other == at) {
                tier[..=place].rotate_right(1);
            }
        }
    }

    pub(super) fn fail_name(&mut self, now: Instant, at: usize, why: DnsError) {
        let blame = match why {
            DnsError::NotFound | DnsError::BadName => Blame::Ourselves,
            DnsError::ServerFailure
            | DnsError::TimedOut
            | DnsError::Unreachable
            | DnsError::Busy => Blame::Names,
        };
        self.fail(now, at, TrackerError::new("dns", why.to_string()), blame);
    }

    /// Ends an attempt that failed and sets the time of the next.
    pub(super) fn fail(&mut self, now: Instant, at: usize, error: TrackerError, blame: Blame) {
        let tracker = &mut self.trackers[at];
        let mut pause = blame.pause(tracker.failures);
        if tracker.families == Families::V6 && tracker.twin.is_some() && !tracker.has_worked {
            // There is hardly ever IPv6 where there was none.
            pause = pause.map(|_| TRACKER_PAUSE_MAX);
        }
        tracker.abandon(&mut self.actions);
        tracker.due = pause.map(|pause| now + pause);
        if self.phase == Phase::Stopping {
            tracker.owes_completed = false;
            tracker.owes_stopped = false;
        }
        self.count_failure(at, error);
        if self.is_scraping {
            self.end_scrape(at, None);
        }
    }

    pub(super) fn count_failure(&mut self, at: usize, error: TrackerError) {
        let tracker = &mut self.trackers[at];
        tracker.failures = tracker.failures.saturating_add(1);
        tracker.is_working = false;
        // Most machines and trackers have one family that works; only its failures are news.
        let is_second = tracker.families == Families::V6 && tracker.twin.is_some();
        let is_news = !is_second || tracker.has_worked;
        let url = tracker.shown.clone();
        if is_news && !self.twin_works(&self.trackers[at]) {
            self.refuse(url, error);
        }
        self.is_hunting |= !self.trackers.iter().any(|tracker| tracker.is_working);
    }
}
