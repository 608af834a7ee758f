//! Idempotency keys: a message or command sent twice under one key is carried out once.
//!
//! Keys never cause a refusal: the oldest one is forgotten instead. Each user has a bound of their own, so that no user
//! pushes out the keys of others. Beyond a number of bytes, the owner of the tables lets the oldest key of all be
//! forgotten.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::names::{Epoch, Key, UserId};
use crate::shrink::ShrinkWhenSparse;

/// How long a key is remembered, in milliseconds: longer than any sensible series of retries.
pub const KEPT_MS: u64 = 300_000;
/// Bytes that a key takes besides its own text: its entries in the table and in the order, with their spare room.
const KEY_BYTES: usize = 200;
/// Bytes that a user with any key takes besides the keys.
const USER_BYTES: usize = 300;

/// Until when a room has keys that are remembered. Its position is remembered at least as long.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct KeyExpiry {
    until_ms: u64,
}

impl KeyExpiry {
    /// Notes that a key was set at `at_ms`.
    pub fn note(&mut self, at_ms: u64) {
        self.until_ms = self.until_ms.max(at_ms.saturating_add(KEPT_MS));
    }

    /// Notes the time, after which all keys may be forgotten.
    pub fn expire(&mut self, now_ms: u64) {
        if now_ms >= self.until_ms {
            self.until_ms = 0;
        }
    }

    /// Returns true when no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.until_ms == 0
    }
}

/// The room or recipient that a user's key belongs to. The same key may be used again elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyScope {
    /// A room, by its epoch: each life of a room has another one.
    Room(Epoch),
    /// A recipient of private messages.
    User(UserId),
}

type Name = Arc<(KeyScope, Key)>;

/// The age of a key: its number among all keys of the node, its time, and its name.
type Age = (u64, u64, Name);

/// The keys of one user.
#[derive(Debug, Default)]
struct UserKeys {
    /// The value of each key.
    values: HashMap<Name, u64>,
    /// The keys in the order in which they were set, each once. Times never run backwards.
    ages: VecDeque<Age>,
}

/// The keys of some users, each with its value: the offset of a message, or a number of recipients.
#[derive(Debug, Default)]
pub struct KeyTable {
    users: HashMap<UserId, UserKeys>,
    /// Users by the number of their oldest key.
    by_age: BTreeMap<u64, UserId>,
    bytes: usize,
}

fn cost(name: &(KeyScope, Key)) -> usize {
    let scope = match &name.0 {
        KeyScope::Room(_) => 0,
        KeyScope::User(user) => user.as_str().len(),
    };
    KEY_BYTES + scope + name.1.as_str().len()
}

impl KeyTable {
    /// Returns the value of a key that was set less than [`KEPT_MS`] ago, by a clock that never goes back.
    pub fn find(&mut self, user: &UserId, name: &(KeyScope, Key), now_ms: u64) -> Option<u64> {
        self.expire_of(user, now_ms);
        self.users.get(user)?.values.get(name).copied()
    }

    /// Remembers a key that is not known yet, under a number above all others. Forgets the user's oldest key when there
    /// are more than `most`.
    pub fn insert(
        &mut self,
        user: &UserId,
        key: (KeyScope, Key),
        value: u64,
        (number, at_ms): (u64, u64),
        most: usize,
    ) {
        let name = Arc::new(key);
        let sent = match self.users.entry(user.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.by_age.insert(number, user.clone());
                self.bytes += USER_BYTES;
                new.insert(UserKeys::default())
            }
        };
        let known = sent.values.insert(Arc::clone(&name), value);
        debug_assert_eq!(known, None, "a key is inserted once");
        self.bytes += cost(&name);
        // Two threads may have read the clock in the other order.
        let at_ms = sent.ages.back().map_or(at_ms, |(_, last_ms, _)| at_ms.max(*last_ms));
        sent.ages.push_back((number, at_ms, name));
        if sent.ages.len() > most {
            self.pop(user);
        }
    }

    /// Forgets a key because its message was not appended.
    pub fn withdraw(&mut self, user: &UserId, key: &(KeyScope, Key)) {
        let Some(sent) = self.users.get_mut(user) else { return };
        let Some(at) = sent.ages.iter().rposition(|(_, _, name)| **name == *key) else { return };
        if at == 0 {
            return self.pop(user);
        }
        if let Some((.., name)) = sent.ages.remove(at) {
            sent.values.remove(&name);
            self.bytes -= cost(&name);
        }
    }

    /// Forgets the oldest key of all users.
    pub fn pop_oldest(&mut self) {
        if let Some(user) = self.by_age.first_key_value().map(|(_, user)| user.clone()) {
            self.pop(&user);
        }
    }

    /// Returns the number of the oldest key of all users.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.by_age.first_key_value().map(|(number, _)| *number)
    }

    /// Forgets the keys older than [`KEPT_MS`].
    pub fn expire(&mut self, now_ms: u64) {
        while let Some(user) = self.by_age.first_key_value().map(|(_, user)| user.clone()) {
            let before = self.bytes;
            self.expire_of(&user, now_ms);
            if self.bytes == before {
                break;
            }
        }
        self.users.shrink_when_sparse();
    }

    /// Returns the bytes that the keys take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how many keys are remembered, and how many users have any.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.users.values().map(|sent| sent.ages.len()).sum(), self.users.len())
    }

    fn expire_of(&mut self, user: &UserId, now_ms: u64) {
        let is_old = |(_, at_ms, _): &Age| now_ms.saturating_sub(*at_ms) >= KEPT_MS;
        while self.users.get(user).is_some_and(|sent| sent.ages.front().is_some_and(is_old)) {
            self.pop(user);
        }
    }

    /// Forgets the oldest key of a user, and the user with the last one.
    fn pop(&mut self, user: &UserId) {
        let Some(sent) = self.users.get_mut(user) else { return };
        if let Some((number, _, name)) = sent.ages.pop_front() {
            sent.values.remove(&name);
            self.bytes -= cost(&name);
            self.by_age.remove(&number);
        }
        if let Some((number, ..)) = sent.ages.front() {
            self.by_age.insert(*number, user.clone());
            sent.values.shrink_when_sparse();
            sent.ages.shrink_when_sparse();
        } else {
            self.users.remove(user);
            self.bytes -= USER_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 3;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    /// Returns the scopes of two rooms.
    fn scopes() -> [KeyScope; 2] {
        [KeyScope::Room(Epoch::random()), KeyScope::Room(Epoch::random())]
    }

    fn name(scope: &KeyScope, key: &str) -> (KeyScope, Key) {
        (scope.clone(), key.parse().unwrap())
    }

    #[test]
    fn a_key_stands_for_its_value_for_five_minutes() {
        let (mut table, [room, _]) = (KeyTable::default(), scopes());
        let (ann, bob) = (user("ann"), user("bob"));
        table.insert(&ann, name(&room, "1"), 7, (0, 1000), MOST);
        table.insert(&bob, name(&room, "1"), 8, (1, 1500), MOST);
        assert_eq!(table.find(&ann, &name(&room, "1"), 1000 + KEPT_MS - 1), Some(7));
        assert_eq!(table.find(&ann, &name(&room, "2"), 1000), None);
        assert_eq!(table.find(&ann, &name(&room, "1"), 1000 + KEPT_MS), None);
        assert_eq!(table.find(&bob, &name(&room, "1"), 1000 + KEPT_MS), Some(8));
        table.expire(1500 + KEPT_MS);
        assert_eq!((table.sizes(), table.bytes(), table.oldest()), ((0, 0), 0, None));
    }

    #[test]
    fn the_oldest_of_a_user_goes_first_over_all_rooms_and_touches_nobody_else() {
        let (mut table, [one, two]) = (KeyTable::default(), scopes());
        let (ann, bob) = (user("ann"), user("bob"));
        table.insert(&bob, name(&one, "b"), 9, (0, 0), MOST);
        for (number, room) in (1..).zip([&one, &two, &one, &two]) {
            table.insert(&ann, name(room, &number.to_string()), number, (number, 0), MOST);
        }
        assert_eq!(table.find(&ann, &name(&one, "1"), 0), None);
        assert_eq!(table.find(&ann, &name(&two, "2"), 0), Some(2));
        assert_eq!(table.find(&bob, &name(&one, "b"), 0), Some(9));
        assert_eq!((table.sizes(), table.oldest()), ((4, 2), Some(0)));
        table.pop_oldest();
        table.pop_oldest();
        assert_eq!((table.find(&bob, &name(&one, "b"), 0), table.oldest()), (None, Some(3)));
        assert_eq!((table.find(&ann, &name(&two, "2"), 0), table.sizes()), (None, (2, 1)));
    }

    #[test]
    fn a_withdrawn_key_leaves_nothing() {
        let (mut table, [room, _]) = (KeyTable::default(), scopes());
        let ann = user("ann");
        for number in 0..3 {
            table.insert(&ann, name(&room, &number.to_string()), number, (number, 0), MOST);
        }
        table.withdraw(&ann, &name(&room, "1"));
        assert_eq!((table.find(&ann, &name(&room, "1"), 0), table.sizes()), (None, (2, 1)));
        for key in ["0", "0", "2", "9"] {
            table.withdraw(&ann, &name(&room, key));
        }
        assert_eq!((table.sizes(), table.bytes(), table.oldest()), ((0, 0), 0, None));
    }

    #[test]
    fn times_never_run_backwards() {
        let (mut table, [room, _]) = (KeyTable::default(), scopes());
        let ann = user("ann");
        table.insert(&ann, name(&room, "1"), 1, (0, 50), MOST);
        table.insert(&ann, name(&room, "2"), 2, (1, 49), MOST);
        table.expire(49 + KEPT_MS);
        assert_eq!(table.sizes(), (2, 1));
        table.expire(50 + KEPT_MS);
        assert_eq!(table.sizes(), (0, 0));
    }

    #[test]
    fn a_room_has_keys_for_as_long_as_the_last_one() {
        let mut keys = KeyExpiry::default();
        assert!(keys.is_empty());
        keys.note(10);
        keys.note(5);
        keys.expire(9 + KEPT_MS);
        assert!(!keys.is_empty());
        keys.expire(10 + KEPT_MS);
        assert!(keys.is_empty());
    }
}
