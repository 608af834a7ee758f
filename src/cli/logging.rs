//! Logging to standard error: filtered by `log.level`, as text or as one flat JSON object per line.

use std::io::stderr;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

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

/// Starts logging for the whole process; call it once.
///
/// # Errors
/// The level is no valid filter, which loading the configuration rules out, or logging was started before.
pub fn start(log: &Log) -> anyhow::Result<LogFilter> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&log.level)?);
    let registry = Registry::default().with(filter);
    // A line that cannot be written (the terminal is closed, the pipe's reader is gone) is lost. Reporting that on the
    // same standard error would panic, which would end a worker or the thread of the signals.
    let lines = fmt::layer().with_writer(stderr).with_ansi(false).log_internal_errors(false);
    let started = match log.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    Ok(LogFilter(handle))
}
