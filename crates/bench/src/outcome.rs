//! The raw results of a run, from which the report is made.

use std::time::Duration;

use super::counters::Counters;
use super::latency::{LatencyRecorder, Summary, Window};
use super::process::Cpu;
use super::sampler::Sample;

/// Counters and CPU times at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Snapshot {
    pub(super) at_ns: u64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) bytes: u64,
    pub(super) opened: u64,
    pub(super) server: Option<Cpu>,
    pub(super) load: Cpu,
}

/// The growth of counters and CPU times between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Interval {
    pub(super) length: Duration,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) bytes: u64,
    pub(super) opened: u64,
    pub(super) server: Option<Cpu>,
    pub(super) load: Cpu,
}

impl Interval {
    /// Returns the difference of two snapshots, the earlier one first.
    pub(super) fn between(from: &Snapshot, to: &Snapshot) -> Self {
        Self {
            length: Duration::from_nanos(to.at_ns - from.at_ns),
            sent: to.sent - from.sent,
            delivered: to.delivered - from.delivered,
            bytes: to.bytes - from.bytes,
            opened: to.opened - from.opened,
            server: from.server.zip(to.server).map(|(from, to)| to.since(from)),
            load: to.load.since(from.load),
        }
    }

    /// Divides `count` by the length of the interval.
    pub(super) fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.length.as_secs_f64().max(1e-9)
    }
}

/// A measured interval with its latencies (`distribution`: quantile and microseconds).
#[derive(Debug, Clone, Default)]
pub(super) struct Measurement {
    pub(super) interval: Interval,
    pub(super) latency: Summary,
    pub(super) windows: Vec<Window>,
    pub(super) distribution: Vec<(f64, f64)>,
}

impl Measurement {
    /// Returns the measurement of an interval whose latencies are all in `latency`.
    pub(super) fn new(interval: Interval, latency: &mut LatencyRecorder) -> Self {
        Self {
            interval,
            latency: latency.summary(),
            windows: latency.windows().to_vec(),
            distribution: latency.distribution(),
        }
    }
}

/// Resident memory of the server at several moments, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ResidentMemory {
    /// Before the first connection.
    pub(super) before: Option<u64>,
    /// With all connections open and idle.
    pub(super) connected: Option<u64>,
    /// At the end of the run.
    pub(super) after: Option<u64>,
}

/// Everything that a run measured.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Counters of the whole run.
    pub(super) counters: Counters,
    /// The first handshakes of all connections.
    pub(super) connecting: Measurement,
    /// The part of the run that the scenario measures: traffic or handshakes.
    pub(super) measured: Measurement,
    /// The same traffic before some connections stopped reading.
    pub(super) baseline: Option<Measurement>,
    /// Number of connections that were open and reading at the end.
    pub(super) open: usize,
    /// Number of stalled connections that the server ended.
    pub(super) dropped: usize,
    /// Number of messages that were due in the measured time and not sent when the run ended.
    pub(super) unsent: u64,
    /// Duration of each storm.
    pub(super) storms: Vec<Duration>,
    /// Version of TLS and cipher, where connections were encrypted.
    pub(super) tls: Option<String>,
    pub(super) resident: ResidentMemory,
    pub(super) samples: Vec<Sample>,
}
