//! How much of a long job fits into a turn.

use std::time::Duration;

use crate::base::time::Instant;

/// Finds the budget in bytes that takes about [`SLICE`], whatever the machine.
#[derive(Debug)]
pub(super) struct JobPace {
    bytes: usize,
}

impl JobPace {
    pub(super) fn new() -> Self {
        Self { bytes: START }
    }

    /// Bytes for the next slice.
    pub(super) fn budget(&self) -> usize {
        self.bytes
    }

    /// A slice was worked on between these moments.
    pub(super) fn handle_slice(&mut self, began: Instant, ended: Instant) {
        let took = ended - began;
        if took > SLICE {
            self.bytes = (self.bytes / 2).max(LEAST);
        } else if took < SLICE / 4 {
            self.bytes = (self.bytes * 2).min(MOST);
        }
    }
}

/// How long jobs may hold up a turn.
pub(super) const SLICE: Duration = Duration::from_millis(4);
const START: usize = 256 * 1024;
/// A few milliseconds of SHA-1 on the slowest machines.
const LEAST: usize = 32 * 1024;
const MOST: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_settles_where_a_slice_takes_about_its_time() {
        for bytes_per_micro in [5, 50, 1500] {
            let mut pace = JobPace::new();
            for _ in 0..20 {
                let took = Duration::from_micros(pace.budget() as u64 / bytes_per_micro);
                pace.handle_slice(Instant::default(), Instant::default() + took);
            }
            let took = Duration::from_micros(pace.budget() as u64 / bytes_per_micro);
            assert!(took <= SLICE * 2, "{bytes_per_micro}: {took:?}");
            assert!(took >= SLICE / 4 || pace.budget() == LEAST);
        }
    }
}
