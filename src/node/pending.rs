//! A message that waits until another thread has its position: that of the log, or that of the engine.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::outgoing::{self, AckRequest, OutgoingMessage, refusal};
use super::unanswered::UnansweredGuard;
use crate::broker::{BrokerError, Encoded, Position, Published};
use crate::metrics::ShardMetrics;
use crate::names::{ConnectionId, RoomName, UserId};
use crate::protocol::Dialect;
use crate::protocol::event::{OwnedContent, v1};
use crate::registry::Registry;
use crate::registry::delivery::SenderCopy;

/// A message with everything that its frame, its ack and its answer need.
#[derive(Debug)]
pub(super) struct PendingMessage {
    pub(super) user: UserId,
    pub(super) content: OwnedContent,
    /// When the message came, in milliseconds since the Unix epoch.
    pub(super) at_unix_ms: u64,
    pub(super) sender: Sender,
}

/// The sender of a message, who waits for its answer.
#[derive(Debug)]
pub(super) enum Sender {
    /// A connection of this node.
    Client(ClientSender),
    /// Another server, through the API. Dropping the channel tells it that nobody knows the outcome.
    Server(oneshot::Sender<Result<Published, BrokerError>>),
}

/// A connection that has sent a message.
#[derive(Debug)]
pub(super) struct ClientSender {
    pub(super) from: ConnectionId,
    pub(super) dialect: Dialect,
    /// The ack of `throng.v1`: the command's `id`, and whether the ack replaces the message for its sender.
    pub(super) ack: Option<(Option<Box<str>>, bool)>,
    /// The counters of the sender's shard.
    pub(super) metrics: Arc<ShardMetrics>,
    /// Counts the message among the unanswered ones of its sender until it is dropped.
    pub(super) unanswered: Option<UnansweredGuard>,
}

impl PendingMessage {
    /// Makes the sender's own copy, with the ack; `None` for a message that came over no connection.
    pub(super) fn sender_copy(&self, room: &RoomName, at: Position) -> Option<SenderCopy> {
        let client = self.sender.client()?;
        Some(outgoing::sender_copy(client.from, client.ack(), room, at))
    }

    /// Encodes the message, and its ack, with its position.
    pub(super) fn encode(&self, room: &RoomName, at: Position) -> Encoded<SenderCopy> {
        let Self { user, content, at_unix_ms, sender } = self;
        let content = content.get();
        let client = sender.client();
        let (from, ack) = (client.map(|client| client.from), client.and_then(ClientSender::ack));
        OutgoingMessage { user, content, room, at_unix_ms: *at_unix_ms, from, ack }.encode(at)
    }

    /// Sends the sender the answer that it does not get from the room's stream.
    pub(super) fn answer(self, registry: &Registry, room: &RoomName, answer: Result<Published, BrokerError>) {
        match self.sender {
            Sender::Client(client) => client.answer(registry, room, answer),
            Sender::Server(waiting) => {
                // The other server may have given up.
                let _ = waiting.send(answer);
            }
        }
    }
}

impl Sender {
    fn client(&self) -> Option<&ClientSender> {
        match self {
            Self::Client(client) => Some(client),
            Self::Server(_) => None,
        }
    }
}

impl ClientSender {
    fn ack(&self) -> Option<AckRequest<'_>> {
        self.ack.as_ref().map(|(re, instead)| AckRequest { re: re.as_deref(), instead: *instead })
    }

    /// Tells the client that its message is a duplicate, or why it was refused. A plain client is told only the latter.
    fn answer(self, registry: &Registry, room: &RoomName, answer: Result<Published, BrokerError>) {
        let re = self.ack().and_then(|ack| ack.re);
        let frame = match (self.dialect, answer) {
            // The members, the sender among them, learn of an appended message from the room's stream.
            (_, Ok(Published { is_duplicate: false, .. })) | (Dialect::Plain | Dialect::Sse, Ok(_)) => return,
            (Dialect::V1, Ok(Published { position: Position { epoch, offset }, .. })) => {
                v1::ack(&v1::Ack { re, room, epoch, offset, duplicate: true })
            }
            (_, Err(error)) => {
                let error = refusal(error);
                self.metrics.count_error(error.code());
                v1::error(re, error)
            }
        };
        registry.reply(self.from, &frame);
        // The sender counts as answered only now: a waiting `leave` must not overtake the answer.
        drop(self.unanswered);
    }
}
