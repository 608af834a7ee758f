//! Collects everything that the dashboard shows, as JSON.
//!
//! Counters count from the start of the process. A viewer that wants rates takes the difference of two snapshots, and
//! starts over when `started_ms` changes. A shard is the part of the connections that one worker thread serves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::counters::Totals;
use super::nodes::Row;
use super::{nodes, usage};
use crate::broker::redis::nodes::Overview;
use crate::metrics::EndedBy;
use crate::node::Node;
use crate::shard::laggards::{self, Laggard};

/// Longest wait for the workers to report their slow clients. Without this limit, a worker that hangs would stop the
/// dashboard, which must show that it hangs.
const PATIENCE: Duration = Duration::from_millis(500);

/// Most slow clients that are shown.
const SLOWEST: usize = 10;

/// One snapshot. Sizes are in bytes; times are in microseconds where a name ends in `_us`, in milliseconds where it
/// ends in `_ms`.
#[derive(Serialize)]
struct Snapshot<'a> {
    node: String,
    version: &'static str,
    /// Start of the process, since the Unix epoch. When it changes, all counters have restarted at 0.
    started_ms: u64,
    /// Time since the start of the process.
    uptime_ms: u64,
    /// Open dashboards.
    viewers: usize,
    #[serde(flatten)]
    totals: Totals,
    /// Upper bounds of the buckets of the histogram of fan-out times. The last bucket has no upper bound, so this has
    /// one element less than `fanout`.
    fanout_le_us: Vec<u64>,
    /// Number of fan-outs in each bucket.
    fanout: Vec<u64>,
    /// Ended connections, by the side that ended them and by close code.
    closes: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// Requests that were not admitted, by reason.
    refused: BTreeMap<&'static str, u64>,
    /// Resident memory; `null` where the system does not report it.
    resident_bytes: Option<u64>,
    /// CPU time used by all threads.
    cpu_us: u64,
    shards: Vec<Shard>,
    /// The clients with the longest queues in bytes, the longest first.
    slowest: Vec<Slow>,
    /// The nodes that share the engine; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<Row<'a>>>,
}

/// The numbers of one shard.
#[derive(Serialize)]
struct Shard {
    connections: u64,
    deliveries: u64,
    /// Bytes that wait in the queues of its clients.
    queue_bytes: u64,
    /// Bytes that other threads have handed to the shard and whose delivery to its clients has not begun.
    inbox_bytes: usize,
    /// Number of clients for which something waits although their socket takes no more; `null` when the worker did not
    /// report in time.
    behind: Option<usize>,
}

/// A client for which something waits although its socket takes no more.
#[derive(Serialize)]
struct Slow {
    /// The connection's id, as in the log.
    connection: String,
    /// The user id; `null` outside of the chat.
    user: Option<String>,
    /// Index of the shard.
    shard: usize,
    /// Bytes that wait, including replies to the client's own commands.
    bytes: usize,
    /// Messages that wait, without such replies.
    messages: usize,
    /// Time since the oldest of these messages was queued; 0 when none waits.
    age_ms: u64,
}

impl From<Laggard> for Slow {
    fn from(laggard: Laggard) -> Self {
        let Laggard { id, user, bytes, messages, age_ms } = laggard;
        let user = user.map(|user| user.to_string());
        Self { connection: id.to_string(), user, shard: id.shard(), bytes, messages, age_ms }
    }
}

/// Takes a snapshot of the node and of all workers. This lasts until the last worker has reported its slow clients, and
/// at most [`PATIENCE`].
///
/// # Errors
/// The snapshot cannot be written as JSON, which no value in it can cause.
pub(super) async fn take(node: &Node, viewers: usize) -> Result<String, simd_json::Error> {
    let asked = node.find_laggards();
    let deadline = Instant::now() + PATIENCE;
    let mut found = Vec::with_capacity(asked.len());
    for laggards in asked {
        found.push(match laggards {
            Some(laggards) => timeout_at(deadline, laggards).await.ok().and_then(Result::ok),
            None => None,
        });
    }
    // All counters are read after the wait, so that they belong to one moment. Only the reports on slow clients are
    // older.
    let shards = found.iter().zip(node.metrics.shards()).enumerate();
    let shards = shards.map(|(index, (laggards, metrics))| Shard {
        connections: metrics.connections.get(),
        deliveries: metrics.deliveries.get(),
        queue_bytes: metrics.queue_bytes.get(),
        inbox_bytes: node.registry.inbox(index).bytes(),
        behind: laggards.as_ref().map(|laggards| laggards.behind),
    });
    let shards = shards.collect();
    let slowest = laggards::slowest(found.into_iter().flatten(), SLOWEST);
    let overview = node.overview();
    simd_json::serde::to_string(&snapshot(node, viewers, shards, slowest, overview.as_deref()))
}

fn snapshot<'a>(
    node: &'a Node,
    viewers: usize,
    shards: Vec<Shard>,
    slowest: Vec<Laggard>,
    overview: Option<&'a Overview>,
) -> Snapshot<'a> {
    let metrics = &node.metrics;
    let uptime_ms = node.now_ms();
    Snapshot {
        node: node.config().node.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started_ms: node.clock.unix_ms_at(0),
        uptime_ms,
        viewers,
        totals: Totals::of(node),
        fanout_le_us: metrics.fanouts().filter_map(|(bound, _)| bound).collect(),
        fanout: metrics.fanouts().map(|(_, count)| count).collect(),
        closes: EndedBy::ALL.iter().map(|&by| (by.label(), metrics.closes(by).collect())).collect(),
        refused: metrics.refusals().collect(),
        resident_bytes: usage::resident_bytes(),
        cpu_us: usage::cpu().as_micros() as u64,
        shards,
        slowest: slowest.into_iter().map(Slow::from).collect(),
        nodes: overview.map(|overview| nodes::rows(overview, uptime_ms)),
    }
}
