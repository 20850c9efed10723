//! What the DHT may cost: queries a second from one place, bytes a second in all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::id::place;
use crate::base::time::Instant;

/// The limits on strangers and on ourselves.
pub(super) struct Gate {
    guests: BTreeMap<u64, Guest>,
    pruned_at: Instant,
    /// For our own queries, and for answers while enough is left.
    shared: Allowance,
    /// For answers alone: who searches for many torrents answers all the same.
    answers: Allowance,
    /// Pings of nodes that nobody has vouched for: a spoofed query makes us send one.
    pub(super) checks: Allowance,
}

impl Gate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            guests: BTreeMap::new(),
            pruned_at: now,
            shared: Allowance::new(now, UPLOAD - FOR_ANSWERS, UPLOAD - FOR_ANSWERS),
            answers: Allowance::new(now, FOR_ANSWERS, FOR_ANSWERS),
            checks: Allowance::new(now, 2, 20),
        }
    }

    /// Whether a query from `ip` may be answered: 5 a second, and none for 5 minutes after 50 in 10 seconds.
    pub(super) fn admit(&mut self, now: Instant, ip: IpAddr) -> bool {
        let place = place(ip);
        if !self.guests.contains_key(&place) && !self.make_room(now) {
            return false;
        }
        self.guests
            .entry(place)
            .or_insert_with(|| Guest::new(now))
            .admit(now)
    }

    /// Whether `ip` asked too much in the last 5 minutes.
    pub(super) fn is_blocked(&self, now: Instant, ip: IpAddr) -> bool {
        let guest = self.guests.get(&place(ip));
        guest.is_some_and(|guest| guest.blocked_until > now)
    }

    /// How many places are blocked.
    pub(super) fn blocked(&self, now: Instant) -> usize {
        let guests = self.guests.values();
        guests.filter(|guest| guest.blocked_until > now).count()
    }

    /// Takes the cost of an answer of `len` bytes from the budget; not below what our own queries need.
    pub(super) fn spend_on_answer(&mut self, now: Instant, len: usize) -> bool {
        let cost = packet(len);
        self.answers.take(now, cost, 0) || self.shared.take(now, cost, RESERVE)
    }

    /// Takes the cost of a query of ours from the budget.
    pub(super) fn spend_on_query(&mut self, now: Instant, len: usize) -> bool {
        self.shared.take(now, packet(len), 0)
    }

    /// Whether a query of ours can be afforded.
    pub(super) fn affords_query(&mut self, now: Instant) -> bool {
        self.shared.has(now, packet(QUERY))
    }

    fn make_room(&mut self, now: Instant) -> bool {
        // A full table is looked through once a second, however many strangers knock.
        if self.guests.len() >= GUESTS_MAX && now.since(self.pruned_at) >= Duration::from_secs(1) {
            self.pruned_at = now;
            self.guests
                .retain(|_, guest| guest.blocked_until > now || now.since(guest.since) < WINDOW);
        }
        self.guests.len() < GUESTS_MAX
    }
}

/// A source of queries.
struct Guest {
    since: Instant,
    queries: u32,
    answers: Allowance,
    blocked_until: Instant,
}

impl Guest {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            queries: 0,
            answers: Allowance::new(now, ANSWERS, ANSWERS),
            blocked_until: now,
        }
    }

    fn admit(&mut self, now: Instant) -> bool {
        if self.blocked_until > now {
            return false;
        }
        if now.since(self.since) >= WINDOW {
            self.since = now;
            self.queries = 0;
        }
        self.queries += 1;
        if self.queries > WINDOW_QUERIES {
            self.blocked_until = now + BLOCK;
            return false;
        }
        self.answers.take(now, 1, 0)
    }
}

/// A bucket that fills steadily.
pub(super) struct Allowance {
    rate: u64,
    burst: u64,
    /// In millionths.
    level: u64,
    at: Instant,
}

impl Allowance {
    /// Full at `now`, with room for `burst`; `rate` more come each second.
    pub(super) fn new(now: Instant, rate: u64, burst: u64) -> Self {
        Self {
            rate,
            burst,
            level: burst * MICRO,
            at: now,
        }
    }

    /// Takes `amount`, if `reserve` is left afterwards.
    pub(super) fn take(&mut self, now: Instant, amount: u64, reserve: u64) -> bool {
        let has = self.has(now, amount + reserve);
        if has {
            self.level -= amount * MICRO;
        }
        has
    }

    fn has(&mut self, now: Instant, amount: u64) -> bool {
        let micros = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let level = self.level.saturating_add(micros.saturating_mul(self.rate));
        self.level = level.min(self.burst * MICRO);
        self.at = self.at.max(now);
        self.level >= amount * MICRO
    }
}

/// What a datagram costs, with the headers of IP and UDP.
fn packet(len: usize) -> u64 {
    len as u64 + 28
}

const MICRO: u64 = 1_000_000;
/// Bytes a second that all datagrams of the DHT may have.
pub(super) const UPLOAD: u64 = 8000;
/// Of these, what only answers may have.
const FOR_ANSWERS: u64 = 2000;
/// Of the others, what answers leave for our own queries.
const RESERVE: u64 = 2000;
/// About the longest query of ours.
const QUERY: usize = 200;
/// Answers a second to one place.
const ANSWERS: u64 = 5;
/// A place that asks more than this often in [`WINDOW`] is blocked for [`BLOCK`].
const WINDOW_QUERIES: u32 = 50;
const WINDOW: Duration = Duration::from_secs(10);
const BLOCK: Duration = Duration::from_secs(300);
/// Places that are remembered.
const GUESTS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn a_place_gets_five_answers_a_second_and_is_blocked_five_minutes_after_the_fiftieth_query() {
        let mut gate = Gate::new(at(0));
        let ip = [9, 9, 9, 9].into();
        let admitted = (0..50).filter(|_| gate.admit(at(0), ip)).count();
        assert_eq!(admitted, 5);
        assert!(!gate.is_blocked(at(0), ip));
        assert!(!gate.admit(at(1000), ip));
        assert!(gate.is_blocked(at(300_999), ip));
        assert_eq!(gate.blocked(at(1000)), 1);
        assert!(gate.admit(at(301_000), ip));
    }

    #[test]
    fn four_queries_a_second_are_answered_for_ever() {
        let mut gate = Gate::new(at(0));
        assert!((0..4000).all(|n| gate.admit(at(n * 250), [9, 9, 9, 9].into())));
    }

    #[test]
    fn a_million_strangers_take_a_thousand_places() {
        let mut gate = Gate::new(at(0));
        for n in 0..100_000u32 {
            gate.admit(at(u64::from(n) / 100), IpAddr::V4(n.into()));
        }
        assert_eq!(gate.guests.len(), GUESTS_MAX);
        assert!(gate.admit(at(20_000), [9, 9, 9, 9].into()));
    }

    #[test]
    fn eight_kilobytes_a_second_go_out_and_answers_leave_some_for_queries() {
        let mut gate = Gate::new(at(0));
        let answers = (0..100)
            .filter(|_| gate.spend_on_answer(at(0), 972))
            .count();
        assert_eq!(answers, 6);
        assert!(gate.affords_query(at(0)));
        let queries = (0..100).filter(|_| gate.spend_on_query(at(0), 72)).count();
        assert_eq!(queries, 20);
        assert!(!gate.affords_query(at(0)));
        let later = (0..1000).filter(|n| gate.spend_on_query(at(1 + n * 10), 972));
        assert_eq!(later.count(), 59);
    }

    #[test]
    fn who_searches_as_much_as_it_may_answers_with_two_kilobytes_a_second() {
        let mut gate = Gate::new(at(0));
        let mut answered = 0;
        for n in 0..1000 {
            while gate.spend_on_query(at(n * 10), 72) {}
            answered += u64::from(gate.spend_on_answer(at(n * 10), 72));
        }
        assert_eq!(answered, 20 + 199);
    }
}
