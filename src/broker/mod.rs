//! The seam between nodes. A broker gives every message its place and keeps the history; what it accepts comes
//! back in through [`Local`], in order. [`memory`] serves one node.

mod budget;
pub mod durable;
mod forget;
mod idle;
pub mod log;
pub mod memory;
mod positions;
pub mod publish;
pub mod quota;
pub mod resume;
mod retained;
pub mod room;
mod shares;
pub mod trim;

pub use crate::names::Position;
use crate::names::{Key, Offset, UserId};
use crate::protocol::frame::Frame;

/// The way back in: how a broker reaches the members on its own node. Implemented by whoever joins broker and
/// registry.
pub trait Local: Send + Sync {
    /// What the node keeps for each room beside the broker's own data, under the same lock.
    type Topic: Send;
    /// What one member gets beside a message or in its place: the answer to whoever sent it.
    type SenderCopy: Send;

    /// For a room that begins to exist here.
    fn topic(&self) -> Self::Topic;

    /// True when a frame of `len` bytes can be delivered now.
    fn has_space(&self, topic: &Self::Topic, len: usize) -> bool;

    /// Delivers a message to the members. Called under the room's lock, in order; must not block, nor ask the broker
    /// for anything.
    fn deliver(&self, topic: &mut Self::Topic, publication: Publication<'_, Self::SenderCopy>);

    /// True when a room has members here.
    fn is_occupied(&self, topic: &Self::Topic) -> bool;
}

/// A message on its way to the members.
#[derive(Debug)]
pub struct Publication<'a, A> {
    /// The encoded message.
    pub frame: &'a Frame,
    /// Its place.
    pub offset: Offset,
    /// For whoever sent it.
    pub sender_copy: Option<A>,
}

/// A message without a place yet.
#[derive(Debug)]
pub struct Draft<'a> {
    /// Who sends it.
    pub user: &'a UserId,
    /// A second message of the same user in the same room with the same key is not appended, for as long as the key is
    /// remembered.
    pub key: Option<Key>,
    /// An upper bound of the frame's length, in bytes.
    pub max_len: usize,
}

/// What a message becomes at its place.
#[derive(Debug)]
pub struct Encoded<A> {
    /// For all.
    pub frame: Frame,
    /// For whoever sent it.
    pub sender_copy: Option<A>,
}

impl<A> From<Frame> for Encoded<A> {
    fn from(frame: Frame) -> Self {
        Self { frame, sender_copy: None }
    }
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its place.
    pub position: Position,
    /// It stood there already, sent with the same key: nothing was appended or delivered.
    pub is_duplicate: bool,
}

/// Why a broker did not take a message or open a room. Nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// A shard's inbox is full (`fanout.max_inbox_bytes`).
    #[error("the fan-out is at its limit (fanout.max_inbox_bytes)")]
    Full,
    /// `limits.max_rooms` rooms exist, and none of them can make way: in each there is somebody.
    #[error("too many rooms (limits.max_rooms)")]
    TooManyRooms,
    /// The log on disk is full, or has more to write than it may hold in memory.
    #[error("the history cannot be written now (history.dir)")]
    NotWritten,
    /// The room was forgotten: whoever sends was no longer in it.
    #[error("the room is no more")]
    Gone,
}
