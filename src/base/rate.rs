//! Rates: what has flowed lately, in bytes a second.

use std::time::Duration;

use super::time::Instant;

/// A mean rate over about the last `window`, from counts that arrive in any rhythm.
///
/// Two windows are kept, the running one and the one before it, and blended: no history, 40 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    window: Duration,
    started: Instant,
    current: u64,
    previous: Option<u64>,
}

impl Meter {
    /// A meter that has seen nothing; `window` must be above zero.
    pub fn new(now: Instant, window: Duration) -> Self {
        Self {
            window,
            started: now,
            current: 0,
            previous: None,
        }
    }

    /// Counts `bytes` that flowed at `now`.
    pub fn add(&mut self, now: Instant, bytes: u64) {
        self.roll(now);
        self.current += bytes;
    }

    /// Bytes a second, over the time measured so far (at least a tenth of the window).
    pub fn rate(&self, now: Instant) -> u64 {
        let mut rolled = *self;
        rolled.roll(now);
        let into = (now - rolled.started).as_secs_f64();
        let window = self.window.as_secs_f64();
        let rate = match rolled.previous {
            Some(previous) => {
                let kept = (window - into).max(0.0) / window;
                (previous as f64 * kept + rolled.current as f64) / window
            }
            None => rolled.current as f64 / into.max(window / 10.0),
        };
        rate as u64
    }

    fn roll(&mut self, now: Instant) {
        let elapsed = now - self.started;
        if elapsed < self.window {
            return;
        }
        let whole = elapsed.as_micros() / self.window.as_micros().max(1);
        self.previous = Some(if whole == 1 { self.current } else { 0 });
        self.current = 0;
        let rolled = self.window.as_micros().saturating_mul(whole);
        self.started += Duration::from_micros(u64::try_from(rolled).unwrap_or(u64::MAX));
    }
}

/// A limit of bytes a second, given out in helpings of a tenth of a second.
///
/// When a helping is used up, nothing is given until the next one is there: [`Bucket::poll_timeout`] says when. So
/// whoever is limited wakes up ten times a second, not at every packet. What is not used is kept for two helpings.
///
/// ```
/// # use minitorrent::base::{rate::Bucket, time::Instant};
/// # let mut now = Instant::default();
/// let mut bucket = Bucket::new(now, 1000);
/// bucket.take(now, bucket.allowance(now));
/// assert_eq!(bucket.allowance(now), 0);
/// now = bucket.poll_timeout().expect("it waits");
/// assert!(bucket.handle_timeout(now));
/// assert_eq!(bucket.allowance(now), 100);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: u64,
    /// What may flow at `at`, in millionths of a byte; below zero if more flowed than was allowed.
    level: i128,
    at: Instant,
    waits: bool,
}

impl Bucket {
    /// A bucket with its first helping in it; a rate of 0 is taken as 1.
    pub fn new(now: Instant, rate: u64) -> Self {
        let rate = rate.max(1);
        let mut bucket = Self {
            rate,
            level: 0,
            at: now,
            waits: false,
        };
        bucket.level = bucket.helping();
        bucket
    }

    /// The bucket wakes up if its moment has come; true if it gives something again from now on.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let wakes = self.poll_timeout().is_some_and(|at| at <= now);
        self.waits &= !wakes;
        wakes
    }

    /// Counts bytes that flowed. They may be more than were allowed, and then are paid for by waiting.
    pub fn take(&mut self, now: Instant, bytes: u64) {
        self.level = self.level_at(now) - i128::from(bytes) * MICRO;
        self.at = self.at.max(now);
        self.waits |= self.level < self.helping() / 8;
    }

    /// When the next helping is there, if the bucket waits for one.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.waits {
            return None;
        }
        let missing = (self.helping() - self.level).max(0);
        let rate = i128::from(self.rate);
        let micros = (missing + rate - 1) / rate;
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        Some(self.at + Duration::from_micros(micros.min(WAIT_MAX)))
    }

    /// Bytes that may flow now; 0 while it waits.
    pub fn allowance(&self, now: Instant) -> u64 {
        if self.waits {
            return 0;
        }
        let bytes = self.level_at(now) / MICRO;
        u64::try_from(bytes.max(1)).unwrap_or(u64::MAX)
    }

    /// Whether more is wanted than flows: less than a helping is left, as after the last one.
    pub fn is_in_use(&self, now: Instant) -> bool {
        self.waits || self.level_at(now) < self.helping()
    }

    fn level_at(&self, now: Instant) -> i128 {
        let elapsed = (now - self.at).as_micros();
        let gained = i128::from(self.rate) * i128::try_from(elapsed).unwrap_or(i128::MAX >> 64);
        (self.level + gained).min(self.helping() * 2)
    }

    /// A tenth of a second's worth, at least a byte.
    fn helping(&self) -> i128 {
        (i128::from(self.rate) * MICRO / 10).max(MICRO)
    }
}

/// So many things a second, and at most so many at once: exact to the microsecond.
///
/// ```
/// # use minitorrent::base::{rate::Pace, time::Instant};
/// let now = Instant::from_micros(1_000_000);
/// let mut pace = Pace::new(10, 2);
/// pace.take(now);
/// pace.take(now);
/// assert!(!pace.allows(now));
/// assert_eq!(pace.due(), Instant::from_micros(1_100_000));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Microseconds from one to the next.
    every: u64,
    /// How far `next` may lie in the future.
    slack: u64,
    /// When the next one would be due if they came evenly.
    next: u64,
}

impl Pace {
    /// `per_second` a second, of which `burst` may come at once; 0 of either is taken as 1.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let every = 1_000_000 / u64::from(per_second.max(1));
        Self {
            every,
            slack: every * u64::from(burst.max(1) - 1),
            next: 0,
        }
    }

    /// Whether one may come now.
    pub fn allows(&self, now: Instant) -> bool {
        self.due() <= now
    }

    /// Counts one, whether it was allowed or not: those behind it wait for it.
    pub fn take(&mut self, now: Instant) {
        self.next = self.next.max(now.as_micros()) + self.every;
    }

    /// The first moment at which one may come.
    pub fn due(&self) -> Instant {
        Instant::from_micros(self.next.saturating_sub(self.slack))
    }
}

/// Levels are kept in millionths, so that no rounding adds up.
const MICRO: i128 = 1_000_000;
/// Longest wait, in microseconds: a day.
const WAIT_MAX: u64 = 86_400_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn a_steady_flow_is_measured_as_it_is_and_silence_lets_it_fall_to_zero() {
        let mut meter = Meter::new(at(0), Duration::from_secs(2));
        for ms in (0..10_000).step_by(10) {
            meter.add(at(ms), 1000);
        }
        let rate = meter.rate(at(10_000));
        assert!((99_000..=101_000).contains(&rate), "{rate}");
        assert!(meter.rate(at(11_000)) <= 51_000);
        assert_eq!(meter.rate(at(15_000)), 0);
        assert_eq!(meter.rate(at(100_000_000)), 0);
    }

    #[test]
    fn the_first_moments_are_not_divided_by_nothing() {
        let mut meter = Meter::new(at(0), Duration::from_secs(1));
        meter.add(at(0), 1000);
        assert_eq!(meter.rate(at(0)), 10_000);
        assert_eq!(meter.rate(at(500)), 2000);
    }

    /// Takes whatever `bucket` gives for ten seconds, woken only when it says so. Gives bytes and wake-ups.
    fn drain(mut bucket: Bucket, least: u64) -> (u64, u32) {
        let (mut now, mut taken, mut wakes) = (at(0), 0, 0);
        while now < at(10_000) {
            let allowance = bucket.allowance(now);
            if allowance > 0 {
                let bytes = allowance.max(least);
                bucket.take(now, bytes);
                taken += bytes;
            } else {
                now = bucket
                    .poll_timeout()
                    .expect("it gives nothing, so it waits");
                assert!(bucket.handle_timeout(now));
                wakes += 1;
            }
        }
        (taken, wakes)
    }

    #[test]
    fn ten_seconds_give_the_rate_within_five_percent_in_ten_wake_ups_a_second() {
        for rate in [1, 1000, 100_000, 1 << 20, 10 << 30] {
            let (taken, wakes) = drain(Bucket::new(at(0), rate), 0);
            let allowed = (rate * 95 / 10)..=(rate * 105 / 10 + 1);
            assert!(allowed.contains(&taken), "{taken} of {rate}");
            assert!(wakes <= 101, "{wakes} wake-ups at {rate}");
        }
    }

    #[test]
    fn what_flowed_above_the_allowance_is_waited_for() {
        let (taken, wakes) = drain(Bucket::new(at(0), 100_000), 16_384);
        assert!((983_040..=1_048_576).contains(&taken), "{taken}");
        assert!(wakes < 70);
    }

    #[test]
    fn a_pace_gives_its_burst_at_once_and_then_one_at_a_time_to_the_microsecond() {
        let mut pace = Pace::new(20, 30);
        let mut given = Vec::new();
        for ms in 1000..=3000 {
            while pace.allows(at(ms)) {
                pace.take(at(ms));
                given.push(ms);
            }
        }
        let (burst, rest) = given.split_at(30);
        assert!(burst.iter().all(|ms| *ms == 1000));
        let evenly: Vec<u64> = (1..=40).map(|n| 1000 + 50 * n).collect();
        assert_eq!(rest, evenly);
        // What nobody took is there again, and no more than that.
        let again = (0..).take_while(|_| {
            let allowed = pace.allows(at(60_000));
            pace.take(at(60_000));
            allowed
        });
        assert_eq!(again.count(), 30);
    }

    #[test]
    fn what_is_not_used_does_not_pile_up() {
        let bucket = Bucket::new(at(0), 1_000_000);
        assert_eq!(bucket.allowance(at(0)), 100_000);
        assert_eq!(bucket.allowance(at(50)), 150_000);
        assert_eq!(bucket.allowance(at(1_000_000)), 200_000);
        assert_eq!(bucket.poll_timeout(), None);
    }
}
