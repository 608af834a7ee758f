//! A message that is published later, by the thread of a log or of an engine.

use std::fmt;

use super::Local;
use super::quota::KeyBound;
use super::room::SharedRoom;
use crate::names::{Key, UserId};

/// A message to be published.
pub struct Job<L: Local> {
    /// The room to publish in.
    pub room: SharedRoom<L>,
    /// The sender.
    pub user: UserId,
    /// The message's idempotency key.
    pub key: Option<Key>,
    /// The bound for the number of the sender's keys, where this node remembers them.
    pub key_bound: KeyBound,
    /// An upper bound of the frame's length, in bytes.
    pub max_len: usize,
    /// When the message came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The message itself, and its sender. The engine's thread encodes and answers it through [`Local`]. If that
    /// thread panics, the message is dropped without an answer: nobody knows the result then.
    pub message: L::Message,
}

impl<L: Local> fmt::Debug for Job<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("room", self.room.name())
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
