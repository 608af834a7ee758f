//! Metrics of a node. Each shard has counters of its own, which its one thread writes and a scrape sums, so that
//! counting never moves a cache line between cores.

pub mod build;
mod counter;
pub mod engine;
pub mod hooks;
mod page;
mod render;
pub mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use self::counter::Counter;
use self::counter::{BUCKETS, Histogram};
use self::engine::EngineMetrics;
use self::hooks::HookGauges;
use self::webhooks::WebhookGauges;

/// The close codes that are counted one by one. Every other code, which a client may invent, is counted as `other`, so
/// that the number of series is fixed. 1005 means closed without a code, 1006 gone without a close frame.
const CODES: [u16; 20] = [
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 3000, 3003, 3008, 4001, 4002,
    4003, 4501, 4502,
];

/// The codes of the errors that answer chat commands.
const ERRORS: [&str; 15] = [
    "invalid_json",
    "invalid_message",
    "missing_field",
    "message_too_long",
    "data_too_long",
    "unknown_type",
    "invalid_room",
    "not_in_room",
    "already_joined",
    "too_many_rooms",
    "user_not_found",
    "rate_limited",
    "forbidden",
    "invalid_token",
    "unavailable",
];

/// The side that ended a connection. Both sides may send any close code, with different meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// The server ended it.
    Server,
    /// The client ended it, with or without a close frame.
    Client,
}

impl EndedBy {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Server, Self::Client];

    /// Returns the value of the metrics' label `by`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// The counters of one shard, aligned so that two shards never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Open connections of clients.
    pub connections: Counter,
    /// Those among them that get server-sent events.
    pub sse_connections: Counter,
    /// WebSocket connections accepted since the start.
    pub accepted: Counter,
    /// Data messages received completely.
    pub messages_received: Counter,
    /// Fan-out messages written completely to a client's socket.
    pub deliveries: Counter,
    /// Bytes written to WebSocket clients.
    pub bytes_sent: Counter,
    /// Bytes of the events that were compressed, before that. Each event counts once, whatever its audience.
    pub compressed_from: Counter,
    /// Bytes of their compressed forms.
    pub compressed_to: Counter,
    /// Write system calls for WebSocket clients.
    pub writes: Counter,
    /// Clients disconnected because they did not keep up.
    pub slow_consumers_dropped: Counter,
    /// Messages that a `drop_*` policy removed from a queue or did not add to it.
    pub messages_dropped: Counter,
    /// Bytes queued for clients.
    pub queue_bytes: Counter,
    /// Resumes for which the history had every missed message.
    pub recovered: Counter,
    /// Resumes for which the history lacked a missed message.
    pub not_recovered: Counter,
    /// Messages and control frames refused because their connection or user sent too fast.
    pub rate_limited: Counter,
    /// Ended connections by side and by index into [`CODES`], other codes last.
    closes: [[Counter; CODES.len() + 1]; EndedBy::ALL.len()],
    /// Errors by index into [`ERRORS`]. They are atomic because the thread that writes the log answers commands, too.
    errors: [AtomicU64; ERRORS.len()],
    fanout: Histogram,
}

impl ShardMetrics {
    /// Counts the end of a connection by close code and side.
    pub fn count_close(&self, code: u16, by: EndedBy) {
        let index = CODES.iter().position(|&known| known == code).unwrap_or(CODES.len());
        self.closes[by as usize][index].add(1);
    }

    /// Counts an error that answers a chat command. Any thread may call this; errors are rare.
    pub fn count_error(&self, code: &'static str) {
        let index = ERRORS.iter().position(|&known| known == code);
        debug_assert!(index.is_some(), "unknown error {code}");
        if let Some(index) = index {
            self.errors[index].fetch_add(1, Relaxed);
        }
    }

    /// Counts a fan-out by the time from its first publish to its last write.
    pub fn count_fanout(&self, took: Duration) {
        self.fanout.count(took);
    }
}

/// The counters of a node.
#[derive(Debug)]
pub struct Metrics {
    shards: Box<[Arc<ShardMetrics>]>,
    refusals: Box<[(&'static str, AtomicU64)]>,
}

/// Current values that no shard counts, read for a scrape.
#[derive(Debug, Clone)]
pub struct Gauges {
    /// The value of `limits.max_connections`.
    pub max_connections: usize,
    /// The value of `queue.total_bytes`.
    pub max_queue_bytes: usize,
    /// Whether the first signal to stop has come.
    pub is_draining: bool,
    /// Rooms that have members or history.
    pub rooms: usize,
    /// Users whose rate limit bucket is not full.
    pub limited_users: usize,
    /// Messages that wait to be written to `history.dir` or are being written.
    pub history_waiting: usize,
    /// Writes to `history.dir` that failed.
    pub history_failures: u64,
    /// The metrics of the engine that several nodes share, and the bytes that wait for it; `None` on a node alone.
    pub engine: Option<(Arc<EngineMetrics>, usize)>,
    /// The figures of each webhook.
    pub webhooks: Vec<WebhookGauges>,
    /// The figures of each hook.
    pub hooks: Vec<HookGauges>,
    /// The set of keys of `auth.jwks_url`; `None` without one.
    pub keys: Option<KeySetMetrics>,
    /// The certificates for TLS.
    pub certificates: Vec<CertificateGauge>,
}

/// The expiry of a certificate for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateGauge {
    /// 0 for that of `tls.cert_file`, and the number in `tls.certificates` for the others, from 1.
    pub index: usize,
    /// The first name of the certificate: a DNS name or an IP address, or nothing.
    pub name: String,
    /// The last second in which its chain holds, since the Unix epoch.
    pub expiry_unix_s: u64,
}

/// The state of a set of keys that is fetched from a URL.
#[derive(Debug, Clone, Copy)]
pub struct KeySetMetrics {
    /// Time since the set came; `None` until the first one.
    pub age: Option<Duration>,
    /// Fetches that failed.
    pub failures: u64,
}

/// Resources that the process uses; `None` where the system does not tell.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// CPU time of all threads, in user and system mode.
    pub cpu: Duration,
    /// Bytes of resident memory.
    pub resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Most file descriptors that may be open.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Start of the process, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
}

impl Metrics {
    /// Creates counters for `shards` shards and for these reasons of refusals.
    #[must_use]
    pub fn new(shards: usize, refusals: &[&'static str]) -> Self {
        Self {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            refusals: refusals.iter().map(|&reason| (reason, AtomicU64::new(0))).collect(),
        }
    }

    /// Returns the counters of one shard.
    ///
    /// # Panics
    /// If there is no shard of this index.
    #[must_use]
    pub fn shard(&self, index: usize) -> &Arc<ShardMetrics> {
        &self.shards[index]
    }

    /// Counts a handshake refused in HTTP. Any thread may call this; refusals are rare.
    pub fn count_refusal(&self, reason: &'static str) {
        debug_assert!(self.refusals.iter().any(|(known, _)| *known == reason), "unknown reason {reason}");
        if let Some((_, count)) = self.refusals.iter().find(|(known, _)| *known == reason) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Returns the counters of all shards, in order.
    #[must_use]
    pub fn shards(&self) -> &[Arc<ShardMetrics>] {
        &self.shards
    }

    /// Returns the number of refused handshakes by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refusals.iter().map(|(reason, count)| (*reason, count.load(Relaxed)))
    }

    /// Returns the number of connections that this side ended, by close code; `other` sums all codes that are not
    /// known.
    pub fn closes(&self, by: EndedBy) -> impl Iterator<Item = (String, u64)> {
        let labels = CODES.iter().map(u16::to_string).chain(["other".to_owned()]);
        let counted = labels.enumerate();
        let counted = counted.map(move |(index, code)| (code, self.sum(|s| &s.closes[by as usize][index])));
        // The server never ends a connection with these codes: they stand for a code that a client did not send.
        counted.filter(move |(code, _)| by == EndedBy::Client || !matches!(code.as_str(), "1005" | "1006"))
    }

    /// Returns the number of errors that answered chat commands, by code.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |index: usize| self.shards.iter().map(move |shard| shard.errors[index].load(Relaxed));
        ERRORS.iter().enumerate().map(move |(index, code)| (*code, count(index).fold(0, u64::wrapping_add)))
    }

    /// Returns the number of fan-outs in each bucket, with the bucket's upper bound in microseconds; the last bucket
    /// has none. The counts are not cumulative.
    pub fn fanouts(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BUCKETS.iter().map(|&(bound, _)| Some(bound)).chain([None]);
        bounds.enumerate().map(|(index, bound)| (bound, self.sum(|shard| &shard.fanout.counts[index])))
    }

    /// Returns the sum of one counter over all shards.
    pub fn sum(&self, counter: impl Fn(&ShardMetrics) -> &Counter) -> u64 {
        self.shards.iter().fold(0, |sum, shard| sum.wrapping_add(counter(shard).get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_process() -> Process {
        Process {
            cpu: Duration::from_millis(1_500),
            resident_bytes: Some(1 << 20),
            open_fds: None,
            max_fds: Some(1024),
            threads: Some(5),
            started_unix_ms: 1_700_000_000_250,
        }
    }

    #[test]
    fn shards_are_summed_and_unknown_codes_are_one_series() {
        let metrics = Metrics::new(2, &["origin"]);
        metrics.shard(0).accepted.add(2);
        metrics.shard(1).accepted.add(3);
        metrics.shard(0).connections.add(7);
        metrics.shard(1).deliveries.add(9);
        metrics.shard(0).count_close(1000, EndedBy::Server);
        metrics.shard(1).count_close(1000, EndedBy::Client);
        metrics.shard(1).count_close(4999, EndedBy::Client);
        metrics.shard(0).count_close(4321, EndedBy::Client);
        metrics.shard(0).count_error("rate_limited");
        metrics.shard(1).count_error("rate_limited");
        metrics.count_refusal("origin");
        metrics.shard(0).count_fanout(Duration::from_micros(200));
        metrics.shard(1).count_fanout(Duration::from_secs(60));
        let now = Gauges {
            max_connections: 1000,
            max_queue_bytes: 1 << 20,
            is_draining: true,
            rooms: 7,
            limited_users: 3,
            history_waiting: 2,
            history_failures: 4,
            engine: None,
            webhooks: Vec::new(),
            hooks: Vec::new(),
            keys: None,
            certificates: vec![CertificateGauge {
                index: 0,
                name: "*.chat.example".into(),
                expiry_unix_s: 1_900_000_000,
            }],
        };
        let text = metrics.render(&now, &a_process());
        for line in [
            "throng_connections_accepted_total 5",
            "throng_rooms 7",
            "throng_tls_certificate_expiry_seconds{certificate=\"0\",name=\"*.chat.example\"} 1900000000",
            "throng_rate_limit_users 3",
            "throng_history_waiting 2",
            "throng_history_write_failures_total 4",
            "throng_queue_bytes_max 1048576",
            "throng_draining 1",
            "throng_connections_max 1000",
            "throng_shard_connections{shard=\"0\"} 7",
            "throng_shard_connections{shard=\"1\"} 0",
            "throng_shard_deliveries_total{shard=\"1\"} 9",
            "throng_closes_total{code=\"1000\",by=\"server\"} 1",
            "throng_closes_total{code=\"other\",by=\"server\"} 0",
            "throng_closes_total{code=\"1000\",by=\"client\"} 1",
            "throng_closes_total{code=\"other\",by=\"client\"} 2",
            "throng_errors_total{code=\"rate_limited\"} 2",
            "throng_errors_total{code=\"forbidden\"} 0",
            "process_cpu_seconds_total 1.5",
            "process_resident_memory_bytes 1048576",
            "process_max_fds 1024",
            "process_threads 5",
            "process_start_time_seconds 1700000000.25",
            "throng_refused_total{reason=\"origin\"} 1",
            "throng_fanout_seconds_bucket{le=\"0.0001\"} 0",
            "throng_fanout_seconds_bucket{le=\"0.00025\"} 1",
            "throng_fanout_seconds_bucket{le=\"+Inf\"} 2",
            "throng_fanout_seconds_count 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("process_open_fds"), "an unknown value is left out:\n{text}");
    }
}
