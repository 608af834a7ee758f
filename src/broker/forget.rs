//! Rooms leave the table: when nothing but their position and keys would be lost, or when they make way.

use std::sync::atomic::Ordering::Relaxed;

use super::Local;
use super::memory::{Memory, Rooms, TRIES};
use super::retained::RetainedPosition;
use super::room::{Room, RoomState, SharedRoom};
use super::trim::Trim;
use crate::chat::history::History;
use crate::names::Offset;

/// Whether a room has made way for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eviction {
    Evicted,
    /// None of the first few could; others may.
    NoneYet,
    /// There is no room that nobody is in.
    NoCandidate,
}

impl<L: Local> Memory<L> {
    /// Forgets a room that nobody is in with its history, of whoever opened most of them the one that was left first.
    pub(super) fn evict_idle_room(&self) -> Eviction {
        for _ in 0..TRIES {
            let Some((ticket, room)) = self.idle.pop_first() else { return Eviction::NoCandidate };
            let mut rooms = self.rooms.lock(room.name());
            let mut state = room.lock();
            if state.idle.is_none_or(|idle| idle.get() != ticket) {
                // Somebody has come, and perhaps left again; or it is gone.
                continue;
            }
            state.idle = None;
            if !state.is_empty(&self.local) {
                self.idle.add(&room, &mut state);
                continue;
            }
            let bytes = state.history.bytes();
            state.history = History::default();
            self.budget.account(&room, &mut state, bytes);
            self.take_out(&mut rooms, &room, &mut state);
            return Eviction::Evicted;
        }
        Eviction::NoneYet
    }

    /// Ends a room that is to leave the table: remembers what is left of it. Called under the lock of its stripe too,
    /// so that whoever opens it again finds that.
    pub(super) fn close(&self, room: &Room<L::Topic>, state: &mut RoomState<L::Topic>) {
        state.is_closed = true;
        self.idle.remove(state);
        if state.last > Offset(0) {
            self.budget.report_trim(room, state, Trim::Before(state.last.next()));
        }
        let left = RetainedPosition { position: state.position(), opener: state.opener, keys: state.keys };
        self.positions.remember(room.name(), left, self.budget.log());
    }

    /// Forgets a room at once if it has neither members nor history; called when a member left.
    pub fn close_if_empty(&self, room: &SharedRoom<L>) {
        let mut rooms = self.rooms.lock(room.name());
        let mut state = room.lock();
        if state.is_closed || !state.is_empty(&self.local) {
            return;
        }
        if state.history.is_empty() {
            self.take_out(&mut rooms, room, &mut state);
        } else {
            self.idle.add(room, &mut state);
        }
    }

    fn take_out(&self, rooms: &mut Rooms<L>, room: &Room<L::Topic>, state: &mut RoomState<L::Topic>) {
        self.close(room, state);
        rooms.remove(room.name());
        self.room_count.fetch_sub(1, Relaxed);
    }
}
