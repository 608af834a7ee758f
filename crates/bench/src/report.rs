//! The result: what the JSON holds, and which of it is bad news.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::circumstances::Circumstances;
use super::latency::{Summary, Window};
use super::outcome::{Measured, Outcome, Resident, Stretch};
use super::plan::{Course, Plan};
use super::sampler::Sample;
use super::schedule::Pace;
use super::tally::{Tally, printable};

/// The result of a run. Its field names are those of the JSON; units come last in them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) circumstances: Circumstances,
    pub(super) scenario: &'static str,
    pub(super) target: String,
    pub(super) connections: usize,
    pub(super) rooms: usize,
    pub(super) publishers: usize,
    pub(super) payload_bytes: usize,
    /// Closed loop: messages under way per publisher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_flight: Option<usize>,
    /// Open loop: messages per second over all publishers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate_per_s: Option<f64>,
    /// Length of what was measured.
    pub(super) seconds: f64,
    /// Where nobody ever connected, rates and latencies were not measured and are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) messages_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deliveries_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) megabytes_per_s: Option<f64>,
    /// Publish (closed loop) or due time (open loop) to receipt, of the sampled connections; for `connect` and
    /// `storm`, TCP connect to the end of the handshake.
    #[serde(skip_serializing_if = "Summary::is_empty")]
    pub(super) latency_us: Summary,
    pub(super) whole_run: WholeRun,
    pub(super) handshakes: Handshakes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<Server>,
    /// CPU time of the load generator, in cores.
    pub(super) load_cores: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stalled: Option<Stalled>,
    /// Each storm, from the cut until all are back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) storms_s: Vec<f64>,
    pub(super) windows: Vec<Window>,
    /// Quantile and microseconds.
    pub(super) distribution: Vec<(f64, f64)>,
    pub(super) samples: Vec<Sample>,
    /// The last texts without a mark, on sampled connections; those that differ only in numbers are one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unmatched_texts: Vec<Unmatched>,
    /// What went wrong, the first few in words.
    pub(super) complaints: Vec<String>,
}

/// A text that carried no mark.
#[derive(Debug, Serialize)]
pub(super) struct Unmatched {
    /// Its beginning; control characters are written out.
    pub(super) text: String,
    pub(super) count: u64,
}

/// Why the server ended connections.
#[derive(Debug, Serialize)]
pub(super) struct CloseReason {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) count: u64,
}

/// From the first connection to the end of the drain, warm-up and all.
#[derive(Debug, Serialize)]
pub(super) struct WholeRun {
    pub(super) sent: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) missing: u64,
    /// Delivered more often than sent.
    pub(super) surplus: u64,
    /// Due in an open loop, and not even sent.
    pub(super) unsent: u64,
    pub(super) bad_marks: u64,
    pub(super) closed: u64,
    pub(super) close_codes: BTreeMap<u16, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) close_reasons: Vec<CloseReason>,
    pub(super) malformed: u64,
}

/// Handshakes: of the scenario where it is about them, else of its beginning.
#[derive(Debug, Serialize)]
pub(super) struct Handshakes {
    pub(super) opened: u64,
    pub(super) failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_s: Option<f64>,
    pub(super) open_at_end: usize,
    #[serde(skip_serializing_if = "Summary::is_empty")]
    pub(super) latency_us: Summary,
}

/// The server's process.
#[derive(Debug, Serialize)]
pub(super) struct Server {
    pub(super) pid: u32,
    /// CPU time, user and system, in cores.
    pub(super) cores: f64,
    pub(super) user_cores: f64,
    /// CPU time per delivery (per handshake in `connect` and `storm`); left out where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_us_each: Option<f64>,
    pub(super) resident_before_kib: u64,
    pub(super) resident_connected_kib: u64,
    pub(super) resident_after_kib: u64,
    /// Growth by connecting; in `idle` until the end, when each has sent and received.
    pub(super) kib_per_connection: f64,
}

/// Connections that stopped reading.
#[derive(Debug, Serialize)]
pub(super) struct Stalled {
    pub(super) count: usize,
    /// Ended by the server.
    pub(super) dropped: usize,
    /// Deliveries per second to all while everybody read.
    pub(super) before_deliveries_per_s: f64,
    #[serde(skip_serializing_if = "Summary::is_empty")]
    pub(super) before_latency_us: Summary,
    /// Of the 99th percentiles: with them stalled ÷ before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_ratio: Option<f64>,
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

fn cores(used: Duration, stretch: &Stretch) -> f64 {
    round(used.as_secs_f64() / stretch.length.as_secs_f64().max(1e-9), 3)
}

impl Report {
    /// Of a run that is over.
    pub(super) fn new(plan: &Plan, circumstances: Circumstances, outcome: Outcome) -> Self {
        let Outcome { tally, connecting, measured, resident, .. } = outcome;
        let stretch = measured.stretch;
        let about_handshakes = matches!(plan.course, Course::Connect | Course::Storm(_));
        let handshakes = if about_handshakes { &measured } else { &connecting };
        let stalled = match plan.course {
            Course::Traffic { stalled: count } => {
                outcome.baseline.map(|before| Stalled::new(count, outcome.dropped, &before, &measured))
            }
            _ => None,
        };
        let (in_flight, rate_per_s) = match (plan.course, plan.pace) {
            (Course::Traffic { .. }, Pace::InFlight(count)) => (Some(count), None),
            (Course::Traffic { .. }, Pace::PerSecond(rate)) => (None, Some(rate)),
            _ => (None, None),
        };
        let was_measured = tally.opened > 0;
        let per_s = |count, unit, digits| was_measured.then(|| round(stretch.per_s(count) / unit, digits));
        Self {
            circumstances,
            scenario: plan.scenario,
            target: plan.target.url.clone(),
            connections: plan.connections,
            rooms: plan.rooms,
            publishers: plan.publishers,
            payload_bytes: plan.size,
            in_flight,
            rate_per_s,
            seconds: round(stretch.length.as_secs_f64(), 3),
            messages_per_s: per_s(stretch.sent, 1.0, 1),
            deliveries_per_s: per_s(stretch.delivered, 1.0, 1),
            megabytes_per_s: per_s(stretch.bytes, 1e6, 3),
            whole_run: WholeRun::new(&tally, outcome.unsent),
            handshakes: Handshakes {
                opened: tally.opened,
                failed: tally.failed,
                per_s: was_measured.then(|| round(handshake_rate(plan, handshakes, &outcome.storms), 1)),
                open_at_end: outcome.open,
                latency_us: handshakes.latency.clone(),
            },
            server: plan.pid.and_then(|pid| Server::new(pid, plan, &stretch, resident)),
            load_cores: cores(stretch.load.total(), &stretch),
            stalled,
            storms_s: outcome.storms.iter().map(|storm| round(storm.as_secs_f64(), 3)).collect(),
            latency_us: measured.latency,
            windows: measured.windows,
            distribution: measured.distribution,
            samples: outcome.samples,
            unmatched_texts: tally.heard.iter().map(Unmatched::new).collect(),
            complaints: tally.complaints,
        }
    }

    /// What came instead of deliveries, the last first, in words.
    pub(super) fn heard(&self) -> impl Iterator<Item = String> {
        self.unmatched_texts.iter().rev().map(|it| format!("the server sent {} × {}", it.count, it.text))
    }

    /// What must not be, in words; empty when all is well.
    pub(super) fn failures(&self) -> Vec<String> {
        let run = &self.whole_run;
        let counts = [
            (self.handshakes.failed, "handshakes failed"),
            (run.closed, "connections were closed"),
            (run.missing, "deliveries are missing"),
            (run.surplus, "deliveries more than were sent"),
            (run.unsent, "messages could not be sent in time"),
            (run.bad_marks, "marks could not be read (does the server send the mark elsewhere? see --mark)"),
        ];
        let counted = counts.into_iter().filter(|(count, _)| *count > 0);
        let mut wrong: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
        if !wrong.is_empty() {
            wrong.extend(self.complaints.iter().cloned());
        }
        if run.missing > 0 {
            wrong.extend(self.heard());
        }
        wrong
    }
}

/// Storms are a few bursts with rests between them: the rests do not count.
fn handshake_rate(plan: &Plan, handshakes: &Measured, storms: &[Duration]) -> f64 {
    let storming: Duration = storms.iter().sum();
    match plan.course {
        Course::Storm(_) => handshakes.stretch.opened as f64 / storming.as_secs_f64().max(1e-9),
        _ => handshakes.stretch.per_s(handshakes.stretch.opened),
    }
}

impl WholeRun {
    fn new(tally: &Tally, unsent: u64) -> Self {
        let reasons = tally.close_reasons.iter();
        Self {
            sent: tally.sent,
            expected: tally.expected,
            delivered: tally.delivered,
            missing: tally.missing(),
            surplus: tally.delivered.saturating_sub(tally.expected),
            unsent,
            bad_marks: tally.bad_marks,
            closed: tally.closed,
            close_codes: tally.close_codes.clone(),
            close_reasons: reasons
                .map(|((code, reason), count)| CloseReason {
                    code: *code,
                    reason: reason.clone(),
                    count: *count,
                })
                .collect(),
            malformed: tally.malformed,
        }
    }
}

impl Unmatched {
    fn new((text, count): &(Vec<u8>, u64)) -> Self {
        Self { text: printable(&String::from_utf8_lossy(text)), count: *count }
    }
}

impl Server {
    fn new(pid: u32, plan: &Plan, stretch: &Stretch, resident: Resident) -> Option<Self> {
        let cpu = stretch.server?;
        let (before, connected, after) = (resident.before?, resident.connected?, resident.after?);
        let each = match plan.course {
            Course::Connect | Course::Storm(_) => stretch.opened,
            _ => stretch.delivered,
        };
        let grown_to = if matches!(plan.course, Course::Idle(_)) { after } else { connected };
        Some(Self {
            pid,
            cores: cores(cpu.total(), stretch),
            user_cores: cores(cpu.user, stretch),
            cpu_us_each: (each > 0).then(|| round(cpu.total().as_secs_f64() * 1e6 / each as f64, 4)),
            resident_before_kib: before,
            resident_connected_kib: connected,
            resident_after_kib: after,
            kib_per_connection: round(grown_to.saturating_sub(before) as f64 / plan.connections as f64, 3),
        })
    }
}

impl Stalled {
    fn new(count: usize, dropped: usize, before: &Measured, during: &Measured) -> Self {
        Self {
            count,
            dropped,
            before_deliveries_per_s: round(before.stretch.per_s(before.stretch.delivered), 1),
            p99_ratio: (!before.latency.is_empty() && !during.latency.is_empty())
                .then(|| round(during.latency.p99 / before.latency.p99.max(1e-9), 3)),
            before_latency_us: before.latency.clone(),
        }
    }
}
