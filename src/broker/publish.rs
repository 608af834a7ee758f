//! Giving messages their place.
//!
//! In memory that is one step, [`Memory::publish`]. A log on disk needs two, because nobody may see a message before
//! its record is written, and the disk must not be waited for under a room's lock: [`Memory::place`], the record is
//! written, [`Memory::commit`]; or, when it could not be written, [`Memory::abandon`], and then nothing has happened.
//!
//! What the two steps ask of the log:
//! * At most one thread places in a room at a time, the log's writer, and no one publishes there in one step.
//! * It commits in the order in which it has assigned, or abandons everything that it has placed and not committed,
//!   the last one first: a frame says its offset, so that none behind a message that failed can stand.
//! * The sender is answered after that. Who sends a duplicate of a message that is itself not yet committed gets the
//!   answer of that message.

use super::memory::Memory;
use super::quota::Once;
use super::room::{RoomState, SharedRoom};
use super::{BrokerError, Draft, Encoded, Local, Position, Publication, Published};
use crate::chat::keys::{KeyExpiry, KeyScope};
use crate::faults::{self, Fault};
use crate::names::{Key, Offset, UserId};
use crate::protocol::frame::Frame;

/// What came of the first step.
#[derive(Debug)]
pub enum Assignment<A> {
    /// It has a place.
    New(Assigned<A>),
    /// It was sent before with the same key.
    Duplicate {
        /// The place it has, or will have.
        position: Position,
        /// It is in the room. Otherwise it is still to be written.
        is_committed: bool,
    },
}

/// A message that has a place and is not in the room yet: nobody sees it.
#[derive(Debug)]
#[must_use = "what is placed is committed or abandoned, or the room stands still"]
pub struct Assigned<A> {
    position: Position,
    first: Offset,
    encoded: Encoded<A>,
    at_ms: u64,
    /// Its key.
    key: Option<Remembered>,
}

/// A key that was remembered for a message that may not be appended.
#[derive(Debug)]
struct Remembered {
    user: UserId,
    key: Key,
    /// What the room had before.
    before: KeyExpiry,
}

impl<A> Assigned<A> {
    /// Its place.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The oldest message that the history kept when the place was given, or the one that was to be it.
    #[must_use]
    pub fn first(&self) -> Offset {
        self.first
    }

    /// What the members will get.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.encoded.frame
    }
}

impl<L: Local> Memory<L> {
    /// Appends a message: key, place, history and delivery are one step under the room's lock. `encode` makes the
    /// frame for its place. A duplicate is neither encoded nor delivered.
    ///
    /// # Errors
    /// [`BrokerError::Full`] or [`BrokerError::Gone`]; no place was given then.
    pub fn publish(
        &self,
        room: &SharedRoom<L>,
        draft: Draft<'_>,
        now_ms: u64,
        encode: impl FnOnce(Position) -> Encoded<L::SenderCopy>,
    ) -> Result<Published, BrokerError> {
        let mut state = room.lock();
        let published = match self.assign_in(&mut state, draft, now_ms, encode)? {
            Assignment::New(assigned) => {
                Published { position: self.commit_in(room, &mut state, assigned), is_duplicate: false }
            }
            Assignment::Duplicate { position, .. } => Published { position, is_duplicate: true },
        };
        drop(state);
        self.budget.evict();
        Ok(published)
    }

    /// The first of two steps: gives a message its place, behind everything that has one.
    ///
    /// # Errors
    /// As [`Memory::publish`].
    pub fn assign(
        &self,
        room: &SharedRoom<L>,
        draft: Draft<'_>,
        now_ms: u64,
        encode: impl FnOnce(Position) -> Encoded<L::SenderCopy>,
    ) -> Result<Assignment<L::SenderCopy>, BrokerError> {
        let kept = draft.key.clone().map(|key| (draft.user.clone(), key));
        let mut state = room.lock();
        let before = state.keys;
        let mut assignment = self.assign_in(&mut state, draft, now_ms, encode)?;
        if let Assignment::New(assigned) = &mut assignment {
            assigned.key = kept.map(|(user, key)| Remembered { user, key, before });
        }
        Ok(assignment)
    }

    /// The second of two steps: history and publication. Never fails: there was space when the place was given, and
    /// should it have gone since, the inboxes are passed by what the log writes at once.
    pub fn commit(&self, room: &SharedRoom<L>, assigned: Assigned<L::SenderCopy>) -> Position {
        let position = self.commit_in(room, &mut room.lock(), assigned);
        self.budget.evict();
        position
    }

    /// Instead of the second step: takes the place back, and the key with it. Nothing was appended.
    pub fn abandon(&self, room: &SharedRoom<L>, assigned: Assigned<L::SenderCopy>) {
        let mut state = room.lock();
        debug_assert_eq!(
            assigned.position.offset.0,
            state.last.0 + state.assigned,
            "the last one goes first"
        );
        state.assigned -= 1;
        if let Some(Remembered { user, key, before }) = assigned.key {
            state.keys = before;
            self.quotas.withdraw(&user, KeyScope::Room(state.epoch), key);
        }
    }

    fn assign_in(
        &self,
        state: &mut RoomState<L::Topic>,
        draft: Draft<'_>,
        now_ms: u64,
        encode: impl FnOnce(Position) -> Encoded<L::SenderCopy>,
    ) -> Result<Assignment<L::SenderCopy>, BrokerError> {
        if state.is_closed {
            return Err(BrokerError::Gone);
        }
        state.history.prefetch();
        let epoch = state.epoch;
        let last = Offset(state.last.0 + state.assigned);
        let place = || match self.local.has_space(&state.topic, draft.max_len) {
            true => Ok(last.next().0),
            false => Err(BrokerError::Full),
        };
        let key = draft.key.filter(|_| !faults::is_on(Fault::DropDedupe));
        let has_key = key.is_some();
        let done = match key {
            None => Once::First(place()?),
            Some(key) => self.quotas.once(draft.user, KeyScope::Room(epoch), key, now_ms, place)?,
        };
        let position = match done {
            Once::First(offset) => Position { epoch, offset: Offset(offset) },
            Once::Repeat(offset) => {
                let position = Position { epoch, offset: Offset(offset) };
                return Ok(Assignment::Duplicate { position, is_committed: position.offset <= state.last });
            }
        };
        state.assigned += 1;
        if has_key {
            state.keys.note(now_ms);
        }
        let first = state.floor().next();
        Ok(Assignment::New(Assigned { position, first, encoded: encode(position), at_ms: now_ms, key: None }))
    }

    fn commit_in(
        &self,
        room: &SharedRoom<L>,
        state: &mut RoomState<L::Topic>,
        assigned: Assigned<L::SenderCopy>,
    ) -> Position {
        let Assigned { position, encoded: Encoded { frame, sender_copy }, at_ms, .. } = assigned;
        debug_assert_eq!(position.offset, state.last.next(), "committed as placed");
        state.assigned -= 1;
        state.last = position.offset;
        if !faults::is_on(Fault::SkipOffset) || position.offset.0 % 7 > 0 {
            self.local.deliver(
                &mut state.topic,
                Publication { frame: &frame, offset: position.offset, sender_copy },
            );
        }
        let bytes = state.history.bytes();
        let bounds = state.settings().history;
        state.history.append(position.offset, frame, at_ms, &bounds);
        self.budget.account(room, state, bytes);
        position
    }
}
