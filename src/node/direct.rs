//! Private messages: delivered to every connection of a user, at once, and never stored.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use smallvec::SmallVec;

use super::shared::Node;
use crate::broker::quota::Once;
use crate::chat::keys::KeyScope;
use crate::faults::{self, Fault};
use crate::names::{ConnectionId, Epoch, Key, UserId};
use crate::protocol::event::{self, CommandError, v1};
use crate::registry::share::Share;

/// Bytes that a frame has around its text, roughly.
const AROUND_TEXT: usize = 150;

/// The connections that get a message, each with the part of its queue that the sender takes up.
type Recipients = SmallVec<[(ConnectionId, Share); 2]>;

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

impl Node {
    /// Delivers a message to every connection of `to` and returns how many there were. Within five minutes the same
    /// `key` delivers only once: a retry gets the first answer again.
    ///
    /// # Errors
    /// [`CommandError::UserNotFound`] when nobody is connected as `to`; [`CommandError::Unavailable`] when no inbox has
    /// space, or too much from the same sender waits in the recipient's queue. Nothing was delivered then.
    pub fn direct(
        &self,
        from: &UserId,
        to: &UserId,
        text: &str,
        key: Option<Key>,
        now_ms: u64,
    ) -> Result<usize, CommandError> {
        let Some(key) = key.filter(|_| !faults::is_on(Fault::ForgetPrivateKey)) else {
            let recipients = self.recipients(from, to, text)?;
            return Ok(self.deliver(recipients, from, text, now_ms));
        };
        // The key is decided under a lock, and the message is delivered without it. Of two attempts at once the second
        // gets the answer of the first, and waits for nobody's inbox.
        let mut recipients = Recipients::new();
        let at_unix_ms = self.clock.unix_ms_at(now_ms);
        let done = self.broker.keys().once(from, KeyScope::User(to.clone()), key, at_unix_ms, || {
            recipients = self.recipients(from, to, text)?;
            Ok::<_, CommandError>(recipients.len() as u64)
        });
        match done? {
            Once::Repeat(delivered) => Ok(delivered as usize),
            Once::First(_) => Ok(self.deliver(recipients, from, text, now_ms)),
        }
    }

    /// Returns the user's connections whose shards have space for the message and in whose queues the sender has not
    /// used up its share.
    fn recipients(&self, from: &UserId, to: &UserId, text: &str) -> Result<Recipients, CommandError> {
        let connections = self.registry.directory.find(to);
        if connections.is_empty() {
            return Err(CommandError::UserNotFound);
        }
        let max_len = event::max_len(text);
        let bytes = text.len() + AROUND_TEXT;
        let with_space = connections.into_iter().filter(|id| self.registry.has_space_for(*id, max_len));
        let recipients: Recipients =
            with_space.filter_map(|id| Some((id, self.registry.shares.take(id, from, bytes)?))).collect();
        if recipients.is_empty() { Err(CommandError::Unavailable) } else { Ok(recipients) }
    }

    fn deliver(&self, recipients: Recipients, from: &UserId, text: &str, now_ms: u64) -> usize {
        let delivered = recipients.len();
        let number = self.private_ids.count.fetch_add(1, Relaxed) + 1;
        let frame = v1::direct(from, text, self.private_ids.epoch, number, self.clock.unix_ms_at(now_ms));
        recipients.into_iter().for_each(|(id, share)| self.registry.send(id, &frame, Some(share)));
        delivered
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
            let first = scope.spawn(|| node.direct(&ann, &bob, "hi", Some(key.clone()), 0));
            let deadline = Instant::now() + PATIENCE;
            while node.private_ids.count.load(Relaxed) == 0 {
                assert!(Instant::now() < deadline, "it is never decided");
                thread::yield_now();
            }
            assert_eq!(node.direct(&ann, &bob, "hi", Some(key.clone()), 0), Ok(1));
            assert_eq!(node.direct(&ann, &cat, "hi", Some(other), 0), Ok(1));
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
