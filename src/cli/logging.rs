//! Logging to standard error: filtered by `log.level`, as text or as one flat JSON object per line.

use std::io::stderr;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging for the whole process; call it once.
///
/// # Errors
/// The level is no valid filter, which loading the configuration rules out, or logging was started before.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level)?;
    // A line that cannot be written (the terminal is closed, the pipe's reader is gone) is lost. Reporting that on the
    // same standard error would panic, which would end a worker or the thread of the signals.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(false)
        .log_internal_errors(false);
    let started = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
