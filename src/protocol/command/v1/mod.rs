//! The commands of `throng.v1`.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

use super::TWICE;
use super::value::{Position, Reading, Value};
use crate::names::Key;
use crate::protocol::event::CommandError;

/// Most characters (Unicode scalar values) of a command's `id`.
pub const MAX_ID_CHARS: usize = 64;
/// Most messages that one `history` may ask for.
pub const MAX_HISTORY_LIMIT: u64 = 100;
/// Most users that one `presence` may ask for: with names of 64 characters, 64 KiB, the answers that a client may have
/// unsent before its next command waits.
pub const MAX_PRESENCE_LIMIT: u64 = 1000;

/// A command, and the id that its answer is to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// `id`, for `re` in the answer; at most [`MAX_ID_CHARS`].
    pub id: Option<&'a str>,
    /// What is asked for.
    pub command: Command<'a>,
}

/// A command that was refused while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection<'a> {
    /// Its `id`, where it could be read.
    pub id: Option<&'a str>,
    /// Why.
    pub error: CommandError,
}

/// What a client asks for. Names are text here: whoever knows the connection's rooms looks them up without making one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Say something to a room.
    Message {
        /// The room; else the default one of the connection.
        room: Option<&'a str>,
        /// The text, of any length.
        text: &'a str,
        /// The idempotency key, of 1 to 64 characters.
        key: Option<&'a str>,
        /// Whether the sender gets the message, or its ack alone.
        echo: bool,
    },
    /// Say something to one user.
    Direct {
        /// The user.
        to: &'a str,
        /// The text, of any length.
        text: &'a str,
        /// The idempotency key, of 1 to 64 characters.
        key: Option<&'a str>,
    },
    /// Enter a room.
    Join {
        /// The room.
        room: &'a str,
        /// The last position that was seen, to get what was missed.
        resume: Option<Resume<'a>>,
    },
    /// Leave a room.
    Leave {
        /// The room.
        room: &'a str,
    },
    /// Read what was said.
    History {
        /// The room.
        room: &'a str,
        /// The epoch that `before` counts in.
        epoch: Option<&'a str>,
        /// Only messages with a smaller offset.
        before: Option<u64>,
        /// How many, 1 to [`MAX_HISTORY_LIMIT`].
        limit: Option<u64>,
    },
    /// Read who is there.
    Presence {
        /// The room.
        room: &'a str,
        /// Only users behind this one.
        after: Option<&'a str>,
        /// How many, 1 to [`MAX_PRESENCE_LIMIT`].
        limit: Option<u64>,
    },
    /// Let the others know that somebody is writing.
    Typing {
        /// The room.
        room: &'a str,
    },
    /// The answer to a heartbeat. It is answered with nothing.
    HeartbeatAck,
    /// "Are you there?"
    Ping,
}

/// The position behind which a client wants a room's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume<'a> {
    /// The epoch, which may be none at all: then there is nothing to resume.
    pub epoch: &'a str,
    /// The last offset that was seen.
    pub offset: u64,
}

impl<'a> Resume<'a> {
    /// Reads `EPOCH:OFFSET`, as the handshake's `?resume=` has it; nothing where it has another form.
    #[must_use]
    pub fn from_query(text: &'a str) -> Option<Self> {
        let (epoch, offset) = text.rsplit_once(':')?;
        let is_number = offset.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self { epoch, offset: offset.parse().ok().filter(|_| is_number)? })
    }
}

/// Every field that some command has. Of a field that the command at hand does not have, only a second one is refused.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    kind: Value<'a>,
    id: Value<'a>,
    room: Value<'a>,
    message: Value<'a>,
    key: Value<'a>,
    echo: Value<'a>,
    to: Value<'a>,
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
                "key" => &mut fields.key,
                "echo" => &mut fields.echo,
                "to" => &mut fields.to,
                "epoch" => &mut fields.epoch,
                "before" => &mut fields.before,
                "after" => &mut fields.after,
                "limit" => &mut fields.limit,
                "resume" => {
                    let value = map.next_value_seed(Reading(Some(&mut fields.position)))?;
                    fields.has_twice |= !fields.resume.fill(value);
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let is_first = field.fill(map.next_value()?);
            fields.has_twice |= !is_first;
        }
        Ok(fields)
    }
}

/// Text that must be there.
macro_rules! needed {
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

/// A value that may be missing; `null` is not missing.
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
    /// The command that the fields make.
    pub(super) fn request(&self) -> Result<Request<'a>, Rejection<'a>> {
        let id = self.id();
        let command = id.and_then(|_| self.command());
        let id = id.unwrap_or_default();
        command.map(|command| Request { id, command }).map_err(|error| Rejection { id, error })
    }

    fn id(&self) -> Result<Option<&'a str>, CommandError> {
        match self.id {
            Value::Text(id) if id.len() <= MAX_ID_CHARS || id.chars().count() <= MAX_ID_CHARS => Ok(Some(id)),
            Value::Missing => Ok(None),
            _ if self.has_twice => Err(TWICE),
            _ => Err(CommandError::InvalidMessage("'id' must be a string of at most 64 characters")),
        }
    }

    fn command(&self) -> Result<Command<'a>, CommandError> {
        if self.has_twice {
            return Err(TWICE);
        }
        Ok(match needed!(self.kind, "type")? {
            "message" => Command::Message {
                room: optional!(self.room, "room", Value::Text, "a string")?,
                text: needed!(self.message, "message")?,
                key: self.key()?,
                echo: optional!(self.echo, "echo", Value::Flag, "true or false")?.unwrap_or(true),
            },
            "direct" => Command::Direct {
                to: needed!(self.to, "to")?,
                text: needed!(self.message, "message")?,
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
            "heartbeat_ack" => Command::HeartbeatAck,
            "ping" => Command::Ping,
            _ => return Err(CommandError::UnknownType),
        })
    }

    fn room(&self) -> Result<&'a str, CommandError> {
        needed!(self.room, "room")
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
            Value::Object if has_twice => return Err(TWICE),
            Value::Object => {}
            _ => return Err(CommandError::InvalidMessage("'resume' must be an object")),
        }
        let epoch = needed!(epoch, "resume.epoch")?;
        let offset = optional!(offset, "resume.offset", Value::Number, any_whole_number!())?
            .ok_or(CommandError::MissingField("resume.offset"))?;
        Ok(Some(Resume { epoch, offset }))
    }
}

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
