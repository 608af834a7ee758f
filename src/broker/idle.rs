//! Rooms without members, which are kept for users who return. When there would be too many rooms, one of these is
//! evicted: of the rooms opened by the user who opened most, the one that has been empty longest.
//!
//! Locks are taken room first, then list. Eviction takes a room from the list, releases the list, and only then locks
//! the room.

use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::Mutex;

use super::eviction_order::EvictionOrder;
use super::room::{Room, RoomState};

/// The rooms without members, by who opened them. Memory: some 90 to 150 bytes a room, of at most `limits.max_rooms`.
#[derive(Debug)]
pub(super) struct IdleRooms<T>(Mutex<EvictionOrder<Arc<Room<T>>>>);

impl<T> Default for IdleRooms<T> {
    fn default() -> Self {
        Self(Mutex::new(EvictionOrder::default()))
    }
}

impl<T> IdleRooms<T> {
    /// Adds a room behind those that became empty before it, unless it is listed already. Called under the room's lock.
    pub(super) fn add(&self, room: &Arc<Room<T>>, state: &mut RoomState<T>) {
        if state.idle.is_none() {
            state.idle = NonZeroU64::new(self.0.lock().add(state.opener, Arc::clone(room)));
        }
    }

    /// Removes a room that gets a member or is closed. Called under the room's lock.
    pub(super) fn remove(&self, state: &mut RoomState<T>) {
        if let Some(ticket) = state.idle.take() {
            // The entry may be gone: an evicting thread has taken it, and will find that the room is not idle.
            self.0.lock().remove(state.opener, ticket.get());
        }
    }

    /// Takes the room to evict first, with the ticket it was listed under. Called without any lock.
    pub(super) fn pop_first(&self) -> Option<(u64, Arc<Room<T>>)> {
        self.0.lock().pop()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
