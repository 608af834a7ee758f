//! The errors of the API, each with its status and its word for programs.

use thiserror::Error;

use crate::broker::BrokerError;
use crate::protocol::event::CommandError;

/// Why a call, or a part of one, was not carried out. The text says what is wrong and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiError {
    /// The body is not JSON, or nested too deeply.
    #[error("the body is not JSON, or nested too deeply")]
    InvalidJson,
    /// The body is not an object, or a field has the wrong type or a value out of range.
    #[error("{0}")]
    InvalidField(&'static str),
    /// The call has no such field.
    #[error("there is no field '{0}' in this call")]
    UnknownField(Box<str>),
    /// The call lacks a field that it needs.
    #[error("the field '{0}' is missing")]
    MissingField(&'static str),
    /// The room's name is not valid.
    #[error("a room must be 1 to 64 of A-Z a-z 0-9 _ . : @ -")]
    InvalidRoom,
    /// The user id is not valid.
    #[error("a user must be 3 to 64 of A-Z a-z 0-9 _ . : @ -")]
    InvalidUser,
    /// The name is not one that people may be shown.
    #[error(
        "a name must be 1 to 64 characters that show something, without control characters and direction marks"
    )]
    InvalidName,
    /// The idempotency key is not valid, or the header names another one than the body.
    #[error(
        "a key must be 1 to 64 characters, in the field 'key' or in one Idempotency-Key header, not in both"
    )]
    InvalidKey,
    /// The text has more characters than `chat.max_message_chars` allows.
    #[error("the message has more than {max} characters (chat.max_message_chars)")]
    MessageTooLong {
        /// Most characters allowed.
        max: usize,
    },
    /// The data has more bytes than `chat.max_data_bytes` allows.
    #[error("the data has more than {max} bytes (chat.max_data_bytes)")]
    DataTooLong {
        /// Most bytes allowed.
        max: usize,
    },
    /// The `Content-Type` is another one.
    #[error("the Content-Type must be application/json")]
    ContentType,
    /// No key of the configuration was shown. The text says which one to set.
    #[error(
        "send a key of api.keys (or for GET of api.read_keys) as Authorization: Bearer KEY or as X-API-Key: KEY; \
         without any the API refuses everything"
    )]
    ApiKey,
    /// The key is one of `api.read_keys`, and the call changes something.
    #[error("this key may only read: send one of api.keys")]
    ReadOnlyKey,
    /// The request comes from a page of another origin in a browser.
    #[error(
        "the request comes from a page of another origin: only pages of this server may call, and other servers"
    )]
    Origin,
    /// Nobody knows the room.
    #[error("there is no such room: nobody is in it, and it has no history")]
    RoomNotFound,
    /// Nobody is connected as the user.
    #[error("nobody is connected as this user")]
    UserNotFound,
    /// There is no such call.
    #[error("the API has no such call")]
    UnknownPath,
    /// The call needs another method.
    #[error("method not allowed, use {allow}")]
    Method {
        /// The allowed methods, as the value of `Allow`.
        allow: &'static str,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    Timeout,
    /// The body has more bytes than `limits.max_request_body` allows.
    #[error("the body has more than {max} bytes (limits.max_request_body)")]
    BodyTooLarge {
        /// Most bytes allowed.
        max: usize,
    },
    /// The key was used more often than `api.requests_per_second` allows.
    #[error("too many calls with this key (api.requests_per_second), try again in {retry_after_ms} ms")]
    RateLimited {
        /// Milliseconds until a retry can succeed.
        retry_after_ms: u64,
    },
    /// As many calls are under way as `api.max_in_flight` allows.
    #[error("too many calls are under way (api.max_in_flight), try again later")]
    AtCapacity,
    /// There are as many revocations as can be remembered. The tokens hold on.
    #[error("there are 1000000 revocations, and none can be forgotten yet: nothing was revoked")]
    RevocationsFull,
    /// The server is stopping.
    #[error("the server is shutting down, try again later")]
    Draining,
    /// The settings have mistakes: all of them, one line each.
    #[error("the settings have {} mistakes, and nothing was changed", .0.len())]
    InvalidSettings(Box<[String]>),
    /// The program around the server does not read settings again.
    #[error("the settings of this server cannot be read again")]
    NotReloadable,
    /// The node cannot do it now. Nothing was done.
    #[error("not possible now, and nothing was done: try again later")]
    Unavailable,
    /// Nobody knows whether it was done.
    #[error("it may or may not have been done: send it again, a message with the same key")]
    UnknownOutcome,
    /// These nodes did not answer, so that nobody knows whether they have carried the order out. The others have.
    #[error(
        "done, but for these nodes, which did not answer: {0}; it may or may not have been done there: send it again"
    )]
    Unanswered(Box<str>),
}

impl ApiError {
    /// Returns the word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidField(_) => "invalid_field",
            Self::UnknownField(_) => "unknown_field",
            Self::MissingField(_) => "missing_field",
            Self::InvalidRoom => "invalid_room",
            Self::InvalidName => "invalid_name",
            Self::InvalidUser => "invalid_user",
            Self::InvalidKey => "invalid_key",
            Self::MessageTooLong { .. } => "message_too_long",
            Self::DataTooLong { .. } => "data_too_long",
            Self::ContentType => "content_type",
            Self::ApiKey => "api_key",
            Self::ReadOnlyKey => "read_only_key",
            Self::Origin => "origin",
            Self::RoomNotFound => "room_not_found",
            Self::UserNotFound => "user_not_found",
            Self::UnknownPath => "unknown_path",
            Self::Method { .. } => "method",
            Self::Timeout => "timeout",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::AtCapacity => "at_capacity",
            Self::RevocationsFull => "revocations_full",
            Self::Draining => "draining",
            Self::InvalidSettings(_) => "invalid_settings",
            Self::NotReloadable => "not_reloadable",
            Self::Unavailable => "unavailable",
            Self::UnknownOutcome | Self::Unanswered(_) => "unknown_outcome",
        }
    }

    /// Returns the HTTP status of a call that ends with this error.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::InvalidJson | Self::InvalidField(_) | Self::UnknownField(_) | Self::MissingField(_) => 400,
            Self::InvalidRoom | Self::InvalidUser | Self::InvalidKey | Self::InvalidName => 400,
            Self::MessageTooLong { .. } | Self::DataTooLong { .. } => 400,
            Self::ApiKey => 401,
            Self::ReadOnlyKey | Self::Origin => 403,
            Self::RoomNotFound | Self::UserNotFound | Self::UnknownPath => 404,
            Self::Method { .. } => 405,
            Self::Timeout => 408,
            Self::NotReloadable => 409,
            Self::BodyTooLarge { .. } => 413,
            Self::ContentType => 415,
            Self::InvalidSettings(_) => 422,
            Self::RateLimited { .. } => 429,
            Self::AtCapacity | Self::RevocationsFull | Self::Draining | Self::Unavailable => 503,
            Self::UnknownOutcome | Self::Unanswered(_) => 504,
        }
    }

    /// Returns the seconds to wait before the next attempt, chosen at random so that callers that were refused together
    /// do not come back together; `None` where another attempt would change nothing.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::RateLimited { retry_after_ms } => u32::try_from(retry_after_ms.div_ceil(1000)).ok(),
            Self::AtCapacity | Self::Draining | Self::Unavailable => Some(fastrand::u32(1..=5)),
            // An entry is free when a token has expired.
            Self::RevocationsFull => Some(fastrand::u32(30..=60)),
            _ => None,
        }
    }

    /// Returns true for an error in the head of a request, whose body was not read.
    #[must_use]
    pub const fn is_before_body(&self) -> bool {
        use ApiError as E;
        let is_refused = matches!(self, E::ContentType | E::ApiKey | E::ReadOnlyKey | E::Origin);
        let is_lost = matches!(self, E::UnknownPath | E::Method { .. } | E::Timeout | E::BodyTooLarge { .. });
        is_refused || is_lost || matches!(self, E::RateLimited { .. } | E::AtCapacity | E::Draining)
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Full | BrokerError::TooManyRooms | BrokerError::NotWritten => Self::Unavailable,
            BrokerError::Gone | BrokerError::NoEngine => Self::Unavailable,
        }
    }
}

/// Returns the error of a private message.
pub(super) fn of_direct(error: CommandError) -> ApiError {
    match error {
        CommandError::UserNotFound => ApiError::UserNotFound,
        _ => ApiError::Unavailable,
    }
}
