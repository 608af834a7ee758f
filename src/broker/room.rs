//! A room, and its data under its lock.

use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::retained::RetainedPosition;
use super::shares::Opener;
use super::{Local, Position};
use crate::chat::history::History;
use crate::chat::keys::KeyExpiry;
use crate::chat::presence::Presence;
use crate::chat::rooms::RoomSettings;
use crate::names::{Epoch, Offset, RoomName};
use crate::prefetch::prefetch;
use crate::protocol::frame::Frame;

/// Bytes of one page, unless a single message is longer.
pub const PAGE_BYTES: usize = 64 * 1024;
/// Most messages of one page of history.
pub const MAX_HISTORY_PAGE: usize = 100;

/// A room's data, under its lock.
#[derive(Debug)]
pub struct RoomState<T> {
    /// What the node keeps for it.
    pub topic: T,
    /// Who is here.
    pub presence: Presence,
    /// Who opened it.
    pub(super) opener: Opener,
    pub(super) epoch: Epoch,
    /// The place of the last message that was appended.
    pub(super) last: Offset,
    /// Messages that have a place behind `last` and are not appended yet.
    pub(super) assigned: u64,
    pub(super) history: History,
    pub(super) keys: KeyExpiry,
    settings: RoomSettings,
    /// The time under which the room stands in the node's budget; none while it has no history.
    pub(super) listed_ms: Option<u64>,
    /// The number under which the room stands among those that nobody is in.
    pub(super) idle: Option<NonZeroU64>,
    /// No longer in the table: whoever holds it must look the room up again.
    pub(super) is_closed: bool,
}

/// The answer to a question for older messages.
#[derive(Debug)]
pub struct HistoryPage {
    /// The place of the room's last message.
    pub position: Position,
    /// Encoded messages, oldest first, without a hole: at most [`MAX_HISTORY_PAGE`], and as many as fit into
    /// [`PAGE_BYTES`], but at least one if there is any.
    pub frames: Vec<Frame>,
    /// There are older ones.
    pub has_more: bool,
}

impl<T> RoomState<T> {
    /// A room that begins with what is left of its former life, or with nothing.
    pub(super) fn new(topic: T, settings: RoomSettings, left: RetainedPosition) -> Self {
        Self {
            topic,
            presence: Presence::default(),
            opener: left.opener,
            epoch: left.position.epoch,
            last: left.position.offset,
            assigned: 0,
            history: History::default(),
            keys: left.keys,
            settings,
            listed_ms: None,
            idle: None,
            is_closed: false,
        }
    }

    /// The place of the last message.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }

    /// What holds here.
    #[must_use]
    pub fn settings(&self) -> &RoomSettings {
        &self.settings
    }

    /// The last messages.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The last messages before `before` (the end without it), at most `limit`. A page of a life that is over
    /// (`epoch`) has no messages: the position says which life this is.
    #[must_use]
    pub fn recent(&self, epoch: Option<Epoch>, before: Option<Offset>, limit: usize) -> HistoryPage {
        let position = self.position();
        if epoch.is_some_and(|epoch| epoch != self.epoch) {
            return HistoryPage { position, frames: Vec::new(), has_more: false };
        }
        let (frames, has_more) = self.history.page_before(before, limit.min(MAX_HISTORY_PAGE), PAGE_BYTES);
        HistoryPage { position, frames, has_more }
    }

    /// True when nobody is here, and nobody's message is on its way.
    pub(super) fn is_empty<L: Local<Topic = T>>(&self, local: &L) -> bool {
        self.assigned == 0 && self.presence.is_empty() && !local.is_occupied(&self.topic)
    }
}

/// A room. A member holds it, and so publishes without a look-up.
#[derive(Debug)]
pub struct Room<T> {
    /// Among all rooms there ever were.
    pub(super) id: u64,
    name: RoomName,
    state: Mutex<RoomState<T>>,
}

impl<T> Room<T> {
    pub(super) fn new(id: u64, name: RoomName, state: RoomState<T>) -> Self {
        Self { id, name, state: Mutex::new(state) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Runs `f` under the room's lock, where what members see is put in order. `f` must not ask the broker for
    /// anything.
    pub fn with<R>(&self, f: impl FnOnce(&mut RoomState<T>) -> R) -> R {
        f(&mut self.state.lock())
    }

    /// Has fetched what whoever takes the lock reads first.
    pub fn prefetch(&self) {
        prefetch(&self.name);
        prefetch(&self.state);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RoomState<T>> {
        self.state.lock()
    }
}

/// A room as whoever uses the broker of `L` holds it.
pub type SharedRoom<L> = Arc<Room<<L as Local>::Topic>>;
