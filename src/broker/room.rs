//! A room: its name, and its data under a lock.

use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::engine_room::{EarlierEpochs, Older};
use super::eviction_order::Opener;
use super::retained::RetainedPosition;
use super::{Local, Position};
use crate::chat::history::History;
use crate::chat::keys::KeyExpiry;
use crate::chat::presence::Presence;
use crate::chat::rooms::RoomSettings;
use crate::names::{Epoch, Offset, RoomName};
use crate::protocol::frame::Frame;

/// Most bytes of one page of messages, unless a single message is longer.
pub const PAGE_BYTES: usize = 64 * 1024;
/// Most messages of one page of history.
pub const MAX_HISTORY_PAGE: usize = 100;

/// The data of a room, under its lock.
#[derive(Debug)]
pub struct RoomState<T> {
    /// The node's part of the room.
    pub topic: T,
    /// The users in the room.
    pub presence: Presence,
    /// The user who opened the room.
    pub(super) opener: Opener,
    pub(super) epoch: Epoch,
    /// The offset of the last message that was appended.
    pub(super) last: Offset,
    /// How many messages have an offset behind `last` and are not appended yet.
    pub(super) assigned: u64,
    pub(super) history: History,
    pub(super) keys: KeyExpiry,
    settings: RoomSettings,
    /// Earlier epochs; only an engine's rooms have some.
    pub(super) earlier: EarlierEpochs,
    pub(super) older: Older,
    /// Since when the room of an engine has no members, in milliseconds since the Unix epoch; 0 while it has some, or
    /// nobody has looked yet.
    pub(super) empty_since_ms: u64,
    /// The time under which the room is listed in the [`Budget`](super::budget::Budget); `None` while it has no
    /// history.
    pub(super) listed_ms: Option<u64>,
    /// The ticket under which the room is listed among the [`IdleRooms`](super::idle::IdleRooms); `None` while it is
    /// not.
    pub(super) idle: Option<NonZeroU64>,
    /// True when the room is no longer in the table, and has to be looked up again.
    pub(super) is_closed: bool,
}

/// A page of older messages.
#[derive(Debug)]
pub struct HistoryPage {
    /// The position of the room's last message.
    pub position: Position,
    /// Encoded messages, oldest first, without a hole: at most [`MAX_HISTORY_PAGE`], and as many as fit into
    /// [`PAGE_BYTES`], but at least one if there is any.
    pub frames: Vec<Frame>,
    /// True when there are older messages.
    pub has_more: bool,
}

impl<T> RoomState<T> {
    /// Creates a room that continues from a retained position.
    pub(super) fn new(topic: T, settings: RoomSettings, retained: RetainedPosition) -> Self {
        Self {
            topic,
            presence: Presence::default(),
            opener: retained.opener,
            epoch: retained.position.epoch,
            last: retained.position.offset,
            assigned: 0,
            history: History::default(),
            keys: retained.keys,
            settings,
            earlier: EarlierEpochs::default(),
            older: Older::Read,
            empty_since_ms: 0,
            listed_ms: None,
            idle: None,
            is_closed: false,
        }
    }

    /// Returns the position of the last message.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }

    /// Returns the room's settings.
    #[must_use]
    pub fn settings(&self) -> &RoomSettings {
        &self.settings
    }

    /// Returns the room's history.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Returns the last messages before `before` (before the end without it), at most `limit`. If `epoch` is neither
    /// the room's own nor one that it continues, the page has no messages, and its position says which epoch the room
    /// is in.
    #[must_use]
    pub fn recent(&self, epoch: Option<Epoch>, before: Option<Offset>, limit: usize) -> HistoryPage {
        let position = self.position();
        let is_ours =
            |epoch| epoch == self.epoch || self.earlier.iter().any(|(earlier, _)| *earlier == epoch);
        if epoch.is_some_and(|epoch| !is_ours(epoch)) {
            return HistoryPage { position, frames: Vec::new(), has_more: false };
        }
        let (frames, has_more) = self.history.page_before(before, limit.min(MAX_HISTORY_PAGE), PAGE_BYTES);
        HistoryPage { position, frames, has_more }
    }

    /// Returns the offset of a position, if it is one of this epoch or of an earlier one that kept it.
    pub(super) fn in_this_epoch(&self, position: Position) -> Option<Offset> {
        let Position { epoch, offset } = position;
        if epoch == self.epoch {
            return Some(offset);
        }
        let survived = self.earlier.iter().find(|(earlier, _)| *earlier == epoch)?.1;
        (offset <= survived).then_some(offset)
    }

    /// Returns how many messages the room keeps once it has `more`, as far as this node can tell: what an engine has to
    /// keep for it.
    #[must_use]
    pub fn kept_with(&self, more: usize) -> u64 {
        let most = self.settings.history.messages;
        let kept = if self.older == Older::Unread { most } else { (self.history.len() + more).min(most) };
        kept as u64
    }

    /// Returns true when `recent` cannot know all of its page without messages that the engine may have and this node
    /// has not read. That includes the message before the page, which decides whether there are more.
    #[must_use]
    pub fn misses_history(&self, before: Option<Offset>, limit: usize) -> bool {
        let end = before.map_or(self.last.0, |before| before.0.saturating_sub(1)).min(self.last.0);
        let floor = self.floor().0;
        self.older == Older::Unread && floor > 0 && end.saturating_sub(limit as u64) <= floor
    }

    /// Returns true when the room was closed under its members, because messages that they were shown are lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_closed
    }

    /// Returns true when the room has no members and no message is on its way to it.
    pub(super) fn is_empty<L: Local<Topic = T>>(&self, local: &L) -> bool {
        self.assigned == 0 && self.presence.is_empty() && !local.is_occupied(&self.topic)
    }
}

/// A room. Members hold it, and so publish without looking it up.
#[derive(Debug)]
pub struct Room<T> {
    /// Unique among all rooms of this process.
    pub(super) id: u64,
    name: RoomName,
    state: Mutex<RoomState<T>>,
}

impl<T> Room<T> {
    pub(super) fn new(id: u64, name: RoomName, state: RoomState<T>) -> Self {
        Self { id, name, state: Mutex::new(state) }
    }

    /// Returns the room's name.
    #[must_use]
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Runs `f` under the room's lock, which puts in order what members see. `f` must not call the broker.
    pub fn with<R>(&self, f: impl FnOnce(&mut RoomState<T>) -> R) -> R {
        f(&mut self.state.lock())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RoomState<T>> {
        self.state.lock()
    }
}

/// A room of a broker with the members of `L`.
pub type SharedRoom<L> = Arc<Room<<L as Local>::Topic>>;
