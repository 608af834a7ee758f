//! Publishing a message in a room.
//!
//! Without a log on disk that is one step. With one (`history.dir`) the message waits for the log's thread, which also
//! sends the answer.

use std::sync::Arc;

use super::membership::Membership;
use crate::broker::durable::Job;
use crate::broker::{BrokerError, Draft, Encoded, Position, Published};
use crate::names::{ConnectionId, Key, RoomName, UserId};
use crate::protocol::Dialect;
use crate::protocol::event::{self, CommandError, v1};
use crate::registry::delivery::{Ack, SenderCopy};

/// A message of a `throng.v1` client on its way to a room.
#[derive(Debug)]
pub struct Post<'a> {
    /// The message's text.
    pub text: &'a str,
    /// The message's idempotency key.
    pub key: Option<Key>,
    /// The command's `id`, for the ack.
    pub re: Option<&'a str>,
    /// True when the sender gets the message as well as the ack.
    pub echo: bool,
}

/// Returns the answer to a command that the broker refused.
#[must_use]
pub fn refusal(error: BrokerError) -> CommandError {
    match error {
        BrokerError::Full | BrokerError::NotWritten | BrokerError::Gone => CommandError::Unavailable,
        BrokerError::TooManyRooms => CommandError::NoMoreRooms,
    }
}

/// A message with what is needed to encode it, and its ack, once it has an offset.
#[derive(Clone, Copy)]
struct OutgoingMessage<'a> {
    user: &'a UserId,
    text: &'a str,
    room: &'a RoomName,
    /// When the message came, in milliseconds since the Unix epoch.
    at_unix_ms: u64,
    from: ConnectionId,
    ack: Option<AckRequest<'a>>,
}

/// How a message is to be acknowledged.
#[derive(Clone, Copy)]
struct AckRequest<'a> {
    re: Option<&'a str>,
    /// True when the sender gets the ack instead of the message.
    instead: bool,
}

impl OutgoingMessage<'_> {
    fn encode(&self, position: Position) -> Encoded<SenderCopy> {
        let Position { epoch, offset } = position;
        let frame = event::message(self.user, self.text, self.room, epoch, offset, self.at_unix_ms);
        let ack = self.ack.map(|AckRequest { re, instead }| {
            let ack = v1::Ack { re, room: self.room, epoch, offset, duplicate: false };
            Box::new(Ack { frame: v1::ack(&ack), instead })
        });
        Encoded { frame, sender_copy: Some(SenderCopy { to: self.from, ack }) }
    }
}

impl Membership {
    /// Publishes a message of the plain dialect in the room, to its sender too. `now_ms` is the node's clock. Returns
    /// the message's position, or `None` when the message waits for the log; if the log fails, an error is sent to the
    /// client then.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] when the fan-out or the log is at its limit. The message has no offset then.
    pub fn publish(&self, text: &str, now_ms: u64) -> Result<Option<Position>, CommandError> {
        let published = self.append(text, None, None, now_ms)?;
        Ok(published.map(|published| published.position))
    }

    /// Publishes a message of `throng.v1`. The sender gets its ack in the order of the room's stream. The ack of a
    /// duplicate is the caller's to send. Returns `None` when the message waits for the log, which then answers in
    /// every case.
    ///
    /// # Errors
    /// As [`Membership::publish`].
    pub fn post(&self, post: Post<'_>, now_ms: u64) -> Result<Option<Published>, CommandError> {
        let Post { text, key, re, echo } = post;
        self.append(text, key, Some(AckRequest { re, instead: !echo }), now_ms)
    }

    fn append(
        &self,
        text: &str,
        key: Option<Key>,
        ack: Option<AckRequest<'_>>,
        now_ms: u64,
    ) -> Result<Option<Published>, CommandError> {
        let at_unix_ms = self.node.clock.unix_ms_at(now_ms);
        let max_len = event::max_len(text);
        let message = OutgoingMessage {
            user: &self.user,
            text,
            room: self.room.name(),
            at_unix_ms,
            from: self.id,
            ack,
        };
        let published = match &self.node.durable {
            Some(durable) => durable.publish(self.job(message, key, max_len)).map(|()| None),
            None => {
                let draft = Draft { user: &self.user, key, max_len };
                self.node.broker.publish(&self.room, draft, at_unix_ms, |at| message.encode(at)).map(Some)
            }
        };
        published.map_err(refusal)
    }

    /// Builds the job for the log's thread, which owns everything it needs.
    fn job(
        &self,
        message: OutgoingMessage<'_>,
        key: Option<Key>,
        max_len: usize,
    ) -> Job<super::fanout::Fanout> {
        let user = self.user.clone();
        let text: Box<str> = message.text.into();
        let room = Arc::clone(&self.room);
        let re: Option<Arc<str>> = message.ack.and_then(|ack| ack.re).map(Arc::from);
        let instead = message.ack.map(|ack| ack.instead);
        let at_unix_ms = message.at_unix_ms;
        let (registry, id, dialect) = (Arc::clone(&self.node.registry), self.id, self.dialect);
        let (name, name_again, re_again) = (room.name().clone(), room.name().clone(), re.clone());
        let speaker = user.clone();
        let metrics = Arc::clone(self.node.metrics.shard(id.shard()));
        let unanswered = self.unanswered.as_ref().map(|unanswered| unanswered.add(&registry, id));
        Job {
            room,
            user,
            key,
            max_len,
            at_unix_ms,
            encode: Box::new(move |position| {
                let ack = instead.map(|instead| AckRequest { re: re.as_deref(), instead });
                OutgoingMessage { user: &speaker, text: &text, room: &name, at_unix_ms, from: id, ack }
                    .encode(position)
            }),
            answer: Box::new(move |answer| {
                let _unanswered = unanswered;
                let frame = match (dialect, answer) {
                    // The members, the sender among them, learn of an appended message from the room's stream.
                    (_, Ok(Published { is_duplicate: false, .. })) | (Dialect::Plain, Ok(_)) => return,
                    (Dialect::V1, Ok(Published { position: Position { epoch, offset }, .. })) => {
                        let (re, room) = (re_again.as_deref(), &name_again);
                        v1::ack(&v1::Ack { re, room, epoch, offset, duplicate: true })
                    }
                    (_, Err(error)) => {
                        let error = refusal(error);
                        metrics.count_error(error.code());
                        v1::error(re_again.as_deref(), error)
                    }
                };
                registry.reply(id, &frame);
            }),
        }
    }
}
