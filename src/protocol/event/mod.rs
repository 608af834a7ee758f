//! Events, which the server sends: JSON objects whose first fields and their order are part of the interface.

mod error;
mod object;
pub mod v1;

use bytes::Bytes;
use serde::Serialize;

pub use error::CommandError;
use object::Digits;

use super::frame::{self, OpCode};
use crate::names::{Epoch, Offset, RoomName, UserId};

/// Most bytes of a message event besides its text, with names of 64 characters.
const MESSAGE_OVERHEAD: usize = 320;

/// Returns the most bytes that the event of a message with this text can take: JSON writes a control character as six
/// bytes.
#[must_use]
pub const fn max_len(text: &str) -> usize {
    text.len() * 6 + MESSAGE_OVERHEAD
}

/// Estimated bytes of a message event besides its text and names. The estimate is close, because a room's history keeps
/// the frame and would keep what is spare.
const FIXED_FIELDS: usize = 144;

/// Encodes `message`: a chat message at its position in its room, the same in both dialects. `ts` is in milliseconds
/// since the Unix epoch. The event's `id` is `EPOCH-OFFSET`, which is unique for ever.
///
/// It is written by hand, because it is the one event whose encoding costs enough to notice: names need no escaping and
/// numbers no formatting machinery.
#[must_use]
pub fn message(user: &UserId, text: &str, room: &RoomName, epoch: Epoch, offset: Offset, ts: u64) -> Bytes {
    message_with(user, text.len(), |out| object::push_json(out, text), room, (epoch, offset), ts)
}

/// Encodes `message` as [`message`] does, from a text that is already a JSON string with its quotes: several nodes
/// encode a message that only one of them has escaped.
#[must_use]
pub fn message_of_json(
    user: &UserId,
    text: &[u8],
    room: &RoomName,
    epoch: Epoch,
    offset: Offset,
    ts: u64,
) -> Bytes {
    message_with(user, text.len(), |out| out.extend_from_slice(text), room, (epoch, offset), ts)
}

/// Returns a text as a JSON string with its quotes.
#[must_use]
pub fn json_text(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    object::push_json(&mut out, text);
    out
}

#[inline]
fn message_with(
    user: &UserId,
    text_len: usize,
    push_text: impl FnOnce(&mut Vec<u8>),
    room: &RoomName,
    (epoch, offset): (Epoch, Offset),
    ts: u64,
) -> Bytes {
    let hint = text_len + user.as_str().len() + room.as_str().len() + FIXED_FIELDS;
    frame::encode(OpCode::Text, hint, |out| {
        let offset = Digits::of(offset.0);
        out.extend_from_slice(b"{\"type\":\"message\",\"user\":\"");
        out.extend_from_slice(user.as_str().as_bytes());
        out.extend_from_slice(b"\",\"message\":");
        push_text(out);
        out.extend_from_slice(b",\"room\":\"");
        out.extend_from_slice(room.as_str().as_bytes());
        out.extend_from_slice(b"\",\"offset\":");
        out.extend_from_slice(offset.as_bytes());
        out.extend_from_slice(b",\"id\":\"");
        out.extend_from_slice(&epoch.digits());
        out.push(b'-');
        out.extend_from_slice(offset.as_bytes());
        out.extend_from_slice(b"\",\"ts\":");
        out.extend_from_slice(Digits::of(ts).as_bytes());
        out.push(b'}');
    })
}

/// Encodes a frame that [`message`] made for the position `from` again for the position `to`; `None` where `frame` is
/// not such a frame.
#[must_use]
pub fn at_position(frame: &Bytes, from: (Epoch, Offset), to: (Epoch, Offset)) -> Option<Bytes> {
    let fields =
        |(epoch, offset): (Epoch, Offset)| format!(",\"offset\":{offset},\"id\":\"{epoch}-{offset}\"");
    let payload = frame::payload(frame);
    // `ts` is the last field, so its last occurrence cannot be within a user's text.
    let end = memchr::memmem::rfind(payload, b",\"ts\":")?;
    let (head, tail) = payload.split_at(end);
    let head = head.strip_suffix(fields(from).as_bytes())?;
    Some(frame::encode(OpCode::Text, payload.len() + MESSAGE_OVERHEAD, |out| {
        for part in [head, fields(to).as_bytes(), tail] {
            out.extend_from_slice(part);
        }
        out.shrink_to_fit();
    }))
}

/// Encodes `system`: a notice about a room. `members` counts users.
#[must_use]
pub fn system(text: &str, room: &RoomName, members: usize, ts: u64) -> Bytes {
    object::encode("system", text.len() + MESSAGE_OVERHEAD, |object| {
        object.text("message", text).name("room", room.as_str()).count("members", members).number("ts", ts);
    })
}

/// Encodes any object, for `/ws/messages` and `/ws/heartbeat`.
#[must_use]
pub fn json<T: Serialize>(value: &T) -> Bytes {
    frame::encode(OpCode::Text, 128, |out| object::push_json(out, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_begins_with_type_user_and_message() {
        let (user, room) = ("bob".parse().unwrap(), "lobby".parse().unwrap());
        let frame = message(&user, "say \"hi\"\n", &room, Epoch::random(), Offset(7), 12);
        let text = std::str::from_utf8(&frame[frame.iter().position(|&b| b == b'{').unwrap()..]).unwrap();
        let start =
            r#"{"type":"message","user":"bob","message":"say \"hi\"\n","room":"lobby","offset":7,"id":""#;
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with(r#"-7","ts":12}"#), "{text}");
    }

    #[test]
    fn a_message_of_escaped_text_is_the_same() {
        let (user, room, epoch) = ("bob".parse().unwrap(), "lobby".parse().unwrap(), Epoch::random());
        for text in ["", "say \"hi\"\n", "\u{1f600} \u{0}"] {
            let one = message(&user, text, &room, epoch, Offset(7), 12);
            assert_eq!(one, message_of_json(&user, &json_text(text), &room, epoch, Offset(7), 12));
        }
    }

    #[test]
    fn a_message_with_any_text_is_json() {
        let (user, room) = ("a:b@c".parse().unwrap(), "r".parse().unwrap());
        let epoch = Epoch::random();
        for text in ["", "\"\\/\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}", "\u{2028}\u{1f600} grüße", "</script>"] {
            for offset in [0, 9, 10, u64::MAX] {
                let frame = message(&user, text, &room, epoch, Offset(offset), 1_700_000_000_000);
                let start = frame.iter().position(|&byte| byte == b'{').unwrap();
                let value: serde_json::Value = serde_json::from_slice(&frame[start..]).unwrap();
                let expected = serde_json::json!({
                    "type": "message", "user": "a:b@c", "message": text, "room": "r", "offset": offset,
                    "id": format!("{epoch}-{offset}"), "ts": 1_700_000_000_000u64,
                });
                assert_eq!(value, expected);
            }
        }
    }

    #[test]
    fn an_error_says_type_message_and_code() {
        let frame = v1::error(None, CommandError::MessageTooLong { max: 500 });
        assert_eq!(
            &frame[2..],
            br#"{"type":"error","message":"Message too long (max 500 chars)","code":"message_too_long"}"#
        );
    }
}
