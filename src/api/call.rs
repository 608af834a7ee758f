//! The calls with their fields, parsed and checked.

use super::error::ApiError;
use super::object::{MAX_ITEMS, Object, Value};
use crate::chat::validate;
use crate::config::Config;
use crate::names::{Key, RoomName, UserId};
use crate::protocol::command::Parser;
use crate::protocol::event::CommandError;

const COMMANDS: &str =
    "'commands' must be a list of 1 to 1000 objects, each with one field: publish, direct or disconnect";
const ROOMS: &str = "'rooms' must be a list of 1 to 1000 strings";
const RECIPIENTS: &str = "'to' must be a string, or a list of 1 to 1000 strings";

/// The kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Publishes a message in a room.
    Publish,
    /// Publishes a message in several rooms.
    Broadcast,
    /// Sends a private message to one user or several.
    Direct,
    /// Ends the connections of a user.
    Disconnect,
    /// Carries out several commands.
    Batch,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] = [Self::Publish, Self::Broadcast, Self::Direct, Self::Disconnect, Self::Batch];

    /// Returns the last part of the path.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Direct => "direct",
            Self::Disconnect => "disconnect",
            Self::Batch => "batch",
        }
    }

    /// Returns the method of a path; `None` where there is none. `kick` is another name of `disconnect`.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix("/api/")?;
        let name = if name == "kick" { Self::Disconnect.name() } else { name };
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A call.
#[derive(Debug)]
pub enum Call<'a> {
    /// [`Method::Publish`].
    Publish(Publish<'a>),
    /// [`Method::Broadcast`]: one message for each room, or what is wrong with the room's name.
    Broadcast(Vec<Result<Publish<'a>, ApiError>>),
    /// [`Method::Direct`] with one recipient.
    Direct(Direct<'a>),
    /// [`Method::Direct`] with a list.
    DirectToMany(Vec<Result<Direct<'a>, ApiError>>),
    /// [`Method::Disconnect`] of this user.
    Disconnect(UserId),
    /// [`Method::Batch`].
    Batch {
        /// The commands, or what is wrong with them.
        commands: Vec<Result<Command<'a>, ApiError>>,
        /// True when they need not be carried out in their order.
        is_parallel: bool,
    },
}

/// A command of a batch.
#[derive(Debug)]
pub enum Command<'a> {
    /// As [`Call::Publish`].
    Publish(Publish<'a>),
    /// As [`Call::Direct`].
    Direct(Direct<'a>),
    /// As [`Call::Disconnect`].
    Disconnect(UserId),
}

/// A message for a room.
#[derive(Debug, Clone)]
pub struct Publish<'a> {
    /// The room.
    pub room: RoomName,
    /// The message.
    pub message: Message<'a>,
}

/// A private message.
#[derive(Debug, Clone)]
pub struct Direct<'a> {
    /// The recipient.
    pub to: UserId,
    /// The message.
    pub message: Message<'a>,
}

/// A message with its speaker.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// The user who is named as the sender.
    pub user: UserId,
    /// The text.
    pub text: &'a str,
    /// The idempotency key.
    pub key: Option<Key>,
}

impl<'a> Call<'a> {
    /// Parses the body of a call, which is overwritten. `key` is the value of the header `Idempotency-Key`.
    ///
    /// # Errors
    /// The call as a whole is wrong.
    pub fn parse(
        method: Method,
        body: &'a mut [u8],
        key: Option<&str>,
        config: &Config,
    ) -> Result<Self, ApiError> {
        let object = Parser::default().object::<Object<'a>>(body).map_err(|error| match error {
            CommandError::InvalidJson => ApiError::InvalidJson,
            _ => ApiError::InvalidField("the body must be an object"),
        })?;
        let fields = Fields { object, key, config };
        match method {
            Method::Publish => fields.publish().map(Self::Publish),
            Method::Broadcast => fields.broadcast().map(Self::Broadcast),
            Method::Direct => fields.direct(),
            Method::Disconnect => fields.disconnect().map(Self::Disconnect),
            Method::Batch => fields.batch(),
        }
    }
}

/// The fields of a call or command, with what else its message may need.
struct Fields<'k, 'a> {
    object: Object<'a>,
    /// The key in the header of the request.
    key: Option<&'k str>,
    config: &'k Config,
}

impl<'a> Fields<'_, 'a> {
    fn publish(mut self) -> Result<Publish<'a>, ApiError> {
        let room = self.object.required("room")?;
        let message = self.message()?;
        Ok(Publish { room: room_name(&room)?, message })
    }

    fn broadcast(mut self) -> Result<Vec<Result<Publish<'a>, ApiError>>, ApiError> {
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

    fn direct(mut self) -> Result<Call<'a>, ApiError> {
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

    fn disconnect(mut self) -> Result<UserId, ApiError> {
        let user = self.object.required("user")?;
        self.object.finish()?;
        if self.key.is_some() {
            return Err(ApiError::InvalidField("this call has no key: it may be sent again without one"));
        }
        user_id(&user)
    }

    fn batch(self) -> Result<Call<'a>, ApiError> {
        let Self { mut object, key, config } = self;
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
                let commands = commands.into_iter().map(|command| command_of(command, config)).collect();
                Ok(Call::Batch { commands, is_parallel })
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
        self.object.finish()?;
        let max = self.config.chat.max_message_chars;
        if validate::is_longer(text, max) {
            return Err(ApiError::MessageTooLong { max });
        }
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
        Ok(Message { user, text, key })
    }
}

fn command_of<'a>(command: Value<'a>, config: &Config) -> Result<Command<'a>, ApiError> {
    let Value::Object(command) = command else { return Err(ApiError::InvalidField(COMMANDS)) };
    let Some((name, Value::Object(object))) = command.only() else {
        return Err(ApiError::InvalidField(COMMANDS));
    };
    let fields = Fields { object, key: None, config };
    match name {
        "publish" => fields.publish().map(Command::Publish),
        "disconnect" => fields.disconnect().map(Command::Disconnect),
        "direct" => match fields.direct()? {
            Call::Direct(direct) => Ok(Command::Direct(direct)),
            _ => Err(ApiError::InvalidField("'to' must be a string in a batch")),
        },
        _ => Err(ApiError::InvalidField(COMMANDS)),
    }
}

fn room_name(value: &Value<'_>) -> Result<RoomName, ApiError> {
    match value {
        Value::Text(name) => name.parse().map_err(|_| ApiError::InvalidRoom),
        _ => Err(ApiError::InvalidRoom),
    }
}

fn user_id(value: &Value<'_>) -> Result<UserId, ApiError> {
    match value {
        Value::Text(name) => name.parse().map_err(|_| ApiError::InvalidUser),
        _ => Err(ApiError::InvalidUser),
    }
}
