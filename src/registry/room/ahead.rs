//! What a room's turn will read is fetched while other rooms have theirs. Each step reads what the one before it has
//! fetched, and a turn of a few writes lies between them.

use super::{AHEAD, Member, Room};
use crate::prefetch::{prefetch, prefetch_bytes};
use crate::registry::clients::Clients;
use crate::registry::delivery::Ack;

/// Steps, and so the turns before its own at which the first of them is taken.
pub(in crate::registry) const STEPS: usize = 4;

impl Room {
    /// Takes the step that is due `turns` before the room's own.
    pub(in crate::registry) fn prefetch(&self, turns: usize, clients: &Clients) {
        match turns {
            1 => self.prefetch_behind(clients),
            2 => self.prefetch_first(clients),
            3 => self.prefetch_lists(),
            _ => self.prefetch_itself(),
        }
    }

    fn prefetch_itself(&self) {
        prefetch(&self.pending);
        prefetch(&self.members);
        prefetch(&self.sweep);
        prefetch(&self.swept_ms);
        prefetch(&self.is_ready);
    }

    fn prefetch_lists(&self) {
        self.members.first().into_iter().for_each(prefetch);
        if let Some(pending) = self.pending.front() {
            prefetch(&pending.seq);
            prefetch(&pending.frame);
            prefetch(&pending.aside);
        }
    }

    fn prefetch_first(&self, clients: &Clients) {
        clients.prefetch(self.first_members());
        if let Some(pending) = self.pending.front() {
            prefetch_bytes(&pending.frame);
        }
        self.first_ack().into_iter().for_each(prefetch);
    }

    fn prefetch_behind(&self, clients: &Clients) {
        clients.prefetch_sinks(self.first_members());
        if let Some(ack) = self.first_ack() {
            prefetch_bytes(&ack.frame);
        }
    }

    fn first_ack(&self) -> Option<&Ack> {
        self.pending.front()?.aside.as_ref()?.ack.as_deref()
    }

    fn first_members(&self) -> &[Member] {
        &self.members[..self.members.len().min(AHEAD)]
    }
}
