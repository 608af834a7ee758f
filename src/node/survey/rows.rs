//! The rows of answers, as other nodes and callers of the API read them.

use serde::{Deserialize, Serialize};

use crate::names::ConnectionId;

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRow {
    /// Its name.
    pub room: String,
    /// Users in it now, on all nodes.
    pub members: usize,
    /// Its epoch.
    pub epoch: String,
    /// The offset of its last message.
    pub offset: u64,
}

/// A page of the users in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsersRow {
    /// Users in the room now, on all pages and nodes.
    pub members: usize,
    /// The users of this page, by name.
    pub users: Vec<String>,
    /// True when more follow.
    pub more: bool,
}

/// A connection of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// Its name: see [`connection_name`].
    pub connection: String,
    /// Its node.
    pub node: String,
    /// When it connected, in milliseconds since the Unix epoch, to the second.
    pub since_ms: u64,
    /// `plain` or `throng.v1`.
    pub dialect: String,
    /// The rooms that it is in.
    pub rooms: Vec<String>,
}

/// A connection for which something waits although its socket takes no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowRow {
    /// Its name: see [`connection_name`].
    pub connection: String,
    /// Its node.
    pub node: String,
    /// Its user; `None` outside of the chat.
    pub user: Option<String>,
    /// Bytes that wait.
    pub bytes: usize,
    /// Messages that wait, without replies to the client's own commands.
    pub messages: usize,
    /// Milliseconds since the oldest of these messages was queued.
    pub age_ms: u64,
}

/// Returns the name of a connection among those of all nodes: its node, a slash, and its id as in that node's log.
#[must_use]
pub fn connection_name(node: &str, id: ConnectionId) -> String {
    format!("{node}/{id}")
}
