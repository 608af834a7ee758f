//! A table of slots, of which the lowest free one is used first.
//!
//! So clients that connect in a storm get ascending slots. The members of a room are listed in that order, and a join
//! appends to the list. And when most clients have left, the slots at the end become empty and their memory is freed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Number of slots up to which no memory is freed.
const KEPT_SLOTS: usize = 64;

/// A table of slots, each empty or with an entry.
#[derive(Debug)]
pub(super) struct Slots<T> {
    entries: Vec<Option<T>>,
    free: BinaryHeap<Reverse<u32>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: BinaryHeap::new() }
    }
}

impl<T> Slots<T> {
    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Adds the entry that `make` makes for the lowest free slot.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(usize) -> T) -> &mut T {
        let slot = self.free.pop().map_or(self.entries.len(), |Reverse(slot)| slot as usize);
        if slot == self.entries.len() {
            self.entries.push(None);
        }
        self.entries[slot].insert(make(slot))
    }

    /// Returns the entry of a slot.
    pub(super) fn get(&self, slot: usize) -> Option<&T> {
        self.entries.get(slot)?.as_ref()
    }

    /// Returns the entry of a slot, to be changed.
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.entries.get_mut(slot)?.as_mut()
    }

    /// Removes the entry of a slot.
    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let entry = self.entries.get_mut(slot)?.take()?;
        self.free.push(Reverse(slot as u32));
        if self.entries.len() > KEPT_SLOTS && self.free.len() > self.entries.len() / 4 * 3 {
            self.shrink();
        }
        Some(entry)
    }

    /// Drops the empty slots at the end and frees their memory, if they are at least half of all. Runs while more than
    /// three of four slots are empty, so several removals share the cost of moving the rest.
    fn shrink(&mut self) {
        let used = self.entries.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        if used <= self.entries.len() / 2 {
            self.entries.truncate(used);
            self.entries.shrink_to_fit();
            self.free.retain(|&Reverse(slot)| (slot as usize) < used);
            self.free.shrink_to_fit();
        }
    }

    /// Returns all entries, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }

    /// Returns the number of slots, including empty ones: all slots in use are below it.
    pub(super) fn end(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(slots: &mut Slots<usize>) -> usize {
        *slots.insert_with(|slot| slot)
    }

    #[test]
    fn the_lowest_free_slot_goes_first() {
        let mut slots = Slots::default();
        assert_eq!([0; 5].map(|_| insert(&mut slots)), [0, 1, 2, 3, 4]);
        for slot in [3, 1, 2] {
            assert_eq!(slots.remove(slot), Some(slot));
        }
        assert_eq!((slots.remove(3), slots.remove(9), slots.len()), (None, None, 2));
        assert_eq!([0; 4].map(|_| insert(&mut slots)), [1, 2, 3, 5]);
        assert!(slots.iter().copied().eq(0..6));
    }

    #[test]
    fn a_storm_that_has_passed_leaves_nothing_behind() {
        let mut slots = Slots::default();
        (0..10_000).for_each(|slot| assert_eq!(insert(&mut slots), slot));
        for slot in 1..10_000 {
            assert_eq!(slots.remove(slot), Some(slot));
        }
        assert!(
            slots.entries.capacity() <= 5_000 && slots.free.len() < 5_000,
            "{}",
            slots.entries.capacity()
        );
        assert_eq!((slots.len(), insert(&mut slots), insert(&mut slots)), (1, 1, 2));
    }
}
