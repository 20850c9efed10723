//! Announcing to trackers (BEP 3, 7, 12, 15, 23, 24, 31): when, to which, and what their answers mean.
//!
//! [`Announcer`] owns no socket. It asks for datagrams, HTTP calls and names by [`Action`]s and is told what came
//! of them. All but [`Announcer::handle_timeout`] may be called at any time; it is due at
//! [`Announcer::poll_timeout`], also after `start`, `complete`, `stop` and `want_peers`. After each call, drain
//! [`Announcer::poll_action`].
//!
//! A public torrent's trackers are begun 200 ms apart, in tier order, until one names peers: dead ones delay
//! nobody. A private torrent's are asked one at a time, as BEP 12 says. A public tracker that is there over IPv4 and
//! over IPv6 is told over both (BEP 7), a private one over one of them: it would count us twice.
//!
//! ```
//! use minitorrent::base::{ids::{InfoHash, PeerId}, rng::Rng, time::Instant};
//! use minitorrent::engine::tracker::{Action, Announcer, Facts, Identity};
//!
//! let (now, mut rng) = (Instant::default(), Rng::new([0; 32]));
//! let tiers = [vec!["udp://127.0.0.1:6969/announce".to_string()]];
//! let (hash, id) = (InfoHash([1; 20]), PeerId([2; 20]));
//! let identity = Identity { info_hash: hash, peer_id: id, port: 6881, key: 7, user_agent: "me/1".into() };
//! let mut announcer = Announcer::new(&tiers, false, identity, &mut rng);
//! announcer.start(now);
//! while announcer.poll_timeout().is_some_and(|due| due <= now) {
//!     announcer.handle_timeout(now, &Facts::default(), &mut rng);
//!     while let Some(action) = announcer.poll_action() {
//!         assert!(matches!(action, Action::Datagram { .. })); // carried out by the session
//!     }
//! }
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the boundary |
//! | `schedule.rs` | which tracker comes next, when, and what it is told |
//! | `reach.rs` | the way from its name to an exchange |
//! | `verdict.rs` | what became of an announce, and the time of the next |
//! | `counts.rs` | asking for counts instead |
//! | `attempt.rs` | one tracker, and the announce under way |
//! | `blame.rs` | whose fault a failure is, and how long it rests for it |
//! | `udp.rs` | an exchange with a UDP tracker |
//! | `call.rs` | an announce on its HTTP connection |
//! | `serve.rs` | a tiny tracker of our own |

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::attempt::{Attempt, Step, Tracker};
use self::blame::read_response;
use crate::base::escape::escape_field;
use crate::base::ids::{InfoHash, PeerId};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::{Instant, earliest};
use crate::net::http_call::Response;
use crate::net::resolver::DnsError;
use crate::wire::tracker_http::url::{Scheme, TrackerUrl};
use crate::wire::tracker_udp;

pub use self::action::{Action, CallId, Facts, HttpFailure, TrackerError};

mod action;
mod attempt;
mod blame;
pub mod call;
mod counts;
mod reach;
mod schedule;
pub mod serve;
mod udp;
mod verdict;

#[cfg(test)]
mod tests;

/// All announcing of one torrent.
pub struct Announcer {
    identity: Identity,
    is_private: bool,
    phase: Phase,
    trackers: Vec<Tracker>,
    /// Indices into `trackers`; in each tier, the one that worked last is first.
    tiers: Vec<Vec<usize>>,
    /// Public: whether trackers that are not known to work are tried too.
    is_hunting: bool,
    /// Whether peers were named and peers are short all the same: then the hunt goes through all trackers.
    is_starving: bool,
    /// No announce begins before: 200 ms behind the last for a public torrent, the interval for a private one.
    gate: Instant,
    /// When a tracker last named peers.
    fed_at: Option<Instant>,
    /// Since when peers are short, whatever was named.
    short_since: Option<Instant>,
    /// Whether the download became complete in this run.
    is_complete: bool,
    external_ip: Option<IpAddr>,
    /// Whether this run asks for counts and announces nothing.
    is_scraping: bool,
    calls: u32,
    actions: VecDeque<Action>,
}

impl Announcer {
    /// Knows the trackers of `tiers`, each tier shuffled (BEP 12), each tracker once, at most
    /// [`limits::TRACKERS_MAX`]; those that can't be used are reported by an action. Nothing is announced
    /// before [`Announcer::start`].
    pub fn new(tiers: &[Vec<String>], private: bool, identity: Identity, rng: &mut Rng) -> Self {
        let mut announcer = Self {
            identity,
            is_private: private,
            phase: Phase::Idle,
            trackers: Vec::new(),
            tiers: Vec::new(),
            is_hunting: false,
            is_starving: false,
            gate: Instant::default(),
            fed_at: None,
            short_since: None,
            is_complete: false,
            external_ip: None,
            is_scraping: false,
            calls: 0,
            actions: VecDeque::new(),
        };
        let urls = tiers.iter().enumerate();
        let urls = urls.flat_map(|(tier, urls)| urls.iter().map(move |url| (tier, url)));
        for (tier, url) in urls.take(limits::TRACKERS_MAX) {
            announcer.tiers.resize_with(tier + 1, Vec::new);
            announcer.add(tier, url);
        }
        for tier in &mut announcer.tiers {
            rng.shuffle(tier);
        }
        announcer
    }

    /// Begins a run: every tracker gets `started` first.
    pub fn start(&mut self, now: Instant) {
        self.abandon_all();
        self.phase = Phase::Running;
        self.is_hunting = true;
        self.is_starving = false;
        self.gate = now;
        self.fed_at = None;
        self.short_since = None;
        self.is_complete = false;
        for tracker in &mut self.trackers {
            tracker.due = Some(now);
            tracker.failures = 0;
            tracker.is_working = false;
            tracker.knows_us = false;
            tracker.owes_completed = false;
            tracker.owes_stopped = false;
        }
    }

    /// Begins a run that announces nothing: every tracker is asked once for its counts. Each gives one
    /// [`Action::Scraped`] or a report of what went wrong; [`Announcer::is_stopped`] says when all have.
    pub fn scrape(&mut self, now: Instant) {
        self.start(now);
        self.is_scraping = true;
        self.is_private = false;
        if self.trackers.is_empty() {
            self.phase = Phase::Idle;
        }
    }

    /// The download became complete in this run: each tracker that knows us is told, once.
    pub fn complete(&mut self, now: Instant) {
        if self.phase != Phase::Running || self.is_complete {
            return;
        }
        self.is_complete = true;
        for tracker in &mut self.trackers {
            tracker.owes_completed = tracker.knows_us || tracker.attempt.is_some();
            if tracker.is_working {
                tracker.due = tracker.due.map(|due| due.min(now));
            }
        }
    }

    /// Ends the run: trackers that know us are told `stopped` (behind a `completed` that they lack), the others
    /// are left alone. [`Announcer::is_stopped`] says when all have answered or failed to.
    pub fn stop(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Stopping;
        self.gate = now;
        for tracker in &mut self.trackers {
            tracker.owes_stopped = tracker.knows_us;
            tracker.knows_us = false;
            tracker.owes_completed &= tracker.owes_stopped;
            // A `completed` that is on its way is worth waiting for; nothing else is.
            if !(tracker.owes_stopped && tracker.is_completing()) {
                tracker.abandon(&mut self.actions);
            }
        }
    }

    /// Peers are short: announces come sooner, but never before a tracker's minimum interval or 60 s have passed,
    /// and a public torrent tries its other trackers, if none has named peers for 60 s: all of them, if one has before, as
    /// what it named was of no use. May be called often.
    pub fn want_peers(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            return;
        }
        for tracker in self
            .trackers
            .iter_mut()
            .filter(|tracker| tracker.is_working)
        {
            tracker.due = tracker.due.map(|due| due.min(tracker.not_before));
            if self.is_private {
                self.gate = self.gate.min(tracker.not_before);
            }
        }
        let short_since = *self.short_since.get_or_insert(now);
        let is_long = |since: Instant| now.since(since) >= limits::INTERVAL_MIN;
        if self.fed_at.is_none_or(is_long) || is_long(short_since) {
            self.is_hunting = true;
            self.is_starving |= self.fed_at.is_some();
        }
    }

    /// There are peers enough, for now.
    pub fn have_peers(&mut self) {
        self.short_since = None;
    }

    /// Judges silence, sends again what was lost, and begins announces that are due, telling `facts`.
    pub fn handle_timeout(&mut self, now: Instant, facts: &Facts, rng: &mut Rng) {
        for at in 0..self.trackers.len() {
            self.expire(now, at, rng);
        }
        // Ends: each round begins an announce or sets a later time for its tracker; 50 trackers at most.
        while let Some(at) = self.ready(now) {
            self.begin(now, at, facts, rng);
        }
    }

    /// An HTTP call's connection has brought its first bytes: from now on only the whole is timed.
    pub fn handle_http_progress(&mut self, call: CallId) {
        if let Some(attempt) = self
            .attempt_of(call)
            .and_then(|at| self.trackers[at].attempt.as_mut())
        {
            attempt.silent_at = attempt.whole_by;
        }
    }

    /// An HTTP call is over; its connection is the caller's to close. A call that was abandoned is ignored.
    pub fn handle_http(
        &mut self,
        now: Instant,
        call: CallId,
        result: Result<Response, HttpFailure>,
        rng: &mut Rng,
    ) {
        let Some(at) = self.attempt_of(call) else {
            return;
        };
        if let Some(attempt) = &mut self.trackers[at].attempt {
            attempt.step = Step::Between;
            if matches!(result, Err(HttpFailure::Connect(_))) && !attempt.untried.is_empty() {
                let ip = attempt.untried.remove(0);
                return self.speak(now, at, ip, rng);
            }
        }
        match result {
            Ok(response) if response.is_redirect() => self.redirect(now, at, &response, rng),
            Ok(response) if self.is_scraping => self.read_counts(now, at, &response),
            Ok(response) => match read_response(&response) {
                Ok(reply) => self.succeed(now, at, reply),
                Err((error, blame)) => self.fail(now, at, error, blame),
            },
            Err(failure) => {
                let (error, blame) = failure.judge();
                self.fail(now, at, error, blame);
            }
        }
    }

    /// Takes a datagram. Whether it was ours: from the address of a tracker that we wait for, with the
    /// transaction id that only it knows. Anything else changes nothing.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        rng: &mut Rng,
    ) -> bool {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some(transaction) = tracker_udp::transaction(bytes) else {
            return false;
        };
        let awaits = |tracker: &Tracker| match tracker.attempt.as_ref().map(|a| &a.step) {
            Some(Step::Udp(exchange)) => exchange.awaits(from, transaction),
            Some(Step::Resolving(_) | Step::Http(_) | Step::Between) | None => false,
        };
        let Some(at) = self.trackers.iter().position(awaits) else {
            return false;
        };
        let Some(reply) = tracker_udp::decode(bytes, from.is_ipv6()) else {
            return false;
        };
        let tracker = &mut self.trackers[at];
        let Some(Attempt {
            step: Step::Udp(exchange),
            silent_at,
            ..
        }) = &mut tracker.attempt
        else {
            return false;
        };
        *silent_at = now + SILENCE;
        if self.is_scraping {
            exchange.scrape();
        }
        let progress = exchange.handle_reply(now, transaction, reply.body, rng);
        tracker.connection = exchange.connection();
        self.progress(now, at, progress);
        true
    }

    /// The answer to [`Action::Resolve`]: the addresses of a name, of which 16 are kept, or why there are none.
    pub fn handle_resolved(
        &mut self,
        now: Instant,
        name: &str,
        result: Result<&[IpAddr], DnsError>,
        rng: &mut Rng,
    ) {
        for at in 0..self.trackers.len() {
            let tracker = &mut self.trackers[at];
            let step = tracker.attempt.as_ref().map(|attempt| &attempt.step);
            if !matches!(step, Some(Step::Resolving(waiting)) if waiting == name) {
                continue;
            }
            match result {
                Ok(addresses) if !addresses.is_empty() => {
                    let kept = addresses.iter().take(ADDRESSES_MAX).copied().collect();
                    self.reach(now, at, kept, rng);
                }
                Ok(_) => self.fail_name(now, at, DnsError::NotFound),
                Err(why) => self.fail_name(now, at, why),
            }
        }
    }

    /// What is to be done next; drained after every call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Announcer::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let room = self.in_flight() < IN_FLIGHT_MAX;
        let mut next = None;
        for tracker in &self.trackers {
            if let Some(attempt) = &tracker.attempt {
                next = earliest(next, attempt.poll_timeout());
            } else if room {
                next = earliest(next, self.ready_at(tracker));
            }
        }
        next
    }

    /// Whether nothing is left to say: before the first `start`, and after `stop` when it is over.
    pub fn is_stopped(&self) -> bool {
        let is_over = |tracker: &Tracker| !tracker.owes_stopped && tracker.attempt.is_none();
        self.phase != Phase::Running && self.trackers.iter().all(is_over)
    }

    /// How many trackers can be used; one that is told over both families counts twice.
    pub fn trackers(&self) -> usize {
        self.trackers.len()
    }

    /// Whether a tracker may yet say something.
    pub fn has_hope(&self) -> bool {
        let is_over = self.is_scraping && self.is_stopped();
        !self.trackers.is_empty() && !is_over
    }

    fn add(&mut self, tier: usize, text: &str) {
        let shown = escape_field(text.as_bytes());
        let url = match TrackerUrl::parse(text) {
            Ok(url) if is_spoken(url.scheme) => url,
            Ok(_) => return self.refuse(shown, TrackerError::no_tls()),
            Err(error) => {
                return self.refuse(shown, TrackerError::new("tracker.url", error.to_string()));
            }
        };
        if self.trackers.iter().any(|tracker| tracker.url == url) {
            return;
        }
        self.tiers[tier].push(self.trackers.len());
        self.trackers.push(Tracker::new(url, shown));
    }

    fn refuse(&mut self, url: String, error: TrackerError) {
        let result = Err(error);
        self.actions.push_back(Action::Report { url, result });
    }

    fn abandon_all(&mut self) {
        for tracker in &mut self.trackers {
            tracker.abandon(&mut self.actions);
        }
    }

    fn attempt_of(&self, call: CallId) -> Option<usize> {
        let is_calling = |tracker: &Tracker| match tracker.attempt.as_ref().map(|a| &a.step) {
            Some(Step::Http(id)) => *id == call,
            Some(Step::Resolving(_) | Step::Udp(_) | Step::Between) | None => false,
        };
        self.trackers.iter().position(is_calling)
    }
}

/// Who we are to every tracker.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Our name (BEP 20).
    pub peer_id: PeerId,
    /// Where we take connections.
    pub port: u16,
    /// What tells us apart from others at our address, and is the same over both families.
    pub key: u32,
    /// What HTTP trackers are told; private ones know clients by it and cut long ones: under 64 bytes.
    pub user_agent: String,
}

/// Whether this build can speak so.
fn is_spoken(scheme: Scheme) -> bool {
    scheme != Scheme::Https || cfg!(feature = "tls")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Running,
    Stopping,
}

/// Time between the beginnings of a public torrent's announces.
const STAGGER: Duration = Duration::from_millis(200);
/// Announces under way at once.
const IN_FLIGHT_MAX: usize = 50;
/// A tracker that brings nothing for so long counts as failed: to connect, to its first byte, to a datagram.
const SILENCE: Duration = Duration::from_secs(10);
/// An announce over HTTP with all its redirects takes at most so long.
const WHOLE: Duration = Duration::from_secs(30);
/// Addresses kept of one name.
const ADDRESSES_MAX: usize = 16;
