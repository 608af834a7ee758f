//! What the client tells: events, and the answers to commands.

use std::fmt;
use std::time::Duration;

use throng_names::{Epoch, RoomName, UserId};

/// What happens, in order. Names hold only `[A-Za-z0-9_.:@-]`; texts hold what the other user likes, control
/// characters included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The connection's state has changed.
    State(State),
    /// A connection is up, the first one or a later one.
    Welcome {
        /// The entry room.
        room: RoomName,
        /// Who we are.
        user: UserId,
        /// The name of the server's node, any text.
        node: String,
        /// The life of the entry room's offsets.
        epoch: Epoch,
        /// The position from which on its messages follow.
        offset: u64,
        /// Whether these begin with what was missed.
        recovered: bool,
    },
    /// After a reconnect, behind the last of the missed messages: the room is complete.
    Recovered {
        /// The room.
        room: RoomName,
        /// How many messages were missed, and have come belatedly.
        messages: u64,
    },
    /// After a reconnect: messages of the room are gone and will not come.
    Missed {
        /// The room.
        room: RoomName,
        /// How many; `None` when nobody can tell (the server has begun a new epoch).
        messages: Option<u64>,
    },
    /// After a reconnect: the room does not let us in again.
    Expelled {
        /// The room.
        room: RoomName,
        /// The server's code, as `forbidden`.
        code: String,
        /// For people.
        message: String,
    },
    /// A message in a room, our own included.
    Message {
        /// The room.
        room: RoomName,
        /// Who said it.
        user: UserId,
        /// What was said.
        text: String,
        /// Its place in the room.
        offset: u64,
        /// Unique among all messages.
        id: String,
        /// Milliseconds since the Unix epoch, for display only.
        ts_ms: u64,
    },
    /// A private message to us.
    Direct {
        /// Who said it.
        user: UserId,
        /// What was said.
        text: String,
        /// Unique among all messages.
        id: String,
        /// Milliseconds since the Unix epoch, for display only.
        ts_ms: u64,
    },
    /// Who came and who went. Nobody where the server tells only how many there are: ask for `presence` then. The
    /// answer comes by another way: whoever keeps a list and has heard of somebody while it was under way goes by that.
    PresenceDiff {
        /// The room.
        room: RoomName,
        /// Those who came.
        joined: Vec<UserId>,
        /// Those who went.
        left: Vec<UserId>,
        /// Users in the room now.
        members: u64,
    },
    /// Somebody else is writing.
    Typing {
        /// Where.
        room: RoomName,
        /// Who.
        user: UserId,
    },
    /// Messages were left out and will not come; `history` may have them.
    Gap {
        /// The room.
        room: RoomName,
        /// The first offset that is missing.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// We speak too fast. What is queued goes on by itself.
    Limited {
        /// After this time.
        retry_after: Duration,
    },
    /// An error that answers no command of ours.
    Refused {
        /// Machine-readable: the table of errors in the README.
        code: String,
        /// For people.
        message: String,
        /// When it is worth trying again.
        retry_after: Option<Duration>,
    },
}

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A connection is being made.
    Connecting {
        /// 0 for the first one; counts up until a connection was healthy for long enough.
        attempt: u32,
    },
    /// The server has welcomed us.
    Online,
    /// The connection is down, the next one is made after `delay`.
    Waiting {
        /// As in [`State::Connecting`], of the one to come.
        attempt: u32,
        /// How long.
        delay: Duration,
        /// Why the last one ended.
        reason: Ended,
    },
    /// Coming back cannot help, or [`Client::close`](super::Client::close) was called. The last event.
    Stopped {
        /// Why.
        reason: Ended,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The close code (RFC 6455 section 7.4), where there was one.
    pub code: Option<u16>,
    /// For people; may be empty.
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

/// Where a message of ours stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The room.
    pub room: RoomName,
    /// The life of its offsets.
    pub epoch: Epoch,
    /// The message's place.
    pub offset: u64,
    /// Whether an earlier attempt had been successful already.
    pub duplicate: bool,
}

/// A room that we are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The room.
    pub room: RoomName,
    /// The life of its offsets.
    pub epoch: Epoch,
    /// The position from which on messages follow.
    pub offset: u64,
    /// Whether these begin with what was missed.
    pub recovered: bool,
    /// Users in the room, ourselves included; `None` of a room that we were in already.
    pub members: Option<u64>,
}

/// A message of a room's history; the fields as in [`Event::Message`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented at the event")]
pub struct Message {
    pub room: RoomName,
    pub user: UserId,
    pub text: String,
    pub offset: u64,
    pub id: String,
    pub ts_ms: u64,
}

/// A page of a room's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The life of the room's offsets.
    pub epoch: Epoch,
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Whether there are older ones: ask again `before` the first offset of this page.
    pub more: bool,
}

/// A page of a room's users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Those of this page, in order.
    pub users: Vec<UserId>,
    /// Users in the room, on all pages.
    pub members: u64,
    /// Whether there are others: ask again `after` the last one of this page.
    pub more: bool,
}
