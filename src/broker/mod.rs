//! The seam between nodes. A broker gives every message its place and keeps the history; what it accepts comes
//! back in through [`Local`], in order. [`memory`] serves one node.

pub mod memory;

use crate::names::{Epoch, Offset};
use crate::protocol::frame::Frame;

/// The way back in: how a broker reaches the members on its own node. Implemented by whoever joins broker and
/// registry.
pub trait Local: Send + Sync {
    /// What the node keeps for each room beside the broker's own data, under the same lock.
    type Topic: Send;

    /// For a room that begins to exist here.
    fn topic(&self) -> Self::Topic;

    /// True when a frame of `len` bytes can be delivered now.
    fn has_space(&self, topic: &Self::Topic, len: usize) -> bool;

    /// Delivers a frame to the members. Called under the room's lock, in order; must not block.
    fn deliver(&self, topic: &mut Self::Topic, frame: &Frame);

    /// True when a room has members here.
    fn is_occupied(&self, topic: &Self::Topic) -> bool;
}

/// A message's place in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The life of the count.
    pub epoch: Epoch,
    /// The count.
    pub offset: Offset,
}

/// Why a broker did not take a message or open a room. Nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// A shard's inbox is full (`fanout.max_inbox_bytes`).
    #[error("the fan-out is at its limit (fanout.max_inbox_bytes)")]
    Full,
    /// `limits.max_rooms` rooms exist.
    #[error("too many rooms (limits.max_rooms)")]
    TooManyRooms,
}
