//! The clock: the one door through which time comes in.

use crate::base::time::Instant;

/// Tells how long ago the process, or rather its reactor, began. It never goes back.
#[derive(Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock that starts at zero now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the reactor is where the clock is read"
    )]
    pub fn new() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }

    /// The time since the start.
    pub fn now(&self) -> Instant {
        let micros = self.start.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// The wall clock in seconds since 1970, 0 before that: certificates are judged by it, and nothing else is.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates name dates; the reactor is where the clock is read"
)]
pub(super) fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
