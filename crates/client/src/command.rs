//! The commands that a program gives to the client, and their form on the wire.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::error::SendError;
use super::event::{Ack, History, Joined, Presence};
use throng_names::{Epoch, Position, RoomName, UserId};

/// Capacity of the channel between the handles and the client's task. The task empties it whenever it runs, so that it
/// has to hold one burst at most.
pub(super) const COMMAND_QUEUE: usize = 256;

/// The sender for the result of a command.
pub(super) type Reply<T> = oneshot::Sender<Result<T, SendError>>;

/// A JSON value that a message carries, in the bytes that its program wrote.
pub(super) type Data = Box<RawValue>;

/// One call of a method of [`Client`](super::Client).
#[derive(Debug)]
pub(super) enum Command {
    Say { room: RoomName, text: String, data: Option<Data>, reply: Reply<Ack> },
    Direct { to: UserId, text: String, data: Option<Data>, reply: Reply<usize> },
    Join { room: RoomName, reply: Reply<Joined> },
    Leave { room: RoomName, reply: Reply<()> },
    History { room: RoomName, before: Option<u64>, limit: usize, reply: Reply<History> },
    Presence { room: RoomName, after: Option<UserId>, limit: usize, reply: Reply<Presence> },
    Typing { room: RoomName },
    Close,
}

/// A command of `throng.v1` as the JSON object that is sent. The server's answer repeats `id` as `re`.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct CommandFrame<'a> {
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
    pub(super) data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume: Option<Resume>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_epoch_as_text")]
    pub(super) epoch: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<usize>,
}

/// The position in a room from which a `join` resumes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Resume {
    #[serde(serialize_with = "epoch_as_text")]
    epoch: Epoch,
    offset: u64,
}

impl From<Position> for Resume {
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch, offset: position.offset.0 }
    }
}

fn epoch_as_text<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(epoch)
}

fn optional_epoch_as_text<S: Serializer>(epoch: &Option<Epoch>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&epoch.map_or_else(String::new, |epoch| epoch.to_string()))
}

impl CommandFrame<'_> {
    /// Encodes the command as JSON with this id, so that the server answers it.
    pub(super) fn with_id(&self, id: &str) -> String {
        CommandFrame { id: Some(id), ..*self }.encode()
    }

    /// Encodes the command as JSON.
    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers can always be written")
    }
}
