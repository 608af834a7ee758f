//! Users without a connection and rooms without a member, until they count as gone: a client that comes back at once
//! was never away.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::clock::{Awake, Clock};
use crate::shrink::ShrinkWhenSparse;

/// Most that wait at once; beyond it they are gone at once.
const MOST: usize = 1_000_000;

/// Users or rooms that have left, and a clock for them which stands still when the process does.
#[derive(Debug)]
pub(super) struct Waiting<K> {
    leavers: Leavers<K>,
    awake: Awake,
}

impl<K: Hash + Eq + Clone> Waiting<K> {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { leavers: Leavers::default(), awake: Awake::new(clock) }
    }

    /// Notes that one has left at `now_ms` of the clock, and is gone after `after_ms`. Returns false when too many
    /// wait.
    pub(super) fn left(&mut self, key: &K, now_ms: u64, after_ms: u64) -> bool {
        let due_ms = self.awake.at(now_ms) + after_ms;
        self.leavers.left(key, due_ms)
    }

    /// Takes one who is gone by `now_ms` of the clock.
    pub(super) fn take_gone(&mut self, now_ms: u64) -> Option<K> {
        let until_ms = self.awake.at(now_ms);
        self.leavers.take_gone(until_ms)
    }

    /// Notes that one is there. Returns true when it had left and was not gone yet.
    pub(super) fn came(&mut self, key: &K) -> bool {
        self.leavers.came(key)
    }

    /// Takes any of those who have left.
    pub(super) fn take_any(&mut self) -> Option<K> {
        self.leavers.take_gone(u64::MAX)
    }
}

/// Those who have left and may come back.
#[derive(Debug)]
struct Leavers<K> {
    /// The number of each one's leave.
    numbers: HashMap<K, u64>,
    /// Leaves in the order of their time; one that was taken back has another number in the map, or none.
    due: VecDeque<(u64, u64, K)>,
    next: u64,
}

impl<K> Default for Leavers<K> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), due: VecDeque::new(), next: 0 }
    }
}

impl<K: Hash + Eq + Clone> Leavers<K> {
    /// Notes that one has left, and is gone at `due_ms`. The times must not decrease. Returns false when too many wait.
    fn left(&mut self, key: &K, due_ms: u64) -> bool {
        if self.numbers.len() >= MOST {
            return false;
        }
        self.next += 1;
        self.numbers.insert(key.clone(), self.next);
        self.due.push_back((due_ms, self.next, key.clone()));
        // Those who come and go all the time leave more entries than there are names.
        if self.due.len() > 2 * self.numbers.len() + 1024 {
            let numbers = &self.numbers;
            self.due.retain(|(_, number, key)| numbers.get(key) == Some(number));
        }
        true
    }

    /// Notes that one is there. Returns true when it had left and was not gone yet.
    fn came(&mut self, key: &K) -> bool {
        self.numbers.remove(key).is_some()
    }

    /// Takes one who is gone by `now_ms`.
    fn take_gone(&mut self, now_ms: u64) -> Option<K> {
        loop {
            let (_, number, key) = self.due.pop_front_if(|(due_ms, ..)| *due_ms <= now_ms)?;
            self.due.shrink_when_sparse();
            if self.numbers.get(&key) == Some(&number) {
                self.numbers.remove(&key);
                self.numbers.shrink_when_sparse();
                return Some(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_comes_back_is_not_gone() {
        let mut leavers = Leavers::default();
        assert!(leavers.left(&"a", 10) && leavers.left(&"b", 20));
        assert!(leavers.came(&"a") && !leavers.came(&"a") && !leavers.came(&"c"));
        assert!(leavers.left(&"a", 30));
        assert_eq!(leavers.take_gone(19), None);
        assert_eq!(leavers.take_gone(29), Some("b"));
        assert_eq!(leavers.take_gone(29), None, "the time counts from the last leave");
        assert_eq!((leavers.take_gone(30), leavers.take_gone(30)), (Some("a"), None));
    }

    #[test]
    fn coming_and_going_takes_no_memory() {
        let mut leavers = Leavers::default();
        for now in 0..100_000 {
            assert!(leavers.left(&"a", now));
            assert!(leavers.came(&"a"));
        }
        assert!(leavers.due.len() <= 1026, "{}", leavers.due.len());
        assert_eq!(leavers.take_gone(u64::MAX), None);
    }
}
