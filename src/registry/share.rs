//! Limits the part of a client's queue that the private messages of one user may fill. Beyond it the message is refused
//! and its sender is told so. The client did not ask for the messages, and must not be disconnected because of them.
//!
//! Only unsent messages are counted: there is an entry for each user with something in a client's queue.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::names::{ConnectionId, UserId};
use crate::shrink::ShrinkWhenSparse;
use crate::striped::Striped;

/// Number of stripes of the table, each with a lock, by recipient and sender.
const STRIPES: usize = 16;
/// One sender may fill one part in this many of a queue's bounds: an eighth.
const PART: usize = 8;

/// A recipient's connection, and the hash of the sender's user id under a random key of this process.
type Pair = (ConnectionId, u64);

/// The unsent private messages of one sender in one client's queue.
#[derive(Debug, Default, Clone, Copy)]
struct Unsent {
    messages: usize,
    bytes: usize,
}

/// Counts the unsent private messages of each sender in each client's queue. It takes some 60 bytes of memory for each
/// such pair with an unsent message, so the bounds of queues and inboxes bound it too.
#[derive(Debug)]
pub struct Shares {
    pairs: Striped<Mutex<HashMap<Pair, Unsent>>, STRIPES>,
    /// Most that one sender may have unsent in one queue.
    most: Unsent,
}

/// One unsent private message, counted against its sender's part of the recipient's queue. Dropping it ends the count:
/// it must live until the message is sent, or until that can no longer happen.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    pair: Pair,
    bytes: usize,
}

impl Shares {
    /// Makes the table for queues with bounds of `messages` messages and `bytes` bytes.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            pairs: Striped::default(),
            most: Unsent { messages: messages / PART, bytes: bytes / PART },
        })
    }

    /// Counts a message of `bytes` bytes from `from` in the queue of `to`. Returns `None` when the sender would have
    /// too much unsent there. The first message is never too much, whatever its length.
    #[must_use]
    pub fn take(self: &Arc<Self>, to: ConnectionId, from: &UserId, bytes: usize) -> Option<Share> {
        let pair = (to, self.pairs.hash(from));
        let mut table = self.pairs.lock(&pair);
        let unsent = table.get(&pair).copied().unwrap_or_default();
        let after = Unsent { messages: unsent.messages + 1, bytes: unsent.bytes + bytes };
        if unsent.messages > 0 && (after.messages > self.most.messages || after.bytes > self.most.bytes) {
            return None;
        }
        table.insert(pair, after);
        Some(Share { shares: Arc::clone(self), pair, bytes })
    }

    /// Returns the number of pairs of a recipient and a sender with an unsent message.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pairs.sum(HashMap::len)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = self.shares.pairs.lock(&self.pair);
        let Entry::Occupied(mut entry) = table.entry(self.pair) else { return };
        let unsent = entry.get_mut();
        unsent.messages -= 1;
        unsent.bytes -= self.bytes;
        if unsent.messages == 0 {
            entry.remove();
            table.shrink_when_sparse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sender_has_an_eighth_of_each_queue_and_leaves_nothing_behind() {
        let shares = Shares::new(32, 800);
        let [ann, bob] = ["ann", "bob"].map(|name| name.parse::<UserId>().unwrap());
        let [one, two] = [1, 2].map(|slot| ConnectionId::new(0, slot, 1));
        let mut held: Vec<_> = (0..4).map(|_| shares.take(one, &ann, 20).expect("an eighth")).collect();
        assert!(shares.take(one, &ann, 1).is_none(), "too many messages");
        held.extend([shares.take(two, &ann, 101), shares.take(one, &bob, 60)].into_iter().flatten());
        assert_eq!((held.len(), shares.len()), (6, 3), "a single one is never too much");
        assert!(
            shares.take(two, &ann, 1).is_none() && shares.take(one, &bob, 41).is_none(),
            "too many bytes"
        );
        held.remove(0);
        assert!(shares.take(one, &ann, 40).is_some());
        held.clear();
        assert_eq!(shares.len(), 0);
    }
}
