//! Private messages: delivered to every connection of a user, at once, and never stored. Where an engine is, these
//! connections may be on any node, and the answer comes later.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::reach::{Recipients, send, with_space};
use super::shared::Node;
use super::waiter::{Awaited, await_answer};
use crate::broker::quota::{KeyBound, Once};
use crate::broker::redis::{PrivateMessage, PrivateText};
use crate::chat::keys::KeyScope;
use crate::faults::{self, Fault};
use crate::names::{ConnectionId, Epoch, Key, Offset, Position, UserId};
use crate::protocol::event::{CommandError, Content, v1};

/// Numbers private messages, so that each has an id. Their idempotency keys are kept in the broker, among those of all
/// users.
#[derive(Debug)]
pub(super) struct PrivateMessageIds {
    epoch: Epoch,
    count: AtomicU64,
}

impl Default for PrivateMessageIds {
    fn default() -> Self {
        Self { epoch: Epoch::random(), count: AtomicU64::new(0) }
    }
}

impl PrivateMessageIds {
    /// Returns the id of a new message.
    fn next(&self) -> Position {
        Position { epoch: self.epoch, offset: Offset(self.count.fetch_add(1, Relaxed) + 1) }
    }
}

/// The wait for the answer of all nodes with connections of a message's recipient: the number of connections that get
/// the message. It fails as [`Node::direct`] does, and with [`CommandError::Unavailable`] when the engine is not
/// available.
pub type Delivery = Awaited<usize, CommandError>;

impl Node {
    /// Delivers a message as [`Node::direct`] does, to the connections of `to` on all nodes. Returns `None`, and does
    /// nothing, when there is no engine. The connection `id`, if there is one, gets a turn when the answer is
    /// there.
    #[must_use]
    pub fn direct_to_all(
        &self,
        from: &UserId,
        to: &UserId,
        content: Content<'_>,
        key: Option<&Key>,
        now_ms: u64,
        id: Option<ConnectionId>,
    ) -> Option<Delivery> {
        let cluster = self.engine.cluster()?;
        let text = PrivateText {
            from: from.clone(),
            content: content.into(),
            id: self.private_ids.next(),
            at_unix_ms: self.clock.unix_ms_at(now_ms),
        };
        let key = key.filter(|_| !faults::is_on(Fault::ForgetPrivateKey)).cloned();
        let (waiter, delivery) = await_answer(&self.registry, id, CommandError::Unavailable);
        let answer = Box::new(move |result| waiter.answer(result));
        cluster.deliver(PrivateMessage { to: to.clone(), text, key }, answer);
        Some(delivery)
    }

    /// Delivers a message to every connection of `to` and returns how many there were. Within five minutes the same
    /// `key` delivers only once: a retry gets the first answer again. `key_bound` bounds the keys of the sender.
    ///
    /// # Errors
    /// [`CommandError::UserNotFound`] when nobody is connected as `to`; [`CommandError::Unavailable`] when no inbox has
    /// space, or too much from the same sender waits in the recipient's queue. Nothing was delivered then.
    pub fn direct(
        &self,
        from: &UserId,
        to: &UserId,
        content: Content<'_>,
        key: Option<Key>,
        key_bound: KeyBound,
        now_ms: u64,
    ) -> Result<usize, CommandError> {
        let Some(key) = key.filter(|_| !faults::is_on(Fault::ForgetPrivateKey)) else {
            let recipients = self.recipients(from, to, &content)?;
            return Ok(self.deliver(recipients, from, content, now_ms));
        };
        // The key is decided under a lock, and the message is delivered without it. Of two attempts at once the second
        // gets the answer of the first, and waits for nobody's inbox.
        let mut recipients = Recipients::new();
        let at_unix_ms = self.clock.unix_ms_at(now_ms);
        let done =
            self.broker.keys().once(from, KeyScope::User(to.clone()), key, at_unix_ms, key_bound, || {
                recipients = self.recipients(from, to, &content)?;
                Ok::<_, CommandError>(recipients.len() as u64)
            });
        match done? {
            Once::Repeat(delivered) => Ok(delivered as usize),
            Once::First(_) => Ok(self.deliver(recipients, from, content, now_ms)),
        }
    }

    /// Returns the user's connections whose shards have space for the message and in whose queues the sender has not
    /// used up its share.
    fn recipients(
        &self,
        from: &UserId,
        to: &UserId,
        content: &Content<'_>,
    ) -> Result<Recipients, CommandError> {
        let connections = self.registry.directory.find(to);
        if connections.is_empty() {
            return Err(CommandError::UserNotFound);
        }
        let recipients = with_space(&self.registry, from, connections, content);
        if recipients.is_empty() { Err(CommandError::Unavailable) } else { Ok(recipients) }
    }

    fn deliver(&self, recipients: Recipients, from: &UserId, content: Content<'_>, now_ms: u64) -> usize {
        let Position { epoch, offset } = self.private_ids.next();
        let frame = v1::direct(from, content, epoch, offset.0, self.clock.unix_ms_at(now_ms));
        send(&self.registry, recipients, &frame)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::metrics::Metrics;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// 1. A keyed message is being delivered, and does not get on: something else holds the recipient's inbox.
    /// 2. The same message is tried again, and the sender says something else: neither waits for the first.
    /// 3. The message was delivered once.
    #[test]
    fn a_key_is_decided_before_the_message_is_delivered() {
        let node =
            Node::new(Config { workers: 2, ..Config::default() }, Metrics::new(2, &[]), Clock::system());
        let [ann, bob, cat] = ["ann", "bob", "cat"].map(|name| name.parse::<UserId>().unwrap());
        let (key, other): (Key, Key) = ("k-1".parse().unwrap(), "k-2".parse().unwrap());
        node.registry.directory.add(&bob, ConnectionId::new(1, 0, 1), None);
        node.registry.directory.add(&cat, ConnectionId::new(0, 0, 1), None);
        let stuck = node.registry.inbox(1).block();
        thread::scope(|scope| {
            let first =
                scope.spawn(|| node.direct(&ann, &bob, "hi".into(), Some(key.clone()), KeyBound::User, 0));
            let deadline = Instant::now() + PATIENCE;
            while node.private_ids.count.load(Relaxed) == 0 {
                assert!(Instant::now() < deadline, "it is never decided");
                thread::yield_now();
            }
            assert_eq!(node.direct(&ann, &bob, "hi".into(), Some(key.clone()), KeyBound::User, 0), Ok(1));
            assert_eq!(node.direct(&ann, &cat, "hi".into(), Some(other), KeyBound::User, 0), Ok(1));
            drop(stuck);
            assert_eq!(first.join().unwrap(), Ok(1));
        });
        for (shard, expected) in [(0, 1), (1, 1)] {
            let mut items = Vec::new();
            node.registry.inbox(shard).take(&mut items);
            assert_eq!(items.len(), expected, "{items:?}");
        }
    }
}
