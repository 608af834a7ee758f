//! The embedded broker: rooms in memory, in lock stripes, for a single node.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::{BrokerError, Local, Position};
use crate::chat::history::{Bounds, History};
use crate::chat::presence::Presence;
use crate::names::{Epoch, Offset, RoomName};
use crate::protocol::frame::Frame;

/// Stripes of the room table. [`Memory::expire`] visits one at a time.
const STRIPES: usize = 64;

/// The bounds of what the broker keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of each room's history.
    pub history: Bounds,
    /// Bytes of all histories together: beyond it a room that appends gives up its own oldest.
    pub history_total_bytes: usize,
    /// Rooms that exist at once.
    pub max_rooms: usize,
}

/// A room's data, under its lock.
#[derive(Debug)]
pub struct RoomState<T> {
    /// What the node keeps for it.
    pub topic: T,
    /// Who is here.
    pub presence: Presence,
    epoch: Epoch,
    last: Offset,
    history: History,
    /// No longer in the table: whoever holds it must look the room up again.
    is_closed: bool,
}

impl<T> RoomState<T> {
    /// The place of the last message.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }

    /// The last messages.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }
}

/// A room. A member holds it, and so publishes without a look-up.
#[derive(Debug)]
pub struct Room<T> {
    name: RoomName,
    state: Mutex<RoomState<T>>,
}

impl<T> Room<T> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Runs `f` under the room's lock, where what members see is put in order.
    pub fn with<R>(&self, f: impl FnOnce(&mut RoomState<T>) -> R) -> R {
        f(&mut self.state.lock())
    }
}

/// A room as whoever uses the broker of `L` holds it.
pub type SharedRoom<L> = Arc<Room<<L as Local>::Topic>>;

type Stripe<L> = Mutex<HashMap<RoomName, SharedRoom<L>>>;

/// The embedded broker.
pub struct Memory<L: Local> {
    local: L,
    limits: Limits,
    stripes: Box<[Stripe<L>]>,
    hasher: RandomState,
    rooms: AtomicUsize,
    history_bytes: AtomicUsize,
}

impl<L: Local> fmt::Debug for Memory<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("rooms", &self.rooms)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<L: Local> Memory<L> {
    /// A broker without rooms.
    #[must_use]
    pub fn new(local: L, limits: Limits) -> Self {
        Self {
            local,
            limits,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            rooms: AtomicUsize::new(0),
            history_bytes: AtomicUsize::new(0),
        }
    }

    /// The way to the members on this node.
    #[must_use]
    pub fn local(&self) -> &L {
        &self.local
    }

    /// Rooms that exist, those kept for their history included.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.rooms.load(Relaxed)
    }

    /// Finds or opens a room and runs `f` under its lock, so that joining is one step.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRooms`] when the room would be one too many.
    pub fn enter<R>(
        &self,
        name: &RoomName,
        f: impl FnOnce(&mut RoomState<L::Topic>) -> R,
    ) -> Result<(SharedRoom<L>, R), BrokerError> {
        loop {
            let room = self.find_or_open(name)?;
            let mut state = room.state.lock();
            if !state.is_closed {
                let result = f(&mut state);
                drop(state);
                return Ok((room, result));
            }
        }
    }

    fn find_or_open(&self, name: &RoomName) -> Result<SharedRoom<L>, BrokerError> {
        let mut rooms = self.stripes[self.hasher.hash_one(name) as usize % STRIPES].lock();
        if let Some(room) = rooms.get(name) {
            return Ok(Arc::clone(room));
        }
        if self.rooms.fetch_add(1, Relaxed) >= self.limits.max_rooms {
            self.rooms.fetch_sub(1, Relaxed);
            return Err(BrokerError::TooManyRooms);
        }
        let state = RoomState {
            topic: self.local.topic(),
            presence: Presence::default(),
            epoch: Epoch::random(),
            last: Offset(0),
            history: History::default(),
            is_closed: false,
        };
        let room = Arc::new(Room { name: name.clone(), state: Mutex::new(state) });
        rooms.insert(name.clone(), Arc::clone(&room));
        Ok(room)
    }

    /// Appends a message: offset, history and delivery are one step under the room's lock. `max_len` is an upper
    /// bound of the frame's length; `encode` makes the frame for its place.
    ///
    /// # Errors
    /// [`BrokerError::Full`] when a shard with members has no space; then no offset was given.
    pub fn publish(
        &self,
        room: &Room<L::Topic>,
        max_len: usize,
        now_ms: u64,
        encode: impl FnOnce(Position) -> Frame,
    ) -> Result<Position, BrokerError> {
        let mut state = room.state.lock();
        if !self.local.has_space(&state.topic, max_len) {
            return Err(BrokerError::Full);
        }
        let position = Position { epoch: state.epoch, offset: state.last.next() };
        state.last = position.offset;
        let frame = encode(position);
        self.local.deliver(&mut state.topic, &frame);
        self.remember(&mut state.history, position.offset, frame, now_ms);
        Ok(position)
    }

    fn remember(&self, history: &mut History, offset: Offset, frame: Frame, now_ms: u64) {
        let before = history.bytes();
        history.append(offset, frame, now_ms, &self.limits.history);
        self.account(before, history.bytes());
        while self.history_bytes.load(Relaxed) > self.limits.history_total_bytes {
            let Some(freed) = history.pop() else { return };
            self.history_bytes.fetch_sub(freed, Relaxed);
        }
    }

    fn account(&self, before: usize, after: usize) {
        if after >= before {
            self.history_bytes.fetch_add(after - before, Relaxed);
        } else {
            self.history_bytes.fetch_sub(before - after, Relaxed);
        }
    }

    /// Expires the histories of one stripe and forgets its rooms that have neither members nor history. `turn`
    /// chooses the stripe: count it up.
    pub fn expire(&self, turn: usize, now_ms: u64) {
        let mut rooms = self.stripes[turn % STRIPES].lock();
        let before = rooms.len();
        rooms.retain(|_, room| {
            let mut state = room.state.lock();
            let bytes = state.history.bytes();
            state.history.expire(now_ms, &self.limits.history);
            self.account(bytes, state.history.bytes());
            state.is_closed = state.history.is_empty() && !self.local.is_occupied(&state.topic);
            !state.is_closed
        });
        self.rooms.fetch_sub(before - rooms.len(), Relaxed);
        if rooms.len() * 4 < rooms.capacity() {
            let kept = rooms.len() * 2;
            rooms.shrink_to(kept);
        }
    }

    /// Forgets a room at once if it has neither members nor history; called when a member left.
    pub fn close_if_empty(&self, room: &Room<L::Topic>) {
        let mut rooms = self.stripes[self.hasher.hash_one(&room.name) as usize % STRIPES].lock();
        let mut state = room.state.lock();
        let is_unused = state.history.is_empty() && !self.local.is_occupied(&state.topic);
        if is_unused && !std::mem::replace(&mut state.is_closed, true) {
            rooms.remove(&room.name);
            self.rooms.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members are a number; what is delivered is counted.
    struct Members(AtomicUsize);

    impl Local for Members {
        type Topic = usize;
        fn topic(&self) -> usize {
            0
        }
        fn has_space(&self, _: &usize, len: usize) -> bool {
            len < 1000
        }
        fn deliver(&self, _: &mut usize, _: &Frame) {
            self.0.fetch_add(1, Relaxed);
        }
        fn is_occupied(&self, members: &usize) -> bool {
            *members > 0
        }
    }

    fn broker() -> Memory<Members> {
        let history = Bounds { messages: 10, bytes: 1000, ttl_ms: 1000 };
        Memory::new(Members(AtomicUsize::new(0)), Limits { history, history_total_bytes: 100, max_rooms: 2 })
    }

    fn frame(_: Position) -> Frame {
        Frame::from_static(&[0; 40])
    }

    #[test]
    fn an_offset_is_given_only_to_what_is_delivered() {
        let broker = broker();
        let (room, ()) = broker.enter(&"a".parse().unwrap(), |_| ()).unwrap();
        assert_eq!(broker.publish(&room, 10, 0, frame).unwrap().offset, Offset(1));
        assert_eq!(broker.publish(&room, 1000, 0, frame), Err(BrokerError::Full));
        assert_eq!(broker.publish(&room, 10, 0, frame).unwrap().offset, Offset(2));
        assert_eq!(broker.local().0.load(Relaxed), 2);
    }

    #[test]
    fn rooms_are_bounded_and_forgotten_with_their_history() {
        let broker = broker();
        let [a, b, c] = ["a", "b", "c"].map(|name| name.parse::<RoomName>().unwrap());
        let (room, first) = broker.enter(&a, |state| state.position()).unwrap();
        broker.enter(&b, |state| state.topic += 1).unwrap();
        assert_eq!(broker.enter(&c, |_| ()).unwrap_err(), BrokerError::TooManyRooms);
        broker.publish(&room, 10, 0, frame).unwrap();
        broker.close_if_empty(&room);
        assert_eq!(broker.room_count(), 2, "its history is still there");
        for turn in 0..STRIPES {
            broker.expire(turn, 1000);
        }
        assert_eq!(broker.room_count(), 1);
        broker.enter(&c, |_| ()).unwrap();
        broker.close_if_empty(&broker.enter(&c, |_| ()).unwrap().0);
        let (_, again) = broker.enter(&a, |state| state.position()).unwrap();
        assert_ne!(first.epoch, again.epoch, "a new life has a new epoch");
    }

    #[test]
    fn all_histories_together_stay_within_the_budget() {
        let broker = broker();
        for name in ["a", "b"] {
            let (room, ()) = broker.enter(&name.parse().unwrap(), |_| ()).unwrap();
            for _ in 0..5 {
                broker.publish(&room, 10, 0, frame).unwrap();
                assert!(broker.history_bytes.load(Relaxed) <= 100);
            }
        }
    }
}
