//! SIGTERM and SIGINT: the first one asks for the drain, the second one does not ask. SIGHUP, SIGUSR1 and SIGUSR2,
//! which would end a process that does not take them, are logged and change nothing.
//!
//! A service manager sends SIGTERM, and more often than not starts the next process: clients are told of a restart.
//! SIGINT comes from a person at a terminal, whom nothing replaces: they are told that the server goes away.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::server::StopReason;

/// What a shell reports for a process that a signal ended: this and the signal's number.
const BY_SIGNAL: i32 = 128;

/// Takes the signals from here on and returns a future that resolves at the first that asks for an end, to what clients
/// are to be told; at the second, of either kind, the process exits at once with 130 or 143. The signals have a thread
/// of their own, so that a second one is heard however busy or stuck the workers are.
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
            // Nobody waits any more where the server has ended by itself.
            let _ = stop.send(reason(kind));
            let kind = signals.next().await;
            std::process::exit(BY_SIGNAL + kind.as_raw_value());
        });
    })?;
    Ok(async {
        // An error is a sender that went without a word: the thread is gone, and without it nobody could stop us.
        stopped.await.unwrap_or(StopReason::Restarting)
    })
}

/// What a signal means for those who are connected.
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
    /// The next signal that asks for an end; the others are logged meanwhile.
    async fn next(&mut self) -> SignalKind {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return SignalKind::terminate(),
                _ = self.interrupt.recv() => return SignalKind::interrupt(),
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: nothing was read again, new settings need a restart");
                }
                _ = self.user1.recv() => tracing::warn!("SIGUSR1 means nothing here and changes nothing"),
                _ = self.user2.recv() => tracing::warn!("SIGUSR2 means nothing here and changes nothing"),
            }
        }
    }
}
