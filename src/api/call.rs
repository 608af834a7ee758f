//! The calls with their fields, parsed and checked.

use std::sync::Arc;

use super::error::ApiError;
use super::fields::{Commands, Fields};
use super::method::Method;
use super::object::Object;
use super::written::Written;
use crate::config::Config;
use crate::names::{DisplayName, Key, RoomName, UserId};
use crate::protocol::event::Content;
use crate::revocation::Seconds;

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
    /// [`Method::Disconnect`].
    Disconnect(Disconnect),
    /// [`Method::Leave`].
    Leave(Leave),
    /// [`Method::Forget`] of this room.
    Forget(RoomName),
    /// [`Method::Revoke`].
    Revoke(Revoke<'a>),
    /// A call that changes nothing.
    Read(Read),
    /// [`Method::Batch`].
    Batch {
        /// The commands.
        commands: Commands<'a>,
        /// True when they need not be carried out in their order.
        is_parallel: bool,
    },
    /// [`Method::Reload`].
    Reload,
}

/// A command of a batch.
#[derive(Debug)]
pub enum Command<'a> {
    /// As [`Call::Publish`].
    Publish(Publish<'a>),
    /// As [`Call::Direct`].
    Direct(Direct<'a>),
    /// As [`Call::Disconnect`].
    Disconnect(Disconnect),
    /// As [`Call::Leave`].
    Leave(Leave),
}

/// The end of the connections of a user.
#[derive(Debug)]
pub struct Disconnect {
    /// The user.
    pub user: UserId,
    /// The close code and the reason; `None` for 4501 `Kicked`.
    pub end: Option<(u16, String)>,
    /// The names of connections that stay.
    pub except: Vec<String>,
}

/// The tokens that are to hold no longer.
#[derive(Debug, Clone)]
pub enum Revoke<'a> {
    /// One token.
    Token {
        /// The token's `jti`.
        jti: &'a str,
        /// The token's `exp`.
        until_s: Seconds,
    },
    /// Those of a user.
    User {
        /// The user.
        user: UserId,
        /// Tokens whose `iat` is before this moment, or that have none; `None` for now.
        issued_before_s: Option<Seconds>,
    },
}

/// The departure of a user from a room.
#[derive(Debug)]
pub struct Leave {
    /// The user.
    pub user: UserId,
    /// The room.
    pub room: RoomName,
}

/// A call that changes nothing.
#[derive(Debug)]
pub enum Read {
    /// [`Method::Rooms`].
    Rooms {
        /// The pattern that names have to match; `None` for all.
        pattern: Option<String>,
        /// The room behind which the page begins.
        after: Option<RoomName>,
        /// Most rows.
        limit: usize,
    },
    /// [`Method::Room`].
    Room(RoomName),
    /// [`Method::Presence`].
    Presence {
        /// The room.
        room: RoomName,
        /// The user behind whom the page begins.
        after: Option<UserId>,
        /// Most users.
        limit: usize,
    },
    /// [`Method::History`].
    History {
        /// The room.
        room: RoomName,
        /// The epoch that the caller expects; `None` for any.
        epoch: Option<String>,
        /// The offset before which the page ends; `None` for the last messages.
        before: Option<u64>,
        /// Most messages.
        limit: usize,
    },
    /// [`Method::Users`].
    Users {
        /// The user behind whom the page begins.
        after: Option<UserId>,
        /// Most users.
        limit: usize,
    },
    /// [`Method::User`].
    User(UserId),
    /// [`Method::Info`].
    Info,
    /// [`Method::Slow`].
    Slow {
        /// Most rows.
        limit: usize,
    },
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
    /// The JSON value that the message carries besides, as it was written.
    pub data: Option<Arc<str>>,
    /// The name of the sender that people are shown.
    pub name: Option<DisplayName>,
    /// The idempotency key.
    pub key: Option<Key>,
}

impl Message<'_> {
    /// Returns what the message says.
    #[must_use]
    pub fn content(&self) -> Content<'_> {
        Content { text: self.text, data: self.data.as_deref(), name: self.name.as_ref() }
    }
}

impl<'a> Call<'a> {
    /// Checks the fields of a call. `key` is the value of the header `Idempotency-Key`, and `written` the fields of the
    /// body that are passed on as they were written.
    ///
    /// # Errors
    /// The call as a whole is wrong.
    pub fn new(
        method: Method,
        object: Object<'a>,
        written: Written,
        key: Option<&str>,
        config: &'a Config,
    ) -> Result<Self, ApiError> {
        let Written { data, of_commands } = written;
        let fields = Fields { object, data, key, config };
        match method {
            Method::Publish => fields.publish().map(Self::Publish),
            Method::Broadcast => fields.broadcast().map(Self::Broadcast),
            Method::Direct => fields.direct(),
            Method::Disconnect => fields.disconnect().map(Self::Disconnect),
            Method::Leave => fields.leave().map(Self::Leave),
            Method::Revoke => fields.revoke().map(Self::Revoke),
            Method::Forget => fields.forget().map(Self::Forget),
            Method::Batch => fields.batch(of_commands),
            Method::Rooms => fields.rooms().map(Self::Read),
            Method::Room => fields.room().map(Self::Read),
            Method::Presence => fields.presence().map(Self::Read),
            Method::History => fields.history().map(Self::Read),
            Method::Users => fields.users().map(Self::Read),
            Method::User => fields.user().map(Self::Read),
            Method::Info => fields.info().map(Self::Read),
            Method::Slow => fields.slow().map(Self::Read),
            Method::Reload => fields.finish_without_key().map(|()| Self::Reload),
        }
    }
}
