//! Shrinking of collections that are mostly empty, so that memory is returned after a storm of connections or rooms.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

/// A collection that can return spare capacity.
pub trait ShrinkWhenSparse {
    /// Shrinks the capacity to twice the length when less than a quarter of it is used. Call this after removals.
    /// Between shrinking and the next growth lie as many insertions as there are elements, so the cost of both is
    /// amortised.
    fn shrink_when_sparse(&mut self);
}

fn is_sparse(len: usize, capacity: usize) -> bool {
    len * 4 < capacity
}

impl<K: Eq + Hash, V, S: BuildHasher> ShrinkWhenSparse for HashMap<K, V, S> {
    fn shrink_when_sparse(&mut self) {
        if is_sparse(self.len(), self.capacity()) {
            self.shrink_to(self.len() * 2);
        }
    }
}

impl<T> ShrinkWhenSparse for VecDeque<T> {
    fn shrink_when_sparse(&mut self) {
        if is_sparse(self.len(), self.capacity()) {
            self.shrink_to(self.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_map_shrinks_and_a_well_used_one_does_not() {
        let mut map: HashMap<u32, u32> = HashMap::with_capacity(1_000);
        map.extend((0..500).map(|number| (number, number)));
        let full = map.capacity();
        map.shrink_when_sparse();
        assert_eq!(map.capacity(), full);
        map.retain(|number, _| *number < 100);
        map.shrink_when_sparse();
        assert!((200..full / 2).contains(&map.capacity()), "{} of {full}", map.capacity());
        map.clear();
        map.shrink_when_sparse();
        assert_eq!(map.capacity(), 0);
    }

    #[test]
    fn a_sparse_queue_shrinks() {
        let mut queue: VecDeque<u64> = (0..1_000).collect();
        queue.drain(..900);
        queue.shrink_when_sparse();
        assert!((200..500).contains(&queue.capacity()), "{}", queue.capacity());
        assert_eq!(queue.front(), Some(&900));
    }
}
