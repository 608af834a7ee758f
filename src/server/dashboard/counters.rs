//! The numbers of this node that the dashboards of all nodes show. Each beat carries them to the other nodes.
//!
//! The names and the meaning of a field never change, because nodes of two versions read each other. A field may come
//! or go. Counters count from the start of the process, so that a reader computes rates from two beats.

use serde::Serialize;

use super::usage;
use crate::metrics::{Counter, ShardMetrics};
use crate::node::Node;

/// The sums over all shards.
#[derive(Debug, Serialize, Default)]
pub(super) struct Totals {
    /// Open WebSocket connections.
    pub(super) connections: u64,
    max_connections: usize,
    pub(super) rooms: usize,
    /// WebSocket connections accepted.
    pub(super) accepted: u64,
    /// Messages received from clients.
    pub(super) messages: u64,
    /// Fan-out messages written completely to a client's socket.
    pub(super) deliveries: u64,
    pub(super) bytes_sent: u64,
    /// System calls that write to clients.
    pub(super) writes: u64,
    /// Bytes that wait in the queues of clients.
    pub(super) queue_bytes: u64,
    /// Clients disconnected because they did not keep up.
    pub(super) slow_consumers_dropped: u64,
    /// Messages that a full queue dropped.
    pub(super) messages_dropped: u64,
    /// Messages and control frames refused because their connection or user sent too fast.
    pub(super) rate_limited: u64,
    /// Resumes for which the history had every missed message.
    recovered: u64,
    /// Resumes for which the history lacked a missed message.
    not_recovered: u64,
}

impl Totals {
    pub(super) fn of(node: &Node) -> Self {
        let sum = |counter: fn(&ShardMetrics) -> &Counter| node.metrics.sum(counter);
        Self {
            connections: sum(|s| &s.connections),
            max_connections: node.config().limits.max_connections,
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
        }
    }
}

/// The counters of a beat. They are flat: every value is a number or a text.
#[derive(Serialize, Default)]
pub(super) struct Counters {
    /// `serving` or `draining`.
    state: &'static str,
    /// Start of the process, since the Unix epoch. When it changes, all counters have restarted at 0.
    started_ms: u64,
    /// Time since the start of the process.
    uptime_ms: u64,
    #[serde(flatten)]
    totals: Totals,
    /// Requests that were not admitted, for any reason.
    refused: u64,
    /// Resident memory; left out where the system does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<u64>,
    /// CPU time used by all threads.
    cpu_us: u64,
}

impl Counters {
    fn json(&self) -> String {
        // No value of these types fails, and the reader of an empty text takes it for a node without counters.
        simd_json::serde::to_string(self).unwrap_or_default()
    }
}

/// Returns the counters of a node as a JSON object on one line.
pub(in crate::server) fn json(node: &Node) -> String {
    of(node).json()
}

/// Returns the counters of a node.
pub(super) fn of(node: &Node) -> Counters {
    Counters {
        state: if node.is_draining() { "draining" } else { "serving" },
        started_ms: node.clock.unix_ms_at(0),
        uptime_ms: node.now_ms(),
        totals: Totals::of(node),
        refused: node.metrics.refusals().map(|(_, count)| count).sum(),
        resident_bytes: usage::resident_bytes(),
        cpu_us: usage::cpu().as_micros() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::redis::nodes::Details;

    #[test]
    fn the_largest_counters_fit_into_a_beat() {
        let most = u64::MAX;
        let totals = Totals {
            connections: most,
            max_connections: usize::MAX,
            rooms: usize::MAX,
            accepted: most,
            messages: most,
            deliveries: most,
            bytes_sent: most,
            writes: most,
            queue_bytes: most,
            slow_consumers_dropped: most,
            messages_dropped: most,
            rate_limited: most,
            recovered: most,
            not_recovered: most,
        };
        let counters = Counters {
            state: "draining",
            started_ms: most,
            uptime_ms: most,
            totals,
            refused: most,
            resident_bytes: Some(most),
            cpu_us: most,
        };
        let json = counters.json();
        assert!(json.starts_with("{\"state\":\"draining\",") && json.contains("\"rooms\":"), "{json}");
        Details::new("1".into(), "a".into(), json.into()).unwrap();
    }
}
