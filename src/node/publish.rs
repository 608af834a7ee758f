//! Publishing a message in a room.
//!
//! In memory that is one step. With a log on disk (`history.dir`) or an engine (`engine = "redis"`) the message waits
//! for another thread, which also sends the answer.

use std::sync::Arc;

use super::fanout::Fanout;
use super::membership::Membership;
use super::outgoing::{AckRequest, OutgoingMessage, refusal};
use super::pending::{ClientSender, PendingMessage, Sender};
use crate::broker::quota::KeyBound;
use crate::broker::{Draft, Job, Position, Published};
use crate::names::Key;
use crate::protocol::event::{CommandError, Content};

/// A message of a `throng.v1` client on its way to a room.
#[derive(Debug)]
pub struct Post<'a> {
    /// The message's text, and what it carries besides.
    pub content: Content<'a>,
    /// The message's idempotency key.
    pub key: Option<Key>,
    /// The command's `id`, for the ack.
    pub re: Option<&'a str>,
    /// True when the sender gets the message as well as the ack.
    pub echo: bool,
}

impl Membership {
    /// Publishes a message of the plain dialect in the room, to its sender too. `now_ms` is the node's clock. Returns
    /// the message's position, or `None` when the message waits for the log; if the log fails, an error is sent to the
    /// client then.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] when the fan-out or the log is at its limit. The message has no offset then.
    pub fn publish<'c>(
        &self,
        content: impl Into<Content<'c>>,
        now_ms: u64,
    ) -> Result<Option<Position>, CommandError> {
        let published = self.append(content.into(), None, None, now_ms)?;
        Ok(published.map(|published| published.position))
    }

    /// Publishes a message of `throng.v1`. The sender gets its ack in the order of the room's stream. The ack of a
    /// duplicate is the caller's to send. Returns `None` when the message waits for the log, which then answers in
    /// every case.
    ///
    /// # Errors
    /// As [`Membership::publish`].
    pub fn post(&self, post: Post<'_>, now_ms: u64) -> Result<Option<Published>, CommandError> {
        let Post { content, key, re, echo } = post;
        self.append(content, key, Some(AckRequest { re, instead: !echo }), now_ms)
    }

    fn append(
        &self,
        content: Content<'_>,
        key: Option<Key>,
        ack: Option<AckRequest<'_>>,
        now_ms: u64,
    ) -> Result<Option<Published>, CommandError> {
        let at_unix_ms = self.node.clock.unix_ms_at(now_ms);
        let max_len = content.max_len();
        let message = OutgoingMessage {
            user: &self.user,
            content,
            room: self.room.name(),
            at_unix_ms,
            from: Some(self.id),
            ack,
        };
        let engine = &self.node.engine;
        let published = if engine.is_immediate() {
            let draft = Draft { user: &self.user, key, key_bound: KeyBound::User, max_len };
            let encode = |at| message.encode_and_tell(&self.node.webhooks, at);
            self.node.broker.publish(&self.room, draft, at_unix_ms, encode).map(Some)
        } else {
            engine.publish(self.job(message, key, max_len)).map(|()| None)
        };
        published.map_err(refusal)
    }

    /// Makes the job for the log's thread, which owns everything it needs.
    fn job(&self, message: OutgoingMessage<'_>, key: Option<Key>, max_len: usize) -> Job<Fanout> {
        let unanswered = self.unanswered.as_ref().map(|all| all.add(&self.node.registry, self.id));
        Job {
            room: Arc::clone(&self.room),
            user: self.user.clone(),
            key,
            key_bound: KeyBound::User,
            max_len,
            at_unix_ms: message.at_unix_ms,
            message: PendingMessage {
                user: self.user.clone(),
                content: message.content.into(),
                at_unix_ms: message.at_unix_ms,
                sender: Sender::Client(ClientSender {
                    from: self.id,
                    dialect: self.dialect,
                    ack: message.ack.map(|AckRequest { re, instead }| (re.map(Box::from), instead)),
                    metrics: Arc::clone(self.node.metrics.shard(self.id.shard())),
                    unanswered,
                }),
            },
        }
    }
}
