//! Calm: many peers that each send little are heard together.
//!
//! Two hundred slow peers send a block here and a `have` there, and a loop that answers each at once wakes up
//! each time to do next to nothing. So when the loop wakes often and moves little, it rests before it looks at
//! the sockets again, and one turn then serves all that came meanwhile.
//!
//! ```text
//!         a window with BUSY_TURNS turns that moved fewer than MOVED_MAX bytes
//!  awake  ------------------------------------------------------------------->  calm
//!         <-------------------------------------------------------------------
//!      a turn that moved TURN_MAX bytes, or all that a socket's buffer holds, or in which somebody connected;
//!      a window without a turn
//! ```
//!
//! The price is at most [`REST`] of delay, paid by a swarm that is slow anyway. Who fills its buffer meanwhile would pay
//! more: it could send no faster than a buffer a rest. The kernel makes a buffer larger whose bytes are read fast; one
//! whose size was fixed (`--mem-limit`) stays as it is, and if it was full there is no rest for a while.
//! [`super::bulk`] is the other end: one peer that sends much.

use std::time::Duration;

use crate::base::time::Instant;

/// How far apart turns are when it is calm: 11 a second. Requests for three seconds are in flight, so no peer runs dry.
pub(super) const REST: Duration = Duration::from_millis(90);

/// Whether it is calm, from what the turns did lately.
#[derive(Debug, Default)]
pub(super) struct Calm {
    calm: bool,
    window_began: Instant,
    last: Instant,
    turns: u32,
    moved: usize,
    /// Bytes of this turn, and whether they filled a buffer.
    turn: (usize, bool),
    awake_until: Instant,
}

impl Calm {
    /// This turn moved `bytes`, in or out, of a connection whose buffer in the kernel holds `buffer` if that is fixed.
    pub(super) fn handle_moved(&mut self, bytes: usize, buffer: Option<usize>) {
        let (all, filled) = self.turn;
        let fills = buffer.is_some_and(|buffer| bytes >= buffer);
        self.turn = (all + bytes, filled || fills);
    }

    /// Somebody connected: more may come, and greetings must not pile up.
    pub(super) fn handle_arrival(&mut self) {
        self.turn.0 += TURN_MAX;
    }

    /// The turn at `now` is over.
    pub(super) fn handle_turn(&mut self, now: Instant) {
        let (bytes, filled) = std::mem::take(&mut self.turn);
        let quiet = now - self.last >= WINDOW;
        self.last = now;
        self.turns += 1;
        self.moved += bytes;
        if filled {
            self.awake_until = now + AWAKE;
        }
        if quiet || filled || bytes >= TURN_MAX {
            self.calm = false;
        } else if now - self.window_began < WINDOW {
            return;
        } else {
            let much = self.moved >= MOVED_MAX || now < self.awake_until;
            self.calm = !much && (self.calm || self.turns >= BUSY_TURNS);
        }
        self.window_began = now;
        self.turns = 0;
        self.moved = 0;
    }

    /// How long to leave the sockets alone.
    pub(super) fn rest(&self, now: Instant) -> Duration {
        if self.calm {
            now.until(self.last + REST)
        } else {
            Duration::ZERO
        }
    }
}

/// What is counted together.
const WINDOW: Duration = Duration::from_millis(200);
/// 45 turns a second: more than calm allows.
const BUSY_TURNS: u32 = 9;
/// 4 MiB a second: with more to move, a rest would fill a small socket buffer.
const MOVED_MAX: usize = 800 * 1024;
/// A turn with so much to move began something that must not wait.
const TURN_MAX: usize = 256 * 1024;
/// How long there is no rest after a buffer was full.
const AWAKE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// Turns every `every` ms that move `bytes` each, for a second from `from`.
    fn turns(calm: &mut Calm, from: u64, every: usize, bytes: usize) {
        for now in (from..from + 1000).step_by(every) {
            turn(calm, now, bytes);
        }
    }

    /// A turn that moves `bytes` through a buffer of 64 KiB.
    fn turn(calm: &mut Calm, now: u64, bytes: usize) {
        calm.handle_moved(bytes, Some(65_536));
        calm.handle_turn(at(now));
    }

    #[test]
    fn many_turns_that_move_little_are_spread_to_eleven_a_second() {
        let mut calm = Calm::default();
        turns(&mut calm, 1000, 10, 16_384);
        assert_eq!(calm.rest(at(1990)), REST);
        assert_eq!(calm.rest(at(2000)), REST - Duration::from_millis(10));
        assert_eq!(calm.rest(at(2100)), Duration::ZERO);
        // At its own pace it stays calm.
        turns(&mut calm, 2010, 90, 50_000);
        assert_eq!(calm.rest(at(3000)), REST);
    }

    #[test]
    fn few_turns_and_much_to_move_are_left_alone() {
        let mut calm = Calm::default();
        turns(&mut calm, 1000, 50, 16_384);
        assert_eq!(calm.rest(at(1950)), Duration::ZERO);
        turns(&mut calm, 3000, 1, 16_384);
        assert_eq!(calm.rest(at(3999)), Duration::ZERO);
    }

    #[test]
    fn a_turn_with_much_to_move_and_a_silence_end_it_at_once() {
        let mut calm = Calm::default();
        turns(&mut calm, 1000, 10, 0);
        assert_eq!(calm.rest(at(1990)), REST);
        calm.handle_moved(TURN_MAX, None);
        calm.handle_turn(at(2000));
        assert_eq!(calm.rest(at(2000)), Duration::ZERO);
        turns(&mut calm, 2010, 10, 0);
        assert_eq!(calm.rest(at(3000)), REST);
        calm.handle_arrival();
        turn(&mut calm, 3010, 0);
        assert_eq!(calm.rest(at(3010)), Duration::ZERO);
        turns(&mut calm, 3020, 10, 0);
        turn(&mut calm, 5000, 0);
        assert_eq!(calm.rest(at(5000)), Duration::ZERO);
    }

    #[test]
    fn a_buffer_of_fixed_size_that_was_full_ends_it_for_a_while() {
        let mut calm = Calm::default();
        turns(&mut calm, 1000, 10, 16_384);
        assert_eq!(calm.rest(at(1990)), REST);
        turn(&mut calm, 2000, 65_536);
        turns(&mut calm, 2010, 10, 16_384);
        assert_eq!(calm.rest(at(3000)), Duration::ZERO);
        turns(&mut calm, 3010, 10, 16_384);
        turns(&mut calm, 4010, 10, 16_384);
        assert_eq!(calm.rest(at(5000)), REST);
        // The blocks of many peers together fill none.
        for _ in 0..10 {
            calm.handle_moved(16_384, Some(65_536));
        }
        calm.handle_turn(at(5010));
        assert_eq!(calm.rest(at(5010)), REST);
    }
}
