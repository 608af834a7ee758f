//! Signals: the first SIGTERM or SIGINT starts the drain, the second one ends the process at once. SIGHUP, SIGUSR1 and
//! SIGUSR2 are logged and change nothing; without a handler each of them would end the process.
//!
//! A service manager sends SIGTERM and usually starts the next process, so clients are told that the server restarts.
//! A person at a terminal sends SIGINT and usually starts nothing, so clients are told that the server goes away.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::server::StopReason;

/// A shell reports this plus the signal's number as exit code of a process that a signal ended.
const BY_SIGNAL: i32 = 128;

/// Installs the handlers and returns a future that resolves at the first SIGTERM or SIGINT, to the reason that clients
/// are told. At the second one, of either kind, the process exits at once with 130 or 143. Signals are handled on a
/// thread of their own, so that the second one works however busy or stuck the workers are.
///
/// # Cancel safety
/// Dropping the future means that the first signal starts no drain; the second one still ends the process.
///
/// # Errors
/// The system refuses a handler, a poller or a thread.
pub fn first() -> io::Result<impl Future<Output = StopReason> + Send + 'static> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        }
    };
    let (stop, stopped) = oneshot::channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async move {
            let kind = signals.next().await;
            tracing::info!(signal = kind.as_raw_value(), "stopping; a second signal stops at once");
            // The receiver is gone where the server has already ended by itself.
            let _ = stop.send(reason(kind));
            let kind = signals.next().await;
            std::process::exit(BY_SIGNAL + kind.as_raw_value());
        });
    })?;
    Ok(async {
        // An error means that the thread is gone. Without it no signal could stop the server, so it stops now.
        stopped.await.unwrap_or(StopReason::Restarting)
    })
}

/// Returns the reason that clients are told for a signal.
fn reason(kind: SignalKind) -> StopReason {
    if kind == SignalKind::interrupt() { StopReason::GoingAway } else { StopReason::Restarting }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Waits for the next SIGTERM or SIGINT, and logs the other signals meanwhile.
    async fn next(&mut self) -> SignalKind {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return SignalKind::terminate(),
                _ = self.interrupt.recv() => return SignalKind::interrupt(),
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: settings were not read again, restart the server to change them");
                }
                _ = self.user1.recv() => tracing::warn!("SIGUSR1 has no effect"),
                _ = self.user2.recv() => tracing::warn!("SIGUSR2 has no effect"),
            }
        }
    }
}
