//! Questions and orders of operators about one connection, which its shard answers.

use tokio::sync::oneshot;

use crate::names::RoomName;
use crate::protocol::Dialect;

/// The facts about a connection that its shard knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its dialect.
    pub dialect: Dialect,
    /// The rooms that it is in, in the order in which it entered them. A room whose missed messages it still reads is
    /// not among them.
    pub rooms: Vec<RoomName>,
    /// How long it has been connected, in milliseconds, to the second.
    pub age_ms: u64,
}

/// An order to leave a room, on behalf of an operator.
#[derive(Debug)]
pub struct Departure {
    /// The room.
    pub room: RoomName,
    /// Gets true when the connection was in the room, and false when it was not. It is dropped unused when the
    /// connection is gone or ending.
    pub answer: oneshot::Sender<bool>,
}
