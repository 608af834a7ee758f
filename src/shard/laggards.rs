//! Finds the clients of a shard that are behind, for the operator. They are looked for on request, so that nothing has
//! to be kept up to date, and in slices, so that no other task waits long.

use super::client::Client;
use super::clients::Clients;
use crate::names::{ConnectionId, UserId};

/// Most clients that are named.
pub const SLOWEST: usize = 10;
/// Clients looked at before other tasks get their turn: 128 KiB of the dense table, and the rest of those clients that
/// are in several rooms or have a queue.
const SLICE_CLIENTS: usize = 4096;

/// A client that does not take its messages as fast as they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laggard {
    /// Its connection.
    pub id: ConnectionId,
    /// Its user; `None` outside of the chat.
    pub user: Option<UserId>,
    /// Bytes that wait, including replies to its own commands.
    pub bytes: usize,
    /// Messages that wait, without such replies.
    pub messages: usize,
    /// Milliseconds since the oldest of these messages was queued; 0 when none waits.
    pub age_ms: u64,
}

/// The clients of a shard that are behind, as far as they have been found.
#[derive(Debug, Default)]
pub struct Laggards {
    /// The slot from which on clients have not been looked at.
    next_slot: usize,
    /// Clients whose socket takes no more while something waits for them.
    pub behind: usize,
    /// The clients with the longest queues in bytes, the longest first, at most [`SLOWEST`].
    pub slowest: Vec<Laggard>,
}

impl Laggards {
    fn note(&mut self, client: &Client, now_ms: u64) {
        self.behind += 1;
        let bytes = client.queued();
        let rank = self.slowest.partition_point(|known| known.bytes >= bytes);
        if rank == SLOWEST {
            return;
        }
        self.slowest.truncate(SLOWEST - 1);
        let outbox = &client.outbox;
        let laggard = Laggard {
            id: client.id,
            user: client.user.clone(),
            bytes,
            messages: outbox.shared_frames(),
            age_ms: outbox.oldest_ms().map_or(0, |at_ms| now_ms.saturating_sub(at_ms)),
        };
        self.slowest.insert(rank, laggard);
    }

    /// Looks at the clients of some more slots. Returns true while there are slots left.
    pub(super) fn look(&mut self, clients: &Clients, now_ms: u64) -> bool {
        let slots = self.next_slot..self.next_slot + SLICE_CLIENTS;
        self.next_slot = slots.end;
        let Some(clients) = clients.indirect(slots) else { return false };
        let is_behind = |client: &&Client| client.can_be_dropped() && client.queued() > 0;
        clients.filter(is_behind).for_each(|client| self.note(client, now_ms));
        true
    }
}
