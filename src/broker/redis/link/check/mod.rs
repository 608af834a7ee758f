//! Checks one server, for the start of a node and for `throng doctor`: whether it can be used, and which of its
//! settings should be changed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::call::{Call, Reply, ServerError};
use super::connect::{connect, within};
use super::connection::Connection;
use super::facts::ServerFacts;
use super::reason::DownReason;
use super::settings::ServerSettings;
use super::wire::Push;
use crate::config::{Finding, Level};

mod advice;
mod trials;

pub use trials::{Trial, trials};

/// How many pings are sent. Their median is not moved by a few slow ones.
const PINGS: usize = 20;
/// A median above this is warned of: each message is acknowledged no sooner.
const SLOW_PING: Duration = Duration::from_millis(5);
/// A difference of the clocks above this is warned of: lifetimes are counted by the server's clock, times shown to
/// users by the node's.
const CLOCK_TOLERANCE_MS: u64 = 1_000;

/// The result of a check.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Everything that should be changed, as warnings and errors.
    pub findings: Vec<Finding>,
    /// The first error that stays until somebody changes the settings of the node or of the server.
    pub obstacle: Option<Finding>,
    /// The server's own description. None when it could not be used.
    pub facts: Option<Arc<ServerFacts>>,
    /// The median time between a ping and its answer.
    pub latency: Option<Duration>,
    /// How far the server's clock is ahead of this machine's, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
}

impl Report {
    /// Returns true when nothing forbids to use the server.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < Level::Error)
    }

    /// Adds a finding. `is_lasting` tells whether waiting does not change it.
    fn add(&mut self, finding: Finding, is_lasting: bool) {
        if is_lasting && finding.level == Level::Error && self.obstacle.is_none() {
            self.obstacle = Some(finding.clone());
        }
        self.findings.push(finding);
    }
}

/// Connects to a server as a link does, and checks it. `commands` are calls that the server must not refuse. `scripts`
/// are tried if it refuses none of them, because they would only be refused for the same reason. `cleaning` is carried
/// out at the end.
pub async fn check(
    settings: &ServerSettings,
    commands: &[Trial],
    scripts: &[Trial],
    cleaning: Option<&Call>,
) -> Report {
    let mut report = Report::default();
    let mut connections = match Box::pin(connect(settings, &settings.probe_channel)).await {
        Ok(connections) => connections,
        Err(reason) => {
            report.add(error(reason.to_string(), ""), reason.is_lasting());
            return report;
        }
    };
    report.facts = Some(Arc::clone(&connections.facts));
    let mut checked = Checked { connection: connections.calls, deadline: settings.timings.answer };
    let mut outcome = checked.look(&connections.facts, &mut report).await;
    for trials in [commands, scripts] {
        if outcome.is_ok() && report.is_usable() {
            outcome = checked.try_all(trials, &mut report).await;
        }
    }
    if let Some(cleaning) = cleaning.filter(|_| outcome.is_ok()) {
        // A refusal has been found by the trials.
        outcome = checked.ask(cleaning).await.map(drop);
    }
    if outcome.is_ok() {
        let subscriptions = &mut connections.subscriptions;
        subscriptions.send([b"SUNSUBSCRIBE", &settings.probe_channel[..]].into_iter());
        let ended = subscriptions.expect("SUNSUBSCRIBE", |push| matches!(push, Push::Unsubscribed(_)));
        outcome = within(checked.deadline, ended).await;
    }
    if let Err(reason) = outcome {
        report.add(error(reason.to_string(), ""), reason.is_lasting());
    }
    report
}

/// Returns a finding of something that should be changed. `advice` is empty where the text has it.
fn warning(text: impl Into<String>, advice: &str) -> Finding {
    finding(Level::Warning, text, advice)
}

/// Returns a finding of something that must be changed. `advice` is empty where the text has it.
fn error(text: impl Into<String>, advice: &str) -> Finding {
    finding(Level::Error, text, advice)
}

fn finding(level: Level, text: impl Into<String>, advice: &str) -> Finding {
    let advice = Some(advice.to_owned()).filter(|advice| !advice.is_empty());
    Finding { level, subject: "engine".into(), text: text.into(), advice }
}

/// A server that is being checked.
struct Checked {
    connection: Connection,
    deadline: Duration,
}

impl Checked {
    /// Looks at the server's settings, and measures.
    async fn look(&mut self, facts: &ServerFacts, report: &mut Report) -> Result<(), DownReason> {
        let configuration = self.ask(&Call::command(advice::QUESTION)).await?;
        report.findings.extend(advice::findings(&configuration, facts));
        self.look_at_times(report).await
    }

    async fn try_all(&mut self, trials: &[Trial], report: &mut Report) -> Result<(), DownReason> {
        for trial in trials {
            if let Err(error) = self.ask(&trial.call).await? {
                trial.judge(&error, report);
            }
        }
        Ok(())
    }

    /// Measures the latency and the difference of the clocks.
    async fn look_at_times(&mut self, report: &mut Report) -> Result<(), DownReason> {
        let mut times = Vec::with_capacity(PINGS);
        for _ in 0..PINGS {
            let since = Instant::now();
            if let Err(error) = self.ask(&Call::command(["PING"])).await? {
                return Err(DownReason::CommandRefused { command: "PING", error });
            }
            times.push(since.elapsed());
        }
        times.sort_unstable();
        let latency = times[PINGS / 2];
        report.latency = Some(latency);
        if latency > SLOW_PING {
            report.findings.push(warning(
                format!("the server answers a ping after {latency:.1?}"),
                "nodes and server belong in one zone, as every message waits for the server",
            ));
        }
        let before = unix_ms();
        let server_ms = match self.ask(&Call::command(["TIME"])).await? {
            Ok(reply) => milliseconds(&reply),
            Err(error) => {
                trials::refused("TIME", &error, report);
                None
            }
        };
        let Some(server_ms) = server_ms else { return Ok(()) };
        let middle = before.midpoint(unix_ms());
        let ahead = server_ms.saturating_sub(middle);
        report.clock_ahead_ms = Some(ahead);
        if ahead.unsigned_abs() > CLOCK_TOLERANCE_MS {
            report.findings.push(warning(
                format!("the server's clock differs from this machine's by {ahead} ms"),
                "let both take their time from NTP",
            ));
        }
        Ok(())
    }

    /// Returns the server's reply or error.
    ///
    /// # Errors
    /// There is no answer.
    async fn ask(&mut self, call: &Call) -> Result<Result<Reply, ServerError>, DownReason> {
        within(self.deadline, self.connection.call(call)).await
    }
}

/// Returns this machine's time in milliseconds since the Unix epoch.
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Reads the answer to `TIME`: seconds and microseconds.
fn milliseconds(reply: &Reply) -> Option<i64> {
    let Reply::Array(parts) = reply else { return None };
    let [Reply::Bytes(seconds), Reply::Bytes(micros)] = &parts[..] else { return None };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    Some(number(seconds)?.saturating_mul(1_000) + number(micros)? / 1_000)
}
