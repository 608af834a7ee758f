//! Removes rooms from the table: those of which only the position and the keys would be retained, and those that are
//! evicted because there are too many.

use std::sync::atomic::Ordering::Relaxed;

use super::engine_room::LINGER_MS;
use super::memory::{Memory, Rooms, TRIES};
use super::retained::RetainedPosition;
use super::room::{Room, RoomState, SharedRoom};
use super::trim::Trim;
use super::{BrokerError, Local};
use crate::chat::history::History;
use crate::names::{Offset, RoomName};

/// The result of evicting a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eviction {
    Evicted,
    /// None of the first few candidates could be evicted; others may.
    NoneYet,
    /// No room is without members.
    NoCandidate,
}

impl<L: Local> Memory<L> {
    /// Evicts a room without members, with its history: of the rooms opened by the user who opened most, the one that
    /// has been empty longest.
    pub(super) fn evict_idle_room(&self) -> Eviction {
        for _ in 0..TRIES {
            let Some((ticket, room)) = self.idle.pop_first() else { return Eviction::NoCandidate };
            let mut rooms = self.rooms.lock(room.name());
            let mut state = room.lock();
            if state.idle.is_none_or(|idle| idle.get() != ticket) {
                // A user has come, and perhaps left again; or the room is gone.
                continue;
            }
            state.idle = None;
            if !state.is_empty(&self.local) {
                self.idle.add(&room, &mut state);
                continue;
            }
            self.drop_history(&room, &mut state);
            self.take_out(&mut rooms, &room, &mut state);
            return Eviction::Evicted;
        }
        Eviction::NoneYet
    }

    /// Closes a room that leaves the table, and retains its position. Called under the lock of its stripe too, so that
    /// opening the room again finds that position.
    pub(super) fn close(&self, room: &Room<L::Topic>, state: &mut RoomState<L::Topic>) {
        state.is_closed = true;
        self.idle.remove(state);
        if let Some(closed) = self.engine.get() {
            return closed(room.name());
        }
        if state.last > Offset(0) {
            self.budget.report_trim(room, state, Trim::Before(state.last.next()));
        }
        let retained =
            RetainedPosition { position: state.position(), opener: state.opener, keys: state.keys };
        self.positions.remember(room.name(), retained, self.budget.log());
    }

    /// Forgets a room at once if it has neither members nor history. Called when a member has left.
    pub fn close_if_empty(&self, room: &SharedRoom<L>) {
        let mut rooms = self.rooms.lock(room.name());
        let mut state = room.lock();
        if state.is_closed || !state.is_empty(&self.local) {
            return;
        }
        if state.history.is_empty() && !self.has_engine() {
            self.take_out(&mut rooms, room, &mut state);
        } else {
            self.idle.add(room, &mut state);
        }
    }

    /// Returns true when a room without members need not be kept: its history is empty, or it is an engine's and was
    /// empty for [`LINGER_MS`].
    pub(super) fn may_forget(&self, state: &mut RoomState<L::Topic>, now_ms: u64) -> bool {
        if !self.has_engine() {
            return state.history.is_empty();
        }
        if state.empty_since_ms == 0 {
            state.empty_since_ms = now_ms;
        }
        now_ms.saturating_sub(state.empty_since_ms) >= LINGER_MS
    }

    /// Drops the history of a room that is about to be closed. Called under the room's lock.
    pub(super) fn drop_history(&self, room: &SharedRoom<L>, state: &mut RoomState<L::Topic>) {
        let bytes = state.history.bytes();
        state.history = History::default();
        self.budget.account(room, state, bytes);
    }

    /// Forgets a room's history and position, because an operator wants it: its members end with 4003, and the room
    /// begins a new epoch when somebody enters it again. Returns how many connections of this node were in it; `None`
    /// when nothing was known of the room. With an engine, which has its own part, only this node's part is forgotten.
    ///
    /// # Errors
    /// [`BrokerError::NotWritten`] while messages of the room are being written.
    pub fn erase(&self, name: &RoomName) -> Result<Option<usize>, BrokerError> {
        let mut rooms = self.rooms.lock(name);
        let Some(room) = rooms.get(name).cloned() else {
            return Ok(self.positions.forget(name, self.budget.log()).then_some(0));
        };
        let mut state = room.lock();
        if state.assigned > 0 {
            return Err(BrokerError::NotWritten);
        }
        let members = self.local.members(&state.topic);
        self.cut_off(&mut rooms, &room, &mut state);
        match self.engine.get() {
            Some(closed) => closed(name),
            // Nothing is retained, so that a client that comes back with its old position does not find it again.
            None => self.budget.report_trim(&room, &state, Trim::All),
        }
        Ok(Some(members))
    }

    /// Takes a room out of the table under its members, whose positions are meaningless from now on, and ends them.
    /// Nothing is retained. Called under the locks of the room and of its stripe.
    pub(super) fn cut_off(
        &self,
        rooms: &mut Rooms<L>,
        room: &SharedRoom<L>,
        state: &mut RoomState<L::Topic>,
    ) {
        self.drop_history(room, state);
        self.local.lost(&mut state.topic);
        state.is_closed = true;
        self.idle.remove(state);
        rooms.remove(room.name());
        self.room_count.fetch_sub(1, Relaxed);
    }

    fn take_out(&self, rooms: &mut Rooms<L>, room: &Room<L::Topic>, state: &mut RoomState<L::Topic>) {
        self.close(room, state);
        rooms.remove(room.name());
        self.room_count.fetch_sub(1, Relaxed);
    }
}
