//! The token buckets of users, in lock stripes. They outlive connections, so that reconnecting does not refill a
//! bucket. A full bucket equals an absent one: only users who have sent something lately are in the table.

use std::collections::hash_map::Entry;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::bucket::{Bucket, Rate, Refused};
use crate::names::UserId;
use crate::shrink::ShrinkWhenSparse;
use crate::striped::Striped;

/// Number of stripes of the map, each with a lock: far more than threads, so that two rarely want the same.
const STRIPES: usize = 64;
/// Stripes that [`Users::forget`] visits in one call. It is called ten times a second, so it visits each stripe about
/// once a second.
const SWEPT: usize = 8;
/// Most buckets in a stripe, a million in all stripes. A bucket takes 16 bytes of memory, or 20 to 40 with the spare
/// capacity of the map.
const MAX_PER_STRIPE: usize = 16 * 1024;

/// The buckets of all users that do not have all tokens, by a hash of the user's name, so that a bucket needs no
/// allocation.
///
/// Two users with the same hash would share a bucket. The hash has 64 bits and a secret key, so nobody can cause this
/// on purpose. By chance it happens among a million users at once in one of 30 million cases.
#[derive(Debug)]
pub struct Users {
    stripes: Striped<Mutex<FxHashMap<u64, Bucket>>, STRIPES>,
    max_per_stripe: usize,
}

impl Default for Users {
    fn default() -> Self {
        Self::bounded(MAX_PER_STRIPE)
    }
}

impl Users {
    fn bounded(max_per_stripe: usize) -> Self {
        Self { stripes: Striped::default(), max_per_stripe }
    }

    /// Takes a token from the user's bucket. When the table has no space for another bucket, a new user is not limited
    /// here: the bucket of the user's connection still limits it.
    ///
    /// # Errors
    /// The bucket is empty.
    pub fn take(&self, user: &UserId, now_ms: u64, rate: &Rate) -> Result<(), Refused> {
        let hash = self.stripes.hash(user);
        let mut buckets = self.stripes.stripe_of_hash(hash).lock();
        let has_space = buckets.len() < self.max_per_stripe;
        match buckets.entry(hash) {
            Entry::Occupied(bucket) => bucket.into_mut().take(now_ms, rate),
            Entry::Vacant(slot) => {
                let mut bucket = Bucket::default();
                bucket.take(now_ms, rate)?;
                if has_space {
                    slot.insert(bucket);
                }
                Ok(())
            }
        }
    }

    /// Returns how many thousandths of a token are missing in the user's bucket.
    #[must_use]
    pub fn missing(&self, user: &UserId, now_ms: u64, rate: &Rate) -> u64 {
        let hash = self.stripes.hash(user);
        let buckets = self.stripes.stripe_of_hash(hash).lock();
        buckets.get(&hash).map_or(0, |bucket| bucket.missing_at(now_ms, rate))
    }

    /// Takes tokens from the user's bucket until at least so many thousandths of a token are missing, as on another
    /// node of the same user. When the table has no space for another bucket, nothing is taken.
    pub fn drain(&self, user: &UserId, missing: u64, now_ms: u64, rate: &Rate) {
        if missing == 0 {
            return;
        }
        let hash = self.stripes.hash(user);
        let mut buckets = self.stripes.stripe_of_hash(hash).lock();
        if buckets.len() < self.max_per_stripe || buckets.contains_key(&hash) {
            buckets.entry(hash).or_default().drain(missing, now_ms, rate);
        }
    }

    /// Forgets the full buckets of the next few stripes. Calls with `turn` counting up reach all stripes.
    pub fn forget(&self, turn: usize, now_ms: u64, rate: &Rate) {
        let first = turn.wrapping_mul(SWEPT);
        for stripe in first..first + SWEPT {
            let mut buckets = self.stripes.in_turn(stripe).lock();
            buckets.retain(|_, bucket| !bucket.is_full(now_ms, rate));
            buckets.shrink_when_sparse();
        }
    }

    /// Returns the number of buckets that are not known to be full.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stripes.sum(FxHashMap::len)
    }

    /// Returns true when every user has all tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserId {
        format!("user-{number}").parse().unwrap()
    }

    fn forget_all(users: &Users, now_ms: u64, rate: &Rate) {
        (0..STRIPES / SWEPT).for_each(|turn| users.forget(turn, now_ms, rate));
    }

    #[test]
    fn full_buckets_are_forgotten_and_no_others() {
        let (users, rate) = (Users::default(), Rate::new(10, 40));
        for number in 0..1_000 {
            users.take(&user(number), 0, &rate).unwrap();
        }
        users.take(&user(7), 0, &rate).unwrap();
        forget_all(&users, 99, &rate);
        assert_eq!(users.len(), 1_000);
        forget_all(&users, 100, &rate);
        assert_eq!(users.len(), 1, "the bucket of a user with two messages is not full yet");
        forget_all(&users, 200, &rate);
        assert!(users.is_empty());
        assert!(users.stripes.iter().all(|stripe| stripe.lock().capacity() == 0), "memory is kept");
    }

    #[test]
    fn tokens_that_are_missing_elsewhere_are_missing_here() {
        let (here, there, rate) = (Users::default(), Users::default(), Rate::new(10, 40));
        let user = user(1);
        for _ in 0..30 {
            there.take(&user, 5, &rate).unwrap();
        }
        let missing = there.missing(&user, 105, &rate);
        assert_eq!((missing, rate.ms_for(missing), rate.thousandths_in(100)), (29_000, 2_900, 1_000));
        here.drain(&user, 0, 105, &rate);
        assert!(here.is_empty(), "a full bucket equals an absent one");
        here.drain(&user, missing, 105, &rate);
        here.drain(&user, missing - 1, 105, &rate);
        let given = (0..40).filter(|_| here.take(&user, 105, &rate).is_ok()).count();
        assert_eq!(given, 11, "they are not added up");
        here.drain(&user, u64::MAX, 105, &rate);
        assert_eq!(here.missing(&user, 105, &rate), 40_000, "a bucket has no more than its burst");
    }

    #[test]
    fn a_full_table_keeps_no_more_buckets_and_refuses_no_new_user() {
        let (users, rate) = (Users::bounded(2), Rate::new(1, 1));
        for number in 0..10_000 {
            users.take(&user(number), 0, &rate).unwrap();
        }
        assert_eq!(users.len(), 2 * STRIPES);
        let refused = (0..10_000).filter(|number| users.take(&user(*number), 0, &rate).is_err()).count();
        assert_eq!(refused, 2 * STRIPES, "a user with a bucket keeps it");
    }
}
