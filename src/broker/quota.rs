//! The idempotency keys of all users, over all rooms and recipients. Bounded for each user and in total bytes; beyond
//! either bound the oldest key is forgotten, and no message is refused.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::chat::keys::{KeyScope, KeyTable};
use crate::names::{Key, UserId};
use crate::striped::Striped;

/// Stripes of the table, by user. [`KeyQuotas::expire`] visits one at a time.
const STRIPES: usize = 64;
/// Most bytes that are forgotten beyond what is necessary, so that a node at its limit does not search for the oldest
/// key with every message.
const SLACK_BYTES: usize = 64 * 1024;

/// The bound for the number of a user's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyBound {
    /// `limits.max_keys_per_user`, for keys that the user's own connections send.
    User,
    /// `api.max_keys`, for keys that other servers send on behalf of the user.
    Api,
}

/// The result of doing something under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once {
    /// It was done now, with this value.
    First(u64),
    /// It was done before, with this value.
    Repeat(u64),
}

#[derive(Debug)]
struct Stripe {
    table: Mutex<KeyTable>,
    /// The number of the stripe's oldest key, as of the last change; `u64::MAX` when there is none.
    oldest: AtomicU64,
}

impl Default for Stripe {
    fn default() -> Self {
        Self { table: Mutex::default(), oldest: AtomicU64::new(u64::MAX) }
    }
}

/// The keys of all users.
///
/// Each publishing thread may pass the bound in bytes by one key, until it has forgotten others.
#[derive(Debug)]
pub struct KeyQuotas {
    stripes: Striped<Stripe, STRIPES>,
    most_per_user: AtomicUsize,
    most_of_api: AtomicUsize,
    max_bytes: usize,
    bytes: AtomicUsize,
    next: AtomicU64,
}

impl KeyQuotas {
    pub(super) fn new(most_per_user: usize, most_of_api: usize, max_bytes: usize) -> Self {
        Self {
            stripes: Striped::default(),
            most_per_user: AtomicUsize::new(most_per_user.max(1)),
            most_of_api: AtomicUsize::new(most_of_api.max(1)),
            max_bytes,
            bytes: AtomicUsize::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// Changes how many keys of one user are remembered. A user who has more keeps them until they expire.
    pub(super) fn set(&self, most_per_user: usize, most_of_api: usize) {
        self.most_per_user.store(most_per_user.max(1), Relaxed);
        self.most_of_api.store(most_of_api.max(1), Relaxed);
    }

    /// Changes a stripe and keeps the count of bytes true.
    fn change<R>(&self, stripe: &Stripe, f: impl FnOnce(&mut KeyTable) -> R) -> R {
        let mut table = stripe.table.lock();
        let before = table.bytes();
        let result = f(&mut table);
        let after = table.bytes();
        if after >= before {
            self.bytes.fetch_add(after - before, Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Relaxed);
        }
        stripe.oldest.store(table.oldest().unwrap_or(u64::MAX), Relaxed);
        result
    }

    /// Does something under a key of `user`, unless it was done within the last five minutes. Of two threads that try
    /// at once the second gets the result of the first. The value that `f` returns is remembered; `f` must neither wait
    /// nor use keys. Beyond `bound` the user's oldest key is forgotten.
    ///
    /// # Errors
    /// Those of `f`. Nothing is remembered then.
    pub fn once<E>(
        &self,
        user: &UserId,
        scope: KeyScope,
        key: Key,
        now_ms: u64,
        bound: KeyBound,
        f: impl FnOnce() -> Result<u64, E>,
    ) -> Result<Once, E> {
        let name = (scope, key);
        let most = match bound {
            KeyBound::User => self.most_per_user.load(Relaxed),
            KeyBound::Api => self.most_of_api.load(Relaxed),
        };
        let done = self.change(self.stripes.stripe(user), |table| {
            if let Some(value) = table.find(user, &name, now_ms) {
                return Ok(Once::Repeat(value));
            }
            let value = f()?;
            let number = self.next.fetch_add(1, Relaxed);
            table.insert(user, name, value, (number, now_ms), most);
            Ok(Once::First(value))
        });
        self.evict();
        done
    }

    /// Remembers a key that a log has kept. The log does not know which bound held for it, so the wider one does.
    pub(super) fn restore(&self, user: &UserId, scope: KeyScope, key: Key, value: u64, at_ms: u64) {
        let is_wider = self.most_of_api.load(Relaxed) > self.most_per_user.load(Relaxed);
        let bound = if is_wider { KeyBound::Api } else { KeyBound::User };
        let Ok(_) = self.once(user, scope, key, at_ms, bound, || Ok::<_, Infallible>(value));
    }

    /// Forgets a key whose message was not appended.
    pub(super) fn withdraw(&self, user: &UserId, scope: KeyScope, key: Key) {
        self.change(self.stripes.stripe(user), |table| table.withdraw(user, &(scope, key)));
    }

    /// Forgets what is too old in one stripe. Counting `turn` up visits all of them.
    pub(super) fn expire(&self, turn: usize, now_ms: u64) {
        self.change(self.stripes.in_turn(turn), |table| table.expire(now_ms));
    }

    /// Forgets the oldest keys of the node until the bound holds. Called without a stripe's lock.
    fn evict(&self) {
        if self.bytes.load(Relaxed) <= self.max_bytes {
            return;
        }
        let kept = self.max_bytes - SLACK_BYTES.min(self.max_bytes / 16);
        while self.bytes.load(Relaxed) > kept {
            let Some(oldest) = self.stripes.iter().min_by_key(|stripe| stripe.oldest.load(Relaxed)) else {
                return;
            };
            if oldest.oldest.load(Relaxed) == u64::MAX {
                return;
            }
            self.change(oldest, KeyTable::pop_oldest);
        }
    }

    /// Returns how many keys are remembered, and how many users have any.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        self.stripes
            .iter()
            .map(|stripe| stripe.table.lock().sizes())
            .fold((0, 0), |(keys, users), (more, others)| (keys + more, users + others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::keys::KEPT_MS;
    use crate::names::Epoch;

    fn user(number: usize) -> UserId {
        format!("user-{number}").parse().unwrap()
    }

    fn once(quotas: &KeyQuotas, user: &UserId, scope: &KeyScope, key: usize, now_ms: u64) -> Once {
        let key = format!("{key:036}").parse().unwrap();
        quotas.once(user, scope.clone(), key, now_ms, KeyBound::User, || Ok::<_, Infallible>(now_ms)).unwrap()
    }

    #[test]
    fn a_user_who_sets_many_keys_is_never_refused_and_pushes_out_only_its_own() {
        let quotas = KeyQuotas::new(10, 50, 1 << 20);
        let room = KeyScope::Room(Epoch::random());
        let [ann, bob] = ["ann", "bob"].map(|name| name.parse::<UserId>().unwrap());
        once(&quotas, &bob, &room, 0, 1);
        for key in 0..100_000 {
            assert_eq!(once(&quotas, &ann, &room, key, 2), Once::First(2));
        }
        assert_eq!(quotas.sizes(), (11, 2));
        assert_eq!(once(&quotas, &bob, &room, 0, 3), Once::Repeat(1));
        assert_eq!(once(&quotas, &ann, &room, 99_990, 3), Once::Repeat(2), "the oldest of the ten");
        assert_eq!(once(&quotas, &ann, &room, 99_989, 3), Once::First(3));
        (0..STRIPES).for_each(|turn| quotas.expire(turn, 3 + KEPT_MS));
        assert_eq!((quotas.sizes(), quotas.bytes.load(Relaxed)), ((0, 0), 0));
    }

    #[test]
    fn keys_of_another_server_have_a_bound_of_their_own() {
        let quotas = KeyQuotas::new(10, 50, 1 << 20);
        let (room, ann) = (KeyScope::Room(Epoch::random()), user(1));
        for key in 0..60 {
            let key = format!("{key:036}").parse().unwrap();
            let done = quotas.once(&ann, room.clone(), key, 1, KeyBound::Api, || Ok::<_, Infallible>(1));
            assert_eq!(done, Ok(Once::First(1)));
        }
        assert_eq!(quotas.sizes(), (50, 1));
        assert_eq!(once(&quotas, &ann, &room, 10, 2), Once::Repeat(1), "the oldest of the fifty");
    }

    #[test]
    fn beyond_the_bytes_the_oldest_of_all_users_go_first_and_nobody_is_refused() {
        let max_bytes = 1 << 20;
        let quotas = KeyQuotas::new(10, 50, max_bytes);
        let room = KeyScope::Room(Epoch::random());
        for number in 0..20_000 {
            assert_eq!(once(&quotas, &user(number), &room, 0, number as u64), Once::First(number as u64));
            assert!(quotas.bytes.load(Relaxed) <= max_bytes);
        }
        let (keys, users) = quotas.sizes();
        assert!(keys == users && keys > 1_000, "{keys} keys of {users} users");
        let known = |number| matches!(once(&quotas, &user(number), &room, 0, 20_000), Once::Repeat(_));
        assert!((20_000 - keys..20_000).all(known), "the newest {keys} are there");
    }

    #[test]
    fn a_key_of_a_failed_publication_is_not_remembered() {
        let quotas = KeyQuotas::new(2, 50, 1 << 20);
        let (ann, key): (UserId, Key) = ("ann".parse().unwrap(), "k".parse().unwrap());
        let scope = KeyScope::User(ann.clone());
        let refused = quotas.once(&ann, scope.clone(), key.clone(), 0, KeyBound::User, || Err("full"));
        assert_eq!(refused, Err("full"));
        assert_eq!(quotas.sizes(), (0, 0));
        let first =
            quotas.once(&ann, scope.clone(), key.clone(), 0, KeyBound::User, || Ok::<_, Infallible>(1));
        assert_eq!(first, Ok(Once::First(1)));
        quotas.withdraw(&ann, scope, key);
        assert_eq!((quotas.sizes(), quotas.bytes.load(Relaxed)), ((0, 0), 0));
    }
}
