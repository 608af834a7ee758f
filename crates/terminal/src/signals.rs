//! The signals that end a chat: SIGHUP of a terminal that is gone, SIGINT of Ctrl-C, and SIGTERM of `kill`.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a chat. While this value lives, they do not kill the process.
pub(super) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Installs handlers for the signals.
    ///
    /// # Errors
    /// The system refuses to install a handler.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one of the signals.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => (),
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}
