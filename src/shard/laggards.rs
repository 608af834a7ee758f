//! Finds a shard's laggards for the operator: clients that do not take what waits for them. They are looked for on
//! request, so that nothing has to be kept up to date, and in slices, so that no other task waits long.

use super::client::Client;
use super::clients::Clients;
use super::outbox::Outbox;
use crate::names::{ConnectionId, UserId};

/// Most clients that [`Laggards::slowest`] lists.
pub const SLOWEST: usize = 100;
/// Slots looked at before other tasks get their turn. That reads 32 bytes of each client, 128 KiB in all, and more only
/// of a client to which a batch may not be written at once.
const SLICE_CLIENTS: usize = 4096;

/// A client whose socket takes no more while something waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laggard {
    /// Its connection.
    pub id: ConnectionId,
    /// Its user; `None` while the client has none.
    pub user: Option<UserId>,
    /// Bytes that wait, including replies to the client's own commands.
    pub bytes: usize,
    /// Frames of fan-out and private messages that wait, without replies.
    pub messages: usize,
    /// Milliseconds since the oldest of these frames was queued; 0 when none waits.
    pub age_ms: u64,
}

/// The laggards that the search through one shard has found so far.
#[derive(Debug, Default)]
pub struct Laggards {
    /// The first slot that has not been looked at.
    next_slot: usize,
    /// Number of clients whose socket takes no more while something waits for them.
    pub behind: usize,
    /// The clients with the longest queues in bytes, the longest first, at most [`SLOWEST`].
    pub slowest: Vec<Laggard>,
}

/// Returns the clients with the longest queues in bytes of several searches, the longest first, at most `most`.
pub fn slowest(found: impl IntoIterator<Item = Laggards>, most: usize) -> Vec<Laggard> {
    let mut slowest: Vec<_> = found.into_iter().flat_map(|laggards| laggards.slowest).collect();
    slowest.sort_by_key(|laggard| std::cmp::Reverse(laggard.bytes));
    slowest.truncate(most);
    slowest
}

impl Laggards {
    /// Counts a laggard, and lists it if its queue is one of the longest.
    fn note(&mut self, client: &Client, now_ms: u64) {
        self.behind += 1;
        let bytes = client.queued();
        let rank = self.slowest.partition_point(|known| known.bytes >= bytes);
        if rank == SLOWEST {
            return;
        }
        self.slowest.truncate(SLOWEST - 1);
        let outbox = client.outbox();
        let laggard = Laggard {
            id: client.id,
            user: client.user.clone(),
            bytes,
            messages: outbox.map_or(0, Outbox::shared_frames),
            age_ms: outbox.and_then(Outbox::oldest_ms).map_or(0, |at_ms| now_ms.saturating_sub(at_ms)),
        };
        self.slowest.insert(rank, laggard);
    }

    /// Looks at the clients of the next slots. Returns false when there are no more slots.
    pub(super) fn look(&mut self, clients: &Clients, now_ms: u64) -> bool {
        let slots = self.next_slot..self.next_slot + SLICE_CLIENTS;
        self.next_slot = slots.end;
        let Some(clients) = clients.indirect(slots) else { return false };
        let is_behind = |client: &&Client| client.can_be_dropped() && client.queued() > 0;
        clients.filter(is_behind).for_each(|client| self.note(client, now_ms));
        true
    }
}
