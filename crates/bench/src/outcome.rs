//! What a run found out, before it is put into words.

use std::time::Duration;

use super::latency::{Latency, Summary, Window};
use super::process::Cpu;
use super::sampler::Sample;
use super::tally::Tally;

/// Counters and CPU times at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) at_ns: u64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) bytes: u64,
    pub(super) opened: u64,
    pub(super) server: Option<Cpu>,
    pub(super) load: Cpu,
}

/// What happened between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stretch {
    pub(super) length: Duration,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) bytes: u64,
    pub(super) opened: u64,
    pub(super) server: Option<Cpu>,
    pub(super) load: Cpu,
}

impl Stretch {
    /// From one moment to a later one.
    pub(super) fn between(from: &Mark, to: &Mark) -> Self {
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

    /// How many of `count` per second.
    pub(super) fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.length.as_secs_f64().max(1e-9)
    }
}

/// A measured stretch with its latencies.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    pub(super) stretch: Stretch,
    pub(super) latency: Summary,
    pub(super) windows: Vec<Window>,
    pub(super) distribution: Vec<(f64, f64)>,
}

impl Measured {
    /// Of `latency`, which has recorded all there is.
    pub(super) fn new(stretch: Stretch, latency: &mut Latency) -> Self {
        Self {
            stretch,
            latency: latency.summary(),
            windows: latency.windows().to_vec(),
            distribution: latency.distribution(),
        }
    }
}

/// Resident memory of the server, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Resident {
    /// Before the first connection.
    pub(super) before: Option<u64>,
    /// With all connections, idle.
    pub(super) connected: Option<u64>,
    /// At the end.
    pub(super) after: Option<u64>,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The whole run.
    pub(super) tally: Tally,
    /// Connecting everybody for the first time.
    pub(super) connecting: Measured,
    /// What the scenario is about: traffic, or handshakes.
    pub(super) measured: Measured,
    /// The same traffic while everybody read.
    pub(super) baseline: Option<Measured>,
    /// Open and reading at the end.
    pub(super) open: usize,
    /// Of the stalled connections, those the server ended.
    pub(super) dropped: usize,
    /// Due in the measured time and not sent when the run ended.
    pub(super) unsent: u64,
    /// How long each storm took.
    pub(super) storms: Vec<Duration>,
    pub(super) resident: Resident,
    pub(super) samples: Vec<Sample>,
}
