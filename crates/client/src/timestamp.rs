//! A point in time by two clocks.

use std::time::SystemTime;

use tokio::time::Instant;

/// A point in time by the monotonic clock and by the system clock. The monotonic clock never jumps but stands still
/// while the machine sleeps; the system clock goes on during sleep but can be set back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timestamp {
    pub(super) monotonic: Instant,
    pub(super) system: SystemTime,
}

impl Timestamp {
    pub(super) fn now() -> Self {
        Self { monotonic: Instant::now(), system: SystemTime::now() }
    }
}
