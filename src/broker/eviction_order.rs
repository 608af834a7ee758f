//! Decides what is evicted first among things that belong to users: something of the user who has most.
//!
//! Of the address that has most, it is the user with most there, and of that user's things, the oldest. Among equals it
//! is the oldest too, so that where each user has one thing, the oldest of all is evicted. So a user who brings many
//! things pushes out all of their own before any of another's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Addresses are counted in so many groups, chosen by a hash with a key of this process, so that clients who choose
/// their addresses cannot choose their groups. Two addresses in one group count as one.
const GROUPS: u32 = 4096;

/// The user who opened a room: the group of the address, and a hash of the user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Opener {
    group: u32,
    user: u32,
}

impl Opener {
    /// Creates an opener from hashes of the address and of the user's name, which must have a key of this process.
    pub(super) fn new(address: u32, user: u32) -> Self {
        Self { group: address % GROUPS, user }
    }
}

/// A rank in the eviction order, of which the last is evicted first: how many things there are, and the number of the
/// oldest.
type Rank = (u32, Reverse<u64>);

/// Things in eviction order. Memory: some 90 to 150 bytes for each thing, and 300 KiB.
#[derive(Debug)]
pub(super) struct EvictionOrder<T> {
    next: u64,
    /// Things by opener and number; numbers count up.
    things: BTreeMap<(Opener, u64), T>,
    /// How many things each opener has.
    counts: BTreeMap<Opener, u32>,
    users: BTreeSet<(u32, Rank, u32)>,
    group_counts: BTreeMap<u32, u32>,
    groups: BTreeSet<(Rank, u32)>,
}

impl<T> Default for EvictionOrder<T> {
    fn default() -> Self {
        Self {
            next: 1,
            things: BTreeMap::new(),
            counts: BTreeMap::new(),
            users: BTreeSet::new(),
            group_counts: BTreeMap::new(),
            groups: BTreeSet::new(),
        }
    }
}

impl<T> EvictionOrder<T> {
    /// Adds a thing, the youngest of all. Returns its number.
    pub(super) fn add(&mut self, opener: Opener, thing: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.unlist(opener);
        self.things.insert((opener, number), thing);
        *self.counts.entry(opener).or_default() += 1;
        *self.group_counts.entry(opener.group).or_default() += 1;
        self.relist(opener);
        number
    }

    /// Removes the thing with this number, if it is still there.
    pub(super) fn remove(&mut self, opener: Opener, number: u64) -> Option<T> {
        if !self.things.contains_key(&(opener, number)) {
            return None;
        }
        self.unlist(opener);
        let thing = self.things.remove(&(opener, number));
        count_down(&mut self.counts, opener);
        count_down(&mut self.group_counts, opener.group);
        self.relist(opener);
        thing
    }

    /// Removes the thing to evict first. Returns it with its number.
    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        let &(_, group) = self.groups.last()?;
        let (_, user) = self.first_of(group)?;
        let opener = Opener { group, user };
        let number = self.oldest(opener)?;
        self.remove(opener, number).map(|thing| (number, thing))
    }

    pub(super) fn len(&self) -> usize {
        self.things.len()
    }

    fn oldest(&self, opener: Opener) -> Option<u64> {
        let (&(_, number), _) = self.things.range((opener, 0)..=(opener, u64::MAX)).next()?;
        Some(number)
    }

    /// Returns the user to evict from first in a group, with the rank.
    fn first_of(&self, group: u32) -> Option<(Rank, u32)> {
        let all = (group, (0, Reverse(u64::MAX)), 0)..=(group, (u32::MAX, Reverse(0)), u32::MAX);
        self.users.range(all).next_back().map(|&(_, rank, user)| (rank, user))
    }

    fn rank(&self, opener: Opener) -> Option<Rank> {
        Some((*self.counts.get(&opener)?, Reverse(self.oldest(opener)?)))
    }

    fn group_rank(&self, group: u32) -> Option<Rank> {
        let ((_, oldest), _) = self.first_of(group)?;
        Some((*self.group_counts.get(&group)?, oldest))
    }

    /// Takes an opener and its group off the ordered lists, before what they have changes.
    fn unlist(&mut self, opener: Opener) {
        let Opener { group, user } = opener;
        if let Some(rank) = self.group_rank(group) {
            self.groups.remove(&(rank, group));
        }
        if let Some(rank) = self.rank(opener) {
            self.users.remove(&(group, rank, user));
        }
    }

    /// Puts an opener and its group back on the ordered lists.
    fn relist(&mut self, opener: Opener) {
        let Opener { group, user } = opener;
        if let Some(rank) = self.rank(opener) {
            self.users.insert((group, rank, user));
        }
        if let Some(rank) = self.group_rank(group) {
            self.groups.insert((rank, group));
        }
    }
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opener(address: u32, user: u32) -> Opener {
        Opener::new(address, user)
    }

    fn drain(order: &mut EvictionOrder<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| order.pop()).map(|(_, thing)| thing).collect()
    }

    #[test]
    fn where_each_has_one_the_oldest_goes() {
        let mut order = EvictionOrder::default();
        for (number, thing) in ["a", "b", "c", "d"].into_iter().enumerate() {
            // Each at another address: two users who share one would be evicted before two who do not.
            order.add(opener(7 - number as u32, number as u32), thing);
        }
        assert_eq!(drain(&mut order), ["a", "b", "c", "d"]);
    }

    #[test]
    fn the_owner_of_most_loses_its_oldest_first_by_address_then_by_user() {
        let mut order = EvictionOrder::default();
        order.add(opener(1, 1), "alone");
        for (address, user, thing) in [(2, 1, "a1"), (2, 2, "b1"), (2, 2, "b2"), (2, 2, "b3"), (3, 1, "c1")] {
            order.add(opener(address, user), thing);
        }
        order.add(opener(3, 1), "c2");
        // Address 2 has four, then three, then as many as address 3, whose oldest is younger than "a1", the oldest of
        // those with one each.
        assert_eq!(drain(&mut order), ["b1", "b2", "a1", "c1", "alone", "b3", "c2"]);
        assert_eq!(order.len(), 0);
    }

    #[test]
    fn a_removed_entry_counts_no_longer() {
        let mut order = EvictionOrder::default();
        let [one, two] = [opener(1, 1), opener(2, 1)];
        let numbers: Vec<u64> = ["a", "b", "c"].into_iter().map(|thing| order.add(one, thing)).collect();
        order.add(two, "x");
        order.add(two, "y");
        assert_eq!(order.remove(one, numbers[0]), Some("a"));
        assert_eq!(order.remove(one, numbers[0]), None);
        assert_eq!(order.remove(two, numbers[1]), None, "it is another's");
        assert_eq!(order.remove(one, numbers[1]), Some("b"));
        assert_eq!(drain(&mut order), ["x", "c", "y"]);
        assert!(order.counts.is_empty() && order.group_counts.is_empty());
        assert!(order.users.is_empty() && order.groups.is_empty());
    }

    /// Compares with a plain list that is searched from end to end.
    #[test]
    fn it_is_as_if_one_had_looked_through_all() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut order = EvictionOrder::default();
        let mut all: Vec<(Opener, u64)> = Vec::new();
        let first = |all: &[(Opener, u64)]| {
            let of = |is: &dyn Fn(&Opener) -> bool| all.iter().filter(|(opener, _)| is(opener)).count();
            all.iter().copied().max_by_key(|&(opener, number)| {
                let group = of(&|other| other.group == opener.group);
                // A group ranks by the oldest thing of its first user.
                let in_group = all.iter().filter(|(other, _)| other.group == opener.group);
                let rank = |opener: Opener, number: u64| (of(&|other| *other == opener), Reverse(number));
                let best = in_group.map(|&(other, number)| rank(other, number)).max();
                (group, best.map(|(_, oldest)| oldest), rank(opener, number))
            })
        };
        for step in 0..3_000 {
            let opener = opener(rng.u32(..4), rng.u32(..3));
            match rng.u8(..10) {
                0..5 => all.push((opener, order.add(opener, step))),
                5..7 if !all.is_empty() => {
                    let (opener, number) = all.swap_remove(rng.usize(..all.len()));
                    assert!(order.remove(opener, number).is_some());
                }
                _ => {
                    let expected = first(&all).map(|(_, number)| number);
                    assert_eq!(order.pop().map(|(number, _)| number), expected, "at {step}");
                    all.retain(|(_, number)| Some(*number) != expected);
                }
            }
            assert_eq!(order.len(), all.len());
        }
    }
}
