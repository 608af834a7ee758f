//! The thread that posts spans to the collector.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::span::Span;
use crate::config::Url;
use crate::outbound::{Client, Error, Method, Request};

/// Most spans of a request.
const MAX_BATCH: usize = 512;
/// Time for which a span waits for others to travel with.
const LINGER: Duration = Duration::from_secs(1);
/// Longest wait for the collector's answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes of the collector's answer, which is not looked at.
const MAX_ANSWER: usize = 64 * 1024;
/// Waits before a request is sent again. After the last one its spans are dropped.
const RETRIES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Time between two lines of the log about lost spans.
const PAUSE: Duration = Duration::from_secs(60);

/// The parts of the thread that sends.
pub(super) struct Exporter {
    pub(super) url: Url,
    /// The name of this node.
    pub(super) node: String,
    pub(super) waiting: mpsc::Receiver<Span>,
    /// The moment until which the last spans can be sent, once the process ends.
    pub(super) stopped: watch::Receiver<Option<Instant>>,
    /// Number of spans that found no place.
    pub(super) dropped: Arc<AtomicU64>,
}

/// Sends spans until the process ends.
pub(super) async fn run(ca_file: Option<PathBuf>, exporter: Exporter) {
    match Client::new(ca_file.as_deref()) {
        Ok(client) => exporter.run(&client).await,
        Err(problem) => tracing::error!(problem, "traces cannot be sent: outbound.ca_file is of no use"),
    }
}

impl Exporter {
    async fn run(mut self, client: &Client) {
        let mut loss = Loss::default();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.fill(&mut batch).await {
            let delivered = match body(&self.node, &batch) {
                Ok(_) if batch.is_empty() => Ok(()),
                Ok(body) => self.deliver(client, body).await,
                Err(problem) => Err(problem),
            };
            let lost = if delivered.is_err() { batch.len() as u64 } else { 0 };
            batch.clear();
            loss.tell(self.dropped.swap(0, Relaxed) + lost, delivered);
        }
        if loss.dropped > 0 {
            tracing::warn!(dropped = loss.dropped, "traces were dropped before the end");
        }
    }

    /// Waits for spans; returns false when the process ends and none are left.
    async fn fill(&mut self, batch: &mut Vec<Span>) -> bool {
        let Self { waiting, stopped, .. } = self;
        if stopped.borrow().is_none() {
            tokio::select! {
                biased;
                _ = stopped.changed() => {}
                first = waiting.recv() => batch.extend(first),
            }
        }
        let until = Instant::now() + LINGER;
        while !batch.is_empty() && batch.len() < MAX_BATCH && stopped.borrow().is_none() {
            tokio::select! {
                biased;
                _ = stopped.changed() => {}
                next = timeout_at(until, waiting.recv()) => match next {
                    Ok(Some(span)) => batch.push(span),
                    Ok(None) | Err(_) => break,
                },
            }
        }
        while batch.len() < MAX_BATCH
            && let Ok(span) = waiting.try_recv()
        {
            batch.push(span);
        }
        !batch.is_empty() || stopped.borrow().is_none()
    }

    /// Posts a batch, and again if that may help.
    ///
    /// # Errors
    /// The batch is given up, for this reason.
    async fn deliver(&mut self, client: &Client, body: Bytes) -> Result<(), String> {
        let mut retries = RETRIES.into_iter();
        loop {
            let Err(Problem { text, is_passing }) = self.post(client, body.clone()).await else {
                return Ok(());
            };
            let Some(wait) = retries.next().filter(|_| is_passing) else { return Err(text) };
            let end = *self.stopped.borrow();
            if end.is_some_and(|end| Instant::now() + wait >= end) {
                return Err(text);
            }
            tokio::select! {
                () = sleep(wait) => {}
                // The end of the process does not wait.
                _ = self.stopped.changed(), if end.is_none() => {}
            }
        }
    }

    /// Posts a batch once.
    async fn post(&self, client: &Client, body: Bytes) -> Result<(), Problem> {
        let headers = vec![("content-type".into(), "application/json".into())];
        let request = Request { method: Method::Post, url: &self.url, headers, body };
        let answer = tokio::select! {
            answer = client.request(request, DEADLINE, MAX_ANSWER) => answer,
            () = last_moment(self.stopped.clone()) => Err(Error::Deadline),
        };
        match answer.map(|answer| answer.status) {
            // A long answer is an answer.
            Ok(200..300) | Err(Error::TooLong) => Ok(()),
            // The statuses after which the specification allows another attempt.
            Ok(status) => {
                let is_passing = matches!(status, 429 | 502 | 503 | 504);
                Err(Problem { text: format!("status {status}"), is_passing })
            }
            Err(error) => Err(Problem { text: error.to_string(), is_passing: true }),
        }
    }
}

/// Waits until the process ends without the last spans.
async fn last_moment(mut stopped: watch::Receiver<Option<Instant>>) {
    let end = stopped.wait_for(Option::is_some).await.ok().and_then(|end| *end);
    match end {
        Some(end) => sleep_until(end).await,
        // The process ends in another way.
        None => std::future::pending().await,
    }
}

/// Why a batch was not taken.
struct Problem {
    text: String,
    /// It may be over soon.
    is_passing: bool,
}

/// Says in the log that spans are lost: when that begins and ends, and else once a minute.
#[derive(Debug, Default)]
struct Loss {
    is_failing: bool,
    dropped: u64,
    told: Option<Instant>,
}

impl Loss {
    fn tell(&mut self, dropped: u64, delivered: Result<(), String>) {
        self.dropped += dropped;
        let was_failing = std::mem::replace(&mut self.is_failing, delivered.is_err());
        let is_due = self.told.is_none_or(|told| told.elapsed() >= PAUSE);
        match delivered {
            Err(problem) if !was_failing => {
                tracing::warn!(
                    problem,
                    dropped = self.dropped,
                    "the collector takes no traces: they are dropped"
                );
            }
            Ok(()) if was_failing => {
                tracing::info!(dropped = self.dropped, "the collector takes traces again")
            }
            Err(problem) if is_due => {
                tracing::warn!(problem, dropped = self.dropped, "the collector still takes no traces");
            }
            Ok(()) if self.dropped > 0 && is_due => {
                tracing::warn!(
                    dropped = self.dropped,
                    "traces were dropped: traces.one_in limits their number"
                );
            }
            _ => return,
        }
        (self.dropped, self.told) = (0, Some(Instant::now()));
    }
}

/// Writes the body of a request.
///
/// # Errors
/// A span cannot be written as JSON.
fn body(node: &str, spans: &[Span]) -> Result<Bytes, String> {
    let spans = simd_json::serde::to_string(spans).map_err(|error| error.to_string())?;
    let attribute = |key, kind, value: &str| format!(r#"{{"key":"{key}","value":{{"{kind}":"{value}"}}}}"#);
    // None of them needs escaping.
    let resource = [
        attribute("service.name", "stringValue", "throng"),
        attribute("service.version", "stringValue", env!("CARGO_PKG_VERSION")),
        attribute("service.instance.id", "stringValue", node),
        attribute("process.pid", "intValue", &std::process::id().to_string()),
    ]
    .join(",");
    let scope = format!(r#"{{"scope":{{"name":"throng"}},"spans":{spans}}}"#);
    let all = format!(r#"{{"resource":{{"attributes":[{resource}]}},"scopeSpans":[{scope}]}}"#);
    Ok(format!(r#"{{"resourceSpans":[{all}]}}"#).into())
}
