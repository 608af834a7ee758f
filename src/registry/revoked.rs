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
#[derive(Debug, Default)]
pub struct RevokedQueue {
    sweeps: Mutex<Vec<Sweep>>,
    notify: Notify,
}

impl RevokedQueue {
    /// Adds a sweep; the shard answers it.
    pub(super) fn add(&self, revocations: Arc<[Revocation]>) -> oneshot::Receiver<usize> {
        let (ended, answer) = oneshot::channel();
        self.sweeps.lock().push(Sweep { revocations, ended });
        self.notify.notify_one();
        answer
    }

    /// Waits for sweeps, and takes all of them.
    ///
    /// # Cancel safety
    /// Dropping the future loses no sweep.
    pub async fn wait(&self) -> Vec<Sweep> {
        loop {
            let sweeps = std::mem::take(&mut *self.sweeps.lock());
            if !sweeps.is_empty() {
                return sweeps;
            }
            self.notify.notified().await;
        }
    }
}
