//! The report of a run: the fields of its JSON, and the failures in it.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::counters::{Counters, printable};
use super::environment::{Environment, without_token};
use super::latency::{Summary, Window};
use super::outcome::{Interval, Measurement, Outcome, ResidentMemory};
use super::plan::{Plan, Workload};
use super::ramp::Climb;
use super::sampler::Sample;
use super::schedule::Pace;

/// The report of a run. Its field names are those of the JSON; a field's unit is the last part of its name.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) environment: Environment,
    /// Label of the server in a run of several rounds or servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    /// Number of the round, from 1 on, in a run of several rounds or servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) round: Option<usize>,
    pub(super) scenario: String,
    /// The URL without the token in it.
    pub(super) target: String,
    /// The value of `--protocol`; a file of an older version has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<String>,
    /// The value of `--receivers`; a file of an older version has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receivers: Option<String>,
    pub(super) connections: usize,
    pub(super) rooms: usize,
    pub(super) publishers: usize,
    pub(super) payload_bytes: usize,
    /// Closed loop: messages in flight per publisher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_flight: Option<usize>,
    /// Open loop: messages per second over all publishers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ramp: Option<Climb>,
    /// Length of the measurement.
    pub(super) seconds: f64,
    /// Messages sent per second. All rates and latencies are left out if no connection was ever open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) messages_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deliveries_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) megabytes_per_s: Option<f64>,
    /// Bytes received for each delivery, frame headers and all other messages included, before they are decompressed.
    /// The bytes that TLS adds are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wire_bytes_each: Option<f64>,
    /// Version of TLS and cipher of the first connection; left out without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<String>,
    /// Handshakes in which the server accepted to compress messages; left out if that was not offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) compressed_connections: Option<u64>,
    /// Time from publishing (closed loop) or from the due time (open loop) to receipt, on sampled connections; for
    /// `connect` and `storm`, time from TCP connect to the end of the handshake.
    #[serde(default, skip_serializing_if = "Summary::is_empty")]
    pub(super) latency_us: Summary,
    pub(super) whole_run: WholeRun,
    pub(super) handshakes: Handshakes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<Server>,
    /// Average CPU time of the load generator, in cores.
    pub(super) load_cores: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stalled: Option<Stalled>,
    /// Duration of each storm, from the reset of all connections until all have reconnected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) storms_s: Vec<f64>,
    pub(super) windows: Vec<Window>,
    /// Pairs of a quantile and its latency in microseconds.
    pub(super) distribution: Vec<(f64, f64)>,
    pub(super) samples: Vec<Sample>,
    /// The last texts without a mark on sampled connections; texts that differ only in digits are counted as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unmatched_texts: Vec<Unmatched>,
    /// Descriptions of the first problems.
    pub(super) complaints: Vec<String>,
}

/// A text that carried no mark.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Unmatched {
    /// Beginning of the text; control characters are escaped.
    pub(super) text: String,
    pub(super) count: u64,
}

/// A close code and reason of the server, and how many connections it closed with them.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct CloseReason {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) count: u64,
}

/// Counters from the first connection to the end of the drain, including the warm-up.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct WholeRun {
    pub(super) sent: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) missing: u64,
    /// Deliveries beyond those expected.
    pub(super) surplus: u64,
    /// Open loop: messages that were due and not sent.
    pub(super) unsent: u64,
    pub(super) bad_marks: u64,
    pub(super) closed: u64,
    pub(super) close_codes: BTreeMap<u16, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) close_reasons: Vec<CloseReason>,
    pub(super) malformed: u64,
}

/// Handshakes: those that the scenario measures (`connect`, `storm`), else those at its beginning.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Handshakes {
    pub(super) opened: u64,
    pub(super) failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_s: Option<f64>,
    pub(super) open_at_end: usize,
    #[serde(default, skip_serializing_if = "Summary::is_empty")]
    pub(super) latency_us: Summary,
}

/// CPU time and memory of the server's process.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Server {
    pub(super) pid: u32,
    /// Average CPU time, user and system, in cores.
    pub(super) cores: f64,
    pub(super) user_cores: f64,
    /// CPU time per delivery (per handshake in `connect` and `storm`); left out if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_us_each: Option<f64>,
    pub(super) resident_before_kib: u64,
    pub(super) resident_connected_kib: u64,
    pub(super) resident_after_kib: u64,
    /// Growth of the resident memory by connecting; in `idle` until the end, after each connection has sent and
    /// received a message.
    pub(super) kib_per_connection: f64,
}

/// Connections that stopped reading.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Stalled {
    pub(super) count: usize,
    /// Number of them that the server ended.
    pub(super) dropped: usize,
    /// Deliveries per second to all connections in the baseline, in which all of them read.
    pub(super) before_deliveries_per_s: f64,
    #[serde(default, skip_serializing_if = "Summary::is_empty")]
    pub(super) before_latency_us: Summary,
    /// 99th percentile of the latency while they were stalled, divided by that of the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_ratio: Option<f64>,
}

/// Returns a value as it is written on the command line.
fn word(value: &impl ValueEnum) -> Option<String> {
    value.to_possible_value().map(|it| it.get_name().to_owned())
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

fn cores(used: Duration, interval: &Interval) -> f64 {
    round(used.as_secs_f64() / interval.length.as_secs_f64().max(1e-9), 3)
}

impl Report {
    /// Makes the report of a run that is over.
    pub(super) fn new(plan: &Plan, environment: Environment, outcome: Outcome) -> Self {
        let Outcome { counters, connecting, mut measured, resident, .. } = outcome;
        let ramp = ramp(plan, &mut measured.windows);
        let interval = measured.interval;
        let about_handshakes = matches!(plan.workload, Workload::Connect | Workload::Storm(_));
        let handshakes = if about_handshakes { &measured } else { &connecting };
        let stalled = match plan.workload {
            Workload::Traffic { stalled: count } => {
                outcome.baseline.map(|before| Stalled::new(count, outcome.dropped, &before, &measured))
            }
            _ => None,
        };
        let (in_flight, rate_per_s) = match (plan.workload, plan.pace) {
            (Workload::Traffic { .. }, Pace::InFlight(count)) => (Some(count), None),
            (Workload::Traffic { .. }, Pace::PerSecond(rate)) => (None, Some(rate)),
            _ => (None, None),
        };
        let was_measured = counters.opened > 0;
        let per_s = |count, unit, digits| was_measured.then(|| round(interval.per_s(count) / unit, digits));
        Self {
            environment,
            label: None,
            round: None,
            scenario: plan.scenario.into(),
            target: without_token(&plan.target.url),
            protocol: word(&plan.client.protocol),
            receivers: word(&plan.receivers),
            connections: plan.connections,
            rooms: plan.rooms,
            publishers: plan.publishers,
            payload_bytes: plan.size,
            in_flight,
            rate_per_s,
            ramp,
            seconds: round(interval.length.as_secs_f64(), 3),
            messages_per_s: per_s(interval.sent, 1.0, 1),
            deliveries_per_s: per_s(interval.delivered, 1.0, 1),
            megabytes_per_s: per_s(interval.bytes, 1e6, 3),
            wire_bytes_each: (interval.delivered > 0)
                .then(|| round(interval.bytes as f64 / interval.delivered as f64, 1)),
            tls: outcome.tls,
            compressed_connections: plan.compression.then_some(counters.deflating),
            whole_run: WholeRun::new(&counters, outcome.unsent),
            handshakes: Handshakes {
                opened: counters.opened,
                failed: counters.failed,
                per_s: was_measured.then(|| round(handshake_rate(plan, handshakes, &outcome.storms), 1)),
                open_at_end: outcome.open,
                latency_us: handshakes.latency.clone(),
            },
            server: plan.pid.and_then(|pid| Server::new(pid, plan, &interval, resident)),
            load_cores: cores(interval.load.total(), &interval),
            stalled,
            storms_s: outcome.storms.iter().map(|storm| round(storm.as_secs_f64(), 3)).collect(),
            latency_us: measured.latency,
            windows: measured.windows,
            distribution: measured.distribution,
            samples: outcome.samples,
            unmatched_texts: counters.unmatched_texts.iter().map(Unmatched::new).collect(),
            complaints: counters.complaints,
        }
    }

    /// Describes the texts that arrived instead of deliveries, the last one first.
    pub(super) fn unmatched_lines(&self) -> impl Iterator<Item = String> {
        self.unmatched_texts.iter().rev().map(|it| format!("the server sent {} × {}", it.count, it.text))
    }

    /// Describes everything that went wrong; empty for a run without failures.
    pub(super) fn failures(&self) -> Vec<String> {
        let run = &self.whole_run;
        let counts = [
            (self.handshakes.failed, "handshakes failed"),
            (run.closed, "connections were closed"),
            (run.missing, "deliveries are missing"),
            (run.surplus, "deliveries were not expected"),
            (run.unsent, "messages could not be sent in time"),
            (
                run.bad_marks,
                "marks could not be parsed (does the server send the mark character itself? see --mark)",
            ),
        ];
        let counted = counts.into_iter().filter(|(count, _)| *count > 0);
        let mut failures: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
        if !failures.is_empty() {
            failures.extend(self.complaints.iter().cloned());
        }
        if run.missing > 0 {
            failures.extend(self.unmatched_lines());
        }
        failures
    }
}

/// Returns what the windows say about a ramp, after the offered rate was filled in; `None` for any other pace.
fn ramp(plan: &Plan, windows: &mut [Window]) -> Option<Climb> {
    let Pace::Ramp(ramp) = plan.pace else { return None };
    ramp.offer(windows, plan.measured.as_secs_f64());
    Some(Climb::new(ramp, windows))
}

/// Returns handshakes per second. For storms, the pauses between them are not counted.
fn handshake_rate(plan: &Plan, handshakes: &Measurement, storms: &[Duration]) -> f64 {
    let storming: Duration = storms.iter().sum();
    match plan.workload {
        Workload::Storm(_) => handshakes.interval.opened as f64 / storming.as_secs_f64().max(1e-9),
        _ => handshakes.interval.per_s(handshakes.interval.opened),
    }
}

impl WholeRun {
    fn new(counters: &Counters, unsent: u64) -> Self {
        let reasons = counters.close_reasons.iter();
        Self {
            sent: counters.sent,
            expected: counters.expected,
            delivered: counters.delivered,
            missing: counters.missing(),
            surplus: counters.delivered.saturating_sub(counters.expected),
            unsent,
            bad_marks: counters.bad_marks,
            closed: counters.closed,
            close_codes: counters.close_codes.clone(),
            close_reasons: reasons
                .map(|((code, reason), count)| CloseReason {
                    code: *code,
                    reason: reason.clone(),
                    count: *count,
                })
                .collect(),
            malformed: counters.malformed,
        }
    }
}

impl Unmatched {
    fn new((text, count): &(Vec<u8>, u64)) -> Self {
        Self { text: printable(&String::from_utf8_lossy(text)), count: *count }
    }
}

impl Server {
    fn new(pid: u32, plan: &Plan, interval: &Interval, resident: ResidentMemory) -> Option<Self> {
        let cpu = interval.server?;
        let (before, connected, after) = (resident.before?, resident.connected?, resident.after?);
        let each = match plan.workload {
            Workload::Connect | Workload::Storm(_) => interval.opened,
            _ => interval.delivered,
        };
        let grown_to = if matches!(plan.workload, Workload::Idle(_)) { after } else { connected };
        Some(Self {
            pid,
            cores: cores(cpu.total(), interval),
            user_cores: cores(cpu.user, interval),
            cpu_us_each: (each > 0).then(|| round(cpu.total().as_secs_f64() * 1e6 / each as f64, 4)),
            resident_before_kib: before,
            resident_connected_kib: connected,
            resident_after_kib: after,
            kib_per_connection: round(grown_to.saturating_sub(before) as f64 / plan.connections as f64, 3),
        })
    }
}

impl Stalled {
    fn new(count: usize, dropped: usize, before: &Measurement, during: &Measurement) -> Self {
        Self {
            count,
            dropped,
            before_deliveries_per_s: round(before.interval.per_s(before.interval.delivered), 1),
            p99_ratio: (!before.latency.is_empty() && !during.latency.is_empty())
                .then(|| round(during.latency.p99 / before.latency.p99.max(1e-9), 3)),
            before_latency_us: before.latency.clone(),
        }
    }
}
