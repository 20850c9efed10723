//! Bulk reading: a connection that delivers much is read by the clock, not at every packet.
//!
//! On a real line a busy peer's packets come one by one, and a loop that reads at each of them wakes up tens of
//! thousands of times a GiB; most of the processor time of such a download is waking, not receiving. So a
//! connection whose reads come thick and fast is taken out of the poll and read every [`TICK`] instead: one
//! read then carries many blocks, which are hashed and written together.
//!
//! ```text
//!            BUSY_READS reads and BUSY_BYTES bytes in one window
//!   polled  ---------------------------------------------------->  bulk
//!           <----------------------------------------------------
//!                 fewer than SLOW_BYTES bytes in one window
//! ```
//!
//! The price is at most a tick of delay. A tick that fills the room there was is followed by the next read at
//! once: such a stream needs no help to arrive in large bites, and waiting would only throttle it. While a
//! connection is out of the poll, its errors and its end are seen by the next read, and a full send buffer is
//! tried again at the next tick.

use std::time::Duration;

use crate::base::time::Instant;

/// How often bulk connections are read. Longer gathers more and delays requests more.
pub(super) const TICK: Duration = Duration::from_millis(2);

/// How a connection's reads are timed, from what they brought lately.
#[derive(Debug)]
pub(super) struct Pace {
    bulk: bool,
    window_began: Instant,
    reads: u32,
    bytes: usize,
}

impl Pace {
    /// A new connection is polled.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bulk: false,
            window_began: now,
            reads: 0,
            bytes: 0,
        }
    }

    /// Counts a read of `bytes` (0: it would have blocked) and says whether the connection changes sides.
    pub(super) fn handle_read(&mut self, now: Instant, bytes: usize) -> Change {
        let over = now - self.window_began >= WINDOW;
        let change = match self.bulk {
            false if over => Change::Stay,
            false if self.reads >= BUSY_READS && self.bytes >= BUSY_BYTES => Change::ToBulk,
            true if over && self.bytes + bytes < SLOW_BYTES => Change::ToPoll,
            _ => Change::Stay,
        };
        if over || change != Change::Stay {
            *self = Self {
                bulk: self.bulk != (change != Change::Stay),
                ..Self::new(now)
            };
        }
        self.reads += 1;
        self.bytes += bytes;
        change
    }

    /// Whether the connection is out of the poll.
    pub(super) fn is_bulk(&self) -> bool {
        self.bulk
    }
}

/// What a read means for the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Go on as it is.
    Stay,
    /// Take it out of the poll.
    ToBulk,
    /// Put it back.
    ToPoll,
}

/// What is counted together.
const WINDOW: Duration = Duration::from_millis(20);
/// With fewer reads a window than this, ticks would hardly be rarer than events.
const BUSY_READS: u32 = 10;
/// 5 MiB a second: below, a tick would hardly carry a block.
const BUSY_BYTES: usize = 96 * 1024;
/// Half of it on the way back, so that a connection on the border does not flap.
const SLOW_BYTES: usize = 48 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// Reads `bytes` every `every` microseconds until the pace changes; gives when, if within a second.
    fn change_after(pace: &mut Pace, from: u64, every: u64, bytes: usize) -> Option<(u64, Change)> {
        (from..from + 1_000_000)
            .step_by(every as usize)
            .map(|now| (now - from, pace.handle_read(at(now), bytes)))
            .find(|(_, change)| *change != Change::Stay)
    }

    #[test]
    fn a_stream_of_small_fast_reads_becomes_bulk_within_one_window() {
        let mut pace = Pace::new(at(0));
        let changed = change_after(&mut pace, 0, 150, 15_000);
        assert_eq!(changed, Some((10 * 150, Change::ToBulk)));
        assert!(pace.is_bulk());
    }

    #[test]
    fn large_but_rare_and_frequent_but_tiny_reads_stay_polled() {
        for (every, bytes) in [(2_000, 262_144), (100, 100)] {
            let mut pace = Pace::new(at(0));
            assert_eq!(change_after(&mut pace, 0, every, bytes), None);
        }
    }

    #[test]
    fn a_bulk_connection_that_slows_down_is_polled_again() {
        let mut pace = Pace::new(at(0));
        change_after(&mut pace, 0, 150, 15_000);
        assert_eq!(change_after(&mut pace, 10_000, 2_000, 30_000), None);
        let changed = change_after(&mut pace, 1_020_000, 2_000, 0);
        assert!(changed.is_some_and(|(after, change)| after <= 42_000 && change == Change::ToPoll));
        assert!(!pace.is_bulk());
    }
}
