//! Events of `throng.v1` beyond those of the plain dialect. `re` is the id of the command that an event answers; it is
//! left out where the command had no id.
//!
//! All times are in milliseconds, and every `ts` counts from the Unix epoch. Nothing here bounds the length of an
//! event: the caller bounds the pages and lists that it passes.

use serde::Serialize;

use super::content::Content;
use super::error::CommandError;
use super::object::encode;
use crate::names::{DisplayName, Epoch, Offset, RoomName, SessionId, UserId};
use crate::protocol::close::EndReason;
use crate::protocol::frame::{Frame, payload};

/// Estimated bytes of an event that contains only names and numbers.
const SMALL: usize = 256;

/// The fields of `welcome`, the first event of a connection.
#[derive(Debug)]
pub struct Welcome<'a> {
    /// The connection's id, which only its client knows.
    pub session: SessionId,
    /// The node's name, which may be any text.
    pub node: &'a str,
    /// The connection's user.
    pub user: &'a UserId,
    /// The room that the connection entered with its handshake.
    pub room: &'a RoomName,
    /// The epoch of the room.
    pub epoch: Epoch,
    /// The offset after which messages follow: that of the resume if it succeeded, else the newest.
    pub offset: Offset,
    /// Whether the resume succeeded, so that the missed messages follow.
    pub recovered: bool,
    /// Silence after which the server sends a `heartbeat`, in milliseconds.
    pub heartbeat_ms: u64,
    /// The limits that the client must keep to.
    pub limits: WelcomeLimits,
    /// Milliseconds until the token expires; left out where none is demanded.
    pub expires_ms: Option<u64>,
}

/// The limits that a client can run into.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WelcomeLimits {
    /// `limits.max_message_bytes`: bytes of one command.
    pub max_message_bytes: u64,
    /// `chat.max_message_chars`: characters of a message's text.
    pub max_message_chars: u64,
    /// `limits.max_rooms_per_connection`: rooms that one connection may be in.
    pub max_rooms: u64,
    /// `limits.max_keys_per_user`: idempotency keys of a user that are remembered.
    pub max_keys: u64,
    /// `rate_limit.messages_per_second`: chat messages per second in the long run; left out where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<u64>,
    /// `rate_limit.burst`: chat messages at once after a silence; left out where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// `chat.max_data_bytes`: bytes of the JSON that a message carries as `data`.
    pub max_data_bytes: u64,
}

/// Encodes `welcome`.
#[must_use]
pub fn welcome(welcome: &Welcome<'_>) -> Frame {
    let session = welcome.session.digits();
    encode("welcome", 2 * SMALL + welcome.node.len(), |object| {
        object.name("session", std::str::from_utf8(&session).unwrap_or_default());
        object.text("node", welcome.node).name("user", welcome.user.as_str());
        object.name("room", welcome.room.as_str()).epoch(welcome.epoch).number("offset", welcome.offset.0);
        object.flag("recovered", welcome.recovered).number("heartbeat_ms", welcome.heartbeat_ms);
        object.value("limits", &welcome.limits);
        if let Some(expires_ms) = welcome.expires_ms {
            object.number("expires_ms", expires_ms);
        }
    })
}

/// The fields of the `ack` of a message.
#[derive(Debug, Clone, Copy)]
pub struct Ack<'a> {
    /// The id of the command that is answered.
    pub re: Option<&'a str>,
    /// The room of the message.
    pub room: &'a RoomName,
    /// The epoch of the room.
    pub epoch: Epoch,
    /// The message's offset; for a duplicate, the offset of the first one.
    pub offset: Offset,
    /// Whether the idempotency key was known, so that nothing was appended.
    pub duplicate: bool,
}

/// Encodes the `ack` of a `message`.
#[must_use]
pub fn ack(ack: &Ack<'_>) -> Frame {
    // One for each message that is published: the estimate is close.
    encode("ack", 96 + ack.re.map_or(0, str::len) + ack.room.as_str().len(), |object| {
        object.re(ack.re).name("room", ack.room.as_str()).epoch(ack.epoch);
        object.number("offset", ack.offset.0).flag("duplicate", ack.duplicate);
    })
}

/// Encodes the `ack` of a `direct`, which went to `delivered` connections of the recipient.
#[must_use]
pub fn direct_ack(re: Option<&str>, delivered: usize) -> Frame {
    encode("ack", SMALL, |object| {
        object.re(re).count("delivered", delivered);
    })
}

/// Encodes the `ack` of a `token`, which expires after `expires_ms` milliseconds.
#[must_use]
pub fn token_ack(re: Option<&str>, expires_ms: u64) -> Frame {
    encode("ack", SMALL, |object| {
        object.re(re).number("expires_ms", expires_ms);
    })
}

/// The fields of `joined`.
#[derive(Debug, Clone, Copy)]
pub struct Joined<'a> {
    /// The id of the command that is answered.
    pub re: Option<&'a str>,
    /// The room that was joined.
    pub room: &'a RoomName,
    /// The epoch of the room.
    pub epoch: Epoch,
    /// The offset after which messages follow: that of the resume if it succeeded, else the newest.
    pub offset: Offset,
    /// Whether the resume succeeded, so that the missed messages follow.
    pub recovered: bool,
    /// Number of users in the room, the new one included.
    pub members: usize,
}

/// Encodes `joined`.
#[must_use]
pub fn joined(joined: &Joined<'_>) -> Frame {
    encode("joined", SMALL, |object| {
        object.re(joined.re).name("room", joined.room.as_str()).epoch(joined.epoch);
        object.number("offset", joined.offset.0).flag("recovered", joined.recovered);
        object.count("members", joined.members);
    })
}

/// Encodes `left`.
#[must_use]
pub fn left(re: Option<&str>, room: &RoomName) -> Frame {
    encode("left", SMALL, |object| {
        object.re(re).name("room", room.as_str());
    })
}

/// The fields of `history`: one page of a room's history.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The id of the command that is answered.
    pub re: Option<&'a str>,
    /// The room whose history it is.
    pub room: &'a RoomName,
    /// The epoch of the room.
    pub epoch: Epoch,
    /// The frames of the messages as they were sent, in the order of their offsets.
    pub messages: &'a [Frame],
    /// Whether the room keeps older messages.
    pub more: bool,
}

/// Encodes `history`, in which the payloads of the messages' frames form an array.
#[must_use]
pub fn history(history: &History<'_>) -> Frame {
    let bytes: usize = history.messages.iter().map(Frame::len).sum();
    encode("history", bytes + SMALL, |object| {
        object.re(history.re).name("room", history.room.as_str()).epoch(history.epoch);
        object.array("messages", history.messages.iter().map(|frame| payload(frame)));
        object.flag("more", history.more);
    })
}

/// The fields of `presence`: one page of a room's users.
#[derive(Debug, Clone, Copy)]
pub struct Presence<'a> {
    /// The id of the command that is answered.
    pub re: Option<&'a str>,
    /// The room whose users are listed.
    pub room: &'a RoomName,
    /// Number of users in the room, on all pages.
    pub members: usize,
    /// The users of this page, in order.
    pub users: &'a [UserId],
    /// Whether further users follow on the next page.
    pub more: bool,
    /// The names of those users who have one.
    pub names: &'a [(UserId, DisplayName)],
}

/// Encodes `presence`.
#[must_use]
pub fn presence(presence: &Presence<'_>) -> Frame {
    encode("presence", SMALL + bytes_of(presence.users) + bytes_of_names(presence.names), |object| {
        object.re(presence.re).name("room", presence.room.as_str()).count("members", presence.members);
        object.users("users", presence.users).flag("more", presence.more).names(presence.names);
    })
}

/// Encodes `pong`.
#[must_use]
pub fn pong(re: Option<&str>) -> Frame {
    encode("pong", SMALL, |object| {
        object.re(re);
    })
}

/// Encodes `heartbeat`.
#[must_use]
pub fn heartbeat() -> Frame {
    encode("heartbeat", 0, |_| {})
}

/// Encodes `direct`: a private message. Its id is `EPOCH-NUMBER`, where the epoch is that of the sender's node, not
/// that of a room.
#[must_use]
pub fn direct(from: &UserId, content: Content<'_>, epoch: Epoch, number: u64, ts: u64) -> Frame {
    encode("direct", content.text.len() + content.more_len() + SMALL, |object| {
        object.name("user", from.as_str()).text("message", content.text);
        object.id(epoch, number).number("ts", ts).content(content);
    })
}

/// Users who joined and left a room since its last `presence_diff`. A user who did both is in neither list.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'a> {
    /// Users who joined.
    pub joined: &'a [UserId],
    /// Users who left.
    pub left: &'a [UserId],
    /// The names of those who joined and have one.
    pub names: &'a [(UserId, DisplayName)],
}

/// Encodes `presence_diff`. Without `changes`, as in large rooms, it says only how many users there are.
#[must_use]
pub fn presence_diff(room: &RoomName, changes: Option<Changes<'_>>, members: usize) -> Frame {
    let names = changes.map_or(0, |changes| {
        bytes_of(changes.joined) + bytes_of(changes.left) + bytes_of_names(changes.names)
    });
    encode("presence_diff", names + SMALL, |object| {
        object.name("room", room.as_str());
        if let Some(changes) = changes {
            object.users("joined", changes.joined).users("left", changes.left);
        }
        object.count("members", members);
        if let Some(changes) = changes {
            object.names(changes.names);
        }
    })
}

/// Encodes `typing`: another user is typing.
#[must_use]
pub fn typing(room: &RoomName, user: &UserId) -> Frame {
    encode("typing", 32 + room.as_str().len() + user.as_str().len(), |object| {
        object.name("room", room.as_str()).name("user", user.as_str());
    })
}

/// Encodes `gap`: the messages from offset `from` to offset `to`, both included, were dropped and will not follow.
#[must_use]
pub fn gap(room: &RoomName, from: Offset, to: Offset) -> Frame {
    debug_assert!(from <= to, "a gap from {from} to {to}");
    encode("gap", SMALL, |object| {
        object.name("room", room.as_str()).number("from", from.0).number("to", to.0);
    })
}

/// Encodes `epoch`: from this place of the stream on, positions in the room are those of `epoch`. `offset` is that of
/// the last message before this place, and messages go on behind it: nothing that the client was shown is lost.
#[must_use]
pub fn epoch(room: &RoomName, epoch: Epoch, offset: Offset) -> Frame {
    encode("epoch", SMALL, |object| {
        object.name("room", room.as_str()).epoch(epoch).number("offset", offset.0);
    })
}

/// Encodes `disconnect`, which precedes the close frame with the same code and reason. `after_ms` is a value within the
/// range of [`EndReason::advice`], so 0 where the client should stop.
#[must_use]
pub fn disconnect(reason: &EndReason, after_ms: u64) -> Frame {
    let advice = reason.advice();
    debug_assert!(advice.after_ms.contains(&after_ms), "{after_ms} is not in {advice:?}");
    encode("disconnect", SMALL, |object| {
        object.number("code", reason.code().into()).text("reason", &reason.text());
        object.flag("reconnect", advice.reconnect).number("after_ms", after_ms);
    })
}

/// Encodes `error`: the fields of the plain dialect, then the id of the command.
#[must_use]
pub fn error(re: Option<&str>, error: CommandError) -> Frame {
    encode("error", SMALL, |object| {
        object.text("message", &error.to_string()).name("code", error.code()).re(re);
        if let CommandError::RateLimited { retry_after_ms } = error {
            object.number("retry_after_ms", retry_after_ms);
        }
    })
}

/// Returns the bytes of a list of names, each with its quotes and comma.
fn bytes_of(users: &[UserId]) -> usize {
    users.iter().map(|user| user.as_str().len() + 3).sum()
}

/// Returns the bytes of an object of names, each with its user, its quotes and punctuation.
fn bytes_of_names(names: &[(UserId, DisplayName)]) -> usize {
    names.iter().map(|(user, name)| user.as_str().len() + name.as_str().len() + 6).sum()
}
