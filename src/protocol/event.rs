//! What the server says: JSON objects whose first fields, and their order, are part of the interface.

use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;

use super::frame::{self, OpCode};
use crate::names::{Epoch, Offset, RoomName, UserId};

/// An error that answers a command; the connection lives. The text says what was wrong and what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Not JSON, or JSON that is nested too deeply.
    #[error("Invalid JSON format")]
    InvalidJson,
    /// JSON, but not an object, or a field of the wrong type.
    #[error("Invalid message format: {0}")]
    InvalidMessage(&'static str),
    /// An object without the field that is needed.
    #[error("Invalid message format: missing '{0}' field")]
    MissingField(&'static str),
    /// Longer than allowed, in characters.
    #[error("Message too long (max {max} chars)")]
    MessageTooLong {
        /// The most characters allowed.
        max: usize,
    },
    /// Faster than `rate_limit.*` allows; nothing was appended.
    #[error("Rate limit exceeded, try again in {retry_after_ms} ms")]
    RateLimited {
        /// When the next one will be allowed, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// The node cannot take the message now; nothing was appended.
    #[error("Service unavailable, try again")]
    Unavailable,
}

impl CommandError {
    /// The machine-readable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidMessage(_) => "invalid_message",
            Self::MissingField(_) => "missing_field",
            Self::MessageTooLong { .. } => "message_too_long",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable => "unavailable",
        }
    }

    /// True for input that no well-made client sends: it counts towards `limits.malformed_per_minute`.
    #[must_use]
    pub const fn is_malformed(self) -> bool {
        !matches!(self, Self::RateLimited { .. } | Self::Unavailable)
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    System {
        message: &'a str,
        room: &'a str,
        members: usize,
        ts: u64,
    },
    Error {
        message: &'a str,
        code: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

fn encode(event: &Event<'_>, hint: usize) -> Bytes {
    frame::encode(OpCode::Text, hint, |out| {
        // Writing to a vector cannot fail, and every event is made of strings and numbers.
        let written = simd_json::to_writer(out, event);
        debug_assert!(written.is_ok(), "{written:?}");
    })
}

/// The most that the fields around a message's text may take, names of 64 characters included.
pub const MESSAGE_OVERHEAD: usize = 320;
/// What they take beside the names, so that a frame, which its room's history keeps, wastes no memory.
const FIXED_FIELDS: usize = 144;

/// A chat message at its place in its room. `ts` in milliseconds since the Unix epoch. Its `id` is `EPOCH-OFFSET`:
/// unique for as long as there are rooms.
///
/// Written by hand, because it is the one event whose making is felt: names need no escaping, numbers little.
#[must_use]
pub fn message(user: &UserId, text: &str, room: &RoomName, epoch: Epoch, offset: Offset, ts: u64) -> Bytes {
    let hint = text.len() + user.as_str().len() + room.as_str().len() + FIXED_FIELDS;
    frame::encode(OpCode::Text, hint, |out| {
        let offset = Digits::of(offset.0);
        out.extend_from_slice(b"{\"type\":\"message\",\"user\":\"");
        out.extend_from_slice(user.as_str().as_bytes());
        out.extend_from_slice(b"\",\"message\":");
        let written = simd_json::to_writer(&mut *out, text);
        debug_assert!(written.is_ok(), "{written:?}");
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

/// A number in decimal.
struct Digits {
    text: [u8; 20],
    start: usize,
}

impl Digits {
    fn of(mut number: u64) -> Self {
        let mut text = [b'0'; 20];
        let mut start = text.len();
        loop {
            start -= 1;
            text[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { text, start };
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

/// A notice about a room; `members` counts users.
#[must_use]
pub fn system(text: &str, room: &RoomName, members: usize, ts: u64) -> Bytes {
    encode(&Event::System { message: text, room: room.as_str(), members, ts }, text.len() + MESSAGE_OVERHEAD)
}

/// The answer to a command that was refused.
#[must_use]
pub fn error(error: CommandError) -> Bytes {
    let retry_after_ms = match error {
        CommandError::RateLimited { retry_after_ms } => Some(retry_after_ms),
        _ => None,
    };
    encode(&Event::Error { message: &error.to_string(), code: error.code(), retry_after_ms }, 128)
}

/// The line of `/ws/messages` and `/ws/heartbeat`, whatever object they say.
#[must_use]
pub fn json<T: Serialize>(value: &T) -> Bytes {
    frame::encode(OpCode::Text, 128, |out| {
        let written = simd_json::to_writer(out, value);
        debug_assert!(written.is_ok(), "{written:?}");
    })
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
    fn whatever_is_said_a_message_is_json() {
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
        let frame = error(CommandError::MessageTooLong { max: 500 });
        assert_eq!(
            &frame[2..],
            br#"{"type":"error","message":"Message too long (max 500 chars)","code":"message_too_long"}"#
        );
        let frame = error(CommandError::RateLimited { retry_after_ms: 250 });
        let text =
            std::str::from_utf8(&frame[frame.iter().position(|&byte| byte == b'{').unwrap()..]).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"type":"error","message":"Rate limit exceeded, try again in 250 ms","#,
                r#""code":"rate_limited","retry_after_ms":250}"#
            )
        );
    }
}
