//! A connection that waits for an answer of the engine, and is woken for it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::names::ConnectionId;
use crate::registry::Registry;

/// Takes the answer for one connection. If it is dropped without an answer, because the engine's thread has ended, the
/// connection gets the answer that was given at the beginning.
pub(super) struct Waiter<T> {
    /// `None` once the answer was sent.
    sender: Option<(oneshot::Sender<T>, T)>,
    registry: Arc<Registry>,
    id: ConnectionId,
}

impl<T> Waiter<T> {
    /// Creates the waiter of a connection. `if_lost` is the answer if there is no other.
    pub(super) fn new(
        sender: oneshot::Sender<T>,
        if_lost: T,
        registry: &Arc<Registry>,
        id: ConnectionId,
    ) -> Self {
        Self { sender: Some((sender, if_lost)), registry: Arc::clone(registry), id }
    }

    /// Sends the answer and wakes the task of the connection. A connection that has given up does not listen.
    pub(super) fn answer(mut self, answer: T) {
        if let Some((sender, _)) = self.sender.take() {
            let _ = sender.send(answer);
            self.registry.wake(self.id);
        }
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        if let Some((sender, if_lost)) = self.sender.take() {
            let _ = sender.send(if_lost);
            self.registry.wake(self.id);
        }
    }
}
