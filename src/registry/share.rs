//! How much of a client's queue one sender of private messages may fill: beyond it the sender is told, and the client,
//! who did not ask for them, is not dropped for them.
//!
//! Only what is unsent stands here: an entry for each sender with something in a client's queue.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::names::{ConnectionId, UserId};
use crate::shrink::ShrinkWhenSparse;
use crate::striped::Striped;

/// Stripes of the table, by recipient and sender.
const STRIPES: usize = 16;
/// Of a queue's bounds, as a fraction.
const PART: usize = 8;

/// A recipient, and a sender as a hash with a key of this process.
type Pair = (ConnectionId, u64);

#[derive(Debug, Default, Clone, Copy)]
struct Unsent {
    messages: usize,
    bytes: usize,
}

/// The unsent private messages of each sender in the queues of others. Memory: some 60 bytes for each pair of which
/// anything is unsent, so within what the queues and inboxes hold.
#[derive(Debug)]
pub struct Shares {
    pairs: Striped<Mutex<HashMap<Pair, Unsent>>, STRIPES>,
    most: Unsent,
}

/// Some bytes of a private message on its way; dropped when it has left or never will.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    pair: Pair,
    bytes: usize,
}

impl Shares {
    /// Makes the table for queues of so many messages and bytes.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            pairs: Striped::default(),
            most: Unsent { messages: messages / PART, bytes: bytes / PART },
        })
    }

    /// Takes a message of `bytes` off what `from` may have in the queue of `to`; nothing when it is too much. A single
    /// one is never too much.
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

    /// Pairs of which anything is unsent.
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
