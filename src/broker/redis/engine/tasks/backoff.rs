//! Repeating a call until the server has answered it.

use std::time::Duration;

use super::Tasks;
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::broker::redis::link::CallError;
use crate::broker::redis::script::{BadReply, Call, Reply};

/// The pause after the first failure, in milliseconds.
const FIRST_MS: u64 = 25;
/// The longest pause, in milliseconds: a server that is back is found within this time.
const MAX_MS: u64 = 1_000;

/// Why a call has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// It was not carried out.
    NotDone,
    /// Whether it was carried out is not known.
    Unknown,
}

/// A pause that grows with each failure. Half of it is random, so that the calls of many tasks spread.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the length of the next pause, in milliseconds.
    fn next_ms(&mut self) -> u64 {
        let length = (FIRST_MS << self.failures.min(8)).min(MAX_MS);
        self.failures += 1;
        length / 2 + fastrand::u64(..=length / 2)
    }
}

impl<L: Host> Tasks<L> {
    /// Runs a script once.
    pub(super) async fn run<T>(
        &self,
        call: Call,
        urgency: Urgency,
        read: fn(&Reply) -> Result<T, BadReply>,
    ) -> Result<T, Failed> {
        let name = call.script.name;
        match self.outbox.run(call, urgency).await {
            Ok(reply) => read(&reply).map_err(|error| {
                self.health.unreadable(&error);
                Failed::Unknown
            }),
            Err(CallError::Lost) => Err(Failed::Unknown),
            Err(CallError::Full | CallError::NotSent) => Err(Failed::NotDone),
            Err(CallError::Server(error)) => {
                self.health.refused_script(name, &error);
                Err(Failed::NotDone)
            }
        }
    }

    /// Runs a script until the server has answered, at the longest until `until_ms`, and as long as `may_go_on` says
    /// so.
    ///
    /// # Errors
    /// [`Failed::Unknown`] when one of the attempts may have been carried out.
    pub(super) async fn run_until<T>(
        &self,
        until_ms: u64,
        urgency: Urgency,
        may_go_on: impl Fn() -> bool,
        call: impl Fn() -> Call,
        read: fn(&Reply) -> Result<T, BadReply>,
    ) -> Result<T, Failed> {
        let (mut backoff, mut failed) = (Backoff::default(), Failed::NotDone);
        while may_go_on() {
            match self.run(call(), urgency, read).await {
                Ok(value) => return Ok(value),
                Err(Failed::Unknown) => failed = Failed::Unknown,
                Err(Failed::NotDone) => {}
            }
            let pause_ms = backoff.next_ms();
            if self.clock.now_ms() + pause_ms >= until_ms {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        Err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..40).map(|_| backoff.next_ms()).collect();
        assert!((FIRST_MS / 2..=FIRST_MS).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses[10..].iter().all(|pause| (MAX_MS / 2..=MAX_MS).contains(pause)), "{pauses:?}");
    }
}
