//! The clock: the one door through which time comes in.

use std::cell::Cell;
use std::time::Duration;

use crate::base::time::Instant;

/// Tells how long the process, or rather its reactor, has been at work. It never goes back.
///
/// Time in which the process was kept from working (it was stopped, the machine slept or had no processor for it, the
/// system's clock jumped) does not count: else all peers would look as if they had been silent for it. It shows as
/// much more time between two readings than there should be.
#[derive(Debug)]
pub struct Clock {
    start: std::time::Instant,
    lost: Cell<Duration>,
    /// The last reading, and how long after it the next one is to be.
    read: Cell<Duration>,
    wait: Cell<Duration>,
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
            lost: Cell::default(),
            read: Cell::default(),
            wait: Cell::default(),
        }
    }

    /// What follows waits for so long at most, or for as long as it takes.
    pub fn wait_begins(&self, most: Option<Duration>) {
        self.wait.set(most.unwrap_or(Duration::MAX));
    }

    /// The time since the start, without what was lost.
    pub fn now(&self) -> Instant {
        let since = self.read.get().saturating_add(self.wait.take());
        let mut now = self.start.elapsed().saturating_sub(self.lost.get());
        let late = now.saturating_sub(since);
        if late >= LATE {
            log::info!("kept from working for {} s", late.as_secs());
            self.lost.set(self.lost.get() + late);
            now = since;
        }
        self.read.set(now);
        Instant::from_micros(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
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

/// A busy machine lets a process wait so long at most.
const LATE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_in_which_nothing_could_be_done_is_lost() {
        let mut clock = Clock::new();
        let before = clock.now();
        // A clock that has jumped ahead by a day.
        clock.start -= 86_400 * SECOND;
        let now = clock.now();
        assert!(now >= before && now - before < 5 * SECOND);
        // Somewhat late is late, not lost, and to wait is not to be kept from working.
        clock.start -= 4 * SECOND;
        assert!(clock.now() - now >= 4 * SECOND);
        let now = clock.now();
        clock.wait_begins(Some(60 * SECOND));
        clock.start -= 60 * SECOND;
        assert!(clock.now() - now >= 60 * SECOND);
        let now = clock.now();
        clock.wait_begins(Some(SECOND));
        clock.start -= 86_400 * SECOND;
        let later = clock.now();
        assert!(later - now >= SECOND && later - now < 7 * SECOND);
    }
}
