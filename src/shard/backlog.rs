//! Finds clients with the longest queues without looking at all of them: clients with long queues are in buckets, one
//! for each power of two of the queue's bytes.
//!
//! A client is put into a bucket when its queue has grown into it, and moved to the right one when the longest queue is
//! looked for. So a queue that is written at once costs nothing here.

use super::client::Client;
use super::clients::Clients;
use crate::names::ConnectionId;

/// Bits of the length at which the first bucket begins. Most queues never get so long.
const FLOOR_BITS: u32 = 10;
/// Number of buckets: the longest queue has less than 16 GiB.
const BUCKETS: usize = 25;
/// Most clients looked at to find one: the largest of so many of a bucket is taken.
const LOOKS: usize = 64;
/// Most clients looked at when no queue is long: then many are short.
const SHORT_LOOKS: usize = 256;
/// Number of entries, including stale ones, below which nothing is tidied up.
const KEPT_ENTRIES: usize = 1024;

/// Clients with long queues, in buckets.
#[derive(Debug)]
pub(super) struct Backlogs {
    buckets: [Vec<ConnectionId>; BUCKETS],
    /// Number of entries beyond which stale ones are removed.
    tidy_above: usize,
    /// The slot from which on short queues are looked for.
    next: usize,
    #[cfg(test)]
    pub(super) looked: usize,
}

impl Default for Backlogs {
    fn default() -> Self {
        Self {
            buckets: [const { Vec::new() }; BUCKETS],
            tidy_above: KEPT_ENTRIES,
            next: 0,
            #[cfg(test)]
            looked: 0,
        }
    }
}

/// Returns the bucket of a queue of so many bytes, counted from 1; 0 for a short one.
fn bucket_of(bytes: usize) -> u8 {
    (usize::BITS - bytes.leading_zeros()).saturating_sub(FLOOR_BITS).min(BUCKETS as u32) as u8
}

impl Backlogs {
    /// Notes that the client's queue has grown to so many bytes.
    pub(super) fn grown(&mut self, client: &mut Client, queued: usize) {
        let bucket = bucket_of(queued);
        if bucket > client.backlog {
            client.backlog = bucket;
            self.buckets[usize::from(bucket) - 1].push(client.id);
        }
    }

    /// Returns the slot of a client that can be dropped and has one of the longest queues: no other is twice as long.
    pub(super) fn longest(&mut self, clients: &mut Clients) -> Option<usize> {
        let mut looks = LOOKS;
        let mut passed = Vec::new();
        for bucket in (1..=BUCKETS).rev() {
            let mut best: Option<(usize, usize)> = None;
            while looks > 0
                && let Some(id) = self.buckets[bucket - 1].pop()
            {
                self.look();
                looks -= 1;
                let Some(mut client) = clients.of(id) else { continue };
                if usize::from(client.backlog) != bucket {
                    continue;
                }
                let queued = client.queued();
                if usize::from(bucket_of(queued)) < bucket {
                    client.backlog = 0;
                    self.grown(&mut client, queued);
                    continue;
                }
                passed.push(id);
                let candidate = (queued, id.slot());
                if client.can_be_dropped() && best.is_none_or(|best| best < candidate) {
                    best = Some(candidate);
                }
            }
            self.buckets[bucket - 1].append(&mut passed);
            if let Some((_, slot)) = best {
                return Some(slot);
            }
        }
        self.any_short(clients)
    }

    /// Returns the slot of a client that can be dropped and has anything in its queue, among the next few.
    fn any_short(&mut self, clients: &mut Clients) -> Option<usize> {
        let end = clients.end();
        for _ in 0..SHORT_LOOKS.min(end) {
            self.look();
            self.next = if self.next + 1 < end { self.next + 1 } else { 0 };
            let client = clients.get_mut(self.next);
            if client.is_some_and(|client| client.queued() > 0 && client.can_be_dropped()) {
                return Some(self.next);
            }
        }
        None
    }

    /// Removes stale entries, when they may be many.
    pub(super) fn tidy(&mut self, clients: &mut Clients) {
        if self.entries() <= self.tidy_above {
            return;
        }
        for (bucket, ids) in (1..).zip(&mut self.buckets) {
            ids.retain(|id| {
                let Some(mut client) = clients.of(*id) else { return false };
                if client.backlog != bucket {
                    return false;
                }
                if bucket_of(client.queued()) == 0 {
                    client.backlog = 0;
                }
                client.backlog > 0
            });
            ids.shrink_to(2 * ids.len());
        }
        self.tidy_above = KEPT_ENTRIES.max(2 * self.entries());
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests count"))]
    fn look(&mut self) {
        #[cfg(test)]
        {
            self.looked += 1;
        }
    }

    /// Returns the number of entries, including stale ones.
    pub(super) fn entries(&self) -> usize {
        self.buckets.iter().map(Vec::len).sum()
    }
}
