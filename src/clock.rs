//! The time, as everything that has deadlines sees it: the machine's, or one that a test moves.
//!
//! Measurements (how long a slice or a fan-out took) read [`Instant`] instead: they are about this machine.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a manual clock shows at first, in milliseconds since the Unix epoch: an arbitrary day that is always the same.
const MANUAL_UNIX_MS: u64 = 1_700_000_000_000;

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

/// The machine's date now, in milliseconds since the Unix epoch: for the dates of tokens, which other machines have set
/// by theirs. It may jump, unlike [`Clock::unix_ms`].
#[must_use]
pub fn wall_ms() -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    unix.as_millis().try_into().unwrap_or(i64::MAX)
}

/// A clock; clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    System { started: Instant, started_unix_ms: u64 },
    Manual(Arc<AtomicU64>),
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
        Self(Kind::Manual(Arc::default()))
    }

    /// Moves a manual clock, and all its clones, forward.
    ///
    /// # Panics
    /// When it is the machine's.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Kind::Manual(now_ms) => now_ms.fetch_add(by.as_millis() as u64, SeqCst),
            Kind::System { .. } => panic!("nobody moves the machine's clock"),
        };
    }

    /// Milliseconds since the clock began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let now = look();
        match &self.0 {
            Kind::System { started, .. } => now.saturating_duration_since(*started).as_millis() as u64,
            Kind::Manual(now_ms) => now_ms.load(SeqCst),
        }
    }

    /// Milliseconds since the Unix epoch, for display.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.unix_ms_at(self.now_ms())
    }

    /// What [`Clock::unix_ms`] shows when [`Clock::now_ms`] shows `now_ms`.
    #[must_use]
    pub fn unix_ms_at(&self, now_ms: u64) -> u64 {
        let started_unix_ms = match &self.0 {
            Kind::System { started_unix_ms, .. } => *started_unix_ms,
            Kind::Manual(_) => MANUAL_UNIX_MS,
        };
        started_unix_ms + now_ms
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
    }

    #[test]
    fn the_machines_clock_shows_the_date() {
        let clock = Clock::system();
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        assert!(clock.unix_ms().abs_diff(unix_ms) < 60_000);
        assert_eq!(clock.unix_ms_at(clock.now_ms() + 7), clock.unix_ms_at(clock.now_ms()) + 7);
    }
}
