//! Logging to standard error: filtered by `log.level`, as text or as one flat JSON object per line.

use std::io::stderr;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::config::{Config, Log, LogFormat};

/// Changes which lines are written while the process runs.
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// Writes from now on the lines that `log.level` selects.
    pub fn set(&self, log: &Log) {
        // Loading the configuration rules a wrong filter out, and the log lives as long as the process.
        let set = EnvFilter::try_new(&log.level).map(|filter| self.0.reload(filter));
        if !matches!(set, Ok(Ok(()))) {
            tracing::error!("the filter of the log could not be changed");
        }
    }
}

/// The log of the process, and its traces.
pub struct Logging {
    /// Changes which lines are written.
    pub filter: LogFilter,
    /// Has to be finished when the server has stopped.
    pub traces: Traces,
}

/// The traces of the process: none, unless the feature `otel` is in the build and the configuration names a collector.
pub struct Traces {
    #[cfg(feature = "otel")]
    sender: Option<super::traces::Sender>,
}

impl Traces {
    /// Sends the traces that wait; takes at most five seconds.
    pub fn finish(self) {
        #[cfg(feature = "otel")]
        if let Some(sender) = self.sender {
            sender.finish();
        }
    }
}

/// Starts logging for the whole process; call it once.
///
/// # Errors
/// The level is no valid filter, which loading the configuration rules out, logging was started before, or the thread
/// that sends traces cannot be started.
pub fn start(config: &Config) -> anyhow::Result<Logging> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&config.log.level)?);
    // A line that cannot be written (the terminal is closed, the pipe's reader is gone) is lost. Reporting that on the
    // same standard error would panic, which would end a worker or the thread of the signals.
    let lines = fmt::layer().with_writer(stderr).with_ansi(false).log_internal_errors(false);
    let lines = match config.log.format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    #[cfg_attr(not(feature = "otel"), expect(unused_mut, reason = "there are no traces"))]
    let mut layers = vec![lines];
    #[cfg(feature = "otel")]
    let prepared = super::traces::prepare(config).map(|(prepared, spans)| {
        layers.push(spans.with_filter(super::traces::filter()).boxed());
        prepared
    });
    let started = Registry::default().with(layers).try_init();
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    let traces = Traces {
        #[cfg(feature = "otel")]
        sender: prepared.map(super::traces::Prepared::start).transpose()?,
    };
    Ok(Logging { filter: LogFilter(handle), traces })
}
