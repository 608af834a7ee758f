//! The bounds of a client's queue, and the policy when a queue would exceed them. Replies to the client's own commands
//! and control frames do not count.

use crate::config::QueuePolicy;

/// The bounds of a client's queue.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most frames of fan-out and private messages that wait.
    pub messages: usize,
    /// Most bytes of these frames.
    pub bytes: usize,
    /// Greatest age of the oldest of these frames, in milliseconds.
    pub age_ms: u64,
}

/// The policy for a client whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overload {
    /// The client is disconnected with 4001.
    #[default]
    Disconnect,
    /// The oldest messages in its queue are dropped.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
}

impl From<QueuePolicy> for Overload {
    fn from(policy: QueuePolicy) -> Self {
        match policy {
            QueuePolicy::Disconnect => Self::Disconnect,
            QueuePolicy::DropOldest => Self::DropOldest,
            QueuePolicy::DropNewest => Self::DropNewest,
        }
    }
}
