//! A message on its way to a room: its frame, its ack, and the answer if it is refused.

use super::telling::{self, PublishedMessage};
use crate::broker::{BrokerError, Encoded, Position};
use crate::names::{ConnectionId, RoomName, UserId};
use crate::protocol::event::{self, CommandError, Content, v1};
use crate::registry::delivery::{Ack, SenderCopy};
use crate::webhooks::Webhooks;

/// Returns the answer to a command that the broker refused.
#[must_use]
pub fn refusal(error: BrokerError) -> CommandError {
    match error {
        BrokerError::Full | BrokerError::NotWritten | BrokerError::Gone | BrokerError::NoEngine => {
            CommandError::Unavailable
        }
        BrokerError::TooManyRooms => CommandError::NoMoreRooms,
    }
}

/// A message with what is needed to encode it, and its ack, once it has an offset.
#[derive(Clone, Copy)]
pub(super) struct OutgoingMessage<'a> {
    pub(super) user: &'a UserId,
    pub(super) content: Content<'a>,
    pub(super) room: &'a RoomName,
    /// When the message came, in milliseconds since the Unix epoch.
    pub(super) at_unix_ms: u64,
    /// The sender's connection; `None` for a message that came over none.
    pub(super) from: Option<ConnectionId>,
    pub(super) ack: Option<AckRequest<'a>>,
}

/// How a message is to be acknowledged.
#[derive(Clone, Copy)]
pub(super) struct AckRequest<'a> {
    pub(super) re: Option<&'a str>,
    /// True when the sender gets the ack instead of the message.
    pub(super) instead: bool,
}

impl OutgoingMessage<'_> {
    /// Encodes a message that has its position now, and tells webhooks. Called under the room's lock, in the order of
    /// its offsets.
    pub(super) fn encode_and_tell(&self, webhooks: &Webhooks, at: Position) -> Encoded<SenderCopy> {
        let &Self { user, content, room, at_unix_ms, .. } = self;
        telling::message(webhooks, PublishedMessage { room, user, content, at_unix_ms }, at);
        self.encode(at)
    }

    pub(super) fn encode(&self, position: Position) -> Encoded<SenderCopy> {
        let Position { epoch, offset } = position;
        let frame = event::message(self.user, self.content, self.room, epoch, offset, self.at_unix_ms);
        let sender_copy = self.from.map(|from| sender_copy(from, self.ack, self.room, position));
        Encoded { frame, sender_copy }
    }
}

/// Makes the copy of a message for its sender, with the ack if one is to be sent.
pub(super) fn sender_copy(
    to: ConnectionId,
    ack: Option<AckRequest<'_>>,
    room: &RoomName,
    Position { epoch, offset }: Position,
) -> SenderCopy {
    let ack = ack.map(|AckRequest { re, instead }| {
        let ack = v1::Ack { re, room, epoch, offset, duplicate: false };
        Box::new(Ack { frame: v1::ack(&ack), instead })
    });
    SenderCopy { to, ack }
}
