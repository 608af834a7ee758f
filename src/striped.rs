//! Tables that many threads change at once, cut into stripes so that two threads rarely want the same lock.
//!
//! Responsible for choosing a stripe and nothing else: each table decides what a stripe holds and what it forgets.

use std::array;
use std::hash::{BuildHasher, Hash, RandomState};

use parking_lot::{Mutex, MutexGuard};

/// `N` stripes, of which a hash of the key chooses one. The hash has a random key of its own, so that clients who
/// choose their names or addresses cannot crowd into one stripe.
#[derive(Debug)]
pub struct Striped<S, const N: usize> {
    stripes: Box<[S; N]>,
    hasher: RandomState,
}

impl<S: Default, const N: usize> Default for Striped<S, N> {
    fn default() -> Self {
        Self { stripes: Box::new(array::from_fn(|_| S::default())), hasher: RandomState::new() }
    }
}

impl<S, const N: usize> Striped<S, N> {
    /// Returns the hash of a key under this table's random key. Clients cannot predict it, so it also suits other uses
    /// that need such a hash.
    pub fn hash(&self, key: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Returns the stripe that a [hash](Striped::hash) belongs to.
    #[must_use]
    pub fn stripe_of_hash(&self, hash: u64) -> &S {
        &self.stripes[hash as usize % N]
    }

    /// Returns the stripe that a key belongs to.
    pub fn stripe(&self, key: &(impl Hash + ?Sized)) -> &S {
        self.stripe_of_hash(self.hash(key))
    }

    /// Returns the stripe with the index `turn`, modulo the number of stripes. Upkeep that visits few stripes at a time
    /// reaches all of them by counting `turn` up.
    #[must_use]
    pub fn in_turn(&self, turn: usize) -> &S {
        &self.stripes[turn % N]
    }

    /// Returns all stripes, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.stripes.iter()
    }
}

impl<T, const N: usize> Striped<Mutex<T>, N> {
    /// Locks the stripe that a key belongs to.
    pub fn lock(&self, key: &(impl Hash + ?Sized)) -> MutexGuard<'_, T> {
        self.stripe(key).lock()
    }

    /// Adds up the results of `count` for all stripes. Locks one stripe at a time, so the table may change meanwhile
    /// and the sum need not be exact for any moment.
    pub fn sum(&self, count: impl Fn(&T) -> usize) -> usize {
        self.iter().map(|stripe| count(&stripe.lock())).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_key_stays_in_its_stripe_and_turns_visit_all_of_them() {
        let table: Striped<Mutex<HashMap<usize, usize>>, 8> = Striped::default();
        for key in 0..1_000 {
            table.lock(&key).insert(key, 2 * key);
            table.stripe_of_hash(table.hash(&key)).lock().insert(key, 3 * key);
        }
        assert!((0..1_000).all(|key| table.lock(&key).get(&key) == Some(&(3 * key))));
        assert_eq!(table.sum(HashMap::len), 1_000, "a key was in two stripes");
        assert!(table.iter().all(|stripe| stripe.lock().len() < 500), "a stripe has half of all keys");
        (7..15).for_each(|turn| table.in_turn(turn).lock().clear());
        assert_eq!(table.sum(HashMap::len), 0, "a stripe was not visited");
    }

    #[test]
    fn each_table_has_a_hash_of_its_own() {
        let [one, two]: [Striped<Mutex<()>, 4>; 2] = Default::default();
        assert_ne!(one.hash("alice"), two.hash("alice"), "the hashes of two tables are the same");
    }
}
