//! The calls of tasks, which wait here until the loop of the engine's thread sends them.

use std::cell::RefCell;
use std::mem;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::link::{Call, CallError};
use crate::broker::redis::script::{self, Reply};

/// The answer to a call.
pub(in crate::broker::redis::engine) type Answered = Result<Reply, CallError>;

/// A call of a task, with the place for its answer.
#[derive(Debug)]
pub(in crate::broker::redis::engine) struct TaskCall {
    /// The key or channel that decides which server gets the call.
    pub(in crate::broker::redis::engine) key: Bytes,
    pub(in crate::broker::redis::engine) call: Call,
    pub(in crate::broker::redis::engine) urgency: Urgency,
    pub(in crate::broker::redis::engine) answer: oneshot::Sender<Answered>,
}

/// The calls that tasks have made and that are not sent yet. Each task has one at a time, so the number of tasks bounds
/// them.
#[derive(Debug, Default)]
pub(in crate::broker::redis::engine) struct Outbox {
    calls: RefCell<Vec<TaskCall>>,
    notify: Notify,
}

impl Outbox {
    /// Runs a script and waits for the answer.
    pub(super) async fn run(&self, call: script::Call, urgency: Urgency) -> Answered {
        let Some(key) = call.keys.first().cloned() else { return Err(CallError::NotSent) };
        self.send(key, call.into(), urgency).await
    }

    /// Publishes a message on a shard channel. Returns the number of connections that get it.
    pub(super) async fn publish(&self, channel: Bytes, payload: Bytes) -> Result<i64, CallError> {
        let call = Call::command([Bytes::from_static(b"SPUBLISH"), channel.clone(), payload]);
        match self.send(channel, call, Urgency::Urgent).await? {
            Reply::Int(receivers) => Ok(receivers),
            _ => Ok(0),
        }
    }

    async fn send(&self, key: Bytes, call: Call, urgency: Urgency) -> Answered {
        let (answer, answered) = oneshot::channel();
        self.calls.borrow_mut().push(TaskCall { key, call, urgency, answer });
        self.notify.notify_one();
        // The loop has ended when it drops a call unanswered.
        answered.await.unwrap_or(Err(CallError::Lost))
    }

    /// Takes all calls, in their order.
    pub(in crate::broker::redis::engine) fn take(&self) -> Vec<TaskCall> {
        mem::take(&mut self.calls.borrow_mut())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.borrow().is_empty()
    }

    /// Lets the loop have a look, although there may be no call.
    pub(super) fn wake(&self) {
        self.notify.notify_one();
    }

    /// Waits until there is a call, or something else for the loop to look at.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(in crate::broker::redis::engine) async fn wait(&self) {
        self.notify.notified().await;
    }
}
