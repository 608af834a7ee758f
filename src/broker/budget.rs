//! Bounds the bytes of all histories together. Beyond the budget the oldest message of the node is evicted, in whatever
//! room it is.
//!
//! Rooms with history are listed by the time of their oldest message, or of one that was the oldest once: a room that
//! only grows is not listed anew, and its time is corrected when its turn comes. Locks are taken room first, then list.
//! Eviction takes a room from the list, releases the list, and only then locks the room.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::room::{Room, RoomState};
use super::trim::{Trim, TrimSink};

/// Most bytes that are evicted beyond what is necessary, so that a node at its limit does not search for the oldest
/// room with every message.
const SLACK_BYTES: usize = 64 * 1024;

/// Rooms by the time of their oldest message and their id.
type ByAge<T> = BTreeMap<(u64, u64), Arc<Room<T>>>;

/// The bytes of all histories, and the rooms to evict from.
///
/// Each publishing thread may pass the bound by one message, until it has evicted.
pub(super) struct Budget<T> {
    max_bytes: usize,
    bytes: AtomicUsize,
    by_age: Mutex<ByAge<T>>,
    /// Where trims are reported, if there is a log on disk.
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

    /// Reports what rooms no longer keep to a log on disk from now on. Only the first log is attached.
    pub(super) fn attach_log(&self, log: TrimSink) {
        let _ = self.log.set(log);
    }

    /// Returns where trims are reported, if there is a log on disk.
    pub(super) fn log(&self) -> Option<&TrimSink> {
        self.log.get()
    }

    /// Reports that a room no longer keeps something. Called under the room's lock.
    pub(super) fn report_trim(&self, room: &Room<T>, state: &RoomState<T>, trim: Trim) {
        if let Some(log) = self.log.get() {
            log(room.name(), state.epoch, trim);
        }
    }

    /// Accounts for a change in a room's history, which held `before` bytes until then. Called under the room's lock.
    pub(super) fn account(&self, room: &Arc<Room<T>>, state: &mut RoomState<T>, before: usize) {
        let after = state.history.bytes();
        if after >= before {
            self.bytes.fetch_add(after - before, Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Relaxed);
        }
        if state.listed_ms.is_some() == state.history.is_empty() {
            self.relist(room, state);
        }
    }

    /// Lists the room under the time of its oldest message, or takes it off the list. Called under the room's lock.
    fn relist(&self, room: &Arc<Room<T>>, state: &mut RoomState<T>) {
        let now = state.history.oldest_ms();
        let before = std::mem::replace(&mut state.listed_ms, now);
        let mut by_age = self.by_age.lock();
        // The entry may be gone: an evicting thread has taken it, and will find that the room was listed again.
        if let Some(before_ms) = before {
            by_age.remove(&(before_ms, room.id));
        }
        if let Some(now_ms) = now {
            by_age.insert((now_ms, room.id), Arc::clone(room));
        }
    }

    /// Evicts the oldest messages of the node until the budget holds. Called without any lock.
    ///
    /// Returns early when the list is empty: other threads then hold the rooms, and will list them again and check the
    /// bytes once more, those that this caller has added included.
    pub(super) fn evict(&self) {
        let kept = self.max_bytes - SLACK_BYTES.min(self.max_bytes / 16);
        while self.bytes.load(Relaxed) > self.max_bytes {
            let Some((listed_ms, room, next_ms)) = self.take_oldest() else { return };
            let mut state = room.lock();
            if state.listed_ms != Some(listed_ms) {
                // The room was emptied, or emptied and filled again, in between.
                continue;
            }
            while self.bytes.load(Relaxed) > kept && state.history.oldest_ms().is_some_and(|ms| ms <= next_ms)
            {
                let freed = state.history.pop().unwrap_or(0);
                self.bytes.fetch_sub(freed, Relaxed);
            }
            state.history.release();
            self.report_trim(&room, &state, Trim::Before(state.floor().next()));
            self.relist(&room, &mut state);
        }
    }

    /// Takes the first room from the list. Returns the time it was listed under, the room, and the time of the next
    /// one: no message of the node is older than that, except in this room.
    fn take_oldest(&self) -> Option<(u64, Arc<Room<T>>, u64)> {
        let mut by_age = self.by_age.lock();
        let ((listed_ms, _), room) = by_age.pop_first()?;
        let next_ms = by_age.first_key_value().map_or(u64::MAX, |((ms, _), _)| *ms);
        Some((listed_ms, room, next_ms))
    }

    /// Returns the bytes of all histories, and how many rooms are listed.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.bytes.load(Relaxed), self.by_age.lock().len())
    }
}
