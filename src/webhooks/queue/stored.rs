//! A queue whose events wait on disk: memory holds the first ones of each lane, and the others are read when it is
//! their turn.

use std::time::{Duration, Instant};

use super::{Bounds, LANES, Lane, Queue, Waiting};
use crate::webhooks::disk::{Garbage, Reading, Store, Unsynced};

/// The next step of a lane that may have no events in memory.
#[derive(Debug)]
pub(in crate::webhooks) enum Refill {
    /// Nothing: there are events in memory, or none anywhere.
    Nothing,
    /// To read this part of the lane, and to pass it to [`Queue::refill`].
    Read(Reading),
    /// So many events at the end of the lane are missing. The receiver will be told.
    Missing(u64, Garbage),
}

impl Queue {
    /// Lets the events wait in a folder from now on. The queue must be empty.
    pub(in crate::webhooks) fn wait_in(&mut self, store: Store) {
        self.dropped = store.dropped;
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            lane.taken = store.done_of(number);
        }
        self.store = Some(store);
    }

    pub(in crate::webhooks) fn store(&mut self) -> Option<&mut Store> {
        self.store.as_mut()
    }

    /// Writes an event to the disk, and keeps it in memory if it is the next one there and there is space. Returns
    /// false when it is dropped.
    pub(super) fn push_stored(&mut self, number: usize, mut waiting: Waiting, bounds: Bounds) -> bool {
        let Some(store) = &mut self.store else { return false };
        let is_next = store.is_read(number);
        let Some(event) = store.append(number, &waiting.event, bounds.disk_bytes) else { return false };
        let lane = &mut self.lanes[number];
        if is_next && lane.is_within(&waiting.event, bounds.events / LANES, bounds.bytes / LANES) {
            store.skip_appended(number);
            waiting.number = event;
            lane.push(waiting);
        }
        true
    }

    /// Returns what a lane has to do before events of it can be taken.
    pub(in crate::webhooks) fn wants_refill(&mut self, number: usize) -> Refill {
        let lane = &mut self.lanes[number];
        let Some(store) = self.store.as_mut().filter(|store| !self.is_off && !store.is_read(number)) else {
            return Refill::Nothing;
        };
        if !lane.waiting.is_empty() {
            return Refill::Nothing;
        }
        if let Some(part) = store.reading(number) {
            return Refill::Read(part);
        }
        let missing = store.end_reading(number);
        lane.taken = store.last(number);
        let garbage = store.done(number, lane.taken);
        self.dropped += missing;
        self.save();
        Refill::Missing(missing, garbage)
    }

    /// Puts events into memory that were read from the disk, as many as there is space for and at least one.
    pub(in crate::webhooks) fn refill(
        &mut self,
        number: usize,
        (part, bytes): (&Reading, &[u8]),
        bounds: Bounds,
        now_unix_ms: u64,
    ) {
        let Some(store) = self.store.as_mut().filter(|_| !self.is_off) else { return };
        let lane = &mut self.lanes[number];
        let now = Instant::now();
        store.take(number, part, bytes, |found| {
            let age = Duration::from_millis(now_unix_ms.saturating_sub(found.event.at_unix_ms));
            let since = now.checked_sub(age).unwrap_or(now);
            let (number, missing) = (found.number, found.missing);
            lane.push(Waiting { event: found.event.into(), since, number, missing });
            lane.events < bounds.events / LANES && lane.bytes < bounds.bytes / LANES
        });
    }

    /// Goes on behind a part of the lane that cannot be read. Its events are missing then.
    pub(in crate::webhooks) fn skip(&mut self, number: usize) {
        if let Some(store) = &mut self.store {
            store.give_up(number);
        }
    }

    /// Returns true when events wait that were there when the server started.
    pub(in crate::webhooks) fn has_old(&self) -> bool {
        self.store.as_ref().is_some_and(Store::has_old)
    }

    pub(in crate::webhooks) fn take_unsynced(&mut self) -> Option<Unsynced> {
        self.store.as_mut().map(Store::take_unsynced).filter(|unsynced| !unsynced.is_empty())
    }

    /// Writes to the disk how far the queue is.
    pub(super) fn save(&mut self) {
        if let Some(store) = &mut self.store {
            store.save(self.dropped + self.telling);
        }
    }
}

/// Drops everything on disk. Returns how many events that are, without those under way.
pub(super) fn clear(store: &mut Store, lanes: &mut [Lane]) -> (u64, Garbage) {
    let mut count = 0;
    for (number, lane) in lanes.iter_mut().enumerate() {
        count += store.last(number) - lane.taken;
        lane.taken = store.last(number);
    }
    (count, store.clear())
}
