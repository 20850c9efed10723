//! Counts what a peer says that is no data: so much of it, for so long, is an attack on our time.

use std::time::Duration;

use crate::base::limits;
use crate::base::time::Instant;

/// Counts messages by the second.
#[derive(Default)]
pub struct Flood {
    second: Instant,
    count: u32,
    busy: u32,
}

impl Flood {
    /// One more message; true if there were [`limits::FLOOD_RATE`] of them in each of the last
    /// [`limits::FLOOD_SECONDS`] seconds.
    pub fn handle_message(&mut self, now: Instant) -> bool {
        let passed = now - self.second;
        if passed >= SECOND {
            let is_busy = self.count >= limits::FLOOD_RATE && passed < SECOND * 2;
            self.busy = if is_busy { self.busy + 1 } else { 0 };
            (self.second, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.busy >= limits::FLOOD_SECONDS
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds so many messages in each of the seconds; gives the second in which it is a flood.
    fn floods(seconds: impl IntoIterator<Item = u32>) -> Option<usize> {
        let mut flood = Flood::default();
        let begin = Instant::from_micros(7_000_000);
        let feed = |(second, count): (usize, u32)| {
            (0..count).any(|n| {
                let micros = u64::from(n) * 1_000_000 / u64::from(count);
                let at = begin + Duration::from_secs(second as u64) + Duration::from_micros(micros);
                flood.handle_message(at)
            })
        };
        seconds.into_iter().enumerate().position(feed)
    }

    #[test]
    fn ten_thousand_messages_in_each_of_five_seconds_are_a_flood() {
        assert_eq!(floods([10_000; 7]), Some(5));
        assert_eq!(floods([9_999; 20]), None);
    }

    #[test]
    fn a_burst_is_no_flood_and_a_pause_begins_the_count_anew() {
        assert_eq!(floods([1_000_000, 1, 1, 1, 1, 1, 1]), None);
        let paused = [
            20_000, 20_000, 20_000, 20_000, 1, 20_000, 20_000, 20_000, 20_000, 1,
        ];
        assert_eq!(floods(paused), None);
    }
}
