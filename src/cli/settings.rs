//! Flags that are settings of the server, and the sources that the configuration is loaded from.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::failure::{Failure, USAGE};
use crate::config::{Config, Sources};

/// The flags of the server that set the configuration: `--config`, `--set`, and those that set one key by a name of
/// their own. Their values stay text until the configuration reads them, so that their errors are reported together
/// with all others.
#[derive(Debug, Args)]
pub(super) struct Settings {
    #[command(flatten)]
    general: GeneralSettings,
    /// Addresses to listen on, with commas: IP address or name with a port, :8080 (all addresses), unix:PATH; with port
    /// 0 the system picks a port, which is logged [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Worker threads; 0 is one per core [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    workers: Option<String>,
    /// File with the server's certificate in PEM, followed by those that lead to an authority: `listen` speaks TLS
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// File with the private key of the certificate in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Format of log lines: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// The flags `--config` and `--set`, through which every key can be set. A command that needs the configuration but
/// does not start the server takes only these.
#[derive(Debug, Args)]
pub(super) struct GeneralSettings {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a key of the configuration; may be repeated: --set queue.max_bytes=512KiB. Other users of the machine can
    /// see the arguments of a process: put secrets into `auth.secret_file` or the environment
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// Loads the configuration. Later sources override earlier ones: defaults, the file of `--config`, the environment,
    /// these flags.
    pub(super) fn load(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, Failure> {
        load(self.sources(environment))
    }

    /// Collects the sources of the configuration, for callers that report its errors in their own way or load it again.
    pub(super) fn sources(&self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Sources {
        let mut sources = self.general.sources(environment);
        for (flag, key, value) in [
            ("--listen", "listen", &self.listen),
            ("--workers", "workers", &self.workers),
            ("--tls-cert", "tls.cert_file", &self.tls_cert),
            ("--tls-key", "tls.key_file", &self.tls_key),
            ("--log-format", "log.format", &self.log_format),
        ] {
            if let Some(value) = value {
                sources = sources.flag(flag, key, value);
            }
        }
        sources
    }
}

impl GeneralSettings {
    /// Loads the configuration. Later sources override earlier ones: defaults, the file of `--config`, the environment,
    /// these flags.
    pub(super) fn load(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, Failure> {
        load(self.sources(environment))
    }

    fn sources(&self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Sources {
        let mut sources = Sources::new().environment(environment);
        if let Some(path) = &self.config {
            sources = sources.file_at(path);
        }
        self.set.iter().fold(sources, |sources, pair| sources.set(pair))
    }
}

/// Loads the configuration.
///
/// # Errors
/// It is wrong ([`USAGE`]).
pub(super) fn load(sources: Sources) -> Result<Config, Failure> {
    Config::load(sources).map_err(|errors| {
        let lines = errors.to_string().replace('\n', "\n  ");
        Failure::new(USAGE, anyhow::anyhow!("the configuration is wrong:\n  {lines}"))
    })
}
