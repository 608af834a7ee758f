//! Idempotency keys: what was sent twice under one key is appended once.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use crate::names::{Key, Offset, UserId};
use crate::shrink::ShrinkWhenSparse;

/// For how long a key is remembered, in milliseconds: longer than any sensible series of retries.
pub const KEPT_MS: u64 = 300_000;

/// Keys, with what each stands for: those of one room with the offsets of their messages. A key belongs to its user;
/// those of others do not count.
///
/// Memory: some 200 bytes a key. How many there are is bounded by who hands them in, for each user and in all.
#[derive(Debug)]
pub struct Keys<K = (UserId, Key), V = Offset> {
    offsets: HashMap<Arc<K>, V>,
    /// Oldest first; each key stands here once.
    ages: VecDeque<(u64, Arc<K>)>,
}

impl<K, V> Default for Keys<K, V> {
    fn default() -> Self {
        Self { offsets: HashMap::new(), ages: VecDeque::new() }
    }
}

impl<K: Eq + Hash, V: Copy + PartialEq + std::fmt::Debug> Keys<K, V> {
    /// What was remembered under this key less than [`KEPT_MS`] ago.
    pub fn find(&mut self, key: &K, now_ms: u64) -> Option<V> {
        self.expire(now_ms);
        self.offsets.get(key).copied()
    }

    /// Remembers a key that is not yet known.
    pub fn insert(&mut self, key: K, offset: V, now_ms: u64) {
        let key = Arc::new(key);
        let at_ms = self.ages.back().map_or(now_ms, |(last_ms, _)| now_ms.max(*last_ms));
        let known = self.offsets.insert(Arc::clone(&key), offset);
        debug_assert_eq!(known, None, "a key is inserted once");
        self.ages.push_back((at_ms, key));
    }

    /// Forgets the key that was inserted last, because its message was not appended.
    pub fn withdraw(&mut self, offset: V) {
        if self.ages.back().and_then(|(_, key)| self.offsets.get(key)) == Some(&offset) {
            let (_, key) = self.ages.pop_back().expect("it was there a line ago");
            self.offsets.remove(&key);
        }
    }

    /// Forgets what is older than [`KEPT_MS`].
    pub fn expire(&mut self, now_ms: u64) {
        while self.ages.front().is_some_and(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= KEPT_MS) {
            if let Some((_, key)) = self.ages.pop_front() {
                self.offsets.remove(&key);
            }
        }
        self.ages.shrink_when_sparse();
        self.offsets.shrink_when_sparse();
    }

    /// Keys remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ages.len()
    }

    /// True when none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str, key: &str) -> (UserId, Key) {
        (user.parse().unwrap(), key.parse().unwrap())
    }

    #[test]
    fn a_key_stands_for_its_offset_for_five_minutes() {
        let mut keys = Keys::default();
        keys.insert(key("ann", "1"), Offset(7), 1000);
        keys.insert(key("bob", "1"), Offset(8), 1500);
        assert_eq!(keys.find(&key("ann", "1"), 1000 + KEPT_MS - 1), Some(Offset(7)));
        assert_eq!(keys.find(&key("ann", "2"), 1000), None);
        assert_eq!(keys.find(&key("ann", "1"), 1000 + KEPT_MS), None);
        assert_eq!(keys.find(&key("bob", "1"), 1000 + KEPT_MS), Some(Offset(8)));
        keys.expire(1500 + KEPT_MS);
        assert!(keys.is_empty() && keys.offsets.is_empty());
    }

    #[test]
    fn only_the_last_key_can_be_withdrawn() {
        let mut keys = Keys::default();
        keys.insert(key("ann", "1"), Offset(1), 0);
        keys.insert(key("ann", "2"), Offset(2), 0);
        keys.withdraw(Offset(1));
        assert_eq!(keys.len(), 2, "it is not the last one");
        keys.withdraw(Offset(2));
        assert_eq!(keys.find(&key("ann", "2"), 0), None);
        assert_eq!(keys.find(&key("ann", "1"), 0), Some(Offset(1)));
    }

    #[test]
    fn times_never_run_backwards() {
        let mut keys = Keys::default();
        keys.insert(key("ann", "1"), Offset(1), 50);
        keys.insert(key("ann", "2"), Offset(2), 49);
        keys.expire(49 + KEPT_MS);
        assert_eq!(keys.len(), 2);
        keys.expire(50 + KEPT_MS);
        assert!(keys.is_empty());
    }
}
