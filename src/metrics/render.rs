//! The page `/metrics`: all metrics in Prometheus' text format (version 0.0.4).

use std::fmt::Write as _;

use super::counter::Counter;
use super::page::Page;
use super::{CertificateGauge, EndedBy, Gauges, Metrics, Process, ShardMetrics, hooks, webhooks};

impl Metrics {
    /// Renders all metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self, now: &Gauges, process: &Process) -> String {
        let mut page = Page(String::with_capacity(16 * 1024));
        let name = "throng_build_info";
        page.head(name, "gauge", "Always 1; the labels are the version and the parts that were compiled in.");
        let (version, features) = (env!("CARGO_PKG_VERSION"), super::build::features().join(","));
        page.plain(&format!("{name}{{version=\"{version}\",features=\"{features}\"}}"), 1);
        self.render_gauges(&mut page, now);
        self.render_counters(&mut page);
        self.render_shards(&mut page);
        self.render_labelled(&mut page);
        self.render_histogram(&mut page);
        if let Some((engine, waiting_bytes)) = &now.engine {
            engine.render(&mut page, *waiting_bytes);
        }
        webhooks::render(&mut page, &now.webhooks);
        hooks::render(&mut page, &now.hooks);
        if let Some(keys) = &now.keys {
            let age_s = keys.age.map_or(f64::INFINITY, |age| age.as_secs_f64());
            page.gauge("throng_jwks_age_seconds", "Age of the set of keys of auth.jwks_url.", age_s);
            page.counter(
                "throng_jwks_failures_total",
                "Fetches of the set of keys that failed.",
                keys.failures,
            );
        }
        if !now.certificates.is_empty() {
            let name = "throng_tls_certificate_expiry_seconds";
            page.head(name, "gauge", "Last second in which a certificate holds, since the Unix epoch.");
            for CertificateGauge { index, name: host, expiry_unix_s } in &now.certificates {
                // A certificate may have any characters in its names.
                let host: String =
                    host.chars().filter(|c| c.is_ascii_alphanumeric() || ".-*:_".contains(*c)).collect();
                page.plain(&format!("{name}{{certificate=\"{index}\",name=\"{host}\"}}"), expiry_unix_s);
            }
        }
        process.render(&mut page);
        page.0
    }

    fn render_gauges(&self, page: &mut Page, now: &Gauges) {
        let sum = |counter: fn(&ShardMetrics) -> &Counter| self.sum(counter);
        page.gauge("throng_connections", "Open connections of clients.", sum(|s| &s.connections));
        page.gauge(
            "throng_sse_connections",
            "Those among them that only read, as server-sent events.",
            sum(|s| &s.sse_connections),
        );
        page.gauge(
            "throng_connections_max",
            "Most WebSocket connections that may be open (limits.max_connections).",
            now.max_connections,
        );
        page.gauge(
            "throng_draining",
            "Whether the server is stopping and takes no new connections.",
            u8::from(now.is_draining),
        );
        page.gauge("throng_rooms", "Rooms that have members or history.", now.rooms);
        page.gauge("throng_queue_bytes", "Bytes queued for clients.", sum(|s| &s.queue_bytes));
        page.gauge(
            "throng_queue_bytes_max",
            "Most bytes that may be queued for clients (queue.total_bytes).",
            now.max_queue_bytes,
        );
        page.gauge(
            "throng_rate_limit_users",
            "Users whose rate limit bucket is not full.",
            now.limited_users,
        );
        page.gauge(
            "throng_history_waiting",
            "Messages that wait to be written to history.dir.",
            now.history_waiting,
        );
        page.counter(
            "throng_history_write_failures_total",
            "Writes to history.dir that failed.",
            now.history_failures,
        );
    }

    fn render_counters(&self, page: &mut Page) {
        let mut counter = |name: &str, help: &str, of: fn(&ShardMetrics) -> &Counter| {
            page.counter(name, help, self.sum(of));
        };
        counter("throng_connections_accepted_total", "WebSocket connections accepted.", |s| &s.accepted);
        counter("throng_messages_received_total", "Data messages received from clients.", |s| {
            &s.messages_received
        });
        counter("throng_deliveries_total", "Fan-out messages written to clients.", |s| &s.deliveries);
        counter("throng_bytes_sent_total", "Bytes written to clients.", |s| &s.bytes_sent);
        counter(
            "throng_compressed_from_bytes_total",
            "Bytes of events that were compressed, each once for each shard.",
            |s| &s.compressed_from,
        );
        counter("throng_compressed_to_bytes_total", "Bytes of their compressed forms.", |s| &s.compressed_to);
        counter("throng_writes_total", "Write system calls.", |s| &s.writes);
        counter(
            "throng_slow_consumers_dropped_total",
            "Clients disconnected because they did not keep up.",
            |s| &s.slow_consumers_dropped,
        );
        counter("throng_messages_dropped_total", "Messages dropped by a queue's policy.", |s| {
            &s.messages_dropped
        });
        counter("throng_rate_limited_total", "Messages and control frames refused for their rate.", |s| {
            &s.rate_limited
        });
    }

    /// Writes the counters by shard, which show how evenly the work is divided.
    fn render_shards(&self, page: &mut Page) {
        let name = "throng_shard_connections";
        page.head(name, "gauge", "Open WebSocket connections by shard.");
        for (index, shard) in self.shards.iter().enumerate() {
            page.series(name, "shard", index, shard.connections.get());
        }
        let name = "throng_shard_deliveries_total";
        page.head(name, "counter", "Fan-out messages written to clients by shard.");
        for (index, shard) in self.shards.iter().enumerate() {
            page.series(name, "shard", index, shard.deliveries.get());
        }
    }

    fn render_labelled(&self, page: &mut Page) {
        let name = "throng_recoveries_total";
        page.head(name, "counter", "Resumes, by whether the history had every missed message.");
        page.series(name, "recovered", true, self.sum(|s| &s.recovered));
        page.series(name, "recovered", false, self.sum(|s| &s.not_recovered));
        let name = "throng_errors_total";
        page.head(name, "counter", "Errors that answered chat commands, by code.");
        for (code, count) in self.errors() {
            page.series(name, "code", code, count);
        }
        let name = "throng_refused_total";
        page.head(name, "counter", "Handshakes refused, by reason.");
        for (reason, count) in self.refusals() {
            page.series(name, "reason", reason, count);
        }
        let name = "throng_closes_total";
        page.head(name, "counter", "Ended connections, by close code and by the side that ended them.");
        for by in EndedBy::ALL {
            for (code, count) in self.closes(by) {
                let _ = writeln!(page.0, "{name}{{code=\"{code}\",by=\"{}\"}} {count}", by.label());
            }
        }
    }

    fn render_histogram(&self, page: &mut Page) {
        let help = "Time from publish to the last write, for each batch and shard.";
        page.head("throng_fanout_seconds", "histogram", help);
        let counts = self.fanouts().map(|(_, count)| count);
        page.durations("throng_fanout_seconds", counts, self.sum(|shard| &shard.fanout.sum_us));
    }
}

impl Process {
    /// Writes the metrics of the process under the names that Prometheus prescribes for every program.
    fn render(&self, page: &mut Page) {
        let help = "CPU time of all threads, in user and system mode.";
        page.counter("process_cpu_seconds_total", help, self.cpu.as_secs_f64());
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory.", self.resident_bytes),
            ("process_open_fds", "Open file descriptors.", self.open_fds),
            ("process_max_fds", "Most file descriptors that may be open.", self.max_fds),
            ("process_threads", "Threads.", self.threads),
        ] {
            if let Some(value) = value {
                page.gauge(name, help, value);
            }
        }
        let help = "Start of the process, since the Unix epoch.";
        page.gauge("process_start_time_seconds", help, self.started_unix_ms as f64 / 1e3);
    }
}
