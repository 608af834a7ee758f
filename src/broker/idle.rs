//! Rooms that nobody is in, in the order in which they were left; one with keys steps back when its turn comes. They
//! are kept for those who come back; when a room would be one too many, the one that was left first makes way.
//!
//! Locks are taken room first, then list; whoever looks for a room that makes way takes one from the list, lets the
//! list go, and only then locks the room.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::room::{Room, RoomState};

/// Rooms by a number that counts up.
#[derive(Debug)]
struct List<T> {
    next: u64,
    rooms: BTreeMap<u64, Arc<Room<T>>>,
}

/// See the module's documentation. Memory: some 40 bytes a room, of `limits.max_rooms`.
#[derive(Debug)]
pub(super) struct Idle<T>(Mutex<List<T>>);

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self(Mutex::new(List { next: 0, rooms: BTreeMap::new() }))
    }
}

impl<T> Idle<T> {
    /// Puts a room behind those that were left before, unless it stands here already. Called under its lock.
    pub(super) fn add(&self, room: &Arc<Room<T>>, state: &mut RoomState<T>) {
        if state.idle.is_none() {
            let mut list = self.0.lock();
            let ticket = list.next;
            list.next += 1;
            list.rooms.insert(ticket, Arc::clone(room));
            state.idle = Some(ticket);
        }
    }

    /// Somebody comes, or the room goes. Called under its lock.
    pub(super) fn remove(&self, state: &mut RoomState<T>) {
        if let Some(ticket) = state.idle.take() {
            // It may be in the hands of whoever looks for one that makes way, who will find that it is not idle.
            self.0.lock().rooms.remove(&ticket);
        }
    }

    /// Takes the room that was left first, with the ticket that it had. Called without any lock.
    pub(super) fn take_first(&self) -> Option<(u64, Arc<Room<T>>)> {
        self.0.lock().rooms.pop_first()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().rooms.len()
    }
}
