//! The errors that answer a command.

use thiserror::Error;

use crate::rate_limit::Refused;

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
    /// A `type` that is no command.
    #[error(
        "Unknown type: must be message, direct, join, leave, history, presence, typing, ping or heartbeat_ack"
    )]
    UnknownType,
    /// A room's name breaks the rule.
    #[error("Invalid room: must be 1 to 64 of A-Z a-z 0-9 _ . : @ -")]
    InvalidRoom,
    /// The command is about a room that the connection is not in.
    #[error("Not in this room, join it first")]
    NotInRoom,
    /// `join` of a room that the connection is in.
    #[error("Already in this room")]
    AlreadyJoined,
    /// One more room than a connection may be in.
    #[error("Too many rooms (max {max})")]
    TooManyRooms {
        /// The most rooms allowed.
        max: usize,
    },
    /// No connection of that user is there to get the private message.
    #[error("User not found: nobody of this id is connected")]
    UserNotFound,
    /// More than the client may say in this time; nothing was done.
    #[error("Rate limit exceeded, try again in {retry_after_ms} ms")]
    RateLimited {
        /// When it is worth trying again, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// The token, or a rule of the room, does not allow it; says which.
    #[error("Forbidden: {0}")]
    Forbidden(&'static str),
    /// The node cannot take the message now; nothing was appended.
    #[error("Service unavailable, try again")]
    Unavailable,
    /// `limits.max_rooms` rooms exist, and the one that is named is not among them.
    #[error("Service unavailable: too many rooms, try again later")]
    NoMoreRooms,
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
            Self::UnknownType => "unknown_type",
            Self::InvalidRoom => "invalid_room",
            Self::NotInRoom => "not_in_room",
            Self::AlreadyJoined => "already_joined",
            Self::TooManyRooms { .. } => "too_many_rooms",
            Self::UserNotFound => "user_not_found",
            Self::RateLimited { .. } => "rate_limited",
            Self::Forbidden(_) => "forbidden",
            Self::Unavailable | Self::NoMoreRooms => "unavailable",
        }
    }

    /// True for input that no well-made client sends, whatever state the server is in: it counts towards
    /// `limits.malformed_per_minute`.
    #[must_use]
    pub const fn is_malformed(self) -> bool {
        match self {
            Self::InvalidJson | Self::InvalidMessage(_) | Self::MissingField(_) => true,
            Self::MessageTooLong { .. } | Self::UnknownType | Self::InvalidRoom => true,
            Self::NotInRoom | Self::AlreadyJoined | Self::TooManyRooms { .. } | Self::UserNotFound => false,
            Self::RateLimited { .. } | Self::Forbidden(_) => false,
            Self::Unavailable | Self::NoMoreRooms => false,
        }
    }
}

impl From<Refused> for CommandError {
    fn from(Refused { retry_after_ms }: Refused) -> Self {
        Self::RateLimited { retry_after_ms }
    }
}
