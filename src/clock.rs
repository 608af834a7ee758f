//! Clocks for everything that has deadlines: [`Clock`] shows the time of the machine or a time that a test moves, and
//! [`Awake`] leaves out the time in which this process stood still.
//!
//! Measurements, such as how long a fan-out took, use [`Instant`] instead: a test must not move them.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The date that every manual clock begins with, in milliseconds since the Unix epoch: an arbitrary day.
const MANUAL_UNIX_MS: u64 = 1_700_000_000_000;

/// Time between two readings, in milliseconds, above which [`Awake`] takes it for a gap. It is several turns of the
/// timer wheel that reads the clock most often, and more than a busy thread takes from one reading to the next.
const GAP_MS: u64 = 250;
/// Time that a gap counts for, in milliseconds: one turn of that timer wheel. It is more than zero, so that deadlines
/// pass even when there are only gaps.
const STEP_MS: u64 = 50;

thread_local! {
    /// When this thread last read the machine's clock.
    static LAST_READING: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the time at which this thread last read the machine's clock, or reads it if the thread never has.
///
/// It is for measurements on the hot path, where a reading for every message would cost too much. A worker reads the
/// clock whenever a task wakes, so the result is at most as old as the run of one task.
#[must_use]
pub fn recent_instant() -> Instant {
    LAST_READING.get().unwrap_or_else(read)
}

/// Reads the machine's clock and remembers the reading for [`recent_instant`].
fn read() -> Instant {
    let now = Instant::now();
    LAST_READING.set(Some(now));
    now
}

/// A time in milliseconds, in four bytes. Only the lower half of the number is kept: it can be told again within 24
/// days of the time itself, before or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(NonZeroU32);

impl Moment {
    /// Keeps a time; one in 49 days comes out a millisecond later, so that [`Option<Moment>`] takes four bytes too.
    #[must_use]
    pub fn at(ms: u64) -> Self {
        // Inverted, so that the time 0 of tests is exact.
        Self(NonZeroU32::new(!(ms as u32)).unwrap_or(NonZeroU32::MAX))
    }

    /// Returns the time, which is at most 24 days before or after `now_ms`.
    #[must_use]
    pub fn ms(self, now_ms: u64) -> u64 {
        let ahead = (!self.0.get()).wrapping_sub(now_ms as u32).cast_signed();
        now_ms.saturating_add_signed(i64::from(ahead))
    }
}

/// A clock, whose clones all show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    System { started: Instant, started_unix_ms: u64 },
    Manual { now_ms: Arc<AtomicU64>, has_gaps: bool },
}

impl Clock {
    /// Returns a clock of the machine that begins now. It never goes back, even if the machine's date does.
    #[must_use]
    pub fn system() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Kind::System { started: Instant::now(), started_unix_ms: unix.as_millis() as u64 })
    }

    /// Returns a clock that stands still until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual() -> Self {
        Self(Kind::Manual { now_ms: Arc::default(), has_gaps: false })
    }

    /// Returns a clock like [`Clock::manual`], except that [`Awake`] takes a long move for a gap, as it does with a
    /// clock of the machine.
    #[must_use]
    pub fn manual_with_gaps() -> Self {
        Self(Kind::Manual { now_ms: Arc::default(), has_gaps: true })
    }

    /// Moves a manual clock and all its clones forward.
    ///
    /// # Panics
    /// If this is a clock of the machine.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Kind::Manual { now_ms, .. } => now_ms.fetch_add(by.as_millis() as u64, SeqCst),
            Kind::System { .. } => panic!("a clock of the machine cannot be moved"),
        };
    }

    /// Returns the milliseconds since the clock began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let now = read();
        match &self.0 {
            Kind::System { started, .. } => now.saturating_duration_since(*started).as_millis() as u64,
            Kind::Manual { now_ms, .. } => now_ms.load(SeqCst),
        }
    }

    /// Returns the milliseconds since the Unix epoch, for timestamps that are shown. They never go back.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.unix_ms_at(self.now_ms())
    }

    /// Returns the machine's current date, in milliseconds since the Unix epoch: for the dates in tokens, which other
    /// machines have set by their own date. Unlike [`Clock::unix_ms`], it jumps when the machine's date is changed. For
    /// a manual clock both are the same.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        let unix_ms = match &self.0 {
            Kind::System { .. } => {
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
            }
            Kind::Manual { .. } => self.unix_ms().into(),
        };
        unix_ms.try_into().unwrap_or(i64::MAX)
    }

    /// Returns the same date as [`Clock::wall_ms`], in whole seconds.
    #[must_use]
    pub fn wall_s(&self) -> i64 {
        self.wall_ms().div_euclid(1000)
    }

    /// Returns what [`Clock::unix_ms`] returns when [`Clock::now_ms`] returns `now_ms`.
    #[must_use]
    pub fn unix_ms_at(&self, now_ms: u64) -> u64 {
        let started_unix_ms = match &self.0 {
            Kind::System { started_unix_ms, .. } => *started_unix_ms,
            Kind::Manual { .. } => MANUAL_UNIX_MS,
        };
        started_unix_ms + now_ms
    }
}

/// A measure of the time in which this process was running. Deadlines that clients must keep are based on it: while the
/// process stands still (it was stopped, its machine was moved to another host or has no free core), it cannot receive
/// what they send, so that time must not count against them.
///
/// Its owner reads it many times a second. When two readings are far apart, the time between them is a gap, which
/// counts as 50 ms.
#[derive(Debug, Clone, Copy)]
pub struct Awake {
    /// Milliseconds that the clock showed at the last reading.
    seen_ms: u64,
    /// Milliseconds left out so far.
    lost_ms: u64,
    /// Time between two readings above which it is a gap.
    gap_ms: u64,
}

impl Awake {
    /// Starts the measure at the current time of `clock`.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        let has_gaps = !matches!(clock.0, Kind::Manual { has_gaps: false, .. });
        Self { seen_ms: clock.now_ms(), lost_ms: 0, gap_ms: if has_gaps { GAP_MS } else { u64::MAX } }
    }

    /// Returns the milliseconds since the clock began without the gaps, for a reading of the clock of `now_ms`. The
    /// result never goes back.
    pub fn at(&mut self, now_ms: u64) -> u64 {
        let passed = now_ms.saturating_sub(self.seen_ms);
        self.seen_ms += passed;
        if passed > self.gap_ms {
            self.lost_ms += passed - STEP_MS;
        }
        self.seen_ms - self.lost_ms
    }

    /// Returns by how many milliseconds this is behind the clock.
    #[must_use]
    pub const fn lost_ms(&self) -> u64 {
        self.lost_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_again_from_before_and_after_it() {
        assert_eq!((size_of::<Moment>(), size_of::<Option<Moment>>()), (4, 4));
        let day_ms = 24 * 60 * 60 * 1_000;
        for ms in [0, 1, 50, day_ms, u64::from(u32::MAX) - 1, 1 << 32, 1_000 * day_ms + 7] {
            for now_ms in [ms, ms + 1, ms + 24 * day_ms, ms.saturating_sub(24 * day_ms), ms.saturating_sub(1)]
            {
                assert_eq!(Moment::at(ms).ms(now_ms), ms, "at {now_ms}");
            }
        }
        assert_eq!(Moment::at(u64::from(u32::MAX)).ms(1 << 32), 1 << 32, "a millisecond later");
    }

    #[test]
    fn a_manual_clock_moves_with_all_its_clones() {
        let clock = Clock::manual();
        let other = clock.clone();
        assert_eq!((clock.now_ms(), clock.unix_ms()), (0, MANUAL_UNIX_MS));
        clock.advance(Duration::from_millis(1_500));
        assert_eq!((other.now_ms(), other.unix_ms()), (1_500, MANUAL_UNIX_MS + 1_500));
        assert_eq!(other.wall_ms(), MANUAL_UNIX_MS as i64 + 1_500);
    }

    #[test]
    fn a_gap_counts_as_one_step_and_all_other_time_in_full() {
        let clock = Clock::manual_with_gaps();
        let mut awake = Awake::new(&clock);
        assert_eq!((awake.at(200), awake.at(450)), (200, 450));
        assert_eq!((awake.at(10_450), awake.lost_ms()), (500, 9_950));
        assert_eq!(awake.at(10_400), 500, "a reading of another thread, taken earlier");
        assert_eq!(awake.at(10_500), 550);
        // Time passes even when there are only gaps.
        let mut now_ms = 10_500;
        let until = awake.at(now_ms) + 1_000;
        let gaps = (1..).find(|_| {
            now_ms += 3_000;
            awake.at(now_ms) >= until
        });
        assert_eq!(gaps, Some(20));
        let mut of_tests = Awake::new(&Clock::manual());
        assert_eq!((of_tests.at(1_000_000), of_tests.lost_ms()), (1_000_000, 0));
    }

    #[test]
    fn the_machines_clock_shows_the_date() {
        let clock = Clock::system();
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        assert!(clock.unix_ms().abs_diff(unix_ms) < 60_000);
        assert!(clock.wall_ms().abs_diff(unix_ms as i64) < 60_000);
        assert_eq!(clock.unix_ms_at(clock.now_ms() + 7), clock.unix_ms_at(clock.now_ms()) + 7);
    }
}
