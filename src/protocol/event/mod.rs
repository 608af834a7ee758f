//! Events, which the server sends: JSON objects whose first fields and their order are part of the interface.

mod content;
mod error;
mod object;
mod preview;
pub mod v1;

use bytes::Bytes;
use serde::Serialize;

use content::MESSAGE_OVERHEAD;
pub use content::{Content, JsonMore, OwnedContent};
pub use error::CommandError;
use object::Digits;
pub use preview::Preview;

use super::frame::{self, OpCode};
use crate::names::{Epoch, Offset, RoomName, UserId};

/// Estimated bytes of a message event besides its contents and names. The estimate is close, because a room's history
/// keeps the frame and would keep what is spare.
const FIXED_FIELDS: usize = 144;

/// Encodes `message`: a chat message at its position in its room, the same in both dialects. `ts` is in milliseconds
/// since the Unix epoch. The event's `id` is `EPOCH-OFFSET`, which is unique for ever.
///
/// It is written by hand, because it is the one event whose encoding costs enough to notice: names need no escaping and
/// numbers no formatting machinery.
#[must_use]
pub fn message<'a>(
    user: &UserId,
    content: impl Into<Content<'a>>,
    room: &RoomName,
    epoch: Epoch,
    offset: Offset,
    ts: u64,
) -> Bytes {
    let content = content.into();
    let (text, len) = (content.text, content.text.len() + content.more_len());
    let push_text = |out: &mut Vec<u8>| object::push_json(out, text);
    message_with((user, len), push_text, |out| content.push_more(out), room, (epoch, offset), ts)
}

/// Encodes `message` as [`message()`] does, from contents that are already JSON: several nodes encode a message that
/// only one of them has escaped. `text` is a string literal with its quotes.
#[must_use]
pub fn message_of_json(
    user: &UserId,
    text: &[u8],
    more: JsonMore<'_>,
    room: &RoomName,
    (epoch, offset): (Epoch, Offset),
    ts: u64,
) -> Bytes {
    let len = text.len() + more.len();
    let push_text = |out: &mut Vec<u8>| out.extend_from_slice(text);
    message_with((user, len), push_text, |out| more.push(out), room, (epoch, offset), ts)
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
    (user, content_len): (&UserId, usize),
    push_text: impl FnOnce(&mut Vec<u8>),
    push_more: impl FnOnce(&mut Vec<u8>),
    room: &RoomName,
    (epoch, offset): (Epoch, Offset),
    ts: u64,
) -> Bytes {
    let hint = content_len + user.as_str().len() + room.as_str().len() + FIXED_FIELDS;
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
        push_more(out);
        out.push(b'}');
    })
}

/// Encodes a frame that [`message`] made for the position `from` again for the position `to`; `None` where `frame` is
/// not such a frame.
#[must_use]
pub fn at_position(frame: &Bytes, from: (Epoch, Offset), to: (Epoch, Offset)) -> Option<Bytes> {
    let fields = |(epoch, offset): (Epoch, Offset)| {
        format!(",\"offset\":{offset},\"id\":\"{epoch}-{offset}\",\"ts\":")
    };
    let payload = frame::payload(frame);
    // The first occurrence is the field: in the text before it every quote is escaped, and the data is behind it.
    let start = memchr::memmem::find(payload, b",\"offset\":")?;
    let (head, rest) = payload.split_at(start);
    let (tail, after) = (rest.strip_prefix(fields(from).as_bytes())?, fields(to));
    Some(frame::encode(OpCode::Text, payload.len() + MESSAGE_OVERHEAD, |out| {
        for part in [head, after.as_bytes(), tail] {
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
            let more = JsonMore::default();
            let two = message_of_json(&user, &json_text(text), more, &room, (epoch, Offset(7)), 12);
            assert_eq!(one, two);
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
    fn data_and_name_stand_behind_the_other_fields() {
        let (user, room, epoch) = ("bob".parse().unwrap(), "lobby".parse().unwrap(), Epoch::random());
        let name = "\"Bob\" \u{1f600}".parse().unwrap();
        let at = (epoch, Offset(7));
        let data = format!("{{ \"a\":[1.50,\"\\u00e4\"] ,\"offset\":7,\"id\":\"{epoch}-7\",\"ts\":12}}");
        let content = Content { text: "hi,\"ts\":", data: Some(&data), name: Some(&name) };
        let frame = message(&user, content, &room, epoch, Offset(7), 12);
        let text = std::str::from_utf8(frame::payload(&frame)).unwrap();
        let end = format!(",\"ts\":12,\"name\":\"\\\"Bob\\\" \u{1f600}\",\"data\":{data}}}");
        assert!(text.ends_with(&end), "{text}");
        assert!(frame.len() <= content.max_len());
        let more = JsonMore { name: &json_text(name.as_str()), data: data.as_bytes() };
        assert_eq!(message_of_json(&user, &json_text(content.text), more, &room, at, 12), frame);
        assert_eq!(OwnedContent::from(content).get().data, Some(&*data));
        // At another position, only the fields of the position differ.
        let to = (Epoch::random(), Offset(123));
        let moved = at_position(&frame, at, to).unwrap();
        assert_eq!(moved, message(&user, content, &room, to.0, to.1, 12));
        assert_eq!(at_position(&moved, at, to), None);
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
