//! What a program asks of the client, and how that is written on the wire.

use serde::{Serialize, Serializer};
use tokio::sync::oneshot;

use super::error::SendError;
use super::event::{Ack, History, Joined, Presence};
use throng_names::{Epoch, Position, RoomName, UserId};

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
#[derive(Debug, Default, Clone, Copy, Serialize)]
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
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "perhaps_as_text")]
    pub(super) epoch: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<usize>,
}

/// The last position in a room.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Resume {
    #[serde(serialize_with = "as_text")]
    epoch: Epoch,
    offset: u64,
}

impl From<Position> for Resume {
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch, offset: position.offset.0 }
    }
}

fn as_text<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(epoch)
}

fn perhaps_as_text<S: Serializer>(epoch: &Option<Epoch>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&epoch.map_or_else(String::new, |epoch| epoch.to_string()))
}

impl Line<'_> {
    /// As JSON, asking for an answer with this id.
    pub(super) fn with_id(&self, id: &str) -> String {
        Line { id: Some(id), ..*self }.encode()
    }

    /// As JSON.
    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers can always be written")
    }
}
