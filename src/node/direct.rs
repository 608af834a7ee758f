//! Private messages: to every connection of a user, at once and never stored.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use smallvec::SmallVec;

use super::shared::Node;
use crate::broker::quota::Once;
use crate::chat::keys::KeyScope;
use crate::faults::{self, Fault};
use crate::names::{ConnectionId, Epoch, Key, UserId};
use crate::protocol::event::{self, CommandError, v1};
use crate::registry::share::Share;

/// What a frame has around its text, roughly.
const AROUND_TEXT: usize = 150;

/// The connections that a message is for, with what it takes of the sender's share in each one's queue.
type Recipients = SmallVec<[(ConnectionId, Share); 2]>;

/// What a node keeps of its private messages: their count, for ids. Their keys are among those of all users.
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
    /// Hands a message to every connection of `to`; returns how many there were. The same `key` within five minutes
    /// hands it over once: a retry gets the same answer.
    ///
    /// # Errors
    /// [`CommandError::UserNotFound`]; [`CommandError::Unavailable`] when no inbox has space, or too much of the
    /// same sender waits in the recipient's queue already. Nobody got it then.
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
            return Ok(self.hand_over(recipients, from, text, now_ms));
        };
        // Decided under a lock and handed over without it: of two who try at once the second has the answer of the
        // first, and waits for nobody's inbox.
        let mut recipients = Recipients::new();
        let at_unix_ms = self.clock.unix_ms_at(now_ms);
        let done = self.broker.keys().once(from, KeyScope::User(to.clone()), key, at_unix_ms, || {
            recipients = self.recipients(from, to, text)?;
            Ok::<_, CommandError>(recipients.len() as u64)
        });
        match done? {
            Once::Repeat(delivered) => Ok(delivered as usize),
            Once::First(_) => Ok(self.hand_over(recipients, from, text, now_ms)),
        }
    }

    /// The connections of a user whose shards have space for a message, and of whose queues the sender has not used up
    /// its share.
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

    fn hand_over(&self, recipients: Recipients, from: &UserId, text: &str, now_ms: u64) -> usize {
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

    /// 1. A keyed message is being handed over, and does not get on: something else holds the recipient's inbox.
    /// 2. The same is tried again, and the sender says something else: neither waits for the first.
    /// 3. It was handed over once.
    #[test]
    fn a_key_is_decided_before_the_message_is_handed_over() {
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
