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
}
