//! The time of a shard: the clock as it was read when a task last woke, without the time in which the thread stood
//! still.

use std::cell::Cell;

use crate::clock::{Awake, Clock};

/// Shortest standstill of a thread that is logged, in milliseconds. Shorter ones happen on every busy machine.
const LOGGED_GAP_MS: u64 = 1_000;

/// The time of a shard. It does not move between two readings of the clock.
#[derive(Debug)]
pub(super) struct ShardTime {
    /// Index of the shard, for the log.
    shard: usize,
    clock: Clock,
    awake: Cell<Awake>,
    now_ms: Cell<u64>,
}

impl ShardTime {
    /// Makes the time of the shard with this index, and reads the clock for the first time.
    pub(super) fn new(shard: usize, clock: Clock) -> Self {
        let (now_ms, awake) = (Cell::new(clock.now_ms()), Cell::new(Awake::new(&clock)));
        Self { shard, clock, awake, now_ms }
    }

    /// Returns the milliseconds since the clock began, as of the last [`ShardTime::tick`], without the time in which
    /// the thread stood still.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Returns the milliseconds in which the thread stood still so far, by which the shard's time is behind the clock.
    pub(super) fn lost_ms(&self) -> u64 {
        self.awake.get().lost_ms()
    }

    /// Reads the clock and returns [`ShardTime::now_ms`]. Logs a warning if the thread stood still for a second or
    /// more.
    pub(super) fn tick(&self) -> u64 {
        let before = self.awake.get();
        let mut awake = before;
        let now_ms = awake.at(self.clock.now_ms());
        self.awake.set(awake);
        self.now_ms.set(now_ms);
        let gap_ms = awake.lost_ms() - before.lost_ms();
        if gap_ms >= LOGGED_GAP_MS {
            tracing::warn!(
                shard = self.shard,
                gap_ms,
                "the thread stood still: every deadline of its clients moves by that time"
            );
        }
        now_ms
    }
}
