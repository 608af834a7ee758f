//! The commands of `throng.v1`: their fields, and the checks that every field must pass.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

use super::value::{FIELD_TWICE, Position, Value, ValueReader};
use crate::names::Key;
use crate::protocol::event::CommandError;

/// Most characters (Unicode scalar values) of a command's `id`.
pub const MAX_ID_CHARS: usize = 64;
/// Most messages that one `history` command may ask for.
pub const MAX_HISTORY_LIMIT: u64 = 100;
/// Most users that one `presence` command may ask for. With names of 64 characters they take 64 KiB, which is as much
/// as may wait to be sent to a client before its next command is read.
pub const MAX_PRESENCE_LIMIT: u64 = 1000;

/// A command with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The command's `id`, which the answer repeats as `re`; at most [`MAX_ID_CHARS`].
    pub id: Option<&'a str>,
    /// The parsed command.
    pub command: Command<'a>,
    /// The value of the field `data` as it was written, of any length. Only messages have a use for it.
    pub data: Option<Box<str>>,
}

/// A command that was refused while it was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection<'a> {
    /// The command's `id`, where it could be read.
    pub id: Option<&'a str>,
    /// The error that answers the command.
    pub error: CommandError,
}

/// A command of a client. Names are unchecked text: the connection's rooms are looked up by it without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Publish a message to a room.
    Message {
        /// The room to publish to; without it, the default room of the connection.
        room: Option<&'a str>,
        /// The text, of any length.
        text: &'a str,
        /// The idempotency key, of 1 to 64 characters.
        key: Option<&'a str>,
        /// Whether the sender gets the message besides its ack.
        echo: bool,
    },
    /// Send a private message to one user.
    Direct {
        /// The recipient.
        to: &'a str,
        /// The text, of any length.
        text: &'a str,
        /// The idempotency key, of 1 to 64 characters.
        key: Option<&'a str>,
    },
    /// Join a room.
    Join {
        /// The room to join.
        room: &'a str,
        /// The last position that the client saw, to get the messages after it.
        resume: Option<Resume<'a>>,
    },
    /// Leave a room.
    Leave {
        /// The room to leave.
        room: &'a str,
    },
    /// Read a page of a room's history.
    History {
        /// The room whose history is read.
        room: &'a str,
        /// The epoch that `before` belongs to.
        epoch: Option<&'a str>,
        /// Only messages with a smaller offset are returned.
        before: Option<u64>,
        /// Most messages to return, 1 to [`MAX_HISTORY_LIMIT`].
        limit: Option<u64>,
    },
    /// Read a page of a room's users.
    Presence {
        /// The room whose users are listed.
        room: &'a str,
        /// Only users after this one are returned.
        after: Option<&'a str>,
        /// Most users to return, 1 to [`MAX_PRESENCE_LIMIT`].
        limit: Option<u64>,
    },
    /// Tell the other members that the user is typing.
    Typing {
        /// The room in which the user is typing.
        room: &'a str,
    },
    /// Go on with another token of the same user.
    Token {
        /// The token, of any length.
        token: TokenText<'a>,
    },
    /// Answer a heartbeat. This command gets no answer itself.
    HeartbeatAck,
    /// Ask for a `pong`.
    Ping,
}

/// A token as a client has sent it. `Debug` does not print it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenText<'a>(pub &'a str);

impl fmt::Debug for TokenText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(redacted)")
    }
}

/// The position after which a client wants the messages of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume<'a> {
    /// The epoch; text that is not an epoch means that there is nothing to resume.
    pub epoch: &'a str,
    /// The last offset that the client saw.
    pub offset: u64,
}

impl<'a> Resume<'a> {
    /// Parses `EPOCH:OFFSET`, the value of `?resume=` in a handshake; `None` where it has another form.
    #[must_use]
    pub fn from_query(text: &'a str) -> Option<Self> {
        let (epoch, offset) = text.rsplit_once(':')?;
        let is_number = offset.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self { epoch, offset: offset.parse().ok().filter(|_| is_number)? })
    }
}

/// The fields of all commands. A field that the command at hand does not have may have any value, but not twice.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    kind: Value<'a>,
    id: Value<'a>,
    room: Value<'a>,
    message: Value<'a>,
    data: Value<'a>,
    key: Value<'a>,
    echo: Value<'a>,
    to: Value<'a>,
    token: Value<'a>,
    resume: Value<'a>,
    epoch: Value<'a>,
    before: Value<'a>,
    after: Value<'a>,
    limit: Value<'a>,
    position: Position<'a>,
    has_twice: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<&str>()? {
            let field = match name {
                "type" => &mut fields.kind,
                "id" => &mut fields.id,
                "room" => &mut fields.room,
                "message" => &mut fields.message,
                "data" => &mut fields.data,
                "key" => &mut fields.key,
                "echo" => &mut fields.echo,
                "to" => &mut fields.to,
                "token" => &mut fields.token,
                "epoch" => &mut fields.epoch,
                "before" => &mut fields.before,
                "after" => &mut fields.after,
                "limit" => &mut fields.limit,
                "resume" => {
                    let value = map.next_value_seed(ValueReader(Some(&mut fields.position)))?;
                    fields.has_twice |= !fields.resume.set_once(value);
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let is_first = field.set_once(map.next_value()?);
            fields.has_twice |= !is_first;
        }
        Ok(fields)
    }
}

/// Takes the text of a field that must be present.
macro_rules! required {
    ($value:expr, $name:literal) => {
        match $value {
            Value::Text(text) => Ok(text),
            Value::Missing => Err(CommandError::MissingField($name)),
            _ => Err(CommandError::InvalidMessage(concat!("'", $name, "' must be a string"))),
        }
    };
}

macro_rules! any_whole_number {
    () => {
        "a whole number from 0 to 18446744073709551615"
    };
}

/// Takes the value of a field that may be missing; `null` is not missing.
macro_rules! optional {
    ($value:expr, $name:literal, $kind:path, $what:expr) => {
        match $value {
            $kind(value) => Ok(Some(value)),
            Value::Missing => Ok(None),
            _ => Err(CommandError::InvalidMessage(concat!("'", $name, "' must be ", $what))),
        }
    };
}

impl<'a> Fields<'a> {
    /// Checks the fields and returns the command that they form. `data` is the field of this name, as it was written.
    pub(super) fn request(&self, data: Option<Box<str>>) -> Result<Request<'a>, Rejection<'a>> {
        let id = self.id();
        let command = id.and_then(|_| self.command());
        let id = id.unwrap_or_default();
        command.map(|command| Request { id, command, data }).map_err(|error| Rejection { id, error })
    }

    fn id(&self) -> Result<Option<&'a str>, CommandError> {
        match self.id {
            Value::Text(id) if id.len() <= MAX_ID_CHARS || id.chars().count() <= MAX_ID_CHARS => Ok(Some(id)),
            Value::Missing => Ok(None),
            _ if self.has_twice => Err(FIELD_TWICE),
            _ => Err(CommandError::InvalidMessage("'id' must be a string of at most 64 characters")),
        }
    }

    fn command(&self) -> Result<Command<'a>, CommandError> {
        if self.has_twice {
            return Err(FIELD_TWICE);
        }
        Ok(match required!(self.kind, "type")? {
            "message" => Command::Message {
                room: optional!(self.room, "room", Value::Text, "a string")?,
                text: required!(self.message, "message")?,
                key: self.key()?,
                echo: optional!(self.echo, "echo", Value::Flag, "true or false")?.unwrap_or(true),
            },
            "direct" => Command::Direct {
                to: required!(self.to, "to")?,
                text: required!(self.message, "message")?,
                key: self.key()?,
            },
            "join" => Command::Join { room: self.room()?, resume: self.resume()? },
            "leave" => Command::Leave { room: self.room()? },
            "history" => Command::History {
                room: self.room()?,
                epoch: optional!(self.epoch, "epoch", Value::Text, "a string")?,
                before: optional!(self.before, "before", Value::Number, any_whole_number!())?,
                limit: self.limit(MAX_HISTORY_LIMIT, "'limit' must be a whole number from 1 to 100")?,
            },
            "presence" => Command::Presence {
                room: self.room()?,
                after: optional!(self.after, "after", Value::Text, "a string")?,
                limit: self.limit(MAX_PRESENCE_LIMIT, "'limit' must be a whole number from 1 to 1000")?,
            },
            "typing" => Command::Typing { room: self.room()? },
            "token" => Command::Token { token: TokenText(required!(self.token, "token")?) },
            "heartbeat_ack" => Command::HeartbeatAck,
            "ping" => Command::Ping,
            _ => return Err(CommandError::UnknownType),
        })
    }

    fn room(&self) -> Result<&'a str, CommandError> {
        required!(self.room, "room")
    }

    fn key(&self) -> Result<Option<&'a str>, CommandError> {
        match self.key {
            Value::Missing => Ok(None),
            Value::Text(key) if Key::check(key).is_ok() => Ok(Some(key)),
            _ => Err(CommandError::InvalidMessage("'key' must be a string of 1 to 64 characters")),
        }
    }

    fn limit(&self, max: u64, otherwise: &'static str) -> Result<Option<u64>, CommandError> {
        match self.limit {
            Value::Missing => Ok(None),
            Value::Number(limit) if (1..=max).contains(&limit) => Ok(Some(limit)),
            _ => Err(CommandError::InvalidMessage(otherwise)),
        }
    }

    fn resume(&self) -> Result<Option<Resume<'a>>, CommandError> {
        let Position { epoch, offset, has_twice } = self.position;
        match self.resume {
            Value::Missing => return Ok(None),
            Value::Object if has_twice => return Err(FIELD_TWICE),
            Value::Object => {}
            _ => return Err(CommandError::InvalidMessage("'resume' must be an object")),
        }
        let epoch = required!(epoch, "resume.epoch")?;
        let offset = optional!(offset, "resume.offset", Value::Number, any_whole_number!())?
            .ok_or(CommandError::MissingField("resume.offset"))?;
        Ok(Some(Resume { epoch, offset }))
    }
}

#[cfg(test)]
mod differential_tests;
#[cfg(test)]
mod tests;
