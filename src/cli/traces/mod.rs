//! Traces for OpenTelemetry: each connection and each call of the server API becomes a span, which is sent to a
//! collector by OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/>), as JSON.
//!
//! A span is made of the line that the log has at the end of a connection or call, whether `log.level` lets it through
//! or not. Nothing is done while a connection lives, and nothing for a delivery.

mod export;
mod span;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use self::export::Exporter;
use self::span::{Kind, Recorder, Span};
use crate::config::Config;
use crate::outbound::thread::Thread;

/// Most spans that wait to be sent. One beyond is dropped and counted. A span has some 500 bytes.
const MAX_WAITING: usize = 4_096;
/// Path of a collector whose URL has none.
const USUAL_PATH: &str = "/v1/traces";
/// Longest time that the end of the process waits for the last spans.
const LAST: Duration = Duration::from_secs(5);

/// The thread that sends spans. It has to be finished when the server has stopped.
#[derive(Debug)]
pub(super) struct Sender {
    thread: Thread,
    stop: watch::Sender<Option<tokio::time::Instant>>,
}

/// Makes spans of the lines of the log, and queues them.
#[derive(Debug)]
pub(super) struct Spans {
    queue: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
    /// One in so many is kept.
    one_in: u64,
    ended: AtomicU64,
}

/// Traces whose thread does not run yet: its own lines need the log, which the spans come from.
pub(super) struct Prepared {
    ca_file: Option<PathBuf>,
    exporter: Exporter,
    stop: watch::Sender<Option<tokio::time::Instant>>,
}

/// Prepares traces if the configuration names a collector.
pub(super) fn prepare(config: &Config) -> Option<(Prepared, Spans)> {
    let url = config.traces.url.clone()?.or_path(USUAL_PATH);
    let (queue, waiting) = mpsc::channel(MAX_WAITING);
    let (stop, stopped) = watch::channel(None);
    let dropped = Arc::new(AtomicU64::new(0));
    let spans = Spans {
        queue,
        dropped: Arc::clone(&dropped),
        one_in: config.traces.one_in as u64,
        ended: AtomicU64::new(0),
    };
    let exporter = Exporter { url, node: config.node.clone(), waiting, stopped, dropped };
    Some((Prepared { ca_file: config.outbound.ca_file.clone(), exporter, stop }, spans))
}

impl Prepared {
    /// Starts to send.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(self) -> io::Result<Sender> {
        let Self { ca_file, exporter, stop } = self;
        Ok(Sender { thread: Thread::start("traces", move || export::run(ca_file, exporter))?, stop })
    }
}

impl Sender {
    /// Sends what is left, and ends the thread; waits for that at most five seconds.
    pub(super) fn finish(self) {
        // The thread may have ended by a panic, which was logged.
        let _ = self.stop.send(Some(tokio::time::Instant::now() + LAST));
        self.thread.join();
    }
}

/// Returns the filter for the lines that become spans.
pub(super) fn filter() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let is_one: fn(&Metadata<'_>) -> bool = |metadata| metadata.is_event() && Kind::of(metadata).is_some();
    // Without this, the lines of all levels would be asked about.
    filter_fn(is_one).with_max_level_hint(LevelFilter::DEBUG)
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(kind) = Kind::of(event.metadata()) else { return };
        let mut recorder = Recorder::default();
        event.record(&mut recorder);
        let Some(span) = recorder.finish(kind, *event.metadata().level(), SystemTime::now()) else { return };
        let is_wanted =
            span.is_wanted_by_caller() || self.ended.fetch_add(1, Relaxed).is_multiple_of(self.one_in);
        if is_wanted && matches!(self.queue.try_send(span), Err(TrySendError::Full(_))) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Url;

    #[test]
    fn a_collector_without_a_path_gets_the_usual_one() {
        for (given, used) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example/mine", "https://otel.example/mine"),
        ] {
            assert_eq!(Url::parse(given).unwrap().or_path(USUAL_PATH).as_str(), used);
        }
    }
}
