//! Counters and histograms that one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A counter or gauge that one thread writes and any thread reads, with a plain load and store instead of a locked
/// instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning thread may call this: two writers would lose counts.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Subtracts `n`, for gauges. Only the owning thread may call this.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Returns the current value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the buckets of a [`Histogram`]: in microseconds, and in seconds as Prometheus shows them.
pub(super) const BUCKETS: [(u64, &str); 14] = [
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (1_000_000, "1"),
    (5_000_000, "5"),
];

/// A histogram of durations with fixed buckets.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    pub(super) counts: [Counter; BUCKETS.len() + 1],
    pub(super) sum_us: Counter,
}

impl Histogram {
    /// Counts a duration.
    pub(super) fn count(&self, took: Duration) {
        let micros = took.as_micros() as u64;
        let index = BUCKETS.iter().position(|&(bound, _)| micros <= bound).unwrap_or(BUCKETS.len());
        self.counts[index].add(1);
        self.sum_us.add(micros);
    }
}
