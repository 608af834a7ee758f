//! How long a client's queue may be, and how it is said that it is too long.

use crate::config::QueuePolicy;

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Fan-out messages.
    pub messages: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// Age of the oldest, in milliseconds.
    pub age_ms: u64,
}

/// Which bound a queue has reached; the text stands in the close frame's reason.
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
    /// What to tell the client.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Messages => "too many messages queued",
            Self::Bytes => "too many bytes queued",
            Self::Age => "queued messages too old",
        }
    }
}

/// What happens to a client whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overload {
    /// It is dropped with 4001.
    #[default]
    Disconnect,
    /// Its oldest messages are dropped.
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
