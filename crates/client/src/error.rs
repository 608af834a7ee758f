//! What can go wrong, typed: at once with the arguments, or later with a command.

use std::time::Duration;

use thiserror::Error;

use super::event::Ended;
use throng_names::NameError;

/// Why [`Builder::connect`](super::Builder::connect) did not even begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address is none that this client can use; says why.
    #[error("url: {0}")]
    Url(String),
    /// No user id was given.
    #[error("user: missing")]
    NoUser,
    /// The user id breaks the rule.
    #[error("user: {0}")]
    User(NameError),
    /// The room's name breaks the rule.
    #[error("room: {0}")]
    Room(NameError),
    /// The token holds characters that no header can carry. It is not shown.
    #[error("token: must be printable ASCII without spaces")]
    Token,
    /// There is no tokio runtime to run on.
    #[error("no tokio runtime: call this from within one")]
    NoRuntime,
    /// `wss://` cannot be spoken: built without the feature `tls`, or the system has no root certificates.
    #[error("tls: {0}")]
    Tls(String),
    /// The certificates of [`Builder::ca`](super::Builder::ca) are none; says why.
    #[error("ca: {0}")]
    Ca(String),
}

/// Why a command did not do what it says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server said no. Nothing was done.
    #[error("{message} ({code})")]
    Refused {
        /// Machine-readable, as `user_not_found`: the table of errors in the README.
        code: String,
        /// For people.
        message: String,
        /// When it is worth trying again.
        retry_after: Option<Duration>,
    },
    /// So many messages, or other commands, wait already; see [`Builder::queue`](super::Builder::queue).
    #[error("too many commands wait already")]
    QueueFull,
    /// Longer than the server takes, which is known from the first welcome on. Nothing was sent.
    #[error("the message has more than {max} characters")]
    TooLong {
        /// The most characters allowed.
        max: usize,
    },
    /// No name of a room or user. Nothing was sent.
    #[error("name: {0}")]
    BadName(#[from] NameError),
    /// The connection is down, or fell before the answer came. Only of what makes no sense later: a page of history
    /// or of users. Ask again when there is an [`Event::Welcome`](super::Event::Welcome).
    #[error("not connected")]
    Disconnected,
    /// The message was sent, perhaps several times, and never answered, or only a repetition was, with a refusal; after
    /// five minutes the server would no longer recognise one. It was appended once, or not at all.
    #[error("it was sent, but no answer came: it was appended once, or not at all")]
    UnknownOutcome,
    /// Nobody reads the events, so that no answers can be read either; see [`Events`](super::Events). A message may
    /// have been appended.
    #[error("no answer could be read, because nobody reads the events")]
    Unread,
    /// The client has stopped for good, so nothing more is sent. What was sent and not answered may have been done.
    #[error("stopped: {0}")]
    Stopped(Ended),
}
