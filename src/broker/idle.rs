//! Rooms that nobody is in. They are kept for those who come back; when a room would be one too many, one of these
//! makes way: of whoever opened most of them, the one that was left first.
//!
//! Locks are taken room first, then list; whoever looks for a room that makes way takes one from the list, lets the
//! list go, and only then locks the room.

use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::Mutex;

use super::room::{Room, RoomState};
use super::shares::Shares;

/// See the module's documentation. Memory: some 90 to 150 bytes a room, of `limits.max_rooms`.
#[derive(Debug)]
pub(super) struct IdleRooms<T>(Mutex<Shares<Arc<Room<T>>>>);

impl<T> Default for IdleRooms<T> {
    fn default() -> Self {
        Self(Mutex::new(Shares::default()))
    }
}

impl<T> IdleRooms<T> {
    /// Puts a room behind those that were left before, unless it stands here already. Called under its lock.
    pub(super) fn add(&self, room: &Arc<Room<T>>, state: &mut RoomState<T>) {
        if state.idle.is_none() {
            state.idle = NonZeroU64::new(self.0.lock().add(state.opener, Arc::clone(room)));
        }
    }

    /// Somebody comes, or the room goes. Called under its lock.
    pub(super) fn remove(&self, state: &mut RoomState<T>) {
        if let Some(ticket) = state.idle.take() {
            // It may be in the hands of whoever looks for one that makes way, who will find that it is not idle.
            self.0.lock().remove(state.opener, ticket.get());
        }
    }

    /// Takes the room that makes way first, with the ticket that it had. Called without any lock.
    pub(super) fn pop_first(&self) -> Option<(u64, Arc<Room<T>>)> {
        self.0.lock().pop()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
