//! Shows that a user is typing. A typing event is offered only to clients for which nothing waits, and a message that
//! comes while it goes round ends it.

use super::slice::Slice;
use crate::shard::lane::Lane;

impl Slice<'_> {
    /// Shows the event to more of the members, until the slice is full.
    pub(super) fn sweep_typing(&mut self, lane: &mut Lane) {
        let typist = lane.typist();
        // The finished sweep is not kept: its batch is small and its time is not measured.
        let _ = lane.sweep(|offer| {
            self.offers += 1;
            let client = self.clients.get_mut(offer.slot as usize);
            if client.is_some_and(|client| client.is_idle() && Some(client.id) != typist) {
                self.queue_offer(&offer);
            }
            !self.is_full()
        });
    }
}
