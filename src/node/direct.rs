//! Private messages: to every connection of a user, at once and never stored.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::Node;
use super::publish::refusal;
use crate::chat::keys::Keys;
use crate::faults::{self, Fault};
use crate::names::{ConnectionId, Epoch, Key, UserId};
use crate::protocol::event::{self, CommandError, v1};

/// Stripes of the keys, far more than threads. [`Directs::expire`] visits one at a time.
const STRIPES: usize = 64;

/// A key belongs to its sender and recipient; it stands for the number of connections that the message is for.
type Sent = Keys<(UserId, UserId, Key), usize>;

/// What a node keeps of its private messages: their count, for ids, and the keys of the last five minutes.
#[derive(Debug)]
pub(super) struct Directs {
    epoch: Epoch,
    count: AtomicU64,
    keys: Box<[Mutex<Sent>]>,
    hasher: RandomState,
}

impl Default for Directs {
    fn default() -> Self {
        Self {
            epoch: Epoch::random(),
            count: AtomicU64::new(0),
            keys: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Directs {
    fn stripe(&self, from: &UserId) -> &Mutex<Sent> {
        &self.keys[self.hasher.hash_one(from) as usize % STRIPES]
    }

    /// Forgets old keys in one stripe. `turn` chooses it: count it up.
    pub(super) fn expire(&self, turn: usize, now_ms: u64) {
        self.keys[turn % STRIPES].lock().expire(now_ms);
    }
}

impl Node {
    /// Hands a message to every connection of `to`; returns how many there were. The same `key` within five minutes
    /// hands it over once: a retry gets the same answer.
    ///
    /// # Errors
    /// [`CommandError::UserNotFound`]; [`CommandError::RateLimited`] beyond `limits.max_keys_per_user`;
    /// [`CommandError::Unavailable`] when no inbox has space. Nobody got it then.
    pub fn direct(
        &self,
        from: &UserId,
        to: &UserId,
        text: &str,
        key: Option<Key>,
        now_ms: u64,
    ) -> Result<usize, CommandError> {
        let Some(key) = key.filter(|_| !faults::is_on(Fault::ForgetPrivateKey)) else {
            let recipients = self.recipients(to, text)?;
            return Ok(self.hand_over(&recipients, from, text, now_ms));
        };
        let key = (from.clone(), to.clone(), key);
        // Decided under the lock and handed over without it: of two who try at once the second has the answer of the
        // first, and waits for nobody's inbox.
        let mut sent = self.directs.stripe(from).lock();
        if let Some(delivered) = sent.find(&key, now_ms) {
            return Ok(delivered);
        }
        let recipients = self.recipients(to, text)?;
        self.broker.count_key(from, self.clock.unix_ms_at(now_ms)).map_err(refusal)?;
        sent.insert(key, recipients.len(), now_ms);
        drop(sent);
        Ok(self.hand_over(&recipients, from, text, now_ms))
    }

    /// The connections of a user whose shards have space for a message.
    fn recipients(&self, to: &UserId, text: &str) -> Result<SmallVec<[ConnectionId; 2]>, CommandError> {
        let mut connections = self.registry.directory.find(to);
        if connections.is_empty() {
            return Err(CommandError::UserNotFound);
        }
        let max_len = event::max_len(text);
        connections.retain(|id| self.registry.has_space_for(*id, max_len));
        if connections.is_empty() { Err(CommandError::Unavailable) } else { Ok(connections) }
    }

    fn hand_over(&self, recipients: &[ConnectionId], from: &UserId, text: &str, now_ms: u64) -> usize {
        let number = self.directs.count.fetch_add(1, Relaxed) + 1;
        let frame = v1::direct(from, text, self.directs.epoch, number, self.clock.unix_ms_at(now_ms));
        recipients.iter().for_each(|id| self.registry.send(*id, &frame));
        recipients.len()
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
            let full_key = (ann.clone(), bob.clone(), key.clone());
            let deadline = Instant::now() + PATIENCE;
            loop {
                let sent = node.directs.stripe(&ann).try_lock_until(deadline);
                let mut sent = sent.expect("nobody holds the keys for long");
                if sent.find(&full_key, 0).is_some() {
                    break;
                }
                assert!(Instant::now() < deadline, "it is never decided");
                drop(sent);
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
