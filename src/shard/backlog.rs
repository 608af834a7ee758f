//! Finds clients with the longest queues without looking at all of them: clients with long queues are in buckets, one
//! for each power of two of the queue's bytes.
//!
//! A client is put into a bucket when its queue grows to that length. When its queue shrinks, its entry becomes stale
//! and stays until a search meets it or [`Backlogs::tidy`] removes it. So writing a queue costs nothing here.

use super::client::Client;
use super::clients::Clients;
use crate::names::ConnectionId;

/// The first bucket begins at two to the power of this: 1 KiB. Most queues never get so long.
const FLOOR_BITS: u32 = 10;
/// Number of buckets. The last begins at 16 GiB, which no queue reaches.
const BUCKETS: usize = 25;
/// Most entries that one search looks at, in all buckets together.
const LOOKS: usize = 64;
/// Most slots that a search looks at when it found no long queue: the budget is exceeded, so many queues are short.
const SHORT_LOOKS: usize = 256;
/// Number of entries, including stale ones, up to which [`Backlogs::tidy`] does nothing.
const KEPT_ENTRIES: usize = 1024;

/// Clients with long queues, in buckets by length. An entry is stale when its client is gone, is noted in another
/// bucket, or has a shorter queue by now.
#[derive(Debug)]
pub(super) struct Backlogs {
    buckets: [Vec<ConnectionId>; BUCKETS],
    /// Number of entries above which stale ones are removed.
    tidy_above: usize,
    /// The last slot that the search for a short queue looked at.
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

/// Returns the bucket for a queue of so many bytes, counted from 1; 0 for a queue that is too short for a bucket.
fn bucket_of(bytes: usize) -> u8 {
    (usize::BITS - bytes.leading_zeros()).saturating_sub(FLOOR_BITS).min(BUCKETS as u32) as u8
}

impl Backlogs {
    /// Notes that the client's queue has grown to `queued` bytes.
    pub(super) fn grown(&mut self, client: &mut Client, queued: usize) {
        let bucket = bucket_of(queued);
        if bucket > client.backlog {
            client.backlog = bucket;
            self.buckets[usize::from(bucket) - 1].push(client.id);
        }
    }

    /// Returns the slot of a client that can be dropped (its socket takes nothing and it is not ending) and has one of
    /// the longest queues: no other such client has one twice as long, unless the search ends after [`LOOKS`] entries.
    /// Then, and when no queue is long, it returns any such client with a queue, if one is among the next slots.
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

    /// Returns the slot of a client that can be dropped and has anything in its queue, among the next [`SHORT_LOOKS`]
    /// slots. The next call goes on from there.
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

    /// Removes the entries of clients that are gone, are noted in another bucket, or have no long queue any more. Does
    /// it once there are more than [`KEPT_ENTRIES`] entries, and more than twice as many as the last removal left.
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

    /// Counts an entry or slot that a search looks at, for tests.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only tests count the looks"))]
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
