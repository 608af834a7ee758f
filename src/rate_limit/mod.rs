//! Rate limits of connections and users: token buckets without a clock of their own (the time is an argument), and the
//! count of refusals after which a connection ends.

mod bucket;
mod strikes;
mod users;

use std::sync::Arc;

pub use self::bucket::{Bucket, Rate, Refused};
pub use self::strikes::Strikes;
pub use self::users::Users;
use crate::config;
use crate::names::UserId;

/// The rates of `rate_limit.*`, and the buckets of the users of this node.
#[derive(Debug)]
pub struct Limiter {
    /// Rate of messages, for each connection and for each user.
    pub messages: Rate,
    /// Rate of frames of any kind, for each connection.
    pub frames: Rate,
    /// Rate of the commands other than messages that make the server work for others (joins, which the members of a
    /// room are told of, and queries of history and presence), for each connection. The burst lets a client rejoin all
    /// its rooms at once.
    pub requests: Rate,
    /// Number of refusals within a minute beyond which a connection ends.
    pub strikes: usize,
    /// The buckets of users, which outlive their connections, and other rates.
    pub users: Arc<Users>,
}

impl Limiter {
    /// Creates the limiter that `rate_limit.*` describes, for connections of up to `max_rooms` rooms. Returns `None`
    /// when `rate_limit.enabled` is false.
    #[must_use]
    pub fn new(config: &config::RateLimit, max_rooms: usize) -> Option<Self> {
        config.enabled.then(|| Self {
            requests: Rate::new(config.messages_per_second, config.burst.max(max_rooms)),
            messages: Rate::new(config.messages_per_second, config.burst),
            // A join is a frame too, so the burst of frames also covers rejoining all rooms.
            frames: Rate::new(config.frames_per_second, config.frames_per_second.max(max_rooms)),
            strikes: config.strikes,
            users: Arc::default(),
        })
    }

    /// Takes over the buckets of users from the limiter before a reload.
    #[must_use]
    pub fn with_users_of(self, former: &Self) -> Self {
        Self { users: Arc::clone(&former.users), ..self }
    }
}

/// The buckets of one connection for messages and requests, and its strikes; the bucket for frames is with the reader.
/// 24 bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    messages: Bucket,
    requests: Bucket,
    strikes: Strikes,
}

impl Allowance {
    /// Takes a message from the buckets of this connection and of its user. `now_ms` is by the node's clock, which all
    /// connections of a user share.
    ///
    /// # Errors
    /// One of the buckets is empty. If it is the user's, the token of the connection's bucket is taken nevertheless.
    pub fn message(&mut self, user: &UserId, now_ms: u64, limiter: &Limiter) -> Result<(), Refused> {
        // The connection's own bucket comes first: a flood must not reach the lock of the user's bucket, where other
        // connections would feel it.
        self.messages.take(now_ms, &limiter.messages)?;
        limiter.users.take(user, now_ms, &limiter.messages)
    }

    /// Returns true when nothing is used up and no strike counts, so that the allowance equals a new one.
    #[must_use]
    pub fn is_new(&self, now_ms: u64, limiter: &Limiter) -> bool {
        self.messages.is_full(now_ms, &limiter.messages)
            && self.requests.is_full(now_ms, &limiter.requests)
            && self.strikes.are_over(now_ms)
    }

    /// Returns true when a bucket of the connection itself is empty. Otherwise a refusal was caused by other
    /// connections of the same user, which may belong to a stranger, and must not count as a strike.
    #[must_use]
    pub fn is_used_up(&self, now_ms: u64, limiter: &Limiter) -> bool {
        self.messages.is_empty(now_ms, &limiter.messages) || self.requests.is_empty(now_ms, &limiter.requests)
    }

    /// Takes a request from the bucket of this connection. `now_ms` is by the node's clock.
    ///
    /// # Errors
    /// The bucket is empty.
    pub fn request(&mut self, now_ms: u64, limiter: &Limiter) -> Result<(), Refused> {
        self.requests.take(now_ms, &limiter.requests)
    }

    /// Counts a refusal. Returns true when there were more than `rate_limit.strikes` within a minute. `now_ms` may be
    /// by any clock, but must be by the same one in every call.
    pub fn strike(&mut self, now_ms: u64, limiter: &Limiter) -> bool {
        self.strikes.add(now_ms, limiter.strikes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_connection_is_a_few_bytes() {
        assert_eq!((size_of::<Bucket>(), size_of::<Allowance>()), (8, 24));
    }

    fn limiter(messages_per_second: usize, burst: usize) -> Limiter {
        let config = config::RateLimit { messages_per_second, burst, ..config::RateLimit::default() };
        Limiter::new(&config, 100).expect("it is enabled by default")
    }

    #[test]
    fn a_user_has_one_bucket_however_many_connections() {
        let limiter = limiter(1, 10);
        let (alice, bob) = ("alice".parse().unwrap(), "bobby".parse().unwrap());
        let mut connections: [Allowance; 3] = Default::default();
        let given = |connection: &mut Allowance, user: &UserId, now_ms| {
            (0..6).filter(|_| connection.message(user, now_ms, &limiter).is_ok()).count()
        };
        assert_eq!(given(&mut connections[0], &alice, 0), 6);
        assert_eq!(given(&mut connections[1], &alice, 0), 4);
        assert_eq!(given(&mut Allowance::default(), &alice, 0), 0, "reconnecting does not refill it");
        assert_eq!(given(&mut connections[2], &bob, 0), 6);
        assert_eq!(given(&mut connections[1], &alice, 2_000), 2);
        assert_eq!(given(&mut connections[0], &alice, 3_000), 1);
    }

    #[test]
    fn a_user_over_its_rate_is_no_strike_against_its_other_connections() {
        let limiter = limiter(1, 4);
        let alice = "alice".parse().unwrap();
        let (mut busy, mut quiet) = (Allowance::default(), Allowance::default());
        assert!((0..4).all(|_| busy.message(&alice, 0, &limiter).is_ok()));
        assert!(busy.is_used_up(0, &limiter));
        for _ in 0..3 {
            assert!(quiet.message(&alice, 0, &limiter).is_err());
            assert!(!quiet.is_used_up(0, &limiter));
        }
        // The quiet connection keeps sending although it is refused, so the refusals are its own fault now.
        assert!(quiet.message(&alice, 0, &limiter).is_err());
        assert!(quiet.is_used_up(0, &limiter) && !quiet.is_used_up(1_000, &limiter));
    }

    #[test]
    fn a_client_can_rejoin_all_its_rooms_at_once_however_many() {
        for max_rooms in [1, 100, 300, 10_000] {
            let limiter = Limiter::new(&config::RateLimit::default(), max_rooms).expect("enabled by default");
            for rate in [&limiter.requests, &limiter.frames] {
                let mut bucket = Bucket::default();
                let taken = (0..max_rooms).filter(|_| bucket.take(0, rate).is_ok()).count();
                assert!(taken == max_rooms, "{max_rooms} rooms");
            }
        }
    }

    #[test]
    fn there_is_no_limiter_when_rate_limits_are_disabled() {
        let config = config::RateLimit { enabled: false, ..config::RateLimit::default() };
        assert!(Limiter::new(&config, 100).is_none());
    }
}
