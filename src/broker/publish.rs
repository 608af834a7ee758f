//! Publishing: assigns offsets, appends to the history and delivers.
//!
//! In memory that is one step, [`Memory::publish`]. A log on disk needs two, because nobody may see a message before
//! its record is written, and a room's lock must not wait for the disk: [`Memory::assign`], then the record is written,
//! then [`Memory::commit`]; or [`Memory::abandon`], when the record could not be written, and then nothing has
//! happened.
//!
//! The two steps require of the log:
//! * Only the log's writer assigns offsets in a room, and nothing is published there in one step.
//! * Messages are committed in the order of their offsets. If one cannot be written, everything that is assigned and
//!   not committed is abandoned, the last message first: a frame contains its offset, so none behind a failed message
//!   can stay.
//! * The sender is answered afterwards. A duplicate of a message that is not committed yet gets the answer of that
//!   message.

use super::memory::Memory;
use super::quota::Once;
use super::room::{RoomState, SharedRoom};
use super::{BrokerError, Draft, Encoded, Local, Position, Publication, Published};
use crate::chat::keys::{KeyExpiry, KeyScope};
use crate::faults::{self, Fault};
use crate::names::{Key, Offset, UserId};
use crate::protocol::frame::Frame;

/// The result of the first step.
#[derive(Debug)]
pub enum Assignment<A> {
    /// The message has an offset.
    New(Assigned<A>),
    /// A message with the same key was sent before.
    Duplicate {
        /// The position of that message.
        position: Position,
        /// True when that message is in the room, false when its record is still to be written.
        is_committed: bool,
    },
}

/// A message that has an offset but is not in the room yet: nobody sees it.
#[derive(Debug)]
#[must_use = "a message with an offset is committed or abandoned, or its room stays blocked"]
pub struct Assigned<A> {
    position: Position,
    first: Offset,
    encoded: Encoded<A>,
    at_ms: u64,
    /// The key to forget if the message is abandoned.
    key: Option<Remembered>,
}

/// A key that was remembered for a message that may yet be abandoned.
#[derive(Debug)]
struct Remembered {
    user: UserId,
    key: Key,
    /// The expiry of the room's keys before this one.
    before: KeyExpiry,
}

impl<A> Assigned<A> {
    /// Returns the message's position.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the offset of the oldest message in the history when this one got its offset; its own if there was none.
    #[must_use]
    pub fn first(&self) -> Offset {
        self.first
    }

    /// Returns the frame that members will get.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.encoded.frame
    }
}

impl<L: Local> Memory<L> {
    /// Publishes a message: key, offset, history and delivery are one step under the room's lock. `encode` makes the
    /// frame for its position. A duplicate is neither encoded nor delivered.
    ///
    /// # Errors
    /// [`BrokerError::Full`] or [`BrokerError::Gone`]. No offset was assigned then.
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

    /// Assigns a message the offset behind all that are assigned: the first of two steps.
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

    /// Appends a message to the history and delivers it: the second of two steps. Never fails: there was space when the
    /// offset was assigned, and if that has been used up since, the inboxes exceed their bound by what the log writes
    /// at once.
    pub fn commit(&self, room: &SharedRoom<L>, assigned: Assigned<L::SenderCopy>) -> Position {
        let position = self.commit_in(room, &mut room.lock(), assigned);
        self.budget.evict();
        position
    }

    /// Takes a message's offset and key back, in place of the second step. Nothing was appended.
    pub fn abandon(&self, room: &SharedRoom<L>, assigned: Assigned<L::SenderCopy>) {
        let mut state = room.lock();
        debug_assert_eq!(
            assigned.position.offset.0,
            state.last.0 + state.assigned,
            "the last one is abandoned first"
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
        let epoch = state.epoch;
        let last = Offset(state.last.0 + state.assigned);
        let assign = || match self.local.has_space(&state.topic, draft.max_len) {
            true => Ok(last.next().0),
            false => Err(BrokerError::Full),
        };
        let key = draft.key.filter(|_| !faults::is_on(Fault::DropDedupe));
        let has_key = key.is_some();
        let done = match key {
            None => Once::First(assign()?),
            Some(key) => {
                self.quotas.once(draft.user, KeyScope::Room(epoch), key, now_ms, draft.key_bound, assign)?
            }
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
        let Assigned { position, encoded, at_ms, .. } = assigned;
        state.assigned -= 1;
        let bytes = state.history.bytes();
        self.append_in(state, position.offset, encoded, at_ms);
        self.budget.account(room, state, bytes);
        position
    }

    /// Appends a message behind the room's last one and delivers it. The caller accounts for the history.
    pub(super) fn append_in(
        &self,
        state: &mut RoomState<L::Topic>,
        offset: Offset,
        Encoded { frame, sender_copy }: Encoded<L::SenderCopy>,
        at_ms: u64,
    ) {
        debug_assert_eq!(offset, state.last.next(), "appended in the order of offsets");
        state.last = offset;
        if !faults::is_on(Fault::SkipOffset) || !offset.0.is_multiple_of(7) {
            self.local.deliver(&mut state.topic, Publication { frame: &frame, offset, sender_copy });
        }
        let bounds = state.settings().history;
        state.history.append(offset, frame, at_ms, &bounds);
    }
}
