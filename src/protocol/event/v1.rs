//! What `throng.v1` says beyond the plain events. `re` is the id of the command that is answered, and left out where
//! the command had none.
//!
//! All times are in milliseconds, all `ts` since the Unix epoch. None of these is ever longer than its arguments ask
//! for: pages and lists are bounded by who makes them.

use serde::Serialize;

use super::CommandError;
use super::object::encode;
use crate::names::{Epoch, Offset, RoomName, SessionId, UserId};
use crate::protocol::close::EndReason;
use crate::protocol::frame::{Frame, payload};

/// The most that an event of names and numbers takes.
const SMALL: usize = 256;

/// The first event of a connection.
#[derive(Debug)]
pub struct Welcome<'a> {
    /// The connection's secret.
    pub session: SessionId,
    /// The node's name, any text.
    pub node: &'a str,
    /// The user.
    pub user: &'a UserId,
    /// The room entered with the handshake.
    pub room: &'a RoomName,
    /// Its epoch.
    pub epoch: Epoch,
    /// The position from which on messages follow: that of the resume when it succeeded, else the newest.
    pub offset: Offset,
    /// Whether what was missed follows.
    pub recovered: bool,
    /// How long the server is silent before it sends a `heartbeat`.
    pub heartbeat_ms: u64,
    /// What the client has to keep to.
    pub limits: WelcomeLimits,
}

/// The limits that a client can run into.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WelcomeLimits {
    /// `limits.max_message_bytes`: bytes of one command.
    pub max_message_bytes: u64,
    /// `chat.max_message_chars`: characters of a message's text.
    pub max_message_chars: u64,
    /// `limits.max_rooms_per_connection`.
    pub max_rooms: u64,
    /// `limits.max_keys_per_user`: idempotency keys of a user that are remembered.
    pub max_keys: u64,
    /// `rate_limit.messages_per_second`; left out where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u64>,
    /// `rate_limit.burst`; left out where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

/// `welcome`.
#[must_use]
pub fn welcome(welcome: &Welcome<'_>) -> Frame {
    let session = welcome.session.digits();
    encode("welcome", 2 * SMALL + welcome.node.len(), |object| {
        object.name("session", std::str::from_utf8(&session).unwrap_or_default());
        object.text("node", welcome.node).name("user", welcome.user.as_str());
        object.name("room", welcome.room.as_str()).epoch(welcome.epoch).number("offset", welcome.offset.0);
        object.flag("recovered", welcome.recovered).number("heartbeat_ms", welcome.heartbeat_ms);
        object.value("limits", &welcome.limits);
    })
}

/// The place of a message that was appended.
#[derive(Debug, Clone, Copy)]
pub struct Ack<'a> {
    /// The id of the command.
    pub re: Option<&'a str>,
    /// The room.
    pub room: &'a RoomName,
    /// Its epoch.
    pub epoch: Epoch,
    /// The message's offset; of a duplicate, that of the first.
    pub offset: Offset,
    /// Whether the key was known and nothing was appended.
    pub duplicate: bool,
}

/// `ack` of a `message`.
#[must_use]
pub fn ack(ack: &Ack<'_>) -> Frame {
    // As `message`, felt: one for each message that is said.
    encode("ack", 96 + ack.re.map_or(0, str::len) + ack.room.as_str().len(), |object| {
        object.re(ack.re).name("room", ack.room.as_str()).epoch(ack.epoch);
        object.number("offset", ack.offset.0).flag("duplicate", ack.duplicate);
    })
}

/// `ack` of a `direct`: handed to so many connections of the recipient.
#[must_use]
pub fn direct_ack(re: Option<&str>, delivered: usize) -> Frame {
    encode("ack", SMALL, |object| {
        object.re(re).count("delivered", delivered);
    })
}

/// A room that was entered.
#[derive(Debug, Clone, Copy)]
pub struct Joined<'a> {
    /// The id of the command.
    pub re: Option<&'a str>,
    /// The room.
    pub room: &'a RoomName,
    /// Its epoch.
    pub epoch: Epoch,
    /// The position from which on messages follow: that of the resume when it succeeded, else the newest.
    pub offset: Offset,
    /// Whether what was missed follows.
    pub recovered: bool,
    /// Users in the room, the new one included.
    pub members: usize,
}

/// `joined`.
#[must_use]
pub fn joined(joined: &Joined<'_>) -> Frame {
    encode("joined", SMALL, |object| {
        object.re(joined.re).name("room", joined.room.as_str()).epoch(joined.epoch);
        object.number("offset", joined.offset.0).flag("recovered", joined.recovered);
        object.count("members", joined.members);
    })
}

/// `left`.
#[must_use]
pub fn left(re: Option<&str>, room: &RoomName) -> Frame {
    encode("left", SMALL, |object| {
        object.re(re).name("room", room.as_str());
    })
}

/// One page of a room's history.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The id of the command.
    pub re: Option<&'a str>,
    /// The room.
    pub room: &'a RoomName,
    /// Its epoch.
    pub epoch: Epoch,
    /// The messages as they were sent, in the order of their offsets.
    pub messages: &'a [Frame],
    /// Whether older ones are kept.
    pub more: bool,
}

/// `history`: the payloads of the messages' frames as an array.
#[must_use]
pub fn history(history: &History<'_>) -> Frame {
    let bytes: usize = history.messages.iter().map(Frame::len).sum();
    encode("history", bytes + SMALL, |object| {
        object.re(history.re).name("room", history.room.as_str()).epoch(history.epoch);
        object.array("messages", history.messages.iter().map(|frame| payload(frame)));
        object.flag("more", history.more);
    })
}

/// One page of a room's users.
#[derive(Debug, Clone, Copy)]
pub struct Presence<'a> {
    /// The id of the command.
    pub re: Option<&'a str>,
    /// The room.
    pub room: &'a RoomName,
    /// Users in the room, on all pages.
    pub members: usize,
    /// Those of this page, in order.
    pub users: &'a [UserId],
    /// Whether others come behind them.
    pub more: bool,
}

/// `presence`.
#[must_use]
pub fn presence(presence: &Presence<'_>) -> Frame {
    encode("presence", SMALL + bytes_of(presence.users), |object| {
        object.re(presence.re).name("room", presence.room.as_str()).count("members", presence.members);
        object.users("users", presence.users).flag("more", presence.more);
    })
}

/// `pong`.
#[must_use]
pub fn pong(re: Option<&str>) -> Frame {
    encode("pong", SMALL, |object| {
        object.re(re);
    })
}

/// `heartbeat`.
#[must_use]
pub fn heartbeat() -> Frame {
    encode("heartbeat", 0, |_| {})
}

/// `direct`: a private message. Its id is `EPOCH-NUMBER` like a message's; the epoch is the sender's node's, no room's.
#[must_use]
pub fn direct(from: &UserId, text: &str, epoch: Epoch, number: u64, ts: u64) -> Frame {
    encode("direct", text.len() + SMALL, |object| {
        object.name("user", from.as_str()).text("message", text).id(epoch, number).number("ts", ts);
    })
}

/// Who came and who went since the last `presence_diff`; who did both is in neither list.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'a> {
    /// Those who came.
    pub joined: &'a [UserId],
    /// Those who went.
    pub left: &'a [UserId],
}

/// `presence_diff`. Without `changes`, as in large rooms, it says only how many users there are.
#[must_use]
pub fn presence_diff(room: &RoomName, changes: Option<Changes<'_>>, members: usize) -> Frame {
    let names = changes.map_or(0, |changes| bytes_of(changes.joined) + bytes_of(changes.left));
    encode("presence_diff", names + SMALL, |object| {
        object.name("room", room.as_str());
        if let Some(changes) = changes {
            object.users("joined", changes.joined).users("left", changes.left);
        }
        object.count("members", members);
    })
}

/// `typing`: somebody else is writing.
#[must_use]
pub fn typing(room: &RoomName, user: &UserId) -> Frame {
    encode("typing", 32 + room.as_str().len() + user.as_str().len(), |object| {
        object.name("room", room.as_str()).name("user", user.as_str());
    })
}

/// `gap`: the messages with these offsets, both included, were left out and will not come.
#[must_use]
pub fn gap(room: &RoomName, from: Offset, to: Offset) -> Frame {
    debug_assert!(from <= to, "a gap from {from} to {to}");
    encode("gap", SMALL, |object| {
        object.name("room", room.as_str()).number("from", from.0).number("to", to.0);
    })
}

/// `disconnect`, right before the close frame with the same code and reason. `after_ms` is out of the range of
/// [`EndReason::advice`], and 0 where the client should stop.
#[must_use]
pub fn disconnect(reason: &EndReason, after_ms: u64) -> Frame {
    let advice = reason.advice();
    debug_assert!(advice.after_ms.contains(&after_ms), "{after_ms} is not in {advice:?}");
    encode("disconnect", SMALL, |object| {
        object.number("code", reason.code().into()).text("reason", &reason.text());
        object.flag("reconnect", advice.reconnect).number("after_ms", after_ms);
    })
}

/// `error`: as in the plain dialect, with the id of the command behind it.
#[must_use]
pub fn error(re: Option<&str>, error: CommandError) -> Frame {
    encode("error", SMALL, |object| {
        object.text("message", &error.to_string()).name("code", error.code()).re(re);
        if let CommandError::RateLimited { retry_after_ms } = error {
            object.number("retry_after_ms", retry_after_ms);
        }
    })
}

/// What a list of names takes: each with its quotes and comma.
fn bytes_of(users: &[UserId]) -> usize {
    users.iter().map(|user| user.as_str().len() + 3).sum()
}
