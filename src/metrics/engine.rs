//! Metrics of the engine that several nodes share. Its one thread writes them, and a scrape reads them.

use std::time::Duration;

use parking_lot::Mutex;

use super::counter::{Counter, Histogram};
use super::page::Page;

/// Upper bounds of the sizes of batches; the last is the largest that is sent.
const BATCHES: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];

/// The counters and gauges of the engine. Only the engine's thread changes them, unless a field says otherwise.
#[derive(Debug, Default)]
pub struct EngineMetrics {
    /// Live nodes, this one included.
    pub nodes: Counter,
    /// Calls that wait for the answer of a server.
    pub calls_in_flight: Counter,
    /// Connections to servers that were made again after a break.
    pub reconnects: Counter,
    /// Messages that were read from streams because they were not pushed.
    pub filled: Counter,
    /// Times that messages were gone before this node could read them.
    pub gaps: Counter,
    /// Rooms that went on in a new epoch without loss.
    pub forks: Counter,
    /// Rooms whose members were closed with 4003 because messages that they were shown are lost.
    pub forks_lost: Counter,
    /// Rooms that this node follows.
    pub rooms: Counter,
    /// Calls that a server refused or whose answer could not be read.
    pub errors: Counter,
    /// Requests to other nodes that were not answered in time.
    pub control_timeouts: Counter,
    publishes: Histogram,
    batches: [Counter; BATCHES.len()],
    batched: Counter,
    /// The servers by address, and whether each is connected.
    servers: Mutex<Vec<(String, bool)>>,
}

impl EngineMetrics {
    /// Notes whether a server is connected.
    pub fn set_up(&self, server: &str, is_up: bool) {
        let mut servers = self.servers.lock();
        match servers.iter_mut().find(|(known, _)| known == server) {
            Some((_, state)) => *state = is_up,
            None => servers.push((server.to_owned(), is_up)),
        }
    }

    /// Notes that a server is no longer used.
    pub fn forget_server(&self, server: &str) {
        self.servers.lock().retain(|(known, _)| known != server);
    }

    /// Counts a call with this many messages.
    pub fn count_batch(&self, messages: usize) {
        let messages = messages as u64;
        let index = BATCHES.iter().position(|&bound| messages <= bound).unwrap_or(BATCHES.len() - 1);
        self.batches[index].add(1);
        self.batched.add(messages);
    }

    /// Counts a message by the time from its submission until it is delivered on this node.
    pub fn count_publish(&self, took: Duration) {
        self.publishes.count(took);
    }

    /// Writes all of them. `waiting_bytes` are those of the messages that wait.
    pub(super) fn render(&self, page: &mut Page, waiting_bytes: usize) {
        page.gauge("throng_nodes", "Live nodes on the engine, this one included.", self.nodes.get());
        page.head("throng_engine_up", "gauge", "Whether each server of the engine is connected.");
        for (server, is_up) in self.servers.lock().iter() {
            page.series("throng_engine_up", "shard", server, u8::from(*is_up));
        }
        let rooms = self.rooms.get();
        page.gauge("throng_engine_rooms_subscribed", "Rooms that this node follows on the engine.", rooms);
        page.gauge(
            "throng_engine_waiting_bytes",
            "Bytes of messages that wait for the engine.",
            waiting_bytes,
        );
        let calls = self.calls_in_flight.get();
        page.gauge("throng_engine_calls_in_flight", "Calls that wait for the engine's answer.", calls);
        let mut counter = |name: &str, help: &str, value: &Counter| page.counter(name, help, value.get());
        counter("throng_engine_reconnects_total", "Connections made again after a break.", &self.reconnects);
        counter("throng_engine_filled_total", "Messages read from streams after a break.", &self.filled);
        counter(
            "throng_engine_gaps_total",
            "Times that messages were gone before they were read.",
            &self.gaps,
        );
        counter(
            "throng_engine_errors_total",
            "Calls that were refused or answered unreadably.",
            &self.errors,
        );
        let help = "Requests to other nodes without an answer in time.";
        counter("throng_control_timeouts_total", help, &self.control_timeouts);
        let name = "throng_engine_forks_total";
        page.head(name, "counter", "Rooms in a new epoch, by whether messages that were shown are lost.");
        page.series(name, "lost", false, self.forks.get());
        page.series(name, "lost", true, self.forks_lost.get());
        self.render_histograms(page);
    }

    fn render_histograms(&self, page: &mut Page) {
        let name = "throng_engine_publish_seconds";
        page.head(name, "histogram", "Time from a message's arrival until it is delivered on this node.");
        let counts = self.publishes.counts.iter().map(Counter::get);
        page.durations(name, counts, self.publishes.sum_us.get());
        let name = "throng_engine_batch_messages";
        page.head(name, "histogram", "Messages of one call to the engine.");
        // No call is larger than the last bound.
        page.histogram(
            name,
            BATCHES.iter().zip(self.batches.iter().map(Counter::get)),
            0,
            self.batched.get(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_publishes_are_counted_in_their_buckets() {
        let metrics = EngineMetrics::default();
        for messages in [1, 3, 64] {
            metrics.count_batch(messages);
        }
        metrics.count_publish(Duration::from_micros(700));
        metrics.set_up("a:1", true);
        metrics.set_up("b:1", true);
        metrics.set_up("a:1", false);
        metrics.forget_server("b:1");
        let mut page = Page::default();
        metrics.render(&mut page, 12);
        for line in [
            "throng_engine_up{shard=\"a:1\"} 0",
            "throng_engine_waiting_bytes 12",
            "throng_engine_batch_messages_bucket{le=\"1\"} 1",
            "throng_engine_batch_messages_bucket{le=\"4\"} 2",
            "throng_engine_batch_messages_bucket{le=\"+Inf\"} 3",
            "throng_engine_batch_messages_sum 68",
            "throng_engine_publish_seconds_bucket{le=\"0.0005\"} 0",
            "throng_engine_publish_seconds_bucket{le=\"0.001\"} 1",
            "throng_engine_publish_seconds_count 1",
        ] {
            assert!(page.0.lines().any(|known| known == line), "{line}: {}", page.0);
        }
        assert!(!page.0.contains("b:1"), "{}", page.0);
    }
}
