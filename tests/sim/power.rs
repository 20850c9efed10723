//! The power of a simulated machine: it counts what its disk is asked to do, and goes when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by the files and the state of one machine, so that their operations are counted in one row.
#[derive(Clone, Default, Debug)]
pub(crate) struct Power(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    operations: AtomicU64,
    goes_at: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            operations: AtomicU64::new(0),
            goes_at: AtomicU64::new(u64::MAX),
        }
    }
}

/// What becomes of an operation that changes something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It is carried out.
    Whole,
    /// It is the one that is cut: part of it is carried out.
    Cut,
    /// The power is out.
    Nothing,
}

impl Power {
    /// Counts one operation.
    pub(crate) fn operate(&self) -> Outcome {
        let number = self.0.operations.fetch_add(1, Ordering::Relaxed);
        let goes_at = self.0.goes_at.load(Ordering::Relaxed);
        match number.cmp(&goes_at) {
            std::cmp::Ordering::Less => Outcome::Whole,
            std::cmp::Ordering::Equal => Outcome::Cut,
            std::cmp::Ordering::Greater => Outcome::Nothing,
        }
    }

    /// The operation of this number, from 0, will be cut.
    pub(crate) fn go_at(&self, number: u64) {
        self.0.goes_at.store(number, Ordering::Relaxed);
    }

    /// The power is back, and stays.
    pub(crate) fn come_back(&self) {
        self.go_at(u64::MAX);
    }

    /// Whether it is out.
    pub(crate) fn is_out(&self) -> bool {
        self.operations() > self.0.goes_at.load(Ordering::Relaxed)
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.0.operations.load(Ordering::Relaxed)
    }
}
