//! Signals: the first SIGTERM or SIGINT starts the drain, the second one ends the process at once. SIGHUP reads the
//! settings again. SIGUSR1 and SIGUSR2 are logged and change nothing; without a handler each of them would end the
//! process.
//!
//! A service manager sends SIGTERM and usually starts the next process, so clients are told that the server restarts.
//! A person at a terminal sends SIGINT and usually starts nothing, so clients are told that the server goes away.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::notify::Notifier;
use crate::server::{Reloader, StopReason};

/// A shell reports this plus the signal's number as exit code of a process that a signal ended.
const BY_SIGNAL: i32 = 128;

/// Hands over what SIGHUP does. Until then a SIGHUP waits.
pub struct Hangups(oneshot::Sender<Reloader>);

impl Hangups {
    /// Lets SIGHUP reload the settings from now on.
    pub fn reload(self, reloader: Reloader) {
        // The thread of the signals lives as long as the process.
        let _ = self.0.send(reloader);
    }
}

/// Installs the handlers. Returns a future that resolves at the first SIGTERM or SIGINT, to the reason that clients are
/// told, and the place for what SIGHUP does, of which `notifier` tells the service manager. At the second SIGTERM or
/// SIGINT, of either kind, the process exits at once with 130 or 143. Signals are handled on a thread of their own, so
/// that the second one works however busy or stuck the workers are.
///
/// # Cancel safety
/// Dropping the future means that the first signal starts no drain; the second one still ends the process.
///
/// # Errors
/// The system refuses a handler, a poller or a thread.
pub fn listen(
    notifier: Notifier,
) -> io::Result<(impl Future<Output = StopReason> + Send + 'static, Hangups)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (hangups, reloader) = oneshot::channel();
    let mut signals = {
        let _inside = runtime.enter();
        Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            reload: Reload::Awaited(reloader),
            notifier,
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
    let first = async {
        // An error means that the thread is gone. Without it no signal could stop the server, so it stops now.
        stopped.await.unwrap_or(StopReason::Restarting)
    };
    Ok((first, Hangups(hangups)))
}

/// Returns the reason that clients are told for a signal.
fn reason(kind: SignalKind) -> StopReason {
    if kind == SignalKind::interrupt() { StopReason::GoingAway } else { StopReason::Restarting }
}

/// The state of reloads, which decides when the next SIGHUP is taken.
enum Reload {
    /// Not known yet, since the server does not run.
    Awaited(oneshot::Receiver<Reloader>),
    /// The next one reloads.
    Ready(Reloader),
    /// A reload is under way, on a thread of its own: a file system that hangs must not keep other signals waiting.
    Running(Reloader, JoinHandle<()>),
    /// The server has failed to start.
    Impossible,
}

impl Reload {
    /// Waits until the next SIGHUP can be taken.
    async fn ready(&mut self) {
        match self {
            Self::Ready(_) => {}
            Self::Awaited(reloader) => *self = reloader.await.map_or(Self::Impossible, Self::Ready),
            Self::Running(reloader, running) => {
                // A reload that panics has changed nothing, and the log has its message.
                let _ = running.await;
                *self = Self::Ready(reloader.clone());
            }
            Self::Impossible => std::future::pending().await,
        }
    }

    fn begin(&mut self, notifier: &Notifier) {
        if let Self::Ready(reloader) = self {
            let reloader = reloader.clone();
            let running = spawn_blocking({
                let (reloader, notifier) = (reloader.clone(), notifier.clone());
                move || {
                    notifier.reloading();
                    // The log says what came of it.
                    drop(reloader.reload());
                    notifier.ready();
                }
            });
            *self = Self::Running(reloader, running);
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    reload: Reload,
    notifier: Notifier,
}

impl Signals {
    /// Waits for the next SIGTERM or SIGINT, and acts on the other signals meanwhile. Those that come during a reload
    /// cause one more.
    async fn next(&mut self) -> SignalKind {
        loop {
            let hangup = async {
                self.reload.ready().await;
                self.hangup.recv().await;
            };
            tokio::select! {
                _ = self.terminate.recv() => return SignalKind::terminate(),
                _ = self.interrupt.recv() => return SignalKind::interrupt(),
                () = hangup => self.reload.begin(&self.notifier),
                _ = self.user1.recv() => tracing::warn!("SIGUSR1 has no effect"),
                _ = self.user2.recv() => tracing::warn!("SIGUSR2 has no effect"),
            }
        }
    }
}
