//! Our requests to one peer: how many are in flight, how long they may take, what was once asked.
//!
//! ```text
//!                              rate flattens
//! ramping (3 s of the rate so far) ---------> steady (3 s of the rate)
//!     ^   ^                                      |   |
//!     |   +-- asked again after a pause of 2 s --+   |
//!     +---------- a block -------- snubbed <---------+ no block in time
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::in_flight::{InFlight, Packed};
use crate::base::ids::Block;
use crate::base::limits;
use crate::base::rate::Meter;
use crate::base::time::Instant;

/// The requests in flight to one peer, in the order they were sent.
pub struct Pipeline {
    in_flight: InFlight,
    /// Asked of this peer once, no longer waited for: a late answer is still no lie.
    once_asked: VecDeque<Packed>,
    depth: usize,
    depth_max: usize,
    /// What `reqq` can't lift.
    most: usize,
    /// While it ramps up.
    ramp: Option<Ramp>,
    snubbed: bool,
    rate: Meter,
    judged: (Instant, u64),
    /// The longest block that came: most have that length.
    longest: u32,
    /// When the oldest wait began: the last block, or the first request after silence.
    waiting_since: Instant,
    /// Mean and mean deviation of the time from request to block, as TCP keeps them.
    response: Option<(Duration, Duration)>,
    /// The least time from request to block: what the line alone takes.
    fastest: Duration,
    /// How often it was silent too long since the last answer that was timed: the wait doubles each time.
    patience: u32,
}

/// What came since then: for a round trip, until what was asked for since then comes.
struct Ramp {
    since: Instant,
    bytes: u64,
}

impl Ramp {
    fn new(since: Instant) -> Self {
        Self { since, bytes: 0 }
    }
}

/// What a block that came is, to the peer that sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It was in flight.
    Asked,
    /// It was asked for on this connection, then cancelled, choked away or timed out.
    Late,
    /// It never was.
    Unasked,
}

impl Pipeline {
    /// An empty pipeline, ready to ramp up.
    pub fn new(now: Instant) -> Self {
        Self {
            in_flight: InFlight::default(),
            once_asked: VecDeque::new(),
            depth: limits::PIPELINE_START,
            depth_max: limits::PIPELINE_DEFAULT_MAX,
            most: limits::REQQ,
            ramp: Some(Ramp::new(now)),
            snubbed: false,
            rate: Meter::new(now, RATE_WINDOW),
            judged: (now, 0),
            longest: 1,
            waiting_since: now,
            response: None,
            fastest: Duration::MAX,
            patience: 0,
        }
    }

    /// Never more than `most` requests in flight, whatever the peer says.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.max(1);
        self.set_reqq(self.depth_max);
    }

    /// The peer says how many requests it queues (BEP 10 `reqq`).
    pub fn set_reqq(&mut self, reqq: usize) {
        self.depth_max = reqq.clamp(1, self.most);
        self.depth = self.depth.min(self.depth_max);
    }

    /// How many requests to send now: none until a quarter of the depth is free, or as many as make a batch; then
    /// all that fit.
    pub fn room(&self) -> usize {
        let depth = if self.snubbed { 1 } else { self.depth };
        let free = depth.saturating_sub(self.in_flight.len());
        let batch = if self.is_latency_bound() {
            LONG_LINE_BATCH
        } else {
            BATCH_MAX
        };
        if free < depth.div_ceil(4).min(batch) {
            return 0;
        }
        free
    }

    /// Whether requests wait at the peer for no longer than they are on the line: each place that lies idle may be lost.
    fn is_latency_bound(&self) -> bool {
        self.response
            .is_some_and(|(mean, _)| mean <= self.fastest.saturating_mul(2))
    }

    /// A request goes out: for a block as [`Geometry::block`](crate::base::geometry::Geometry::block) cuts them.
    pub fn asked(&mut self, now: Instant, block: Block) {
        let Some(block) = Packed::new(block) else {
            debug_assert!(false, "{block:?} is no block of ours");
            return;
        };
        if self.in_flight.is_empty() {
            self.begin_waiting(now);
        }
        let again = self.once_asked.contains(&block);
        self.in_flight.push(now, block, again);
    }

    /// A block came; its place in the pipeline is free.
    pub fn handle_block(&mut self, now: Instant, block: Block) -> Arrival {
        let Some(packed) = Packed::new(block) else {
            return Arrival::Unasked;
        };
        let Some(request) = self.in_flight.take(packed) else {
            if !self.forget(packed) {
                return Arrival::Unasked;
            }
            self.revive(now);
            return Arrival::Late;
        };
        self.revive(now);
        self.rate.add(now, u64::from(block.len));
        self.longest = self.longest.max(block.len);
        let took = now - request.at;
        if !request.again {
            self.note_response(took);
            self.deepen(now, request.at, block.len);
        }
        self.judge(now);
        Arrival::Asked
    }

    /// The peer refused (BEP 6): true if the request was in flight. A request that was cancelled is answered,
    /// too, and before a later one for the same block.
    pub fn handle_reject(&mut self, block: Block) -> bool {
        let late = Packed::new(block).is_some_and(|block| self.forget(block));
        !late && self.withdraw(block, false)
    }

    /// We no longer want it: true if it was in flight. `answer_may_come` tells whether the block may still
    /// arrive.
    pub fn withdraw(&mut self, block: Block, answer_may_come: bool) -> bool {
        let Some(block) = Packed::new(block) else {
            return false;
        };
        let found = self.in_flight.take(block).is_some();
        if found && answer_may_come {
            remember(&mut self.once_asked, block);
        }
        found
    }

    /// Takes every request out of flight: the peer choked us, or was silent too long. Answers that are on
    /// their way are still welcome.
    pub fn withdraw_all(&mut self) -> Vec<Block> {
        let withdrawn = self.in_flight.drain().map(|block| {
            remember(&mut self.once_asked, block);
            block.block()
        });
        withdrawn.collect()
    }

    /// The peer has been silent too long: one request at a time from now on, until a block comes.
    pub fn snub(&mut self) {
        self.snubbed = true;
        self.patience = (self.patience + 1).min(PATIENCE_MAX);
    }

    /// Whether it was silent too long and has not sent a block since.
    pub fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// When the peer has been silent too long; `None` while nothing is in flight.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.in_flight.is_empty()).then(|| self.waiting_since + self.timeout())
    }

    /// How long it may be silent: mean plus four deviations of its response time, 2 to 60 s; twice that after
    /// each silence.
    pub fn timeout(&self) -> Duration {
        let (mean, deviation) = self.response.unwrap_or((FIRST_RESPONSE, Duration::ZERO));
        let wait = mean + deviation * 4;
        let wait = wait.max(limits::REQUEST_TIMEOUT_MIN) * 2u32.pow(self.patience);
        wait.min(limits::REQUEST_TIMEOUT_MAX)
    }

    /// Bytes a second that come from the peer.
    pub fn rate(&self, now: Instant) -> u64 {
        self.rate.rate(now)
    }

    /// The requests in flight, in order.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.in_flight.blocks()
    }

    /// How many are in flight.
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// How many may be in flight.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The first request after a pause is about to go out. The pause is no part of the peer's rate, and after one as long
    /// as the rate is remembered nothing is known of that any more.
    fn begin_waiting(&mut self, now: Instant) {
        if now - self.waiting_since >= RATE_WINDOW {
            self.restart(now);
        } else if self.ramp.is_some() {
            self.ramp = Some(Ramp::new(now));
        }
        self.waiting_since = now;
    }

    fn revive(&mut self, now: Instant) {
        if self.snubbed {
            self.snubbed = false;
            // It was asked for one block then.
            self.restart(self.waiting_since);
        }
        self.waiting_since = now;
    }

    /// Ramps up anew, from requests that were sent at `since`.
    fn restart(&mut self, since: Instant) {
        self.depth = self.depth.min(limits::PIPELINE_START);
        self.ramp = Some(Ramp::new(since));
        self.judged = (since, 0);
    }

    fn note_response(&mut self, took: Duration) {
        self.patience = 0;
        self.fastest = self.fastest.min(took);
        self.response = Some(match self.response {
            None => (took, took / 2),
            Some((mean, deviation)) => {
                let off = took.abs_diff(mean);
                (
                    mean - mean / 8 + took / 8,
                    deviation - deviation / 4 + off / 4,
                )
            }
        });
    }

    /// While it ramps up: a block came that was asked for at `asked`.
    fn deepen(&mut self, now: Instant, asked: Instant, len: u32) {
        let Some(ramp) = &mut self.ramp else {
            return;
        };
        ramp.bytes += u64::from(len);
        // What came in less than a round trip may have come from a buffer, all at once.
        let time = (now - ramp.since).max(self.fastest).max(RAMP_LEAST);
        let ahead = ahead(ramp.bytes, time, self.longest).min(self.depth_max);
        self.depth = self.depth.max(ahead);
        if asked >= ramp.since {
            *ramp = Ramp::new(now);
        }
    }

    /// Looks once a second whether the rate still grows; if not, it is what is kept in flight from now on.
    fn judge(&mut self, now: Instant) {
        let (since, before) = self.judged;
        if now - since < JUDGE_EVERY {
            return;
        }
        let rate = self.rate.rate(now);
        self.judged = (now, rate);
        // A tenth more than a moment ago is still growing.
        if self.ramp.is_some() && rate > before + before / 10 {
            return;
        }
        self.ramp = None;
        let depth = ahead(rate, Duration::from_secs(1), self.longest);
        self.depth = depth.max(limits::PIPELINE_MIN).min(self.depth_max);
    }

    /// Takes a block out of those that were once asked for: true if it was among them.
    fn forget(&mut self, block: Packed) -> bool {
        let at = self.once_asked.iter().position(|asked| *asked == block);
        at.and_then(|at| self.once_asked.remove(at)).is_some()
    }
}

/// Requests of `len` bytes for what a peer that sent `bytes` in `time` will send in the time that is kept in flight.
fn ahead(bytes: u64, time: Duration, len: u32) -> usize {
    let span = Duration::from_secs(limits::PIPELINE_SECONDS).as_micros();
    let bytes = u128::from(bytes) * span / time.as_micros().max(1);
    usize::try_from(bytes / u128::from(len)).unwrap_or(usize::MAX)
}

fn remember(once_asked: &mut VecDeque<Packed>, block: Packed) {
    if once_asked.len() == ONCE_ASKED_MAX {
        once_asked.pop_front();
    }
    once_asked.push_back(block);
}

/// The pipeline follows the rate over this time.
const RATE_WINDOW: Duration = Duration::from_secs(2);
/// A shorter time tells nothing of a rate.
const RAMP_LEAST: Duration = Duration::from_millis(100);
/// How often the depth is judged.
const JUDGE_EVERY: Duration = Duration::from_secs(1);
/// Requests that a batch waits for at most: of a deep pipeline a quarter would lie idle for too long.
const BATCH_MAX: usize = 128;
/// The same where requests do not queue at the peer: 256 KiB of usual blocks.
const LONG_LINE_BATCH: usize = 16;
/// What a first answer is expected to take.
const FIRST_RESPONSE: Duration = Duration::from_secs(20);
/// Doublings of the wait: from the shortest to the longest.
const PATIENCE_MAX: u32 = 5;
/// Withdrawn requests that are remembered: more than can be in flight at once.
const ONCE_ASKED_MAX: usize = 2 * limits::REQQ;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Piece;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn block(n: u32) -> Block {
        Block {
            piece: Piece(n),
            begin: 0,
            len: 16_384,
        }
    }

    /// A peer that answers every request after `rtt` ms, at most one every `gap_us`, for `ms`.
    fn run(pipeline: &mut Pipeline, rtt: u64, gap_us: u64, ms: u64) -> usize {
        let (mut queue, mut free_at, mut next, mut came) = (VecDeque::new(), 0, 0, 0);
        for us in (0..ms * 1000).step_by(100) {
            let now = Instant::from_micros(us);
            while queue.front().is_some_and(|(due, _)| *due <= us) {
                let (_, block) = queue.pop_front().expect("looked at");
                assert_eq!(pipeline.handle_block(now, block), Arrival::Asked);
                came += 1;
            }
            for _ in 0..pipeline.room() {
                pipeline.asked(now, block(next));
                free_at = u64::max(free_at + gap_us, us + rtt * 1000);
                queue.push_back((free_at, block(next)));
                next += 1;
            }
        }
        came
    }

    #[test]
    fn it_starts_at_32_and_grows_up_to_what_the_peer_queues() {
        let mut pipeline = Pipeline::new(at(0));
        assert_eq!(pipeline.room(), 32);
        run(&mut pipeline, 100, 1, 2000);
        assert_eq!(pipeline.depth(), 500);
        let mut polite = Pipeline::new(at(0));
        polite.set_reqq(100);
        run(&mut polite, 100, 1, 2000);
        assert_eq!(polite.depth(), 100);
    }

    #[test]
    fn it_grows_to_three_seconds_of_the_rate_so_far() {
        // The first tells how long the line is; 31 more in that time are 930 in three seconds.
        let mut long = Pipeline::new(at(0));
        long.set_reqq(2000);
        assert_eq!(run(&mut long, 100, 0, 150), 32);
        assert_eq!(long.depth(), 930);
        // A block every 10 ms behind a line of 100 ms.
        let mut slow = Pipeline::new(at(0));
        assert_eq!(run(&mut slow, 100, 10_000, 501), 41);
        assert_eq!(slow.depth(), 300);
        // One in half a second is no reason to ask for more.
        let mut slower = Pipeline::new(at(0));
        assert_eq!(run(&mut slower, 500, 500_000, 999), 1);
        assert_eq!(slower.depth(), 32);
    }

    #[test]
    fn on_a_very_long_line_it_grows_to_three_times_as_many_in_each_round_trip() {
        let depth_after = |ms| {
            let mut pipeline = Pipeline::new(at(0));
            pipeline.set_reqq(2000);
            run(&mut pipeline, 1000, 1000, ms);
            pipeline.depth()
        };
        assert_eq!(
            [1200, 2200, 3500].map(depth_after),
            [31 * 3, 92 * 3, 271 * 3]
        );
    }

    #[test]
    fn first_blocks_that_come_at_once_are_not_yet_a_rate() {
        let mut pipeline = Pipeline::new(at(0));
        (0..32).for_each(|n| pipeline.asked(at(0), block(n)));
        let depths = [0, 1, 2, 3, 4].map(|n| {
            pipeline.handle_block(at(1), block(n));
            pipeline.depth()
        });
        assert_eq!(depths, [32, 32, 60, 90, 120]);
    }

    #[test]
    fn after_a_pause_it_starts_again_and_the_pause_is_no_part_of_the_rate() {
        let mut pipeline = Pipeline::new(at(0));
        run(&mut pipeline, 10, 100, 1500);
        assert_eq!(pipeline.depth(), 500);
        // Choked, for half a minute.
        pipeline.withdraw_all();
        (0..32).for_each(|n| pipeline.asked(at(31_500), block(n + 1_000_000)));
        assert_eq!((pipeline.depth(), pipeline.room()), (32, 0));
        for n in 0..11 {
            pipeline.handle_block(at(31_600), block(n + 1_000_000));
        }
        assert_eq!(pipeline.depth(), 300);
    }

    #[test]
    fn who_was_silent_too_long_starts_again_too() {
        let snubbed = || {
            let mut pipeline = Pipeline::new(at(0));
            run(&mut pipeline, 10, 100, 1500);
            assert_eq!(pipeline.depth(), 500);
            pipeline.snub();
            pipeline.withdraw_all();
            pipeline
        };
        let mut asked = snubbed();
        asked.asked(at(21_500), block(1_000_000));
        let arrival = asked.handle_block(at(50_000), block(1_000_000));
        assert_eq!((arrival, asked.depth()), (Arrival::Asked, 32));
        // What it was asked for before comes when nothing is in flight.
        let mut late = snubbed();
        let old = late.once_asked[0].block();
        assert_eq!(late.handle_block(at(2000), old), Arrival::Late);
        assert_eq!(late.room(), 32);
    }

    #[test]
    fn who_answers_only_what_it_was_asked_twice_is_asked_for_no_more_than_its_rate() {
        let mut pipeline = Pipeline::new(at(0));
        (0..32).for_each(|n| pipeline.asked(at(0), block(n)));
        pipeline.withdraw_all();
        (0..32).for_each(|n| pipeline.asked(at(0), block(n)));
        for n in 0..5 {
            let second = at(1000 * (u64::from(n) + 1));
            assert_eq!(pipeline.handle_block(second, block(n)), Arrival::Asked);
        }
        assert_eq!(pipeline.depth(), 8);
    }

    #[test]
    fn short_blocks_are_counted_as_what_they_are() {
        let short = |n| Block {
            len: 1024,
            ..block(n)
        };
        let mut pipeline = Pipeline::new(at(0));
        (0..8).for_each(|n| pipeline.asked(at(0), short(n)));
        for n in 0..8 {
            pipeline.handle_block(at(100), short(n));
        }
        assert_eq!(pipeline.depth(), 7 * 30);
    }

    #[test]
    fn a_steady_peer_is_asked_for_three_seconds_of_its_rate() {
        // One block every 10 ms is 100 a second.
        let mut pipeline = Pipeline::new(at(0));
        run(&mut pipeline, 50, 10_000, 20_000);
        assert!(
            (290..=310).contains(&pipeline.depth()),
            "{}",
            pipeline.depth()
        );
    }

    #[test]
    fn of_a_slow_peer_eight_blocks_are_asked_at_a_time() {
        // A block every two seconds: three seconds of it are hardly more than one.
        let mut pipeline = Pipeline::new(at(0));
        run(&mut pipeline, 50, 2_000_000, 120_000);
        assert_eq!(pipeline.depth(), 8);
    }

    #[test]
    fn requests_go_out_in_batches_of_a_quarter() {
        let mut pipeline = Pipeline::new(at(0));
        (0..32).for_each(|n| pipeline.asked(at(0), block(n)));
        // Eight blocks in 0.9 s: no reason to ask for more than 32.
        for n in 0..7 {
            pipeline.handle_block(at(900), block(n));
            assert_eq!((pipeline.depth(), pipeline.room()), (32, 0));
        }
        pipeline.handle_block(at(900), block(7));
        assert_eq!((pipeline.len(), pipeline.room()), (24, 8));
    }

    /// How many blocks come before a peer of this pace (`rtt` ms, `gap_us`) is asked for more.
    fn batch(rtt: u64, gap_us: u64) -> usize {
        let mut pipeline = Pipeline::new(at(0));
        pipeline.set_reqq(2000);
        run(&mut pipeline, rtt, gap_us, 3000);
        assert_eq!(pipeline.depth(), 2000);
        let next = (0..pipeline.room()).map(|n| block(1_000_000 + n as u32));
        next.for_each(|block| pipeline.asked(at(3000), block));
        let free = 2000 - pipeline.len();
        let oldest: Vec<_> = pipeline.blocks().collect();
        for (n, block) in oldest.iter().enumerate() {
            if pipeline.room() > 0 {
                assert_eq!(pipeline.room(), free + n);
                return free + n;
            }
            pipeline.handle_block(at(3001), *block);
        }
        unreachable!("it never asked again");
    }

    #[test]
    fn of_a_deep_pipeline_a_batch_is_128_and_16_where_the_line_is_all_that_takes_time() {
        // 2,000 requests at 5,000 a second wait for 400 ms: four times as long as the line takes, or just as long.
        assert_eq!(batch(100, 200), 128);
        assert_eq!(batch(400, 200), 16);
    }

    #[test]
    fn silence_has_a_deadline_that_every_block_moves() {
        let mut pipeline = Pipeline::new(at(0));
        assert_eq!(pipeline.deadline(), None);
        pipeline.asked(at(5000), block(0));
        pipeline.asked(at(5000), block(1));
        assert_eq!(pipeline.deadline(), Some(at(25_000)));
        pipeline.handle_block(at(5100), block(0));
        // 100 ms mean and 50 ms deviation: the floor of 2 s holds.
        assert_eq!(pipeline.deadline(), Some(at(7100)));
        pipeline.snub();
        assert_eq!(pipeline.withdraw_all(), [block(1)]);
        assert_eq!((pipeline.deadline(), pipeline.room()), (None, 1));
        pipeline.asked(at(9000), block(2));
        assert_eq!(pipeline.room(), 0);
        assert_eq!(pipeline.handle_block(at(9100), block(1)), Arrival::Late);
        assert!(!pipeline.is_snubbed() && pipeline.room() == 31);
    }

    #[test]
    fn an_answer_that_may_be_to_an_earlier_request_is_not_timed_and_the_wait_doubles() {
        let mut pipeline = Pipeline::new(at(0));
        pipeline.asked(at(0), block(0));
        pipeline.handle_block(at(3000), block(0));
        assert_eq!(pipeline.timeout(), Duration::from_secs(9));
        pipeline.asked(at(3000), block(1));
        pipeline.snub();
        pipeline.withdraw_all();
        assert_eq!(pipeline.timeout(), Duration::from_secs(18));
        pipeline.asked(at(12_000), block(1));
        pipeline.handle_block(at(12_001), block(1));
        assert_eq!(pipeline.timeout(), Duration::from_secs(18));
        pipeline.asked(at(13_000), block(2));
        pipeline.handle_block(at(16_000), block(2));
        assert!(pipeline.timeout() <= Duration::from_secs(9));
    }

    #[test]
    fn a_reject_is_of_the_cancelled_request_before_it_is_of_the_one_in_flight() {
        let mut pipeline = Pipeline::new(at(0));
        pipeline.asked(at(0), block(0));
        assert!(pipeline.withdraw(block(0), true));
        pipeline.asked(at(1), block(0));
        assert!(!pipeline.handle_reject(block(0)));
        assert_eq!(pipeline.len(), 1);
        assert!(pipeline.handle_reject(block(0)) && pipeline.is_empty());
    }

    #[test]
    fn a_block_is_unasked_only_if_it_never_was_asked_here() {
        let mut pipeline = Pipeline::new(at(0));
        pipeline.asked(at(0), block(0));
        pipeline.asked(at(0), block(1));
        assert!(pipeline.withdraw(block(0), true) && !pipeline.withdraw(block(0), true));
        assert!(pipeline.withdraw(block(1), false));
        assert_eq!(pipeline.handle_block(at(1), block(0)), Arrival::Late);
        assert_eq!(pipeline.handle_block(at(1), block(0)), Arrival::Unasked);
        assert_eq!(pipeline.handle_block(at(1), block(1)), Arrival::Unasked);
    }
}
