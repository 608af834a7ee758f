//! The positions and keys of rooms that are gone. A room that is opened again continues from there: a returning client
//! that has missed nothing learns that, and a message sent twice under one key is appended once.
//!
//! Bounded by number and age. When there are too many, one of the rooms is forgotten that were opened by the user who
//! opened most ([`EvictionOrder`]). A room without any message costs only a join, so these are evicted first while they
//! are more than a quarter of all.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::Position;
use super::eviction_order::EvictionOrder;
use super::retained::RetainedPosition;
use super::trim::{Trim, TrimSink};
use crate::names::{Offset, RoomName};
use crate::shrink::ShrinkWhenSparse;

/// [`Positions::expire`] looks through the table in so many parts, one at a time, within these bounds for one part.
/// Opening a room waits for that: some milliseconds at worst.
const PARTS: usize = 64;
const LOOKS: (usize, usize) = (1_024, 16_384);
/// Most positions forgotten at a time. After a start all of them may become too old in the same moment; those that wait
/// are not used any more either.
const FORGOTTEN: usize = 512;

/// A room that is gone and whose position is remembered.
#[derive(Debug)]
struct RememberedRoom {
    retained: RetainedPosition,
    /// When the room was closed.
    at_ms: u64,
    /// The room's number in the [`EvictionOrder`].
    number: u64,
}

/// Rooms by a hash of their name, which has a key of this process.
///
/// Two names with the same hash would be taken for one room. The hash has 64 bits and a random key, so that clients
/// cannot bring it about; among a million rooms chance does so in one of 30 million cases.
#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<u64, RememberedRoom>,
    /// Where [`Positions::expire`] continues.
    next: u64,
    /// The rooms with messages, and those without any, by who opened them.
    orders: [EvictionOrder<u64>; 2],
    /// The rooms' names, which the log needs. Empty where there is none.
    names: HashMap<u64, RoomName>,
}

/// The positions of rooms that are gone. Memory: some 150 to 220 bytes for each of `history.positions`; with
/// `history.dir` some 50 more, and what the log itself holds.
#[derive(Debug)]
pub(super) struct Positions {
    most: usize,
    ttl_ms: u64,
    now_ms: AtomicU64,
    hasher: RandomState,
    table: Mutex<Table>,
}

impl Positions {
    /// Creates a table of at most `most` positions, each kept for `ttl_ms`. With 0 ms a position is kept only as long
    /// as the room has keys.
    pub(super) fn new(most: usize, ttl_ms: u64) -> Self {
        let (hasher, table) = (RandomState::new(), Mutex::default());
        Self { most, ttl_ms, now_ms: AtomicU64::new(0), hasher, table }
    }

    /// Sets the time, which never goes back.
    pub(super) fn tick(&self, now_ms: u64) {
        self.now_ms.fetch_max(now_ms, Relaxed);
    }

    /// Returns true when rooms without keys are remembered at all.
    pub(super) fn is_on(&self) -> bool {
        self.ttl_ms > 0
    }

    /// Remembers a room that is gone. If there is a log, it hears what is forgotten instead.
    pub(super) fn remember(&self, name: &RoomName, retained: RetainedPosition, log: Option<&TrimSink>) {
        if !self.is_on() && retained.keys.is_empty() {
            if let Some(log) = log {
                log(name, retained.position.epoch, Trim::All);
            }
            return;
        }
        let hash = self.hasher.hash_one(name);
        let mut table = self.table.lock();
        // The room itself, or another whose name has the same hash.
        table.forget(hash, log);
        let number = table.orders[order_index(retained.position)].add(retained.opener, hash);
        let at_ms = self.now_ms.load(Relaxed);
        table.entries.insert(hash, RememberedRoom { retained, at_ms, number });
        if log.is_some() {
            table.names.insert(hash, name.clone());
        }
        if table.entries.len() > self.most {
            table.evict_one(self.most, log);
        }
    }

    /// Takes what was retained of a room that is opened again.
    pub(super) fn take(&self, name: &RoomName, log: Option<&TrimSink>) -> Option<RetainedPosition> {
        let hash = self.hasher.hash_one(name);
        let mut table = self.table.lock();
        if self.is_over(table.entries.get(&hash)?) {
            table.forget(hash, log);
            return None;
        }
        let entry = table.remove(hash)?;
        table.names.remove(&hash);
        table.names.shrink_when_sparse();
        Some(entry.retained)
    }

    /// Forgets what was retained of a room. Returns true if something was.
    pub(super) fn forget(&self, name: &RoomName, log: Option<&TrimSink>) -> bool {
        let hash = self.hasher.hash_one(name);
        let mut table = self.table.lock();
        let is_known = table.entries.get(&hash).is_some_and(|entry| !self.is_over(entry));
        table.forget(hash, log);
        is_known
    }

    /// Forgets what is too old in the next part of the table.
    pub(super) fn expire(&self, log: Option<&TrimSink>) {
        let now_ms = self.now_ms.load(Relaxed);
        let mut table = self.table.lock();
        let Table { entries, next, .. } = &mut *table;
        let mut looks = (entries.len() / PARTS + 1).clamp(LOOKS.0, LOOKS.1);
        let mut over = Vec::new();
        let mut rest = entries.range_mut(*next..);
        // Where the next part begins: at 0 again behind the last one.
        *next = loop {
            let Some((hash, entry)) = rest.next() else { break 0 };
            if looks == 0 || over.len() == FORGOTTEN {
                break *hash;
            }
            looks -= 1;
            entry.retained.keys.expire(now_ms);
            if self.is_over(entry) {
                over.push(*hash);
            }
        };
        over.into_iter().for_each(|hash| table.forget(hash, log));
        table.names.shrink_when_sparse();
    }

    fn is_over(&self, entry: &RememberedRoom) -> bool {
        entry.retained.keys.is_empty() && self.now_ms.load(Relaxed).saturating_sub(entry.at_ms) >= self.ttl_ms
    }

    /// Returns how many positions are remembered, and how many of them have keys.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let table = self.table.lock();
        assert_eq!(table.entries.len(), table.orders.iter().map(EvictionOrder::len).sum::<usize>());
        let with_keys = table.entries.values().filter(|entry| !entry.retained.keys.is_empty()).count();
        (table.entries.len(), with_keys)
    }
}

/// Returns the index of the room's part in `orders`.
fn order_index(position: Position) -> usize {
    usize::from(position.offset == Offset(0))
}

impl Table {
    fn remove(&mut self, hash: u64) -> Option<RememberedRoom> {
        let entry = self.entries.remove(&hash)?;
        self.orders[order_index(entry.retained.position)].remove(entry.retained.opener, entry.number);
        Some(entry)
    }

    fn forget(&mut self, hash: u64, log: Option<&TrimSink>) {
        let Some(entry) = self.remove(hash) else { return };
        // Still under the table's lock, so that the log hears of the room's next life later.
        if let (Some(name), Some(log)) = (self.names.remove(&hash), log) {
            log(&name, entry.retained.position.epoch, Trim::All);
        }
    }

    /// Forgets the position that has to go first, where at most `most` are kept.
    fn evict_one(&mut self, most: usize, log: Option<&TrimSink>) {
        let [spoken, silent] = &mut self.orders;
        let is_silent = silent.len() > most / 4 || spoken.len() == 0;
        if let Some((_, hash)) = if is_silent { silent.pop() } else { spoken.pop() } {
            self.forget(hash, log);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::eviction_order::Opener;
    use super::*;

    const TTL_MS: u64 = 1_000;

    fn room(number: usize) -> RoomName {
        format!("room-{number}").parse().unwrap()
    }

    #[test]
    fn all_that_are_over_at_once_go_a_few_at_a_time_and_are_over_all_the_same() {
        const MANY: usize = 60_000;
        let positions = Positions::new(MANY, TTL_MS);
        (0..MANY)
            .for_each(|n| positions.remember(&room(n), RetainedPosition::fresh(Opener::default()), None));
        positions.tick(TTL_MS);
        for turn in 1..=10 {
            positions.expire(None);
            assert_eq!(positions.sizes().0, MANY - turn * FORGOTTEN);
        }
        assert!((0..100).all(|n| positions.take(&room(n), None).is_none()), "it is asked for and not swept");
        (0..MANY / FORGOTTEN).for_each(|_| positions.expire(None));
        assert_eq!(positions.sizes(), (0, 0));
    }

    #[test]
    fn every_position_is_looked_at_in_turn() {
        const MANY: usize = 5_000;
        let positions = Positions::new(MANY, TTL_MS);
        for n in 0..MANY {
            let mut retained = RetainedPosition::fresh(Opener::default());
            retained.keys.note(0);
            positions.remember(&room(n), retained, None);
        }
        positions.tick(crate::chat::keys::KEPT_MS - 1);
        (0..PARTS).for_each(|_| positions.expire(None));
        assert_eq!(positions.sizes(), (MANY, MANY));
        positions.tick(crate::chat::keys::KEPT_MS);
        (0..2 * PARTS).for_each(|_| positions.expire(None));
        assert_eq!(positions.sizes(), (0, 0));
    }
}
