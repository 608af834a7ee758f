//! Shows a lane's members (one room, shard and form) that a user is typing. A typing event is queued only for members
//! for which nothing waits, and a message that comes meanwhile ends its sweep, its way through the members.

use super::slice::Slice;
use crate::registry::inbox::Typist;
use crate::shard::lane::Lane;

impl Slice<'_> {
    /// Continues the sweep of a typing event, which skips the user who is typing, until it has finished or the slice is
    /// full.
    pub(super) fn sweep_typing(&mut self, lane: &mut Lane) {
        let typist = lane.typist();
        // The finished sweep is dropped: its batch is too small to be kept, and its time is not measured.
        let _ = lane.sweep(|offer| {
            self.offers += 1;
            let client = self.clients.get_mut(offer.slot as usize);
            if client.is_some_and(|client| client.is_idle() && Some(Typist::Here(client.id)) != typist) {
                self.queue_offer(&offer);
            }
            !self.is_full()
        });
    }
}
