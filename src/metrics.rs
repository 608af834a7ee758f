//! Counters. Each shard has its own, written by its one thread alone and summed when somebody asks, so that
//! counting never moves a cache line between cores.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that one thread changes and any thread reads: a plain load and store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only for the owning thread: two writers would lose counts.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` off again, for gauges. Only for the owning thread.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The close codes that are counted by name; every other code a client may invent is counted as `other`, so that
/// the number of series stays fixed. 1005: closed without a code. 1006: vanished without a close frame.
const CODES: [u16; 20] = [
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 3000, 3003, 3008, 4001, 4002,
    4003, 4501, 4502,
];

/// What one shard counts. Aligned so that two shards never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Open WebSocket connections.
    pub connections: Counter,
    /// Connections accepted since the start.
    pub accepted: Counter,
    /// Data messages received, whole ones.
    pub messages_received: Counter,
    /// Fan-out messages written to a client's socket, to the last byte.
    pub deliveries: Counter,
    /// Bytes written to WebSocket clients.
    pub bytes_sent: Counter,
    /// Write system calls for WebSocket clients.
    pub writes: Counter,
    /// Clients dropped because they did not keep up.
    pub slow_consumers_dropped: Counter,
    /// Messages taken out of a queue, or not put in, by a `drop_*` policy.
    pub messages_dropped: Counter,
    /// Bytes queued for clients.
    pub queue_bytes: Counter,
    /// Resumes that brought everything that was missed.
    pub recovered: Counter,
    /// Resumes that could not.
    pub not_recovered: Counter,
    /// Messages and control frames refused because their connection or user is too fast.
    pub rate_limited: Counter,
    closes: [Counter; CODES.len() + 1],
    fanout: Histogram,
}

/// Upper bounds of the buckets of a [`Histogram`], in microseconds, as Prometheus writes them in seconds.
const BUCKETS: [(u64, &str); 14] = [
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

/// Durations, counted in fixed buckets.
#[derive(Debug, Default)]
struct Histogram {
    counts: [Counter; BUCKETS.len() + 1],
    sum_us: Counter,
}

impl ShardMetrics {
    /// Counts the end of a connection by its close code.
    pub fn closed(&self, code: u16) {
        let index = CODES.iter().position(|&known| known == code).unwrap_or(CODES.len());
        self.closes[index].add(1);
    }

    /// Counts a fan-out by the time from its first publish to its last write.
    pub fn fanned_out(&self, took: Duration) {
        let micros = took.as_micros() as u64;
        let index = BUCKETS.iter().position(|&(bound, _)| micros <= bound).unwrap_or(BUCKETS.len());
        self.fanout.counts[index].add(1);
        self.fanout.sum_us.add(micros);
    }
}

/// Every counter of a node.
#[derive(Debug)]
pub struct Metrics {
    shards: Box<[Arc<ShardMetrics>]>,
    refusals: Box<[(&'static str, AtomicU64)]>,
}

/// What there is now of everything that no shard counts.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    /// Rooms with members or history.
    pub rooms: usize,
    /// Users with a bucket that is not full.
    pub limited_users: usize,
    /// Messages that wait for `history.dir` or are being written there.
    pub history_waiting: usize,
}

impl Metrics {
    /// Counters for `shards` shards and the given reasons of refusal.
    #[must_use]
    pub fn new(shards: usize, refusals: &[&'static str]) -> Self {
        Self {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            refusals: refusals.iter().map(|&reason| (reason, AtomicU64::new(0))).collect(),
        }
    }

    /// The counters of one shard.
    ///
    /// # Panics
    /// When there is no such shard.
    #[must_use]
    pub fn shard(&self, index: usize) -> &Arc<ShardMetrics> {
        &self.shards[index]
    }

    /// Counts a handshake refused in HTTP, from any thread; refusals are rare.
    pub fn refused(&self, reason: &'static str) {
        debug_assert!(self.refusals.iter().any(|(known, _)| *known == reason), "unknown reason {reason}");
        if let Some((_, count)) = self.refusals.iter().find(|(known, _)| *known == reason) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// The counters of all shards, in order.
    #[must_use]
    pub fn shards(&self) -> &[Arc<ShardMetrics>] {
        &self.shards
    }

    /// Handshakes refused, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refusals.iter().map(|(reason, count)| (*reason, count.load(Relaxed)))
    }

    /// Ended connections, by close code; `other` stands for every code that is not ours.
    pub fn closes(&self) -> impl Iterator<Item = (String, u64)> {
        let labels = CODES.iter().map(u16::to_string).chain(["other".to_owned()]);
        labels.enumerate().map(|(index, code)| (code, self.sum(|shard| &shard.closes[index])))
    }

    /// Fan-outs by the upper bound of their bucket in microseconds, each counted in one bucket; `None` is the last.
    pub fn fanouts(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BUCKETS.iter().map(|&(bound, _)| Some(bound)).chain([None]);
        bounds.enumerate().map(|(index, bound)| (bound, self.sum(|shard| &shard.fanout.counts[index])))
    }

    /// The sum of one counter over all shards.
    pub fn sum(&self, counter: impl Fn(&ShardMetrics) -> &Counter) -> u64 {
        self.shards.iter().fold(0, |sum, shard| sum.wrapping_add(counter(shard).get()))
    }

    /// Writes everything in Prometheus' text format.
    #[must_use]
    pub fn render(&self, now: Gauges) -> String {
        let mut out = String::with_capacity(4096);
        let mut series = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        };
        let sum = |counter: fn(&ShardMetrics) -> &Counter| self.sum(counter);
        series("throng_connections", "gauge", "Open WebSocket connections.", sum(|s| &s.connections));
        series("throng_rooms", "gauge", "Rooms with members or history.", now.rooms as u64);
        series("throng_queue_bytes", "gauge", "Bytes queued for clients.", sum(|s| &s.queue_bytes));
        series(
            "throng_rate_limit_users",
            "gauge",
            "Users who have not all their tokens.",
            now.limited_users as u64,
        );
        series(
            "throng_history_waiting",
            "gauge",
            "Messages that wait for history.dir.",
            now.history_waiting as u64,
        );
        series(
            "throng_connections_accepted_total",
            "counter",
            "WebSocket connections accepted.",
            sum(|s| &s.accepted),
        );
        series(
            "throng_messages_received_total",
            "counter",
            "Data messages received from clients.",
            sum(|s| &s.messages_received),
        );
        series(
            "throng_deliveries_total",
            "counter",
            "Fan-out messages written to clients.",
            sum(|s| &s.deliveries),
        );
        series("throng_bytes_sent_total", "counter", "Bytes written to clients.", sum(|s| &s.bytes_sent));
        series("throng_writes_total", "counter", "Write system calls.", sum(|s| &s.writes));
        series(
            "throng_slow_consumers_dropped_total",
            "counter",
            "Clients dropped because they did not keep up.",
            sum(|s| &s.slow_consumers_dropped),
        );
        series(
            "throng_messages_dropped_total",
            "counter",
            "Messages dropped from queues by policy.",
            sum(|s| &s.messages_dropped),
        );
        series(
            "throng_rate_limited_total",
            "counter",
            "Messages and control frames refused for their rate.",
            sum(|s| &s.rate_limited),
        );
        self.render_recoveries(&mut out);
        self.render_labelled(&mut out);
        self.render_histogram(&mut out);
        out
    }

    fn render_recoveries(&self, out: &mut String) {
        out.push_str(
            "# HELP throng_recoveries_total Resumes, by whether everything missed was there.\n\
             # TYPE throng_recoveries_total counter\n",
        );
        for (label, count) in
            [("true", self.sum(|s| &s.recovered)), ("false", self.sum(|s| &s.not_recovered))]
        {
            let _ = writeln!(out, "throng_recoveries_total{{recovered=\"{label}\"}} {count}");
        }
    }

    fn render_labelled(&self, out: &mut String) {
        out.push_str(
            "# HELP throng_refused_total Handshakes refused.\n# TYPE throng_refused_total counter\n",
        );
        for (reason, count) in self.refusals() {
            let _ = writeln!(out, "throng_refused_total{{reason=\"{reason}\"}} {count}");
        }
        out.push_str(
            "# HELP throng_closes_total Ended connections by close code.\n# TYPE throng_closes_total counter\n",
        );
        for (code, count) in self.closes() {
            let _ = writeln!(out, "throng_closes_total{{code=\"{code}\"}} {count}");
        }
    }

    fn render_histogram(&self, out: &mut String) {
        out.push_str(
            "# HELP throng_fanout_seconds From publish to the last write, by batch and shard.\n\
             # TYPE throng_fanout_seconds histogram\n",
        );
        let mut count = 0;
        let labels = BUCKETS.iter().map(|&(_, label)| label).chain(["+Inf"]);
        for (bound, (_, fanouts)) in labels.zip(self.fanouts()) {
            count += fanouts;
            let _ = writeln!(out, "throng_fanout_seconds_bucket{{le=\"{bound}\"}} {count}");
        }
        let sum = self.sum(|shard| &shard.fanout.sum_us) as f64 / 1e6;
        let _ = writeln!(out, "throng_fanout_seconds_sum {sum}\nthrong_fanout_seconds_count {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_summed_and_unknown_codes_are_one_series() {
        let metrics = Metrics::new(2, &["origin"]);
        metrics.shard(0).accepted.add(2);
        metrics.shard(1).accepted.add(3);
        metrics.shard(0).closed(1000);
        metrics.shard(1).closed(4999);
        metrics.refused("origin");
        metrics.shard(0).fanned_out(Duration::from_micros(200));
        metrics.shard(1).fanned_out(Duration::from_secs(60));
        let text = metrics.render(Gauges { rooms: 7, limited_users: 3, history_waiting: 2 });
        for line in [
            "throng_connections_accepted_total 5",
            "throng_rooms 7",
            "throng_rate_limit_users 3",
            "throng_history_waiting 2",
            "throng_closes_total{code=\"1000\"} 1",
            "throng_closes_total{code=\"other\"} 1",
            "throng_refused_total{reason=\"origin\"} 1",
            "throng_fanout_seconds_bucket{le=\"0.0001\"} 0",
            "throng_fanout_seconds_bucket{le=\"0.00025\"} 1",
            "throng_fanout_seconds_bucket{le=\"+Inf\"} 2",
            "throng_fanout_seconds_count 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }
}
