//! How many idempotency keys each user has set in the last five minutes, over all rooms.
//!
//! The rooms remember the keys; here stand only the times, so that a user who may set no more can be told when the
//! next one is free. A key that its room has not swept yet no longer counts here.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::BrokerError;
use crate::chat::keys::KEPT_MS;
use crate::names::UserId;
use crate::shrink::ShrinkWhenSparse;

/// Stripes of the table. [`Quotas::expire`] visits one at a time.
const STRIPES: usize = 64;
/// Keys of all users together: some 800 MiB at worst, for which more users than any node serves would have to retry
/// everything they say.
const MAX_KEYS: usize = 1 << 22;

type Stripe = Mutex<HashMap<UserId, VecDeque<u64>>>;

/// The keys of all users.
#[derive(Debug)]
pub(super) struct Quotas {
    stripes: Box<[Stripe]>,
    hasher: RandomState,
    most_per_user: usize,
    keys: AtomicUsize,
}

impl Quotas {
    pub(super) fn new(most_per_user: usize) -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            most_per_user,
            keys: AtomicUsize::new(0),
        }
    }

    fn stripe(&self, user: &UserId) -> &Stripe {
        &self.stripes[self.hasher.hash_one(user) as usize % STRIPES]
    }

    /// Counts a key of `user`.
    ///
    /// # Errors
    /// [`BrokerError::TooManyKeys`] when the user has too many; [`BrokerError::Full`] when the node has, which is not
    /// the user's fault.
    pub(super) fn take(&self, user: &UserId, now_ms: u64) -> Result<(), BrokerError> {
        if self.keys.fetch_add(1, Relaxed) >= MAX_KEYS {
            self.keys.fetch_sub(1, Relaxed);
            return Err(BrokerError::Full);
        }
        let mut users = self.stripe(user).lock();
        let times = users.entry(user.clone()).or_default();
        let forgotten = forget(times, now_ms);
        if let Some(oldest_ms) = times.front().filter(|_| times.len() >= self.most_per_user) {
            self.keys.fetch_sub(forgotten + 1, Relaxed);
            let retry_after_ms = (oldest_ms + KEPT_MS).saturating_sub(now_ms).max(1);
            return Err(BrokerError::TooManyKeys { retry_after_ms });
        }
        self.keys.fetch_sub(forgotten, Relaxed);
        // Whoever read the clock first need not have come first.
        times.push_back(times.back().map_or(now_ms, |last_ms| now_ms.max(*last_ms)));
        Ok(())
    }

    /// Takes back a key that was counted just now.
    pub(super) fn give_back(&self, user: &UserId) {
        let mut users = self.stripe(user).lock();
        let Some(times) = users.get_mut(user) else { return };
        self.keys.fetch_sub(usize::from(times.pop_back().is_some()), Relaxed);
        if times.is_empty() {
            users.remove(user);
        }
    }

    /// Forgets what is too old in one stripe. `turn` chooses it: count it up.
    pub(super) fn expire(&self, turn: usize, now_ms: u64) {
        let mut users = self.stripes[turn % STRIPES].lock();
        users.retain(|_, times| {
            self.keys.fetch_sub(forget(times, now_ms), Relaxed);
            !times.is_empty()
        });
        users.shrink_when_sparse();
    }

    /// Keys that count, and users that have any.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.keys.load(Relaxed), self.stripes.iter().map(|stripe| stripe.lock().len()).sum())
    }
}

/// Forgets the times that are too old; returns how many.
fn forget(times: &mut VecDeque<u64>, now_ms: u64) -> usize {
    let old = times.iter().take_while(|at_ms| now_ms.saturating_sub(**at_ms) >= KEPT_MS).count();
    times.drain(..old);
    times.shrink_when_sparse();
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_so_many_keys_in_five_minutes() {
        let quotas = Quotas::new(2);
        let [ann, bob] = ["ann", "bob"].map(|name| name.parse::<UserId>().unwrap());
        assert_eq!(quotas.take(&ann, 1000), Ok(()));
        assert_eq!(quotas.take(&ann, 4000), Ok(()));
        assert_eq!(quotas.take(&ann, 5000), Err(BrokerError::TooManyKeys { retry_after_ms: KEPT_MS - 4000 }));
        assert_eq!(quotas.take(&bob, 5000), Ok(()));
        assert_eq!(quotas.take(&ann, 999 + KEPT_MS), Err(BrokerError::TooManyKeys { retry_after_ms: 1 }));
        assert_eq!(quotas.take(&ann, 1000 + KEPT_MS), Ok(()));
        assert_eq!(quotas.sizes(), (3, 2));
        quotas.give_back(&ann);
        assert_eq!(quotas.take(&ann, 1001 + KEPT_MS), Ok(()));
        assert_eq!(quotas.take(&ann, 1002 + KEPT_MS), Err(BrokerError::TooManyKeys { retry_after_ms: 2998 }));
        (0..STRIPES).for_each(|turn| quotas.expire(turn, 5000 + KEPT_MS));
        assert_eq!(quotas.sizes(), (1, 1));
        (0..STRIPES).for_each(|turn| quotas.expire(turn, 1001 + 2 * KEPT_MS));
        assert_eq!(quotas.sizes(), (0, 0));
    }

    #[test]
    fn what_is_given_back_leaves_nothing() {
        let quotas = Quotas::new(2);
        let ann: UserId = "ann".parse().unwrap();
        quotas.take(&ann, 0).unwrap();
        quotas.give_back(&ann);
        quotas.give_back(&ann);
        assert_eq!(quotas.sizes(), (0, 0));
    }
}
