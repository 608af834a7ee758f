//! Publishing and private messages on behalf of another server: they come over no connection, and their sender is in no
//! room.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::fanout::Fanout;
use super::outgoing::OutgoingMessage;
use super::pending::{PendingMessage, Sender};
use super::shared::Node;
use crate::broker::memory::Entrant;
use crate::broker::quota::KeyBound;
use crate::broker::room::SharedRoom;
use crate::broker::{BrokerError, Draft, Job, Published};
use crate::names::{Key, RoomName, UserId};
use crate::protocol::event::Content;

/// How often a room is opened again that is closed before the message gets there.
const TRIES: usize = 4;

/// A message of another server on its way to a room.
#[derive(Debug)]
pub struct ServerPost<'a> {
    /// The room.
    pub room: &'a RoomName,
    /// The user who is named as the sender.
    pub user: &'a UserId,
    /// The text, and what the message carries besides.
    pub content: Content<'a>,
    /// The message's idempotency key.
    pub key: Option<Key>,
}

/// Why a message of another server has no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostError {
    /// It was not published.
    Refused(BrokerError),
    /// Nobody knows whether it was published.
    Unknown,
}

/// A message that was submitted, and has its position or waits for it.
#[derive(Debug)]
pub struct Submitted {
    node: Arc<Node>,
    room: SharedRoom<Fanout>,
    answer: SubmittedAnswer,
}

#[derive(Debug)]
enum SubmittedAnswer {
    Here(Published),
    Awaited(oneshot::Receiver<Result<Published, BrokerError>>),
}

impl Node {
    /// Publishes a message of another server, in a room that may have no members. Messages of one caller in one room
    /// get their positions in the order in which they are submitted. With an engine, the room has to be
    /// [prepared](Node::prepare_room).
    ///
    /// # Errors
    /// Nothing was published.
    pub fn submit(self: &Arc<Self>, post: &ServerPost<'_>) -> Result<Submitted, BrokerError> {
        let &ServerPost { room: name, user, content, ref key } = post;
        for _ in 0..TRIES {
            let (room, ..) = self.broker.enter_as(name, Entrant { user, address: 0 }, None, |_, _| ())?;
            match self.submit_to(&room, user, content, key.clone()) {
                // Another thread has closed the room, which had no members.
                Err(BrokerError::Gone) => {}
                Err(error) => {
                    self.broker.close_if_empty(&room);
                    return Err(error);
                }
                Ok(answer) => return Ok(Submitted { node: Arc::clone(self), room, answer }),
            }
        }
        Err(BrokerError::Gone)
    }

    fn submit_to(
        &self,
        room: &SharedRoom<Fanout>,
        user: &UserId,
        content: Content<'_>,
        key: Option<Key>,
    ) -> Result<SubmittedAnswer, BrokerError> {
        let at_unix_ms = self.clock.unix_ms();
        let (max_len, key_bound) = (content.max_len(), KeyBound::Api);
        if self.engine.is_immediate() {
            let message =
                OutgoingMessage { user, content, room: room.name(), at_unix_ms, from: None, ack: None };
            let draft = Draft { user, key, key_bound, max_len };
            let encode = |at| message.encode_and_tell(&self.webhooks, at);
            let published = self.broker.publish(room, draft, at_unix_ms, encode)?;
            return Ok(SubmittedAnswer::Here(published));
        }
        let (answer, answered) = oneshot::channel();
        let message = PendingMessage {
            user: user.clone(),
            content: content.into(),
            at_unix_ms,
            sender: Sender::Server(answer),
        };
        let user = user.clone();
        let job = Job { room: Arc::clone(room), user, key, key_bound, max_len, at_unix_ms, message };
        self.engine.publish(job)?;
        Ok(SubmittedAnswer::Awaited(answered))
    }
}

impl Submitted {
    /// Waits until the message has its position and, with a log, is written.
    ///
    /// # Errors
    /// The message was not published, or nobody knows.
    pub async fn published(self) -> Result<Published, PostError> {
        let published = match self.answer {
            SubmittedAnswer::Here(published) => Ok(published),
            SubmittedAnswer::Awaited(answered) => match answered.await {
                Ok(answer) => answer.map_err(PostError::Refused),
                Err(_) => Err(PostError::Unknown),
            },
        };
        // Otherwise nobody would take a room without members for one.
        self.node.broker.close_if_empty(&self.room);
        published
    }
}
