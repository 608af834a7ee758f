//! The slices in which a call uses its worker's thread.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// Longest that a call keeps its worker's thread before other tasks get their turn. A message in a busy room waits for
/// up to two slices: until it is read, and until its fan-out begins.
const LENGTH: Duration = Duration::from_micros(50);

/// The slice that a call is in.
#[derive(Debug)]
pub struct Slice {
    since: Instant,
}

impl Slice {
    /// Begins a slice. The call does so when it gets the thread.
    #[must_use]
    pub fn begin() -> Self {
        Self { since: Instant::now() }
    }

    /// Lets other tasks of the worker have their turn when the slice is over, and begins the next one then.
    pub async fn pause(&mut self) {
        if self.since.elapsed() >= LENGTH {
            yield_now().await;
            *self = Self::begin();
        }
    }
}
