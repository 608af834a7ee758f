//! Tells a shard which tokens are revoked, so that it ends their connections, and learns how many those were.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::revocation::Revocation;

/// A request to end the connections of revoked tokens on one shard.
#[derive(Debug)]
pub struct Sweep {
    /// The tokens.
    pub revocations: Arc<[Revocation]>,
    /// Takes the number of connections that end.
    pub ended: oneshot::Sender<usize>,
}

/// The sweeps that wait for one shard. Each belongs to a call of the API or to the engine, which bound their number.
#[derive(Debug)]
pub struct RevokedQueue {
    /// `None` once the shard has stopped.
    sweeps: Mutex<Option<Vec<Sweep>>>,
    notify: Notify,
}

impl Default for RevokedQueue {
    fn default() -> Self {
        Self { sweeps: Mutex::new(Some(Vec::new())), notify: Notify::new() }
    }
}

impl RevokedQueue {
    /// Adds a sweep; the shard answers it.
    pub(super) fn add(&self, revocations: Arc<[Revocation]>) -> oneshot::Receiver<usize> {
        let (ended, answer) = oneshot::channel();
        // A shard that has stopped drops the sweep, which is its answer.
        if let Some(sweeps) = &mut *self.sweeps.lock() {
            sweeps.push(Sweep { revocations, ended });
        }
        self.notify.notify_one();
        answer
    }

    /// Answers those who wait, and takes no more: the shard has stopped.
    pub fn close(&self) {
        *self.sweeps.lock() = None;
    }

    /// Waits for sweeps, and takes all of them.
    ///
    /// # Cancel safety
    /// Dropping the future loses no sweep.
    pub async fn wait(&self) -> Vec<Sweep> {
        loop {
            let sweeps = self.sweeps.lock().as_mut().map(std::mem::take).unwrap_or_default();
            if !sweeps.is_empty() {
                return sweeps;
            }
            self.notify.notified().await;
        }
    }
}
