//! Reads the settings again while the server runs, and puts those in force that a running server can change.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::encryption::EncryptionError;
use crate::config::{Config, ConfigErrors, Machine, Reloaded, Sources};

/// Why the settings were not read again. Those in force stay as they were.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The settings have mistakes: all of them.
    #[error("the configuration is wrong:\n{0}")]
    Config(#[from] ConfigErrors),
    /// The server does not run yet, or has stopped.
    #[error("the server is not running")]
    NotRunning,
    /// The system has no random numbers for a key.
    #[error("the settings cannot be applied")]
    System(#[from] io::Error),
    /// A certificate, its key or the authorities of clients cannot be used.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
}

/// Reads the settings of a [`Server`](crate::Server) again. It may be used from any thread, and cloned.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    sources: Sources,
    on_change: Box<dyn Fn(&Config) + Send + Sync>,
    server: OnceLock<Weak<dyn Running>>,
    /// Held during a reload, so that the last one to read the file is the last one to apply it.
    turn: Mutex<()>,
}

/// A running server, as a reload sees it.
pub(super) trait Running: Send + Sync {
    /// Returns the settings in force.
    fn config(&self) -> Arc<Config>;

    /// Puts other settings in force, at once and as a whole.
    ///
    /// # Errors
    /// The system has no random numbers for a key, or a file of TLS cannot be used. The former settings stay in force.
    fn replace_config(&self, config: &Config) -> Result<(), ReloadError>;
}

impl fmt::Debug for Reloader {
    // The sources contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reloader {
    pub(super) fn new(sources: Sources, on_change: impl Fn(&Config) + Send + Sync + 'static) -> Self {
        let (on_change, server) = (Box::new(on_change), OnceLock::new());
        Self(Arc::new(Inner { sources, on_change, server, turn: Mutex::new(()) }))
    }

    /// Tells the reloader which server it is for, once that runs.
    pub(super) fn attach(&self, server: Weak<dyn Running>) {
        // A server runs once.
        let _ = self.0.server.set(server);
    }

    /// Reads the settings again, the files with keys included, and puts those in force that are live. The log says what
    /// has changed, what needs a restart, or every mistake. Blocks while files are read.
    ///
    /// Connections stay. New limits and rules hold for what comes next: keys for the next call, origins and tokens for
    /// the next handshake, settings of rooms for those that are opened from now on.
    ///
    /// # Errors
    /// The settings have mistakes, or the server is not running. Nothing has changed then.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let _turn = self.0.turn.lock();
        let reloaded = self.apply();
        match &reloaded {
            Ok(reloaded) => log(reloaded),
            Err(ReloadError::Config(errors)) => {
                for error in &errors.0 {
                    tracing::error!("settings: {error}");
                }
                tracing::error!(mistakes = errors.0.len(), "the settings have mistakes: nothing was changed");
            }
            Err(error) => tracing::error!(%error, "the settings were not read again"),
        }
        reloaded
    }

    fn apply(&self) -> Result<Reloaded, ReloadError> {
        let server = self.0.server.get().and_then(Weak::upgrade).ok_or(ReloadError::NotRunning)?;
        let new = Config::load(self.0.sources.clone())?;
        let reloaded = server.config().reloaded(new, &Machine::read())?;
        server.replace_config(&reloaded.config)?;
        (self.0.on_change)(&reloaded.config);
        Ok(reloaded)
    }
}

fn log(reloaded: &Reloaded) {
    for warning in reloaded.config.warnings() {
        tracing::warn!("{warning}");
    }
    if !reloaded.restart.is_empty() {
        tracing::warn!(keys = reloaded.restart.join(" "), "these changed keys need a restart");
    }
    tracing::info!(changed = reloaded.changed.join(" "), "the settings were read again");
}
