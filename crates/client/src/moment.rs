//! A moment by both clocks.

use std::time::SystemTime;

use tokio::time::Instant;

/// The clock for waiting never jumps, but stands still while the machine sleeps; the one on the wall goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), wall: SystemTime::now() }
    }
}
