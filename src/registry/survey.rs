//! Which clients of a shard are behind, for the operator: looked for when somebody asks, in slices, so that nothing is
//! kept up to date while nobody does and nobody waits for the look.

use super::client::Client;
use super::shard::Shard;
use crate::names::{ConnectionId, UserId};

/// The most clients that are named.
pub const SLOWEST: usize = 10;
/// Clients passed before others get their turn: 128 KiB of what lies dense, and what lies apart of those who are not in
/// one room with nothing waiting.
const SLICE_CLIENTS: usize = 4096;

/// A client that does not take what it is sent as fast as that comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laggard {
    /// Its connection.
    pub id: ConnectionId,
    /// Whose it is; `None` outside of the chat.
    pub user: Option<UserId>,
    /// Bytes that wait, answers to its own commands included.
    pub bytes: usize,
    /// Messages that wait, such answers not included.
    pub messages: usize,
    /// Milliseconds since the oldest of these messages was queued; 0 when none waits.
    pub age_ms: u64,
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Survey {
    next_slot: usize,
    /// Clients whose socket takes no more while something waits for them.
    pub behind: usize,
    /// Those of them with the longest queues in bytes, the longest first, at most [`SLOWEST`].
    pub slowest: Vec<Laggard>,
}

impl Survey {
    fn note(&mut self, client: &Client, now_ms: u64) {
        self.behind += 1;
        let bytes = client.queued();
        let place = self.slowest.partition_point(|known| known.bytes >= bytes);
        if place == SLOWEST {
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
        self.slowest.insert(place, laggard);
    }
}

impl Shard {
    /// Looks at some more clients; true while there are others left. Who comes or goes meanwhile may be missed.
    pub fn survey(&self, survey: &mut Survey) -> bool {
        if self.metrics.queue_bytes.get() == 0 {
            return false;
        }
        let now_ms = self.tick();
        let state = self.state.borrow();
        let slots = survey.next_slot..survey.next_slot + SLICE_CLIENTS;
        survey.next_slot = slots.end;
        let Some(clients) = state.clients.indirect(slots) else { return false };
        let is_behind = |client: &&Client| client.can_be_dropped() && client.queued() > 0;
        clients.filter(is_behind).for_each(|client| survey.note(client, now_ms));
        true
    }
}
