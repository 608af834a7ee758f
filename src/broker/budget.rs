//! The bytes of all histories together. Beyond the budget the oldest message of the node goes, in whatever room it is.
//!
//! Rooms with history stand in a list by the time of their oldest message, or of one that was: a room that only grows
//! is not touched here, and its time is put right when its turn comes. Locks are taken room first, then list; whoever
//! evicts takes a room from the list, lets the list go, and only then locks the room.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::room::{Room, RoomState};
use super::trim::{Trim, TrimSink};

/// At most so much more than necessary is let go at once, so that a node at its limit does not look for the oldest
/// room with every message.
const SLACK_BYTES: usize = 64 * 1024;

/// Rooms by the time of their oldest message and their id.
type ByAge<T> = BTreeMap<(u64, u64), Arc<Room<T>>>;

/// See the module's documentation.
///
/// The bound may be passed by one message for each thread that publishes, until it has evicted.
pub(super) struct Budget<T> {
    max_bytes: usize,
    bytes: AtomicUsize,
    by_age: Mutex<ByAge<T>>,
    /// Told what rooms let go of, if there is a log on disk.
    log: OnceLock<TrimSink>,
}

impl<T> fmt::Debug for Budget<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<T> Budget<T> {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: AtomicUsize::new(0), by_age: Mutex::default(), log: OnceLock::new() }
    }

    /// From now on a log on disk is told what rooms let go of. The first one stays.
    pub(super) fn attach_log(&self, log: TrimSink) {
        let _ = self.log.set(log);
    }

    /// The log on disk, if there is one.
    pub(super) fn log(&self) -> Option<&TrimSink> {
        self.log.get()
    }

    /// The room has let go of something. Called under its lock.
    pub(super) fn report_trim(&self, room: &Room<T>, state: &RoomState<T>, waste: Trim) {
        if let Some(log) = self.log.get() {
            log(room.name(), state.epoch, waste);
        }
    }

    /// Takes note of a change in a room's history, `before` being its bytes before that. Called under the room's lock.
    pub(super) fn account(&self, room: &Arc<Room<T>>, state: &mut RoomState<T>, before: usize) {
        let after = state.history.bytes();
        if after >= before {
            self.bytes.fetch_add(after - before, Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Relaxed);
        }
        if state.listed_ms.is_some() == state.history.is_empty() {
            self.list(room, state);
        }
    }

    /// Puts the room where it belongs. Called under its lock.
    fn list(&self, room: &Arc<Room<T>>, state: &mut RoomState<T>) {
        let now = state.history.oldest_ms();
        let before = std::mem::replace(&mut state.listed_ms, now);
        let mut by_age = self.by_age.lock();
        // It may be gone already, into the hands of an evictor, who will find that the room was listed again.
        if let Some(before_ms) = before {
            by_age.remove(&(before_ms, room.id));
        }
        if let Some(now_ms) = now {
            by_age.insert((now_ms, room.id), Arc::clone(room));
        }
    }

    /// Lets the oldest messages of the node go until the budget holds. Called without any lock.
    ///
    /// Whoever finds the list empty may go: the rooms are in the hands of others, who put them back and then look at
    /// the bytes again, those that this caller has added included.
    pub(super) fn evict(&self) {
        let kept = self.max_bytes - SLACK_BYTES.min(self.max_bytes / 16);
        while self.bytes.load(Relaxed) > self.max_bytes {
            let Some((listed_ms, room, next_ms)) = self.take_oldest() else { return };
            let mut state = room.lock();
            if state.listed_ms != Some(listed_ms) {
                // It was emptied, or emptied and filled, in between.
                continue;
            }
            while self.bytes.load(Relaxed) > kept && state.history.oldest_ms().is_some_and(|ms| ms <= next_ms)
            {
                let freed = state.history.pop().unwrap_or(0);
                self.bytes.fetch_sub(freed, Relaxed);
            }
            state.history.release();
            self.report_trim(&room, &state, Trim::Before(state.floor().next()));
            self.list(&room, &mut state);
        }
    }

    /// Takes the first room from the list, with the time it stood there, and that of the next one: nothing on the
    /// node is older than that, but in this room.
    fn take_oldest(&self) -> Option<(u64, Arc<Room<T>>, u64)> {
        let mut by_age = self.by_age.lock();
        let ((listed_ms, _), room) = by_age.pop_first()?;
        let next_ms = by_age.first_key_value().map_or(u64::MAX, |((ms, _), _)| *ms);
        Some((listed_ms, room, next_ms))
    }

    /// Bytes of all histories, and rooms in the list.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.bytes.load(Relaxed), self.by_age.lock().len())
    }
}
