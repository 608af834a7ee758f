//! The fields of calls that change something, checked.

use std::sync::Arc;
use std::vec;

use super::call::{Call, Command, Direct, Disconnect, Leave, Message, Publish, Revoke};
use super::error::ApiError;
use super::object::{MAX_ITEMS, Object, Value};
use crate::chat::validate;
use crate::config::Config;
use crate::names::{DisplayName, RoomName, UserId};
use crate::protocol::close::{EndReason, MAX_REASON_BYTES};
use crate::protocol::event::CommandError;
use crate::revocation::{Seconds, seconds};

/// The reason of a `disconnect` that names none.
const KICKED: EndReason = EndReason::Kicked;

const COMMANDS: &str = "'commands' must be a list of 1 to 1000 objects, each with one field: publish, direct, \
                        disconnect or leave";
const ROOMS: &str = "'rooms' must be a list of 1 to 1000 strings";
const RECIPIENTS: &str = "'to' must be a string, or a list of 1 to 1000 strings";
const EXCEPT: &str = "'except' must be a list of at most 1000 names of connections";

const TOKEN: &str = "'token' must be the 'jti' of a token, 1 to 8192 bytes";
const UNTIL: &str = "'until' must be the 'exp' of the token, in whole seconds since 1970";
const ISSUED_BEFORE: &str =
    "'issued_before' must be a date in whole seconds since 1970, like 'iat' of a token";

/// Longest `jti`: no token is longer.
const MAX_JTI_BYTES: usize = 8192;
/// The largest date that is taken for one in seconds. It is in the year 5138, and in milliseconds in March 1973.
const MAX_DATE_S: u64 = 100_000_000_000;

/// Reads a date in seconds; `wanted` says what the field must be.
fn date(value: &Value<'_>, wanted: &'static str) -> Result<Seconds, ApiError> {
    match value {
        Value::Number(date_s) if *date_s < MAX_DATE_S => Ok(seconds(*date_s as i64)),
        _ => Err(ApiError::InvalidField(wanted)),
    }
}

/// The fields of a call or command, with what else its message may need.
pub(super) struct Fields<'k, 'a> {
    pub(super) object: Object<'a>,
    /// The field `data`, if there is one, as it was written.
    pub(super) data: Option<Arc<str>>,
    /// The key in the header of the request.
    pub(super) key: Option<&'k str>,
    pub(super) config: &'a Config,
}

impl<'a> Fields<'_, 'a> {
    pub(super) fn publish(mut self) -> Result<Publish<'a>, ApiError> {
        let room = self.object.required("room")?;
        let message = self.message()?;
        Ok(Publish { room: room_name(&room)?, message })
    }

    pub(super) fn broadcast(mut self) -> Result<Vec<Result<Publish<'a>, ApiError>>, ApiError> {
        let Value::List(rooms) = self.object.required("rooms")? else {
            return Err(ApiError::InvalidField(ROOMS));
        };
        if rooms.is_empty() {
            return Err(ApiError::InvalidField(ROOMS));
        }
        let message = self.message()?;
        let publish = |room| Ok(Publish { room: room_name(room)?, message: message.clone() });
        Ok(rooms.iter().map(publish).collect())
    }

    pub(super) fn direct(mut self) -> Result<Call<'a>, ApiError> {
        let to = self.object.required("to")?;
        let message = self.message()?;
        match to {
            Value::List(users) if !users.is_empty() => {
                let direct = |user| Ok(Direct { to: user_id(user)?, message: message.clone() });
                Ok(Call::DirectToMany(users.iter().map(direct).collect()))
            }
            Value::Text(_) => Ok(Call::Direct(Direct { to: user_id(&to)?, message })),
            _ => Err(ApiError::InvalidField(RECIPIENTS)),
        }
    }

    pub(super) fn disconnect(mut self) -> Result<Disconnect, ApiError> {
        let user = user_id(&self.object.required("user")?)?;
        let code = self.object.take("code");
        let reason = self.object.take("reason");
        let except = self.object.take("except");
        self.finish_without_key()?;
        let code = match code {
            None => None,
            Some(Value::Number(code @ 4000..=4999)) => u16::try_from(code).ok(),
            Some(_) => return Err(ApiError::InvalidField("'code' must be a number from 4000 to 4999")),
        };
        let reason = match reason {
            None => None,
            Some(Value::Text(reason)) if reason.len() <= MAX_REASON_BYTES => Some(reason),
            Some(_) => return Err(ApiError::InvalidField("'reason' must be a string of at most 123 bytes")),
        };
        let except = match except {
            None => Vec::new(),
            Some(Value::List(names)) => names.iter().map(connection).collect::<Result<_, _>>()?,
            Some(_) => return Err(ApiError::InvalidField(EXCEPT)),
        };
        let end = match (code, reason) {
            (None, None) => None,
            _ => Some((code.unwrap_or(KICKED.code()), reason.unwrap_or("Kicked").to_owned())),
        };
        Ok(Disconnect { user, end, except })
    }

    pub(super) fn leave(mut self) -> Result<Leave, ApiError> {
        let (user, room) = (self.object.required("user")?, self.object.required("room")?);
        self.finish_without_key()?;
        Ok(Leave { user: user_id(&user)?, room: room_name(&room)? })
    }

    pub(super) fn forget(mut self) -> Result<RoomName, ApiError> {
        let room = self.object.required("room")?;
        self.finish_without_key()?;
        room_name(&room)
    }

    pub(super) fn revoke(mut self) -> Result<Revoke<'a>, ApiError> {
        let (token, user) = (self.object.take("token"), self.object.take("user"));
        let revoke = match (token, user) {
            (Some(Value::Text(jti)), None) if (1..=MAX_JTI_BYTES).contains(&jti.len()) => {
                Revoke::Token { jti, until_s: date(&self.object.required("until")?, UNTIL)? }
            }
            (Some(_), None) => return Err(ApiError::InvalidField(TOKEN)),
            (None, Some(user)) => {
                let before = self.object.take("issued_before");
                let issued_before_s = before.map(|before| date(&before, ISSUED_BEFORE)).transpose()?;
                Revoke::User { user: user_id(&user)?, issued_before_s }
            }
            (None, None) => return Err(ApiError::MissingField("token")),
            (Some(_), Some(_)) => {
                return Err(ApiError::InvalidField("'token' and 'user' exclude each other"));
            }
        };
        self.finish_without_key()?;
        Ok(revoke)
    }

    /// Checks that no field is left, of a call that publishes nothing.
    pub(super) fn finish_without_key(self) -> Result<(), ApiError> {
        self.object.finish()?;
        if self.key.is_some() {
            return Err(ApiError::InvalidField("this call has no key: it may be sent again without one"));
        }
        Ok(())
    }

    pub(super) fn batch(self, written: Vec<Option<Arc<str>>>) -> Result<Call<'a>, ApiError> {
        let Self { mut object, key, config, .. } = self;
        let commands = object.required("commands")?;
        let is_parallel = match object.take("parallel") {
            None => false,
            Some(Value::Flag(is_parallel)) => is_parallel,
            Some(_) => return Err(ApiError::InvalidField("'parallel' must be true or false")),
        };
        object.finish()?;
        if key.is_some() {
            return Err(ApiError::InvalidField(
                "a batch has no key of its own: give each of its messages a 'key'",
            ));
        }
        match commands {
            Value::List(commands) if !commands.is_empty() => {
                debug_assert!(commands.len() <= MAX_ITEMS, "a longer list is no list");
                let (commands, written) = (commands.into_iter(), written.into_iter());
                Ok(Call::Batch { commands: Commands { commands, written, config }, is_parallel })
            }
            _ => Err(ApiError::InvalidField(COMMANDS)),
        }
    }

    /// Takes the fields of a message, which must be the last ones.
    fn message(mut self) -> Result<Message<'a>, ApiError> {
        let Value::Text(text) = self.object.required("message")? else {
            return Err(ApiError::InvalidField("'message' must be a string"));
        };
        let user = self.object.take("user");
        let key = self.object.take("key");
        let name = self.object.take("name");
        let data = self.object.take("data").and(self.data);
        self.object.finish()?;
        let max = self.config.chat.max_message_chars;
        if validate::is_longer(text, max) {
            return Err(ApiError::MessageTooLong { max });
        }
        if let Some(data) = &data {
            check_data(data, self.config.chat.max_data_bytes)?;
        }
        let name = name.map(|name| display_name(&name)).transpose()?;
        let user = match user {
            None => self.config.api.user.parse().map_err(|_| ApiError::InvalidUser)?,
            Some(user) => user_id(&user)?,
        };
        let key = match (key, self.key) {
            (None, None) => None,
            (Some(Value::Text(key)), None) | (None, Some(key)) => Some(key),
            _ => return Err(ApiError::InvalidKey),
        };
        let key = key.map(str::parse).transpose().map_err(|_| ApiError::InvalidKey)?;
        Ok(Message { user, text, data, name, key })
    }
}

/// The commands of a batch in their order, or what is wrong with them. Each is checked when it is taken, so that a long
/// batch is checked in slices.
#[derive(Debug)]
pub struct Commands<'a> {
    commands: vec::IntoIter<Value<'a>>,
    /// The fields `data` of the first commands.
    written: vec::IntoIter<Option<Arc<str>>>,
    config: &'a Config,
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        let command = self.commands.next()?;
        Some(command_of(command, self.written.next().flatten(), self.config))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.commands.size_hint()
    }
}

impl ExactSizeIterator for Commands<'_> {}

fn command_of<'a>(
    command: Value<'a>,
    data: Option<Arc<str>>,
    config: &'a Config,
) -> Result<Command<'a>, ApiError> {
    let Value::Object(command) = command else { return Err(ApiError::InvalidField(COMMANDS)) };
    let Some((name, Value::Object(object))) = command.only() else {
        return Err(ApiError::InvalidField(COMMANDS));
    };
    let fields = Fields { object, data, key: None, config };
    match name {
        "publish" => fields.publish().map(Command::Publish),
        "disconnect" => fields.disconnect().map(Command::Disconnect),
        "leave" => fields.leave().map(Command::Leave),
        "direct" => match fields.direct()? {
            Call::Direct(direct) => Ok(Command::Direct(direct)),
            _ => Err(ApiError::InvalidField("'to' must be a string in a batch")),
        },
        _ => Err(ApiError::InvalidField(COMMANDS)),
    }
}

fn check_data(data: &str, max_bytes: usize) -> Result<(), ApiError> {
    validate::data(data, max_bytes).map_err(|error| match error {
        CommandError::DataTooLong { max } => ApiError::DataTooLong { max },
        _ => ApiError::InvalidField(validate::NOT_PORTABLE),
    })
}

fn display_name(value: &Value<'_>) -> Result<DisplayName, ApiError> {
    match value {
        Value::Text(name) => name.parse().map_err(|_| ApiError::InvalidName),
        _ => Err(ApiError::InvalidName),
    }
}

pub(super) fn room_name(value: &Value<'_>) -> Result<RoomName, ApiError> {
    match value {
        Value::Text(name) => name.parse().map_err(|_| ApiError::InvalidRoom),
        _ => Err(ApiError::InvalidRoom),
    }
}

pub(super) fn user_id(value: &Value<'_>) -> Result<UserId, ApiError> {
    match value {
        Value::Text(name) => name.parse().map_err(|_| ApiError::InvalidUser),
        _ => Err(ApiError::InvalidUser),
    }
}

fn connection(value: &Value<'_>) -> Result<String, ApiError> {
    match value {
        Value::Text(name) => Ok((*name).to_owned()),
        _ => Err(ApiError::InvalidField(EXCEPT)),
    }
}
