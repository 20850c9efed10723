//! The way to a tracker: from its name to an address, and the exchange that begins there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::attempt::{Step, Tracker};
use super::blame::Blame;
use super::{Action, Announcer, CallId, HttpFailure, Phase, SILENCE, TrackerError, is_spoken, udp};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::net::http_call::{HttpCall, Response};
use crate::net::resolver::{DnsError, Families};
use crate::wire::tracker_http::url::{Host, Scheme, is_local};

impl Announcer {
    /// Finds the addresses of an attempt's host.
    pub(super) fn find(&mut self, now: Instant, at: usize, rng: &mut Rng) {
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
    pub(super) fn reach(
        &mut self,
        now: Instant,
        at: usize,
        mut addresses: Vec<IpAddr>,
        rng: &mut Rng,
    ) {
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
    pub(super) fn part(&mut self, now: Instant, at: usize, addresses: &[IpAddr]) {
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

    /// Begins the exchange with a tracker's address.
    pub(super) fn speak(&mut self, now: Instant, at: usize, ip: IpAddr, rng: &mut Rng) {
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

    pub(super) fn redirect(&mut self, now: Instant, at: usize, response: &Response, rng: &mut Rng) {
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
}
