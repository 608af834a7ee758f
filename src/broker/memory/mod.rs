//! The embedded broker of a single node: rooms in memory, in a lock-striped table.
//!
//! Locks are taken in this order: a stripe of the table, a room, then one of the budget's list, the idle rooms, the
//! positions of rooms that are gone, or a stripe of the users' keys. No lock but a room's is held while code outside
//! the broker runs: under that, [`Local`] and the closures of [`Memory::enter`] and [`Memory::publish`] are called.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::budget::Budget;
use super::engine_room::CloseSink;
use super::eviction_order::Opener;
use super::forget::Eviction;
use super::idle::IdleRooms;
use super::positions::Positions;
use super::quota::KeyQuotas;
use super::resume::Resumed;
use super::retained::RetainedPosition;
use super::room::{Room, RoomState, SharedRoom};
use super::trim::Trim;
use super::{BrokerError, Local, Position};
use crate::chat::keys::{KeyExpiry, KeyScope};
use crate::chat::rooms::RoomRules;
use crate::live::Live;
use crate::names::{Key, Offset, RoomName, UserId};
use crate::protocol::frame::Frame;
use crate::shrink::ShrinkWhenSparse;
use crate::striped::Striped;

/// A room as a log remembers it.
#[derive(Debug)]
pub struct RestoredRoom {
    /// The position of the room's last message.
    pub position: Position,
    /// The last messages up to `position`, oldest first, with the time of each in milliseconds of the broker's clock.
    pub messages: Vec<(u64, Frame)>,
    /// Idempotency keys with the offsets of their messages and the times, oldest first.
    pub keys: Vec<(UserId, Key, Offset, u64)>,
}

/// A user who enters a room. Decides which rooms are evicted first, should this user open many.
#[derive(Debug, Clone, Copy)]
pub struct Entrant<'a> {
    /// The user.
    pub user: &'a UserId,
    /// A hash of the user's address, with a key of this process.
    pub address: u32,
}

/// How often opening a room tries to evict another: other threads may take the room that was freed.
pub(super) const TRIES: usize = 16;
/// Stripes of the room table. [`Memory::expire`] visits one at a time.
pub const STRIPES: usize = 64;

/// The bounds of what the broker keeps, and the settings of rooms.
#[derive(Debug)]
pub struct MemoryLimits {
    /// The settings of each room.
    pub rooms: RoomRules,
    /// Bytes of all histories together, beyond which the oldest message of the node is evicted.
    pub history_total_bytes: usize,
    /// Rooms that exist at once, the default room not counted: that can always be opened.
    pub max_rooms: usize,
    /// Rooms that are gone whose positions are remembered.
    pub max_positions: usize,
    /// How long such a position is remembered, in milliseconds; 0 remembers none.
    pub position_ttl_ms: u64,
    /// The room that can always be opened (`chat.default_room`).
    pub default_room: String,
    /// Idempotency keys remembered for one user, over all rooms and recipients; at least 1.
    pub max_keys_per_user: usize,
    /// Idempotency keys remembered for one user on whose behalf other servers speak (`api.max_keys`).
    pub max_keys_of_api: usize,
    /// Bytes of the keys of all users, beyond which the oldest key is forgotten.
    pub max_keys_bytes: usize,
}

/// The rooms of one stripe, by name.
pub(super) type Rooms<L> = HashMap<RoomName, SharedRoom<L>>;

/// The embedded broker.
pub struct Memory<L: Local> {
    pub(super) local: L,
    pub(super) budget: Budget<L::Topic>,
    pub(super) quotas: KeyQuotas,
    pub(super) rules: Live<RoomRules>,
    max_rooms: usize,
    default_room: String,
    pub(super) idle: IdleRooms<L::Topic>,
    pub(super) positions: Positions,
    pub(super) rooms: Striped<Mutex<Rooms<L>>, STRIPES>,
    pub(super) room_count: AtomicUsize,
    next_id: AtomicU64,
    /// Set when an engine assigns all positions: rooms are opened and closed by it.
    pub(super) engine: OnceLock<CloseSink>,
}

impl<L: Local> fmt::Debug for Memory<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("rooms", &self.room_count).finish_non_exhaustive()
    }
}

impl<L: Local> Memory<L> {
    /// Creates a broker without rooms.
    #[must_use]
    pub fn new(local: L, limits: MemoryLimits) -> Self {
        Self {
            local,
            budget: Budget::new(limits.history_total_bytes),
            quotas: KeyQuotas::new(limits.max_keys_per_user, limits.max_keys_of_api, limits.max_keys_bytes),
            rules: Live::new(limits.rooms),
            max_rooms: limits.max_rooms,
            default_room: limits.default_room,
            idle: IdleRooms::default(),
            positions: Positions::new(limits.max_positions, limits.position_ttl_ms),
            rooms: Striped::default(),
            room_count: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            engine: OnceLock::new(),
        }
    }

    /// Returns the way to the members on this node.
    #[must_use]
    pub fn local(&self) -> &L {
        &self.local
    }

    /// Replaces the settings of the rooms that are opened from now on, and the numbers of idempotency keys that are
    /// remembered for one user and for one on whose behalf other servers speak.
    pub fn reconfigure(&self, rules: RoomRules, max_keys_per_user: usize, max_keys_of_api: usize) {
        self.rules.replace(rules);
        self.quotas.set(max_keys_per_user, max_keys_of_api);
    }

    /// Returns how many rooms exist, those without members included.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.room_count.load(Relaxed)
    }

    /// Enters a room as nobody in particular; otherwise as [`Memory::enter_as`].
    ///
    /// # Errors
    /// As [`Memory::enter_as`].
    pub fn enter<R>(
        &self,
        name: &RoomName,
        resume: Option<Position>,
        f: impl FnOnce(&mut RoomState<L::Topic>, &Resumed) -> R,
    ) -> Result<(SharedRoom<L>, Resumed, R), BrokerError> {
        self.enter_with(name, Opener::default, resume, f)
    }

    /// Finds or opens a room and runs `f` under its lock, so that joining is one step. `resume` is the position of the
    /// last message that the connection has seen.
    ///
    /// If the result of resuming [is complete](Resumed::is_complete), `f` makes the connection a member. Otherwise `f`
    /// only notes its presence, so that the room stays, and it becomes a member with the last page
    /// ([`Room::read_on`](super::room::Room::read_on)).
    ///
    /// # Errors
    /// [`BrokerError::TooManyRooms`] when the room would have to be opened and no other can be evicted for it.
    pub fn enter_as<R>(
        &self,
        name: &RoomName,
        entrant: Entrant<'_>,
        resume: Option<Position>,
        f: impl FnOnce(&mut RoomState<L::Topic>, &Resumed) -> R,
    ) -> Result<(SharedRoom<L>, Resumed, R), BrokerError> {
        let opener = || Opener::new(entrant.address, self.rooms.hash(entrant.user) as u32);
        self.enter_with(name, opener, resume, f)
    }

    fn enter_with<R>(
        &self,
        name: &RoomName,
        opener: impl Fn() -> Opener,
        resume: Option<Position>,
        f: impl FnOnce(&mut RoomState<L::Topic>, &Resumed) -> R,
    ) -> Result<(SharedRoom<L>, Resumed, R), BrokerError> {
        loop {
            let room = match self.has_engine() {
                true => self.find(name).ok_or(BrokerError::NoEngine)?,
                false => self.find_or_open(name, || {
                    let retained = self.take_position(name, &opener);
                    self.new_state(name, retained)
                })?,
            };
            let mut state = room.lock();
            if !state.is_closed {
                self.idle.remove(&mut state);
                state.empty_since_ms = 0;
                let resumed = state.resume(resume);
                let result = f(&mut state, &resumed);
                drop(state);
                return Ok((room, resumed, result));
            }
        }
    }

    /// Restores a room from a log, within the bounds that hold now: opens it if there are messages, and otherwise
    /// remembers its position. Called before any connection enters.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRooms`] when there are too many rooms. The position is remembered instead.
    pub fn restore(&self, name: &RoomName, restored: RestoredRoom) -> Result<(), BrokerError> {
        let mut keys = KeyExpiry::default();
        for (user, key, offset, at_ms) in restored.keys {
            self.quotas.restore(&user, KeyScope::Room(restored.position.epoch), key, offset.0, at_ms);
            keys.note(at_ms);
        }
        // The log does not say who opened the room. A made-up opener for each keeps them from being evicted as one
        // user's.
        let hash = self.rooms.hash(name);
        let opener = Opener::new((hash >> 32) as u32, hash as u32);
        let retained = RetainedPosition { position: restored.position, opener, keys };
        let log = self.budget.log();
        if restored.messages.is_empty() {
            self.positions.remember(name, retained, log);
            return Ok(());
        }
        // None is evicted for it: the restored rooms are all worth the same.
        if self.room_count() >= self.max_rooms && *name.as_str() != *self.default_room {
            if let Some(log) = log {
                log(name, restored.position.epoch, Trim::Before(restored.position.offset.next()));
            }
            self.positions.remember(name, retained, log);
            return Err(BrokerError::TooManyRooms);
        }
        let state = self.new_state(name, retained);
        let room = self.open(&mut self.rooms.lock(name), name, state);
        self.room_count.fetch_add(1, Relaxed);
        let mut state = room.lock();
        let bounds = state.settings().history;
        let bytes = state.history.bytes();
        let mut offset = Offset(restored.position.offset.0 - restored.messages.len() as u64);
        for (at_ms, frame) in restored.messages {
            offset = offset.next();
            state.history.append(offset, frame, at_ms, &bounds);
        }
        self.budget.account(&room, &mut state, bytes);
        self.idle.add(&room, &mut state);
        drop(state);
        self.budget.evict();
        Ok(())
    }

    /// Finds a room, or opens it with the state that `state` makes. Evicts another room if there would be too many.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRooms`] when no other room can be evicted.
    pub(super) fn find_or_open(
        &self,
        name: &RoomName,
        state: impl Fn() -> RoomState<L::Topic>,
    ) -> Result<SharedRoom<L>, BrokerError> {
        for _ in 0..TRIES {
            if let Some(room) = self.find_or_try(name, &state) {
                return Ok(room);
            }
            if self.evict_idle_room() == Eviction::NoCandidate {
                break;
            }
        }
        Err(BrokerError::TooManyRooms)
    }

    /// Finds or opens a room; `None` when there would be too many. `state` is called under the lock of the room's
    /// stripe.
    fn find_or_try(&self, name: &RoomName, state: impl Fn() -> RoomState<L::Topic>) -> Option<SharedRoom<L>> {
        let mut rooms = self.rooms.lock(name);
        if let Some(room) = rooms.get(name) {
            return Some(Arc::clone(room));
        }
        if self.room_count.fetch_add(1, Relaxed) >= self.max_rooms && name.as_str() != self.default_room {
            self.room_count.fetch_sub(1, Relaxed);
            return None;
        }
        Some(self.open(&mut rooms, name, state()))
    }

    /// Returns the position that a room of this name continues from. Called under the lock of the room's stripe.
    fn take_position(&self, name: &RoomName, opener: impl Fn() -> Opener) -> RetainedPosition {
        let log = self.budget.log();
        self.positions.take(name, log).unwrap_or_else(|| {
            let retained = RetainedPosition::fresh(opener());
            if let Some(log) = log.filter(|_| self.positions.is_on()) {
                log(name, retained.position.epoch, Trim::Begins);
            }
            retained
        })
    }

    pub(super) fn new_state(&self, name: &RoomName, retained: RetainedPosition) -> RoomState<L::Topic> {
        RoomState::new(self.local.topic(), self.rules.read().of(name), retained)
    }

    fn open(&self, rooms: &mut Rooms<L>, name: &RoomName, state: RoomState<L::Topic>) -> SharedRoom<L> {
        let room = Arc::new(Room::new(self.next_id.fetch_add(1, Relaxed), name.clone(), state));
        rooms.insert(name.clone(), Arc::clone(&room));
        room
    }

    /// Calls `f` with the name of each room of one of the [`STRIPES`], under the stripe's lock.
    pub fn each_in_stripe(&self, index: usize, f: impl FnMut(&RoomName)) {
        self.rooms.in_turn(index).lock().keys().for_each(f);
    }

    /// Returns the rooms of one of the [`STRIPES`]. The stripe's lock is held only while they are collected.
    #[must_use]
    pub fn rooms_in_stripe(&self, index: usize) -> Vec<SharedRoom<L>> {
        self.rooms.in_turn(index).lock().values().map(Arc::clone).collect()
    }

    /// Returns the idempotency keys of all users, for messages that belong to no room.
    #[must_use]
    pub fn keys(&self) -> &KeyQuotas {
        &self.quotas
    }

    /// Sets the time, by the clock that [`Memory::expire`] is called with.
    pub fn tick(&self, now_ms: u64) {
        self.positions.tick(now_ms);
    }

    /// Expires the histories and keys of one stripe of rooms, forgets its rooms that have neither members nor history,
    /// and some of the positions that are remembered. Counting `turn` up visits all stripes.
    pub fn expire(&self, turn: usize, now_ms: u64) {
        self.tick(now_ms);
        self.positions.expire(self.budget.log());
        self.quotas.expire(turn, now_ms);
        let mut rooms = self.rooms.in_turn(turn).lock();
        let before = rooms.len();
        rooms.retain(|_, room| {
            let mut state = room.lock();
            let bytes = state.history.bytes();
            let bounds = state.settings().history;
            state.history.expire(now_ms, &bounds);
            self.budget.account(room, &mut state, bytes);
            state.keys.expire(now_ms);
            if state.is_empty(&self.local) {
                if self.may_forget(&mut state, now_ms) {
                    self.drop_history(room, &mut state);
                    self.close(room, &mut state);
                    return false;
                }
                // The room's last message came from a user who had left.
                self.idle.add(room, &mut state);
            }
            if state.history.bytes() < bytes {
                self.budget.report_trim(room, &state, Trim::Before(state.floor().next()));
            }
            true
        });
        self.room_count.fetch_sub(before - rooms.len(), Relaxed);
        rooms.shrink_when_sparse();
    }
}

#[cfg(test)]
mod tests;
