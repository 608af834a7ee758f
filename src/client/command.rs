//! What a program asks of the client, and how that is written on the wire.

use serde::Serialize;
use tokio::sync::oneshot;

use super::error::SendError;
use super::event::{Ack, History, Joined, Presence};
use super::rooms::Position;
use crate::names::{RoomName, UserId};

/// Commands on their way to the task. It takes them whenever it runs, so that a burst is the most there is.
pub(super) const COMMANDS: usize = 256;

/// Where the answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, SendError>>;

/// One call of a method of [`Client`](super::Client).
#[derive(Debug)]
pub(super) enum Command {
    Say { room: RoomName, text: String, reply: Reply<Ack> },
    Direct { to: UserId, text: String, reply: Reply<usize> },
    Join { room: RoomName, reply: Reply<Joined> },
    Leave { room: RoomName, reply: Reply<()> },
    History { room: RoomName, before: Option<u64>, limit: usize, reply: Reply<History> },
    Presence { room: RoomName, after: Option<UserId>, limit: usize, reply: Reply<Presence> },
    Typing { room: RoomName },
    Close,
}

/// A command of `throng.v1`. `re` of the answer is the `id`.
#[derive(Debug, Default, Serialize)]
pub(super) struct Line<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume: Option<Resume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<usize>,
}

/// The last position in a room.
#[derive(Debug, Serialize)]
pub(super) struct Resume {
    epoch: String,
    offset: u64,
}

impl From<Position> for Resume {
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch.to_string(), offset: position.offset }
    }
}

impl Line<'_> {
    /// As JSON.
    pub(super) fn encode(&self) -> String {
        simd_json::serde::to_string(self).expect("texts and numbers can always be written")
    }
}
