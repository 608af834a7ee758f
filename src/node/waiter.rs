//! The wait for an answer of the engine: of a connection, which is woken for it, or of a caller without one.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::names::ConnectionId;
use crate::registry::Registry;

/// The wait for an answer of the engine. Dropping it gives the answer up.
#[derive(Debug)]
pub struct Awaited<T, E> {
    receiver: oneshot::Receiver<Result<T, E>>,
    if_lost: E,
}

impl<T, E> Awaited<T, E> {
    /// Returns true until the answer is there.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// As [`Awaited::result`].
    pub async fn wait(self) -> Result<T, E> {
        self.receiver.await.unwrap_or(Err(self.if_lost))
    }

    /// Returns the answer, once it is there.
    ///
    /// # Errors
    /// The error that was answered, or the one for an engine that is not available when there is no answer.
    pub fn result(mut self) -> Result<T, E> {
        self.receiver.try_recv().unwrap_or(Err(self.if_lost))
    }
}

/// Takes the answer for the one who waits. If it is dropped without an answer, because the engine's thread has ended,
/// that one gets the error that was given at the beginning.
pub(super) struct Waiter<T, E: Copy> {
    /// `None` once the answer was sent.
    sender: Option<oneshot::Sender<Result<T, E>>>,
    if_lost: E,
    /// The connection to wake; `None` where the caller awaits the answer itself.
    wake: Option<(Arc<Registry>, ConnectionId)>,
}

impl<T, E: Copy> Waiter<T, E> {
    /// Sends the answer, and wakes the connection if there is one.
    pub(super) fn answer(mut self, answer: Result<T, E>) {
        self.send(answer);
    }

    /// Sends the first answer. A waiter that has given up does not listen.
    fn send(&mut self, answer: Result<T, E>) {
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(answer);
            if let Some((registry, id)) = &self.wake {
                registry.wake(*id);
            }
        }
    }
}

impl<T, E: Copy> Drop for Waiter<T, E> {
    fn drop(&mut self) {
        self.send(Err(self.if_lost));
    }
}

/// Begins the wait for an answer, for the connection `id` if there is one. If no answer comes, `if_lost` is the error.
pub(super) fn await_answer<T, E: Copy>(
    registry: &Arc<Registry>,
    id: Option<ConnectionId>,
    if_lost: E,
) -> (Waiter<T, E>, Awaited<T, E>) {
    let (sender, receiver) = oneshot::channel();
    let wake = id.map(|id| (Arc::clone(registry), id));
    let waiter = Waiter { sender: Some(sender), if_lost, wake };
    (waiter, Awaited { receiver, if_lost })
}
