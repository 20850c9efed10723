//! The session's deadlines: a fixed table, one slot a purpose.

use crate::base::time::{Instant, earliest};

/// What a deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// Dialling, greetings past their time, request ages, keep-alives, refilling the pipelines.
    Sweep,
    /// A round of the choker.
    Choke,
    /// The end of saying goodbye.
    Goodbye,
}

/// The deadlines that are set.
#[derive(Clone, Copy, Default, Debug)]
pub struct TimerTable {
    at: [Option<Instant>; TIMERS],
}

impl TimerTable {
    /// Sets `timer` to `at`, whatever it was.
    pub fn set(&mut self, timer: Timer, at: Instant) {
        self.at[timer as usize] = Some(at);
    }

    /// Sets `timer` to `at`, unless it is due sooner.
    pub fn set_earlier(&mut self, timer: Timer, at: Instant) {
        let slot = &mut self.at[timer as usize];
        *slot = earliest(*slot, Some(at));
    }

    /// Clears `timer`.
    pub fn stop(&mut self, timer: Timer) {
        self.at[timer as usize] = None;
    }

    /// Whether `timer` is set.
    pub fn is_set(&self, timer: Timer) -> bool {
        self.at[timer as usize].is_some()
    }

    /// Clears `timer` and says so, if its moment has come.
    pub fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        self.at[timer as usize].take_if(|at| *at <= now).is_some()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.at.iter().flatten().copied().min()
    }
}

const TIMERS: usize = Timer::Goodbye as usize + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_once_and_the_earliest_is_next() {
        let at = Instant::from_micros;
        let mut timers = TimerTable::default();
        timers.set(Timer::Choke, at(20));
        timers.set_earlier(Timer::Sweep, at(30));
        timers.set_earlier(Timer::Sweep, at(10));
        timers.set_earlier(Timer::Sweep, at(15));
        assert_eq!(timers.next(), Some(at(10)));
        assert!(!timers.take_due(Timer::Sweep, at(9)));
        assert!(timers.take_due(Timer::Sweep, at(10)));
        assert!(!timers.take_due(Timer::Sweep, at(10)));
        assert_eq!(timers.next(), Some(at(20)));
    }
}
