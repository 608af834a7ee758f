//! The contract of a broker: it assigns every message its offset and keeps the history. Accepted messages are delivered
//! to this node's members through [`Local`], in order. [`memory`] serves a single node; a broker for several would
//! replace it.

mod budget;
pub mod durable;
pub mod engine_room;
mod eviction_order;
pub mod followed;
mod forget;
mod idle;
mod job;
pub mod log;
pub mod memory;
mod positions;
pub mod publish;
pub mod quota;
pub mod redis;
pub mod resume;
mod retained;
pub mod room;
pub mod trim;

pub use self::eviction_order::Opener;
pub use self::job::Job;
use self::quota::KeyBound;
pub use crate::names::Position;
use crate::names::{Key, Offset, RoomName, UserId};
use crate::protocol::event::Content;
use crate::protocol::frame::Frame;

/// How a broker reaches the members on its own node. Implemented where broker and registry are joined.
pub trait Local: Send + Sync {
    /// The node's own data of a room, kept beside the broker's and under the same lock.
    type Topic: Send;
    /// A frame for the sender alone, beside a message or instead of it, such as its ack.
    type SenderCopy: Send;
    /// A message whose position is assigned later, by another thread, with what is needed to answer its sender.
    type Message: Send;

    /// Creates the node's part of a room that is opened.
    fn topic(&self) -> Self::Topic;

    /// Returns true when a frame of `len` bytes can be delivered now.
    fn has_space(&self, topic: &Self::Topic, len: usize) -> bool;

    /// Delivers a message to the room's members. Called under the room's lock, in the order of offsets. Must neither
    /// block nor call the broker.
    fn deliver(&self, topic: &mut Self::Topic, publication: Publication<'_, Self::SenderCopy>);

    /// Tells the members of an engine's room that the messages from `from` to `to` will not follow. Called under the
    /// room's lock, as the following two.
    fn missed(&self, topic: &mut Self::Topic, room: &RoomName, from: Offset, to: Offset);

    /// Tells the members of an engine's room that it is in a new epoch, in which their position is `at`.
    fn renamed(&self, topic: &mut Self::Topic, room: &RoomName, at: Position);

    /// Ends the members of an engine's room, because messages that they were shown are lost.
    fn lost(&self, topic: &mut Self::Topic);

    /// Returns true when the room has members on this node.
    fn is_occupied(&self, topic: &Self::Topic) -> bool;

    /// Encodes a message that was published with a later answer, with its position. Called under the room's lock.
    fn encode(&self, message: &Self::Message, room: &RoomName, at: Position) -> Encoded<Self::SenderCopy>;

    /// Returns how many connections of this node are in a room.
    fn members(&self, topic: &Self::Topic) -> usize;

    /// Shows the members of an engine's room that a user on another node is typing.
    fn show_typing(&self, topic: &Self::Topic, room: &RoomName, user: &UserId);

    /// Returns the contents of a message that was published with a later answer.
    fn content<'m>(&self, message: &'m Self::Message) -> Content<'m>;

    /// Makes the frame for the sender alone of a message that an engine has given its position.
    fn sender_copy(&self, message: &Self::Message, room: &RoomName, at: Position)
    -> Option<Self::SenderCopy>;

    /// Notes that a message is in the room although its sender is answered as for a duplicate: nobody knew so for a
    /// while.
    fn appended(&self, _message: &Self::Message, _room: &RoomName, _at: Position) {}

    /// Answers the sender of a message that was published with a later answer. Called after the message was delivered,
    /// or once it is certain that it never will be.
    fn answer(&self, message: Self::Message, room: &RoomName, answer: Result<Published, BrokerError>);
}

/// A message on its way to the members of its room.
#[derive(Debug)]
pub struct Publication<'a, A> {
    /// The encoded message.
    pub frame: &'a Frame,
    /// The message's offset.
    pub offset: Offset,
    /// A frame for the sender alone, beside the message or instead of it.
    pub sender_copy: Option<A>,
}

/// A message that has no offset yet.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The sender.
    pub user: &'a UserId,
    /// The idempotency key: while it is remembered, a second message of the same user with the same key is not appended
    /// to the room.
    pub key: Option<Key>,
    /// The bound for the number of the sender's keys.
    pub key_bound: KeyBound,
    /// An upper bound of the frame's length, in bytes.
    pub max_len: usize,
}

/// A message encoded with its position.
#[derive(Debug)]
pub struct Encoded<A> {
    /// The frame that members get.
    pub frame: Frame,
    /// A frame for the sender alone, beside `frame` or instead of it.
    pub sender_copy: Option<A>,
}

impl<A> From<Frame> for Encoded<A> {
    fn from(frame: Frame) -> Self {
        Self { frame, sender_copy: None }
    }
}

/// The result of publishing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The message's position.
    pub position: Position,
    /// True when a message with the same key had been appended before: nothing was appended or delivered now, and
    /// `position` is that message's.
    pub is_duplicate: bool,
}

/// Why a broker refused a message or could not open a room. Nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The inbox of a shard is full (`fanout.max_inbox_bytes`).
    #[error("the fan-out is at its limit (fanout.max_inbox_bytes)")]
    Full,
    /// `limits.max_rooms` rooms exist and all of them have members, so that none can be evicted.
    #[error("too many rooms (limits.max_rooms)")]
    TooManyRooms,
    /// The log on disk is full, or has more to write than it may hold in memory.
    #[error("the history cannot be written now (history.dir)")]
    NotWritten,
    /// The room was forgotten: the sender was no longer in it.
    #[error("the room no longer exists")]
    Gone,
    /// The engine is not available, has too much to do, or has not opened the room.
    #[error("the engine is not available (redis.addresses)")]
    NoEngine,
}
