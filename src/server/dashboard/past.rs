//! The last five minutes of the numbers that the dashboard draws: one sample a second, whether anybody looks or not.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use super::counters::Totals;
use super::usage;
use crate::node::Node;

/// Most samples, one per second: as many as a curve of the page has points.
const MOST: usize = 300;

/// The numbers of one second.
#[derive(Debug)]
struct Sample {
    uptime_ms: u64,
    totals: Totals,
    refused: u64,
    resident_bytes: Option<u64>,
    cpu_us: u64,
    fanout: Box<[u64]>,
}

impl Sample {
    fn of(node: &Node) -> Self {
        Self {
            uptime_ms: node.now_ms(),
            totals: Totals::of(node),
            refused: node.metrics.refusals().map(|(_, count)| count).sum(),
            resident_bytes: usage::resident_bytes(),
            cpu_us: usage::cpu().as_micros() as u64,
            fanout: node.metrics.fanouts().map(|(_, count)| count).collect(),
        }
    }
}

/// The samples as the feed sends them: a list for each number, the oldest first. The numbers have the names and the
/// meaning of those in a [`Snapshot`](super::snapshot).
#[derive(Debug, Default, Serialize)]
struct Columns {
    node: String,
    started_ms: u64,
    fanout_le_us: Vec<u64>,
    uptime_ms: Vec<u64>,
    connections: Vec<u64>,
    rooms: Vec<usize>,
    accepted: Vec<u64>,
    messages: Vec<u64>,
    deliveries: Vec<u64>,
    bytes_sent: Vec<u64>,
    writes: Vec<u64>,
    queue_bytes: Vec<u64>,
    slow_consumers_dropped: Vec<u64>,
    messages_dropped: Vec<u64>,
    rate_limited: Vec<u64>,
    refused: Vec<u64>,
    resident_bytes: Vec<Option<u64>>,
    cpu_us: Vec<u64>,
    fanout: Vec<Box<[u64]>>,
}

impl Columns {
    fn push(&mut self, sample: &Sample) {
        let Sample { uptime_ms, totals, refused, resident_bytes, cpu_us, fanout } = sample;
        self.uptime_ms.push(*uptime_ms);
        self.connections.push(totals.connections);
        self.rooms.push(totals.rooms);
        self.accepted.push(totals.accepted);
        self.messages.push(totals.messages);
        self.deliveries.push(totals.deliveries);
        self.bytes_sent.push(totals.bytes_sent);
        self.writes.push(totals.writes);
        self.queue_bytes.push(totals.queue_bytes);
        self.slow_consumers_dropped.push(totals.slow_consumers_dropped);
        self.messages_dropped.push(totals.messages_dropped);
        self.rate_limited.push(totals.rate_limited);
        self.refused.push(*refused);
        self.resident_bytes.push(*resident_bytes);
        self.cpu_us.push(*cpu_us);
        self.fanout.push(fanout.clone());
    }
}

/// The samples of the last five minutes.
#[derive(Debug, Default)]
pub(super) struct Past {
    samples: Mutex<VecDeque<Sample>>,
}

impl Past {
    /// Takes a sample; to be called once a second.
    pub(super) fn sample(&self, node: &Node) {
        let sample = Sample::of(node);
        let mut samples = self.samples.lock();
        if samples.len() >= MOST {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Returns the samples as the event `history` of the feed, which readers of the snapshots do not take for one.
    ///
    /// # Errors
    /// They cannot be written as JSON, which no value in them can cause.
    pub(super) fn event(&self, node: &Node) -> Result<Bytes, simd_json::Error> {
        let mut columns = Columns {
            node: node.config().node.clone(),
            started_ms: node.clock.unix_ms_at(0),
            fanout_le_us: node.metrics.fanouts().filter_map(|(bound, _)| bound).collect(),
            ..Columns::default()
        };
        for sample in &*self.samples.lock() {
            columns.push(sample);
        }
        let json = simd_json::serde::to_string(&columns)?;
        Ok(format!("event: history\ndata: {json}\n\n").into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::clock::Clock;
    use crate::config::{Config, Machine};
    use crate::metrics::Metrics;

    #[test]
    fn five_minutes_are_kept_and_no_more() {
        const CORE: Machine = Machine { descriptors: 10_000, memory_bytes: 1 << 30, cores: 1 };
        let config = Config::default().resolve(&CORE);
        let node = Node::new(config, Metrics::new(1, &[]), Clock::system());
        let past = Past::default();
        let lengths = |event: &[u8]| {
            let json = event.strip_prefix(b"event: history\ndata: ").expect("an event");
            let columns: Value = serde_json::from_slice(json).expect("JSON");
            let lists =
                columns.as_object().expect("an object").iter().filter(|(name, _)| *name != "fanout_le_us");
            lists.filter_map(|(_, list)| list.as_array().map(Vec::len)).collect::<Vec<_>>()
        };
        for (more, expected) in [(0, 0), (2, 2), (MOST - 2, MOST), (7, MOST)] {
            (0..more).for_each(|_| past.sample(&node));
            let event = past.event(&node).unwrap();
            assert_eq!(lengths(&event), [expected; 16], "{more}");
        }
    }
}
