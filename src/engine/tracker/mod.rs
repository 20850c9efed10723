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

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use self::attempt::{Attempt, Step, Tracker};
use self::blame::{Blame, TRACKER_PAUSE_MAX, read_response};
use crate::base::crc32c::crc32c;
use crate::base::escape::escape_field;
use crate::base::ids::{InfoHash, PeerId};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::{Instant, earliest};
use crate::net::http_call::{HttpCall, Redirects, Response};
use crate::net::resolver::{DnsError, Families};
use crate::wire::tracker_http::reply::{Reply, ReplyError, clamp_interval};
use crate::wire::tracker_http::scrape;
use crate::wire::tracker_http::url::{Host, Scheme, TrackerUrl, is_local};
use crate::wire::tracker_http::{Announce, Event};
use crate::wire::tracker_udp::{self, Scrape};

pub use self::action::{Action, CallId, Facts, HttpFailure, TrackerError};

mod action;
mod attempt;
mod blame;
pub mod call;
pub mod serve;
mod udp;

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

    /// The first tracker, in tier order, whose time has come.
    fn ready(&self, now: Instant) -> Option<usize> {
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
    fn ready_at(&self, tracker: &Tracker) -> Option<Instant> {
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
    fn in_flight(&self) -> usize {
        let attempts = self
            .trackers
            .iter()
            .filter_map(|tracker| tracker.attempt.as_ref());
        attempts.filter(|attempt| !attempt.is_judged).count()
    }

    fn begin(&mut self, now: Instant, at: usize, facts: &Facts, rng: &mut Rng) {
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

    /// Finds the addresses of an attempt's host.
    fn find(&mut self, now: Instant, at: usize, rng: &mut Rng) {
        let Some(attempt) = &mut self.trackers[at].attempt else {
            return;
        };
        let name = match &attempt.url.host {
            Host::Address(ip) => {
                let address = vec![*ip];
                return self.reach(now, at, address, rng);
            }
            // RFC 6761: never asked of a server.
            Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
                return self.reach(now, at, vec![Ipv4Addr::LOCALHOST.into()], rng);
            }
            Host::Name(name) => name.clone(),
        };
        attempt.step = Step::Resolving(name.clone());
        attempt.silent_at = (now + SILENCE).min(attempt.whole_by);
        let is_asking = |tracker: &Tracker| match tracker.attempt.as_ref().map(|a| &a.step) {
            Some(Step::Resolving(waiting)) => *waiting == name,
            Some(Step::Http(_) | Step::Udp(_) | Step::Between) | None => false,
        };
        if self
            .trackers
            .iter()
            .filter(|tracker| is_asking(tracker))
            .count()
            == 1
        {
            self.actions.push_back(Action::Resolve { name });
        }
    }

    /// Speaks to one of `addresses`, beginning with another one after each failure.
    fn reach(&mut self, now: Instant, at: usize, mut addresses: Vec<IpAddr>, rng: &mut Rng) {
        let is_own = |tracker: &Tracker| {
            let host = tracker.attempt.as_ref().map(|attempt| &attempt.url.host);
            host == Some(&tracker.url.host)
        };
        if is_own(&self.trackers[at]) && !self.is_private && !self.is_scraping {
            self.part(now, at, &addresses);
        }
        let tracker = &mut self.trackers[at];
        let families = tracker.families;
        addresses.retain(|ip| match families {
            Families::Both => true,
            Families::V4 => ip.is_ipv4(),
            Families::V6 => ip.is_ipv6(),
        });
        if self.is_private {
            // The one family that it knows us by is always the same.
            addresses.sort_by_key(IpAddr::is_ipv6);
        }
        let is_own = is_own(tracker);
        let Some(attempt) = &mut tracker.attempt else {
            return;
        };
        if addresses.is_empty() {
            return self.fail_name(now, at, DnsError::NotFound);
        }
        if is_own {
            // A name that was public stays so, whatever its server says later.
            for &earlier in &tracker.addresses {
                let _ = attempt.redirects.reach(earlier);
            }
            tracker.addresses.clone_from(&addresses);
        }
        let first = tracker.failures as usize % addresses.len();
        addresses.rotate_left(first);
        let ip = addresses.remove(0);
        attempt.untried = addresses;
        self.speak(now, at, ip, rng);
    }

    /// Gives a public tracker that has addresses of both families a second entry, for IPv6.
    fn part(&mut self, now: Instant, at: usize, addresses: &[IpAddr]) {
        let has_both =
            addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6);
        let tracker = &mut self.trackers[at];
        if !has_both || tracker.families != Families::Both || self.phase != Phase::Running {
            return;
        }
        let mut other = Tracker::new(tracker.url.clone(), tracker.shown.clone());
        tracker.families = Families::V4;
        other.families = Families::V6;
        other.due = Some(now);
        other.twin = Some(at);
        let new = self.trackers.len();
        self.trackers[at].twin = Some(new);
        self.trackers.push(other);
        for tier in &mut self.tiers {
            if let Some(place) = tier.iter().position(|&index| index == at) {
                tier.insert(place + 1, new);
            }
        }
    }

    /// Whether the entry of the same tracker for the other family works.
    fn twin_works(&self, tracker: &Tracker) -> bool {
        let twin = tracker.twin.and_then(|twin| self.trackers.get(twin));
        twin.is_some_and(|twin| twin.is_working)
    }

    /// Begins the exchange with a tracker's address.
    fn speak(&mut self, now: Instant, at: usize, ip: IpAddr, rng: &mut Rng) {
        let tracker = &mut self.trackers[at];
        let Some(attempt) = &mut tracker.attempt else {
            return;
        };
        let to = SocketAddr::new(ip.to_canonical(), attempt.url.port);
        attempt.silent_at = now + SILENCE;
        if attempt.url.scheme == Scheme::Udp {
            let known = tracker.connection;
            let (exchange, bytes) = udp::Exchange::begin(now, to, attempt.announce, known, rng);
            attempt.step = Step::Udp(exchange);
            self.actions.push_back(Action::Datagram { to, bytes });
            return;
        }
        attempt.silent_at = attempt.silent_at.min(attempt.whole_by);
        let allowed = attempt.redirects.reach(to.ip());
        if let Err(error) = allowed {
            let error = TrackerError::redirect(error);
            return self.fail(now, at, error, Blame::Tracker);
        }
        if is_local(to.ip()) && !attempt.url.is_announce() {
            let message = "a tracker at a local address must have a path that ends in /announce";
            let error = TrackerError::new("tracker.ssrf", message);
            return self.fail(now, at, error, Blame::Tracker);
        }
        let url = &attempt.url;
        let tls = (url.scheme == Scheme::Https).then(|| url.host.clone());
        let user_agent = &self.identity.user_agent;
        match HttpCall::get(&url.host_header(), &url.path_and_query, user_agent) {
            Ok(request) => {
                let call = CallId(self.calls);
                self.calls = self.calls.wrapping_add(1);
                attempt.step = Step::Http(call);
                self.actions.push_back(Action::Http {
                    call,
                    to,
                    tls,
                    request,
                });
            }
            Err(error) => {
                let (error, blame) = HttpFailure::Http(error).judge();
                self.fail(now, at, error, blame);
            }
        }
    }

    fn redirect(&mut self, now: Instant, at: usize, response: &Response, rng: &mut Rng) {
        let Some(attempt) = &mut self.trackers[at].attempt else {
            return;
        };
        let location = response.location.as_deref().unwrap_or_default();
        let error = match attempt.redirects.follow(&attempt.url, location) {
            Ok(url) if is_spoken(url.scheme) => {
                attempt.url = url;
                return self.find(now, at, rng);
            }
            Ok(_) => TrackerError::no_tls(),
            Err(error) => TrackerError::redirect(error),
        };
        self.fail(now, at, error, Blame::Tracker);
    }

    fn expire(&mut self, now: Instant, at: usize, rng: &mut Rng) {
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

    fn progress(&mut self, now: Instant, at: usize, progress: udp::Progress) {
        match progress {
            udp::Progress::None => {}
            udp::Progress::Send(bytes) => {
                if let Some(to) = self.trackers[at].exchange_with() {
                    self.actions.push_back(Action::Datagram { to, bytes });
                }
            }
            udp::Progress::Announced { interval, peers } => {
                let reply = Reply {
                    peers,
                    interval: clamp_interval(interval.into()),
                    min_interval: None,
                    tracker_id: None,
                    warning: None,
                    external_ip: None,
                    complete: None,
                    incomplete: None,
                };
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

    fn succeed(&mut self, now: Instant, at: usize, mut reply: Reply) {
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
    fn promote(&mut self, at: usize) {
        for tier in &mut self.tiers {
            if let Some(place) = tier.iter().position(|&other| other == at) {
                tier[..=place].rotate_right(1);
            }
        }
    }

    fn fail_name(&mut self, now: Instant, at: usize, why: DnsError) {
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
    fn fail(&mut self, now: Instant, at: usize, error: TrackerError, blame: Blame) {
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

    /// Makes the announce that begins a request for counts.
    fn begin_scrape(&mut self, now: Instant, at: usize, rng: &mut Rng) {
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

    fn read_counts(&mut self, now: Instant, at: usize, response: &Response) {
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
    fn end_scrape(&mut self, at: usize, counts: Option<Scrape>) {
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

    fn count_failure(&mut self, at: usize, error: TrackerError) {
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
