//! The events that a program receives, and the answers to its commands.

use std::fmt;
use std::time::Duration;

use throng_names::{DisplayName, Epoch, RoomName, UserId};

/// Something that happened, in order. Names hold only `[A-Za-z0-9_.:@-]`. Texts hold whatever another user has written,
/// control characters included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The connection's state has changed.
    State(State),
    /// The server has accepted a connection, the first one or a later one.
    Welcome {
        /// The entry room.
        room: RoomName,
        /// The user id of this client.
        user: UserId,
        /// The name of the server's node, which may be any text.
        node: String,
        /// The epoch of the entry room.
        epoch: Epoch,
        /// The offset behind which messages of the entry room follow.
        offset: u64,
        /// True when these begin with the messages that were missed.
        recovered: bool,
    },
    /// All messages of a room that were missed while disconnected have arrived: the room is complete.
    Recovered {
        /// The room.
        room: RoomName,
        /// How many messages were missed and have arrived since.
        messages: u64,
    },
    /// Messages of a room that were missed while disconnected are lost and will not arrive.
    Missed {
        /// The room.
        room: RoomName,
        /// How many messages are lost; `None` when it is unknown because the room has begun a new epoch.
        messages: Option<u64>,
    },
    /// The server refused to let this client into a room again after a reconnect, or took it out: an operator wants it,
    /// or a new token does not allow the room. The client is out of the room.
    Expelled {
        /// The room.
        room: RoomName,
        /// The server's code for the refusal, such as `forbidden`; `removed` when the server took the client out.
        code: String,
        /// The explanation for people.
        message: String,
    },
    /// A message was sent to a room, by this user or another one.
    Message {
        /// The room.
        room: RoomName,
        /// The sender.
        user: UserId,
        /// The text of the message.
        text: String,
        /// The offset of the message in the room.
        offset: u64,
        /// The id of the message, which no other message has.
        id: String,
        /// When it was sent, in milliseconds since the Unix epoch. For display only: it does not order messages.
        ts_ms: u64,
        /// The name of the sender for people, if there is one. It proves nothing, unlike the user id.
        name: Option<DisplayName>,
        /// JSON that the message carries beside its text, in the bytes of its sender.
        data: Option<String>,
    },
    /// Another connection has sent a direct message to this user alone.
    Direct {
        /// The sender.
        user: UserId,
        /// The text of the message.
        text: String,
        /// The id of the message, which no other message has.
        id: String,
        /// When it was sent, in milliseconds since the Unix epoch. For display only: it does not order messages.
        ts_ms: u64,
        /// The name of the sender for people, if there is one. It proves nothing, unlike the user id.
        name: Option<DisplayName>,
        /// JSON that the message carries beside its text, in the bytes of its sender.
        data: Option<String>,
    },
    /// Users have entered or left a room. In large rooms the server sends only the number of members, and both lists
    /// are empty: [`Client::presence`](super::Client::presence) then has the names.
    ///
    /// The answer to `presence` and these events may overtake each other. A program that keeps a list of users lets the
    /// events that arrive while it waits for the answer win over the answer.
    PresenceDiff {
        /// The room.
        room: RoomName,
        /// Users who have entered.
        joined: Vec<UserId>,
        /// Users who have left.
        left: Vec<UserId>,
        /// Number of users in the room now.
        members: u64,
    },
    /// Another user is typing.
    Typing {
        /// The room.
        room: RoomName,
        /// The user who is typing.
        user: UserId,
    },
    /// The server left out messages of a room, usually because this client was too slow. They will not arrive, but
    /// [`Client::history`](super::Client::history) may have them.
    Gap {
        /// The room.
        room: RoomName,
        /// The offset of the first missing message.
        from: u64,
        /// The offset of the last missing message.
        to: u64,
    },
    /// The server refused a message because this client sends too fast. The client sends it again by itself, and those
    /// behind it more slowly.
    Limited {
        /// When the message is sent again.
        retry_after: Duration,
    },
    /// The server sent an error that answers no command.
    Refused {
        /// The machine-readable code; the server's manual lists all codes.
        code: String,
        /// The explanation for people.
        message: String,
        /// How long to wait before trying again, if the server says so.
        retry_after: Option<Duration>,
    },
}

/// The state of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// The client is connecting.
    Connecting {
        /// The number of the attempt: 0 for the first one. It starts anew once a connection was up for long enough.
        attempt: u32,
    },
    /// The client is connected and the server has welcomed it.
    Online,
    /// The connection is down; the next attempt begins after `delay`.
    Waiting {
        /// The number of the next attempt, as in [`State::Connecting`].
        attempt: u32,
        /// How long the client waits.
        delay: Duration,
        /// Why the last connection, or the attempt to make it, ended.
        reason: Ended,
    },
    /// The client has stopped for good: reconnecting cannot help, or [`Client::close`](super::Client::close) was
    /// called. This is the last event.
    Stopped {
        /// Why the client has stopped.
        reason: Ended,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The close code (RFC 6455, section 7.4), if there was one.
    pub code: Option<u16>,
    /// The reason for people, which may be empty.
    pub reason: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, &*self.reason) {
            (Some(code), "") => write!(f, "closed with {code}"),
            (Some(code), reason) => write!(f, "{reason} ({code})"),
            (None, "") => f.write_str("connection lost"),
            (None, reason) => f.write_str(reason),
        }
    }
}

/// The position that the server has assigned to a message of this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The room.
    pub room: RoomName,
    /// The epoch of the room.
    pub epoch: Epoch,
    /// The offset of the message.
    pub offset: u64,
    /// True when an earlier attempt had already appended the message.
    pub duplicate: bool,
}

/// A room that the client is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The room.
    pub room: RoomName,
    /// The epoch of the room.
    pub epoch: Epoch,
    /// The offset behind which messages follow.
    pub offset: u64,
    /// True when these begin with the messages that were missed.
    pub recovered: bool,
    /// Number of users in the room, this one included; `None` when the client was in the room already.
    pub members: Option<u64>,
}

/// A message of a room's history. Its fields are those of [`Event::Message`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "Event::Message documents the fields")]
pub struct Message {
    pub room: RoomName,
    pub user: UserId,
    pub text: String,
    pub offset: u64,
    pub id: String,
    pub ts_ms: u64,
    pub name: Option<DisplayName>,
    pub data: Option<String>,
}

/// A page of a room's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The epoch of the room.
    pub epoch: Epoch,
    /// The messages of this page, oldest first.
    pub messages: Vec<Message>,
    /// True when there are older messages: ask again `before` the first offset of this page.
    pub more: bool,
}

/// A page of a room's users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The users of this page, in order of their ids.
    pub users: Vec<UserId>,
    /// Number of users in the room, on all pages.
    pub members: u64,
    /// True when there are more users: ask again `after` the last user of this page.
    pub more: bool,
}
