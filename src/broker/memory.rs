//! The embedded broker: rooms in memory, in lock stripes, for a single node.
//!
//! Locks are taken in this order: a stripe of the table, a room, the budget's list, that of rooms that nobody is in, or
//! a stripe of the users' keys. None is held across a call out of the broker but the room's, under which [`Local`] and
//! the closures of [`Memory::enter`] and [`Memory::publish`] run.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::budget::Budget;
use super::idle::Idle;
use super::log::Waste;
use super::quota::Quotas;
use super::resume::Resumed;
use super::room::{Room, RoomState, SharedRoom};
use super::{BrokerError, Local, Position};
use crate::chat::history::History;
use crate::chat::keys::Scope;
use crate::chat::rooms::Rules;
use crate::names::{Key, Offset, RoomName, UserId};
use crate::protocol::frame::Frame;
use crate::shrink::ShrinkWhenSparse;

/// A room as a log remembers it.
#[derive(Debug)]
pub struct Life {
    /// The place of the last message.
    pub position: Position,
    /// The last messages up to that, oldest first, with the time of each in milliseconds of the node's clock.
    pub messages: Vec<(u64, Frame)>,
    /// Idempotency keys with the places of their messages and the times, oldest first.
    pub keys: Vec<(UserId, Key, Offset, u64)>,
}

/// How often a newcomer tries to have a room that is one too many opened all the same: others may be faster, or rooms
/// may have keys that are still remembered.
const TRIES: usize = 16;
/// Stripes of the room table. [`Memory::expire`] visits one at a time.
const STRIPES: usize = 64;

/// The bounds of what the broker keeps, and what holds in each room.
#[derive(Debug)]
pub struct Limits {
    /// Of each room.
    pub rooms: Rules,
    /// Bytes of all histories together: beyond it the oldest message of the node goes.
    pub history_total_bytes: usize,
    /// Rooms that exist at once; and the default room, which is never one too many.
    pub max_rooms: usize,
    /// `chat.default_room`.
    pub default_room: String,
    /// Idempotency keys of one user that are remembered, over all rooms and recipients; at least 1.
    pub max_keys_per_user: usize,
    /// Bytes of the keys of all users: beyond it the oldest key goes.
    pub max_keys_bytes: usize,
}

/// Whether a room has made way for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Made,
    /// None of the first few could; others may.
    NotYet,
    /// There is no room that nobody is in.
    Nowhere,
}

type Stripe<L> = Mutex<HashMap<RoomName, SharedRoom<L>>>;

/// The embedded broker.
pub struct Memory<L: Local> {
    pub(super) local: L,
    pub(super) budget: Budget<L::Topic>,
    pub(super) quotas: Quotas,
    pub(super) rules: Rules,
    max_rooms: usize,
    default_room: String,
    idle: Idle<L::Topic>,
    stripes: Box<[Stripe<L>]>,
    hasher: RandomState,
    rooms: AtomicUsize,
    next_id: AtomicU64,
}

impl<L: Local> fmt::Debug for Memory<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("rooms", &self.rooms).finish_non_exhaustive()
    }
}

impl<L: Local> Memory<L> {
    /// A broker without rooms.
    #[must_use]
    pub fn new(local: L, limits: Limits) -> Self {
        Self {
            local,
            budget: Budget::new(limits.history_total_bytes),
            quotas: Quotas::new(limits.max_keys_per_user, limits.max_keys_bytes),
            rules: limits.rooms,
            max_rooms: limits.max_rooms,
            default_room: limits.default_room,
            idle: Idle::default(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            rooms: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
        }
    }

    /// The way to the members on this node.
    #[must_use]
    pub fn local(&self) -> &L {
        &self.local
    }

    /// Rooms that exist, those kept for their history or keys included.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.rooms.load(Relaxed)
    }

    /// Finds or opens a room and runs `f` under its lock, so that joining is one step. `resume` is the place of the
    /// last message that the newcomer has seen. When what came of that is [complete](Resumed::is_complete), `f` makes
    /// the newcomer a member; otherwise whoever replays does, with the last page
    /// ([`Room::read_on`](super::room::Room::read_on)), and `f` notes its presence, so that the room stays.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRooms`] when the room would be one too many and no other makes way.
    pub fn enter<R>(
        &self,
        name: &RoomName,
        resume: Option<Position>,
        f: impl FnOnce(&mut RoomState<L::Topic>, &Resumed) -> R,
    ) -> Result<(SharedRoom<L>, Resumed, R), BrokerError> {
        loop {
            let room = self.find_or_open(name)?;
            let mut state = room.lock();
            if !state.is_closed {
                self.idle.remove(&mut state);
                let resumed = state.resume(resume);
                let result = f(&mut state, &resumed);
                drop(state);
                return Ok((room, resumed, result));
            }
        }
    }

    /// Opens a room that goes on where a log says it was, within the bounds that hold now. Before anybody enters.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRooms`] when the room would be one too many.
    pub fn restore(&self, name: &RoomName, life: Life) -> Result<(), BrokerError> {
        // None makes way: the log is not told yet what is let go of.
        let room = self.find_or_try(name).ok_or(BrokerError::TooManyRooms)?;
        let mut state = room.lock();
        debug_assert!(state.last == Offset(0) && state.is_unused(&self.local), "nobody has been here");
        (state.epoch, state.last) = (life.position.epoch, life.position.offset);
        let bounds = state.settings().history;
        let bytes = state.history.bytes();
        let mut offset = Offset(life.position.offset.0 - life.messages.len() as u64);
        for (at_ms, frame) in life.messages {
            offset = offset.next();
            state.history.append(offset, frame, at_ms, &bounds);
        }
        for (user, key, offset, at_ms) in life.keys {
            self.quotas.restore(&user, Scope::Room(life.position.epoch), key, offset.0, at_ms);
            state.keys.note(at_ms);
        }
        self.budget.note(&room, &mut state, bytes);
        self.idle.add(&room, &mut state);
        drop(state);
        self.budget.evict();
        Ok(())
    }

    fn stripe(&self, name: &RoomName) -> &Stripe<L> {
        &self.stripes[self.hasher.hash_one(name) as usize % STRIPES]
    }

    fn find_or_open(&self, name: &RoomName) -> Result<SharedRoom<L>, BrokerError> {
        for _ in 0..TRIES {
            if let Some(room) = self.find_or_try(name) {
                return Ok(room);
            }
            if self.make_way() == Way::Nowhere {
                break;
            }
        }
        Err(BrokerError::TooManyRooms)
    }

    /// `None` when the room would be one too many.
    fn find_or_try(&self, name: &RoomName) -> Option<SharedRoom<L>> {
        let mut rooms = self.stripe(name).lock();
        if let Some(room) = rooms.get(name) {
            return Some(Arc::clone(room));
        }
        if self.rooms.fetch_add(1, Relaxed) >= self.max_rooms && name.as_str() != self.default_room {
            self.rooms.fetch_sub(1, Relaxed);
            return None;
        }
        let state = RoomState::new(self.local.topic(), self.rules.of(name));
        let room = Arc::new(Room::new(self.next_id.fetch_add(1, Relaxed), name.clone(), state));
        rooms.insert(name.clone(), Arc::clone(&room));
        Some(room)
    }

    /// Forgets the room that was left first, history and all, but none that has keys: what is sent again under them
    /// would be appended twice.
    fn make_way(&self) -> Way {
        for _ in 0..TRIES {
            let Some((ticket, room)) = self.idle.take_first() else { return Way::Nowhere };
            let mut rooms = self.stripe(room.name()).lock();
            let mut state = room.lock();
            if state.idle != Some(ticket) {
                // Somebody has come, and perhaps left again; or it is gone.
                continue;
            }
            state.idle = None;
            if !state.keys.is_empty() || !state.is_empty(&self.local) {
                self.idle.add(&room, &mut state);
                continue;
            }
            let bytes = state.history.bytes();
            state.history = History::default();
            self.budget.note(&room, &mut state, bytes);
            state.is_closed = true;
            rooms.remove(room.name());
            self.rooms.fetch_sub(1, Relaxed);
            self.discard_all(&room, &state);
            return Way::Made;
        }
        Way::NotYet
    }

    /// The keys of all users, for what belongs to no room.
    #[must_use]
    pub fn keys(&self) -> &Quotas {
        &self.quotas
    }

    /// Expires the histories and keys of one stripe and forgets its rooms that have neither members nor history nor
    /// keys. `turn` chooses the stripe: count it up.
    pub fn expire(&self, turn: usize, now_ms: u64) {
        self.quotas.expire(turn, now_ms);
        let mut rooms = self.stripes[turn % STRIPES].lock();
        let before = rooms.len();
        rooms.retain(|_, room| {
            let mut state = room.lock();
            let bytes = state.history.bytes();
            let bounds = state.settings().history;
            state.history.expire(now_ms, &bounds);
            self.budget.note(room, &mut state, bytes);
            state.keys.expire(now_ms);
            state.is_closed = state.is_unused(&self.local);
            if state.is_closed {
                self.idle.remove(&mut state);
                self.discard_all(room, &state);
                return false;
            }
            if state.history.bytes() < bytes {
                self.budget.discard(room, &state, Waste::Before(state.floor().next()));
            }
            if state.is_empty(&self.local) {
                // Its last message came from somebody who had left.
                self.idle.add(room, &mut state);
            }
            true
        });
        self.rooms.fetch_sub(before - rooms.len(), Relaxed);
        rooms.shrink_when_sparse();
    }

    /// Has the log forget a room, if it can know it: a room where nothing was said is none of its business.
    fn discard_all(&self, room: &Room<L::Topic>, state: &RoomState<L::Topic>) {
        if state.last > Offset(0) {
            self.budget.discard(room, state, Waste::All);
        }
    }

    /// Forgets a room at once if it has neither members nor history nor keys; called when a member left.
    pub fn close_if_empty(&self, room: &SharedRoom<L>) {
        let mut rooms = self.stripe(room.name()).lock();
        let mut state = room.lock();
        if state.is_closed || !state.is_empty(&self.local) {
            return;
        }
        if state.is_unused(&self.local) {
            state.is_closed = true;
            self.idle.remove(&mut state);
            rooms.remove(room.name());
            self.rooms.fetch_sub(1, Relaxed);
            self.discard_all(room, &state);
        } else {
            self.idle.add(room, &mut state);
        }
    }
}

#[cfg(test)]
mod tests;
