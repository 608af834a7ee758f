//! Tells other nodes of the users on this one, and lets held users go.

use super::held::HeldUser;
use super::shared::Node;
use super::telling;
use crate::names::RoomName;

impl Node {
    /// Tells the other nodes of the users on this one, if a change under the room's lock calls for that.
    pub(super) fn tell_nodes(&self, wants_exchange: bool, room: &RoomName) {
        if wants_exchange && let Some(cluster) = self.engine.cluster() {
            cluster.users_moved(room);
        }
    }

    /// Removes the held users whose time is over from their rooms, unless they have returned.
    pub(super) fn release_held(&self, now_ms: u64) {
        while let Some(HeldUser { room, user, number, .. }) = self.held.take_due(now_ms) {
            let ((due, wants_exchange), is_empty) = room.with(|state| {
                let outcome =
                    telling::moving(&self.webhooks, state, room.name(), &user, |presence, rules| {
                        presence.release(&user, number, now_ms, rules)
                    });
                let due = self.announcer.announce_outcome(state, room.name(), outcome);
                ((due, state.presence.wants_exchange()), state.presence.is_empty())
            });
            self.announcer.note_due(due, &room);
            self.tell_nodes(wants_exchange, room.name());
            if is_empty {
                self.broker.close_if_empty(&room);
            }
        }
    }
}
