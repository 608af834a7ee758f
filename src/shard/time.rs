//! The time of a shard: one look at the clock for each wake of a task, and a count of the time that was lost while the
//! thread stood still.

use std::cell::Cell;

use crate::clock::{Awake, Clock};

/// Shortest gap in a shard's time that is logged, in milliseconds. Shorter ones happen on every busy machine.
const LOGGED_GAP_MS: u64 = 1_000;

/// The time of a shard. It does not move between two looks at the clock.
#[derive(Debug)]
pub(super) struct ShardTime {
    /// Index of the shard, for the log.
    shard: usize,
    clock: Clock,
    awake: Cell<Awake>,
    now_ms: Cell<u64>,
}

impl ShardTime {
    /// Looks at the clock for the first time.
    pub(super) fn new(shard: usize, clock: Clock) -> Self {
        let (now_ms, awake) = (Cell::new(clock.now_ms()), Cell::new(Awake::new(&clock)));
        Self { shard, clock, awake, now_ms }
    }

    /// See [`Shard::now_ms`](super::Shard::now_ms).
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// See [`Shard::lost_ms`](super::Shard::lost_ms).
    pub(super) fn lost_ms(&self) -> u64 {
        self.awake.get().lost_ms()
    }

    /// See [`Shard::tick`](super::Shard::tick).
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
