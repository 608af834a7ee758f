//! Rooms whose positions an engine assigns. This node keeps a copy of each that has members here, and changes it only
//! by what the engine tells: nothing else moves the last offset of such a room.
//!
//! The engine's thread makes all of these calls, and each room's calls come one after the other.

use super::engine_room::{EarlierEpochs, Older};
use super::eviction_order::Opener;
use super::memory::{Entrant, Memory};
use super::retained::RetainedPosition;
use super::room::{RoomState, SharedRoom};
use super::{BrokerError, Encoded, Local, Position};
use crate::chat::keys::KeyExpiry;
use crate::names::{Epoch, Offset, RoomName};

/// The state of a room that a connection is about to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The room can be entered.
    Ready,
    /// The engine has to open the room first.
    NotOpen,
    /// The engine has to read the messages that the connection missed first.
    MissesHistory,
    /// The connection knows a position that this node does not know: the engine has to be asked for the room's position
    /// first. If the engine does not know it either, the connection cannot resume from there.
    Behind,
}

/// A message that the engine has given a position, encoded with it.
#[derive(Debug)]
pub struct Positioned<A> {
    /// The message's offset.
    pub offset: Offset,
    /// When the message came, in milliseconds since the Unix epoch, by the clock of the node that it came to.
    pub at_unix_ms: u64,
    /// The frames.
    pub encoded: Encoded<A>,
}

impl<L: Local> Memory<L> {
    /// Lets an engine assign all positions from now on. `closed` learns of each room that is closed. Called before any
    /// connection enters, and once.
    pub fn attach_engine(&self, closed: impl Fn(&RoomName) + Send + Sync + 'static) {
        let attached = self.engine.set(Box::new(closed));
        debug_assert!(attached.is_ok(), "a node has one engine");
    }

    /// Returns true when an engine assigns the positions.
    #[must_use]
    pub fn has_engine(&self) -> bool {
        self.engine.get().is_some()
    }

    /// Returns what has to be done before a connection can enter a room and resume from `resume`.
    #[must_use]
    pub fn readiness(&self, name: &RoomName, resume: Option<Position>) -> Readiness {
        if !self.has_engine() {
            return Readiness::Ready;
        }
        let Some(room) = self.find(name) else { return Readiness::NotOpen };
        let Some(resume) = resume else { return Readiness::Ready };
        let state = room.lock();
        match state.in_this_epoch(resume) {
            None => Readiness::Behind,
            Some(offset) if offset > state.last => Readiness::Behind,
            Some(offset) if offset < state.floor() && state.older == Older::Unread => {
                Readiness::MissesHistory
            }
            Some(_) => Readiness::Ready,
        }
    }

    /// Returns a room that is open.
    #[must_use]
    pub fn find(&self, name: &RoomName) -> Option<SharedRoom<L>> {
        self.rooms.lock(name).get(name).cloned()
    }

    /// Returns what decides when a room that this user opens is evicted.
    #[must_use]
    pub fn opener(&self, entrant: Entrant<'_>) -> Opener {
        Opener::new(entrant.address, self.rooms.hash(entrant.user) as u32)
    }

    /// Opens a room at the position that the engine gives, or returns it if it is open.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRooms`] when no other room can be evicted for it.
    pub fn open_at(
        &self,
        name: &RoomName,
        opener: Opener,
        position: Position,
        earlier: EarlierEpochs,
    ) -> Result<SharedRoom<L>, BrokerError> {
        let room = self.find_or_open(name, || {
            let retained = RetainedPosition { position, opener, keys: KeyExpiry::default() };
            let mut state = self.new_state(name, retained);
            state.earlier.clone_from(&earlier);
            state.older = if position.offset > Offset(0) { Older::Unread } else { Older::Read };
            state
        })?;
        // Until the first member enters, the room lingers as one that everybody has left.
        let mut state = room.lock();
        if state.is_empty(&self.local) {
            self.idle.add(&room, &mut state);
        }
        drop(state);
        Ok(room)
    }

    /// Appends messages behind the room's last one and delivers them. The first must be the next one, and there must be
    /// no hole among them: others are left out.
    pub fn append_at(
        &self,
        room: &SharedRoom<L>,
        now_unix_ms: u64,
        messages: impl IntoIterator<Item = Positioned<L::SenderCopy>>,
    ) {
        self.change_history(room, |state| {
            for Positioned { offset, at_unix_ms, encoded } in messages {
                debug_assert_eq!(offset, state.last.next(), "the engine's thread appends in order");
                if offset == state.last.next() {
                    // The clocks of nodes differ: a message of the future would outlive its time.
                    self.append_in(state, offset, encoded, at_unix_ms.min(now_unix_ms));
                }
            }
        });
    }

    /// Puts older messages before those that the room has: `messages` are the last ones before its floor, newest first.
    /// Stops where the room's bounds end.
    pub fn prepend(
        &self,
        room: &SharedRoom<L>,
        now_unix_ms: u64,
        messages: impl IntoIterator<Item = Positioned<L::SenderCopy>>,
    ) {
        self.change_history(room, |state| {
            let bounds = state.settings().history;
            for Positioned { offset, at_unix_ms, encoded } in messages {
                if offset > state.floor() {
                    // It was read before, or appended meanwhile.
                    continue;
                }
                if offset != state.floor()
                    || !state.history.prepend(offset, encoded.frame, at_unix_ms, now_unix_ms, &bounds)
                {
                    break;
                }
            }
            state.older = Older::Read;
        });
    }

    /// Changes a room under its lock, and accounts for the change of its history.
    fn change_history(&self, room: &SharedRoom<L>, change: impl FnOnce(&mut RoomState<L::Topic>)) {
        let mut state = room.lock();
        let bytes = state.history.bytes();
        change(&mut state);
        self.budget.account(room, &mut state, bytes);
        drop(state);
        self.budget.evict();
    }

    /// Notes that messages up to `to` are gone before this node could read them. Members that speak `throng.v1` are
    /// told the range.
    pub fn skip(&self, room: &SharedRoom<L>, to: Offset) {
        let mut state = room.lock();
        let from = state.last.next();
        if to < from {
            return;
        }
        self.drop_history(room, &mut state);
        state.last = to;
        state.older = Older::Read;
        self.local.missed(&mut state.topic, room.name(), from, to);
    }

    /// Moves a room into the epoch that follows its own. No message that anybody was shown is lost: offsets continue,
    /// and positions of the earlier epochs stay good as far as `earlier` says.
    pub fn adopt(&self, room: &SharedRoom<L>, epoch: Epoch, earlier: EarlierEpochs) {
        let mut state = room.lock();
        state.epoch = epoch;
        state.earlier = earlier;
        let position = state.position();
        self.local.renamed(&mut state.topic, room.name(), position);
    }

    /// Closes a room whose members were shown messages that are lost, and ends these members.
    pub fn abandon_room(&self, room: &SharedRoom<L>) {
        let mut rooms = self.rooms.lock(room.name());
        let mut state = room.lock();
        if state.is_closed {
            return;
        }
        self.cut_off(&mut rooms, room, &mut state);
    }
}
