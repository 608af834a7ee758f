//! The time, as everything that has deadlines sees it: the machine's, or one that a test moves; and the part of it in
//! which others could be heard.
//!
//! Measurements (how long a slice or a fan-out took) read [`Instant`] instead: they are about this machine.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a manual clock shows at first, in milliseconds since the Unix epoch: an arbitrary day that is always the same.
const MANUAL_UNIX_MS: u64 = 1_700_000_000_000;

/// Two looks that are further apart have a gap between them, in milliseconds: some turns of the wheel that looks most
/// often, and more than a busy thread takes from one look to the next.
const GAP_MS: u64 = 250;
/// What a gap counts as: a turn of that wheel. Deadlines so pass at last even where there is nothing but gaps.
const STEP_MS: u64 = 50;

thread_local! {
    static LAST_LOOK: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// When this thread last looked at the machine's clock; now, if it never has. For measurements: a worker looks once for
/// each wake of a task, and reading the clock for every message is felt.
#[must_use]
pub fn last_look() -> Instant {
    LAST_LOOK.get().unwrap_or_else(look)
}

fn look() -> Instant {
    let now = Instant::now();
    LAST_LOOK.set(Some(now));
    now
}

/// A clock; clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    System { started: Instant, started_unix_ms: u64 },
    Manual { now_ms: Arc<AtomicU64>, has_gaps: bool },
}

impl Clock {
    /// The machine's clock, which begins now. It never goes back, whatever is done to the machine's date.
    #[must_use]
    pub fn system() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Kind::System { started: Instant::now(), started_unix_ms: unix.as_millis() as u64 })
    }

    /// A clock that stands still until somebody moves it.
    #[must_use]
    pub fn manual() -> Self {
        Self(Kind::Manual { now_ms: Arc::default(), has_gaps: false })
    }

    /// As [`Clock::manual`], but a long move is a gap for [`Awake`], as it is with the machine's clock.
    #[must_use]
    pub fn manual_with_gaps() -> Self {
        Self(Kind::Manual { now_ms: Arc::default(), has_gaps: true })
    }

    /// Moves a manual clock, and all its clones, forward.
    ///
    /// # Panics
    /// When it is the machine's.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Kind::Manual { now_ms, .. } => now_ms.fetch_add(by.as_millis() as u64, SeqCst),
            Kind::System { .. } => panic!("nobody moves the machine's clock"),
        };
    }

    /// Milliseconds since the clock began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let now = look();
        match &self.0 {
            Kind::System { started, .. } => now.saturating_duration_since(*started).as_millis() as u64,
            Kind::Manual { now_ms, .. } => now_ms.load(SeqCst),
        }
    }

    /// Milliseconds since the Unix epoch, for display.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.unix_ms_at(self.now_ms())
    }

    /// The date now, in milliseconds since the Unix epoch: for the dates of tokens, which other machines have set by
    /// theirs. The machine's may jump, unlike [`Clock::unix_ms`]; a manual clock shows the same as there.
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

    /// What [`Clock::unix_ms`] shows when [`Clock::now_ms`] shows `now_ms`.
    #[must_use]
    pub fn unix_ms_at(&self, now_ms: u64) -> u64 {
        let started_unix_ms = match &self.0 {
            Kind::System { started_unix_ms, .. } => *started_unix_ms,
            Kind::Manual { .. } => MANUAL_UNIX_MS,
        };
        started_unix_ms + now_ms
    }
}

/// The time in which we could hear others: deadlines for what they have to do go by it. When the process or its machine
/// stands still, because it was stopped, moved to another host, or has no core, nobody can be heard, and nobody is late
/// for that.
///
/// Somebody looks many times a second; what is between two looks that are far apart is a gap, and counts as 50 ms.
#[derive(Debug, Clone, Copy)]
pub struct Awake {
    /// What the clock showed at the last look.
    seen_ms: u64,
    /// What the gaps took so far.
    lost_ms: u64,
    gap_ms: u64,
}

impl Awake {
    /// As `clock` shows it now.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        let has_gaps = !matches!(clock.0, Kind::Manual { has_gaps: false, .. });
        Self { seen_ms: clock.now_ms(), lost_ms: 0, gap_ms: if has_gaps { GAP_MS } else { u64::MAX } }
    }

    /// Milliseconds since the clock began, the gaps left out, when the clock shows `now_ms`. Never goes back.
    pub fn at(&mut self, now_ms: u64) -> u64 {
        let passed = now_ms.saturating_sub(self.seen_ms);
        self.seen_ms += passed;
        if passed > self.gap_ms {
            self.lost_ms += passed - STEP_MS;
        }
        self.seen_ms - self.lost_ms
    }

    /// By how much this is behind the clock.
    #[must_use]
    pub const fn lost_ms(&self) -> u64 {
        self.lost_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_when_it_is_told_to_with_all_its_clones() {
        let clock = Clock::manual();
        let other = clock.clone();
        assert_eq!((clock.now_ms(), clock.unix_ms()), (0, MANUAL_UNIX_MS));
        clock.advance(Duration::from_millis(1_500));
        assert_eq!((other.now_ms(), other.unix_ms()), (1_500, MANUAL_UNIX_MS + 1_500));
        assert_eq!(other.wall_ms(), MANUAL_UNIX_MS as i64 + 1_500);
    }

    #[test]
    fn a_gap_counts_as_a_moment_and_everything_else_as_it_is() {
        let clock = Clock::manual_with_gaps();
        let mut awake = Awake::new(&clock);
        assert_eq!((awake.at(200), awake.at(450)), (200, 450));
        assert_eq!((awake.at(10_450), awake.lost_ms()), (500, 9_950));
        assert_eq!(awake.at(10_400), 500, "another thread has looked earlier");
        assert_eq!(awake.at(10_500), 550);
        // Nothing but gaps: time passes all the same.
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
