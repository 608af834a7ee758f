//! How long a client's queue may be, and what happens when it is too long.

use crate::config::QueuePolicy;

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Fan-out messages.
    pub messages: usize,
    /// Bytes of these messages.
    pub bytes: usize,
    /// Age of the oldest message, in milliseconds.
    pub age_ms: u64,
}

/// The bound that a queue has exceeded. Its text is the reason in the close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Too many messages.
    Messages,
    /// Too many bytes.
    Bytes,
    /// The oldest entry is too old.
    Age,
}

impl Overflow {
    /// Returns the text for the client.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Messages => "too many messages queued",
            Self::Bytes => "too many bytes queued",
            Self::Age => "queued messages too old",
        }
    }
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
