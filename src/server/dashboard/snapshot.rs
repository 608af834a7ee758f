//! Collects everything that the dashboard shows, as JSON.
//!
//! Counters count from the start of the process. A viewer that wants rates takes the difference of two snapshots, and
//! starts over when `started_ms` changes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::usage;
use crate::metrics::{Counter, EndedBy, ShardMetrics};
use crate::node::Node;
use crate::server::worker::handle::Worker;
use crate::shard::laggards::{Laggard, SLOWEST};

/// Longest wait for the workers to report their slow clients. A stalled worker must be visible on the dashboard, and
/// must not stall it.
const PATIENCE: Duration = Duration::from_millis(500);

/// One snapshot. Sizes are in bytes; times are in microseconds where a name ends in `_us`, in milliseconds where it
/// ends in `_ms`.
#[derive(Serialize)]
struct Snapshot<'a> {
    node: &'a str,
    version: &'static str,
    /// Start of the process since the Unix epoch: when it changes, the counters began at 0 again.
    started_ms: u64,
    /// Time since the start of the process.
    uptime_ms: u64,
    viewers: usize,
    connections: u64,
    max_connections: usize,
    rooms: usize,
    accepted: u64,
    messages: u64,
    deliveries: u64,
    bytes_sent: u64,
    writes: u64,
    queue_bytes: u64,
    slow_consumers_dropped: u64,
    messages_dropped: u64,
    rate_limited: u64,
    recovered: u64,
    not_recovered: u64,
    /// Upper bounds of the buckets of the histogram of fan-out times; the last bucket has none.
    fanout_le_us: Vec<u64>,
    /// Number of fan-outs in each bucket.
    fanout: Vec<u64>,
    /// Ended connections, by the side that ended them and by close code.
    closes: BTreeMap<&'static str, BTreeMap<String, u64>>,
    refused: BTreeMap<&'static str, u64>,
    /// Resident memory; `null` where the system does not report it.
    resident_bytes: Option<u64>,
    cpu_us: u64,
    shards: Vec<Shard>,
    slowest: Vec<Slow>,
}

/// The numbers of one worker.
#[derive(Serialize)]
struct Shard {
    connections: u64,
    deliveries: u64,
    queue_bytes: u64,
    inbox_bytes: usize,
    /// Number of clients whose queue does not drain; `null` when the worker did not report in time.
    behind: Option<usize>,
}

/// A client whose queue does not drain.
#[derive(Serialize)]
struct Slow {
    /// The connection's id, as in the log.
    connection: String,
    user: Option<String>,
    shard: usize,
    bytes: usize,
    messages: usize,
    age_ms: u64,
}

impl From<Laggard> for Slow {
    fn from(laggard: Laggard) -> Self {
        let Laggard { id, user, bytes, messages, age_ms } = laggard;
        let user = user.map(|user| user.to_string());
        Self { connection: id.to_string(), user, shard: id.shard(), bytes, messages, age_ms }
    }
}

/// Takes a snapshot of the node and of all workers. It takes as long as the slowest worker needs to report its slow
/// clients, and [`PATIENCE`] at most.
///
/// # Errors
/// The snapshot cannot be written as JSON, which no value in it can cause.
pub(super) async fn take(
    node: &Node,
    workers: &[Worker],
    viewers: usize,
) -> Result<String, simd_json::Error> {
    let asked: Vec<_> = workers.iter().map(Worker::find_laggards).collect();
    let deadline = Instant::now() + PATIENCE;
    let mut found = Vec::with_capacity(workers.len());
    for laggards in asked {
        found.push(match laggards {
            Some(laggards) => timeout_at(deadline, laggards).await.ok().and_then(Result::ok),
            None => None,
        });
    }
    // All numbers are read after the wait, so that they belong to one moment.
    let shards = found.iter().zip(node.metrics.shards()).enumerate();
    let shards = shards.map(|(index, (laggards, metrics))| Shard {
        connections: metrics.connections.get(),
        deliveries: metrics.deliveries.get(),
        queue_bytes: metrics.queue_bytes.get(),
        inbox_bytes: node.registry.inbox(index).bytes(),
        behind: laggards.as_ref().map(|laggards| laggards.behind),
    });
    let shards = shards.collect();
    let mut slowest: Vec<_> = found.into_iter().flatten().flat_map(|laggards| laggards.slowest).collect();
    slowest.sort_by_key(|laggard: &Laggard| std::cmp::Reverse(laggard.bytes));
    slowest.truncate(SLOWEST);
    simd_json::serde::to_string(&snapshot(node, viewers, shards, slowest))
}

fn snapshot(node: &Node, viewers: usize, shards: Vec<Shard>, slowest: Vec<Laggard>) -> Snapshot<'_> {
    let metrics = &node.metrics;
    let sum = |counter: fn(&ShardMetrics) -> &Counter| metrics.sum(counter);
    let uptime_ms = node.now_ms();
    Snapshot {
        node: &node.config.node,
        version: env!("CARGO_PKG_VERSION"),
        started_ms: node.clock.unix_ms_at(0),
        uptime_ms,
        viewers,
        connections: sum(|s| &s.connections),
        max_connections: node.config.limits.max_connections,
        rooms: node.room_count(),
        accepted: sum(|s| &s.accepted),
        messages: sum(|s| &s.messages_received),
        deliveries: sum(|s| &s.deliveries),
        bytes_sent: sum(|s| &s.bytes_sent),
        writes: sum(|s| &s.writes),
        queue_bytes: sum(|s| &s.queue_bytes),
        slow_consumers_dropped: sum(|s| &s.slow_consumers_dropped),
        messages_dropped: sum(|s| &s.messages_dropped),
        rate_limited: sum(|s| &s.rate_limited),
        recovered: sum(|s| &s.recovered),
        not_recovered: sum(|s| &s.not_recovered),
        fanout_le_us: metrics.fanouts().filter_map(|(bound, _)| bound).collect(),
        fanout: metrics.fanouts().map(|(_, count)| count).collect(),
        closes: EndedBy::ALL.iter().map(|&by| (by.label(), metrics.closes(by).collect())).collect(),
        refused: metrics.refusals().collect(),
        resident_bytes: usage::resident_bytes(),
        cpu_us: usage::cpu().as_micros() as u64,
        shards,
        slowest: slowest.into_iter().map(Slow::from).collect(),
    }
}
