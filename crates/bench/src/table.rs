//! Formats the report as rows for people: the table on standard output and in the HTML report.

use super::format::{Row, grouped, time};
use super::latency::Summary;
use super::ramp::Climb;
use super::report::Report;

/// Formats the percentiles, or returns `None` if nothing was recorded.
fn latency(summary: &Summary) -> Option<String> {
    let Summary { p50, p90, p99, p999, max, .. } = summary;
    let all = [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p999), ("max", max)]
        .map(|(name, us)| format!("{name} {}", time(*us)));
    (!summary.is_empty()).then(|| all.join("  "))
}

/// Says at which rate p99 left its bounds; `None` if nothing arrived.
fn climb(ramp: &Climb) -> Option<String> {
    let bound = format!("10 × the {} of the first second", time(ramp.first_p99_us?));
    Some(match ramp.tenfold_p99_at_per_s {
        Some(rate) => format!("p99 was first above {bound}, at {} messages/s offered", grouped(rate)),
        None => format!("p99 of each second stayed within {bound}"),
    })
}

impl Report {
    /// Returns the rows of the table in their order. A value that was not measured has no row.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> =
            vec![("scenario", format!("{} on {}", self.scenario, self.target)), ("load", self.load())];
        rows.extend(self.tls.iter().map(|tls| ("encryption", tls.clone())));
        rows.extend(self.compressed_connections.map(|count| {
            let opened = self.handshakes.opened;
            (
                "compression",
                match count {
                    0 => "offered, and not accepted".to_owned(),
                    _ => format!("accepted in {count} of {opened} handshakes"),
                },
            )
        }));
        if self.pace().is_some() {
            self.traffic_rows(&mut rows);
        }
        if let Some(stalled) = &self.stalled {
            rows.extend(latency(&stalled.before_latency_us).map(|it| ("before the stall", it)));
            rows.extend(stalled.p99_ratio.map(|ratio| ("p99 ÷ before", format!("{ratio:.2}"))));
            rows.push(("stalled", format!("{}, dropped by the server: {}", stalled.count, stalled.dropped)));
        }
        if !self.storms_s.is_empty() {
            let each: Vec<String> = self.storms_s.iter().map(|seconds| format!("{seconds:.2} s")).collect();
            rows.push(("all back after", each.join("  ")));
        }
        let handshakes = &self.handshakes;
        if let Some((per_s, latency)) = handshakes.per_s.zip(latency(&handshakes.latency_us)) {
            rows.push(("handshakes", format!("{}/s  {latency}", grouped(per_s))));
        }
        self.server_rows(&mut rows);
        let run = &self.whole_run;
        let codes: Vec<String> =
            run.close_codes.iter().map(|(code, count)| format!("{count} × {code}")).collect();
        let codes = if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) };
        rows.push(("load generator", format!("{:.2} cores", self.load_cores)));
        if run.expected > 0 {
            rows.push((
                "missing",
                format!("{} of {} deliveries", grouped(run.missing as f64), grouped(run.expected as f64)),
            ));
        }
        rows.push((
            "connections",
            format!(
                "{} open, {} failed, {} closed{codes}",
                handshakes.open_at_end, handshakes.failed, run.closed
            ),
        ));
        for it in &run.close_reasons {
            rows.push(("closed by server", format!("{} × {} {}", it.count, it.code, it.reason)));
        }
        if run.missing > 0 {
            rows.extend(self.unmatched_lines().map(|it| ("without a mark", it)));
        }
        rows
    }

    fn traffic_rows(&self, rows: &mut Vec<Row>) {
        let rate = |value: f64| format!("{}/s", grouped(value));
        rows.extend(self.messages_per_s.map(|it| ("messages", rate(it))));
        if let Some(deliveries) = self.deliveries_per_s {
            let each =
                self.wire_bytes_each.map_or_else(String::new, |bytes| format!("{bytes:.0} bytes each, "));
            rows.push(("deliveries", format!("{} ({each}in {} s)", rate(deliveries), self.seconds)));
        }
        rows.extend(latency(&self.latency_us).map(|it| ("latency", it)));
        rows.extend(self.ramp.as_ref().and_then(climb).map(|it| ("ramp", it)));
    }

    /// Describes connections, publishers and pace.
    pub(super) fn load(&self) -> String {
        let connections = format!("{} connections in {} room(s)", self.connections, self.rooms);
        let Some(pace) = self.pace() else { return connections };
        format!(
            "{connections}, {} publisher(s), {pace}, {} byte payloads",
            self.publishers, self.payload_bytes
        )
    }

    /// Describes how messages are paced; `None` in a scenario without traffic.
    pub(super) fn pace(&self) -> Option<String> {
        match (self.in_flight, self.rate_per_s, &self.ramp) {
            (Some(count), ..) => Some(format!("{count} in flight each")),
            (_, Some(rate), _) => Some(format!("{} messages/s on schedule", grouped(rate))),
            (.., Some(ramp)) => {
                let [from, to] = [ramp.from_per_s, ramp.to_per_s].map(grouped);
                Some(format!("from {from} to {to} messages/s on schedule"))
            }
            _ => None,
        }
    }

    fn server_rows(&self, rows: &mut Vec<Row>) {
        let Some(server) = &self.server else { return };
        let each = match self.scenario.as_str() {
            "connect" | "storm" => "handshake",
            _ => "delivery",
        };
        let cores = format!("{:.2} cores ({:.2} user)", server.cores, server.user_cores);
        rows.push((
            "server",
            match server.cpu_us_each.filter(|_| self.scenario != "idle") {
                Some(us) => format!("{cores}, {us:.3} µs per {each}"),
                None => cores,
            },
        ));
        let mib = |kib: u64| kib as f64 / 1024.0;
        rows.push((
            "resident",
            format!(
                "{:.1} → {:.1} → {:.1} MiB (before, connected, after), {:.2} KiB per connection",
                mib(server.resident_before_kib),
                mib(server.resident_connected_kib),
                mib(server.resident_after_kib),
                server.kib_per_connection
            ),
        ));
    }
}
