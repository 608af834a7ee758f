//! The errors of this crate: those of the options of a client, and those of its commands.

use std::time::Duration;

use thiserror::Error;

use super::event::Ended;
use throng_names::NameError;

/// An option that [`Builder::connect`](super::Builder::connect) refused before it did anything.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address cannot be used, for the reason given.
    #[error("url: {0}")]
    Url(String),
    /// No user id was given; [`Builder::user`](super::Builder::user) sets it.
    #[error("user: missing; it is required")]
    NoUser,
    /// The user id is not a valid name.
    #[error("user: {0}")]
    User(NameError),
    /// The room's name is not a valid name.
    #[error("room: {0}")]
    Room(NameError),
    /// The display name is empty, too long, or holds characters that could deceive people.
    #[error("name: {0}")]
    Name(NameError),
    /// The token is empty or holds characters that no header can carry. The error does not show it.
    #[error("token: must be printable ASCII without spaces, and not empty")]
    Token,
    /// The call was made outside of a tokio runtime.
    #[error("no tokio runtime: call `connect` from within one")]
    NoRuntime,
    /// TLS cannot be used: the crate was built without the feature `tls`, or the system has no root certificates.
    #[error("tls: {0}")]
    Tls(String),
    /// The certificates of [`Builder::ca`](super::Builder::ca) cannot be used, for the reason given.
    #[error("ca: {0}")]
    Ca(String),
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server refused the command. Nothing was done.
    #[error("{message} ({code})")]
    Refused {
        /// The machine-readable code, such as `user_not_found`; the server's manual lists all codes.
        code: String,
        /// The explanation for people.
        message: String,
        /// How long to wait before trying again, if the server says so.
        retry_after: Option<Duration>,
    },
    /// Too many messages, or other commands, wait already; see [`Builder::queue`](super::Builder::queue). Nothing was
    /// sent.
    #[error("too many commands wait already: try again later")]
    QueueFull,
    /// The message is longer than the server allows. The limit is known from the first welcome on. Nothing was sent.
    #[error("the message has more than {max} characters")]
    TooLong {
        /// The most characters allowed.
        max: usize,
    },
    /// The data of [`Client::say_with_data`](super::Client::say_with_data) or of
    /// [`Client::direct_with_data`](super::Client::direct_with_data) is not JSON, for the reason given. Nothing was
    /// sent.
    #[error("data: must be JSON: {0}")]
    BadData(String),
    /// The name of the room or user is not valid. Nothing was sent.
    #[error("name: {0}")]
    BadName(#[from] NameError),
    /// The connection is down, or ended before the answer came. Only requests for a page of history or of users fail in
    /// this way, because their answers would be outdated later. Ask again after an
    /// [`Event::Welcome`](super::Event::Welcome).
    #[error("not connected")]
    Disconnected,
    /// The message was sent, and it is unknown what became of it: no attempt was answered, or only a repetition was,
    /// with a refusal. It is not sent again, because after five minutes the server no longer recognises a repetition.
    /// It was appended once, or not at all.
    #[error("it was sent, but no answer came: it was appended once, or not at all")]
    UnknownOutcome,
    /// The program does not read its events, so that the client cannot read answers either; see
    /// [`Events`](super::Events). A message may have been appended.
    #[error("no answer could be read, because the program does not read its events")]
    Unread,
    /// The client has stopped for good and sends nothing more. A command that was sent and not answered may have been
    /// carried out.
    #[error("stopped: {0}")]
    Stopped(Ended),
}
