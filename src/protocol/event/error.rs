//! Errors that answer a command of a client.

use thiserror::Error;

use crate::rate_limit::Refused;

/// An error that answers a command; the connection stays open. The text says what is wrong and what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The command is not JSON, or nested too deeply.
    #[error("Invalid JSON format")]
    InvalidJson,
    /// The command is JSON but not an object, or a field has the wrong type or a value out of range.
    #[error("Invalid message format: {0}")]
    InvalidMessage(&'static str),
    /// The command lacks this field.
    #[error("Invalid message format: missing '{0}' field")]
    MissingField(&'static str),
    /// The message has more characters than allowed.
    #[error("Message too long (max {max} chars)")]
    MessageTooLong {
        /// Most characters allowed.
        max: usize,
    },
    /// The field `data` takes more bytes than allowed.
    #[error("Data too long (max {max} bytes)")]
    DataTooLong {
        /// Most bytes allowed.
        max: usize,
    },
    /// The field `type` names no command.
    #[error(
        "Unknown type: must be message, direct, join, leave, history, presence, typing, token, ping or \
         heartbeat_ack"
    )]
    UnknownType,
    /// The room's name is not 1 to 64 of the allowed characters.
    #[error("Invalid room: must be 1 to 64 of A-Z a-z 0-9 _ . : @ -")]
    InvalidRoom,
    /// The connection is not in the room that the command names.
    #[error("Not in this room, join it first")]
    NotInRoom,
    /// The connection is already in the room that `join` names.
    #[error("Already in this room")]
    AlreadyJoined,
    /// The connection is already in as many rooms as allowed.
    #[error("Too many rooms (max {max})")]
    TooManyRooms {
        /// Most rooms allowed.
        max: usize,
    },
    /// The recipient of a private message has no connection.
    #[error("User not found: nobody of this id is connected")]
    UserNotFound,
    /// The connection or its user sends too fast; the command was not carried out.
    #[error("Rate limit exceeded, try again in {retry_after_ms} ms")]
    RateLimited {
        /// Milliseconds until a retry can succeed.
        retry_after_ms: u64,
    },
    /// The token or a rule of the room forbids the command; the text says which.
    #[error("Forbidden: {0}")]
    Forbidden(&'static str),
    /// The token that is to replace the connection's is not accepted, and has changed nothing; the text says why.
    #[error("Token refused: {0}")]
    InvalidToken(&'static str),
    /// The node cannot accept the message now; nothing was appended.
    #[error("Service unavailable, try again")]
    Unavailable,
    /// The room does not exist, and `limits.max_rooms` rooms exist already.
    #[error("Service unavailable: too many rooms, try again later")]
    NoMoreRooms,
}

impl CommandError {
    /// Returns the code for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidMessage(_) => "invalid_message",
            Self::MissingField(_) => "missing_field",
            Self::MessageTooLong { .. } => "message_too_long",
            Self::DataTooLong { .. } => "data_too_long",
            Self::UnknownType => "unknown_type",
            Self::InvalidRoom => "invalid_room",
            Self::NotInRoom => "not_in_room",
            Self::AlreadyJoined => "already_joined",
            Self::TooManyRooms { .. } => "too_many_rooms",
            Self::UserNotFound => "user_not_found",
            Self::RateLimited { .. } => "rate_limited",
            Self::Forbidden(_) => "forbidden",
            Self::InvalidToken(_) => "invalid_token",
            Self::Unavailable | Self::NoMoreRooms => "unavailable",
        }
    }

    /// Returns true for input that no correct client sends, whatever the state of the server. It counts towards
    /// `limits.malformed_per_minute`.
    #[must_use]
    pub const fn is_malformed(self) -> bool {
        match self {
            Self::InvalidJson | Self::InvalidMessage(_) | Self::MissingField(_) => true,
            Self::MessageTooLong { .. } | Self::DataTooLong { .. } => true,
            Self::UnknownType | Self::InvalidRoom => true,
            Self::NotInRoom | Self::AlreadyJoined | Self::TooManyRooms { .. } | Self::UserNotFound => false,
            Self::RateLimited { .. } | Self::Forbidden(_) | Self::InvalidToken(_) => false,
            Self::Unavailable | Self::NoMoreRooms => false,
        }
    }
}

impl From<Refused> for CommandError {
    fn from(Refused { retry_after_ms }: Refused) -> Self {
        Self::RateLimited { retry_after_ms }
    }
}
