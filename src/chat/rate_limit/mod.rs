//! How fast one connection and one user may be: token buckets, pure, the time is an argument.
//!
//! A bucket is a GCRA (generic cell rate algorithm): instead of tokens and when they were counted it keeps the one
//! moment at which it will be full again. Eight bytes, a multiplication and a comparison; nothing has to refill it.

mod users;

pub use self::users::Users;
use super::validate::Strikes;
use crate::config;
use crate::names::UserId;
use crate::protocol::event::CommandError;

/// A token, in the unit of every sum here: a millisecond brings `per_second` thousandths. So no rate has to be
/// rounded, and what comes in the long run is exactly what was asked for.
const TOKEN: u64 = 1000;

/// So many in the long run, and so many at once after a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u64,
    depth: u64,
}

impl Rate {
    /// `per_second` in the long run, `burst` at once; at least 1 each.
    #[must_use]
    pub fn new(per_second: usize, burst: usize) -> Self {
        Self { per_second: per_second.max(1) as u64, depth: burst.max(1) as u64 * TOKEN }
    }

    /// The time in thousandths of a token. It may wrap: only differences are looked at.
    fn clock(&self, now_ms: u64) -> u64 {
        now_ms.wrapping_mul(self.per_second)
    }
}

/// Why something is refused: its bucket is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// When one more will be allowed, in milliseconds from now, at least 1.
    pub retry_after_ms: u64,
}

impl From<Refused> for CommandError {
    fn from(Refused { retry_after_ms }: Refused) -> Self {
        Self::RateLimited { retry_after_ms }
    }
}

/// A token bucket. The default is full, for as long as a clock that began at 0 has not run for 2^63 thousandths of a
/// token: 29 years at the highest rate there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it will be full again, by [`Rate::clock`].
    full_at: u64,
}

impl Bucket {
    /// Takes a token. A time that lies before the last one, as another thread may have read it, adds nothing.
    ///
    /// # Errors
    /// The bucket is empty. It costs nothing to ask then: who goes on asking waits no longer for it.
    pub fn take(&mut self, now_ms: u64, rate: &Rate) -> Result<(), Refused> {
        let now = rate.clock(now_ms);
        let missing = self.missing(now) + TOKEN;
        if missing > rate.depth {
            return Err(Refused { retry_after_ms: (missing - rate.depth).div_ceil(rate.per_second) });
        }
        self.full_at = now.wrapping_add(missing);
        Ok(())
    }

    /// True when it has no token.
    #[must_use]
    pub fn is_empty(self, now_ms: u64, rate: &Rate) -> bool {
        self.missing(rate.clock(now_ms)) + TOKEN > rate.depth
    }

    /// True when nothing is missing: then it is as good as a new one.
    #[must_use]
    pub fn is_full(self, now_ms: u64, rate: &Rate) -> bool {
        self.missing(rate.clock(now_ms)) == 0
    }

    fn missing(self, now: u64) -> u64 {
        let ahead = self.full_at.wrapping_sub(now);
        // The upper half is what lies behind us.
        if ahead > u64::MAX / 2 { 0 } else { ahead }
    }
}

/// The limits that are in force, and what the users of this node have used of theirs.
#[derive(Debug)]
pub struct Limiter {
    /// Messages, of each connection and of each user.
    pub messages: Rate,
    /// Frames of any kind, of each connection.
    pub frames: Rate,
    /// Commands that cost others something besides messages, of each connection: joins, of which the others hear, and
    /// questions for history and presence. So many at once that a client can come back to all its rooms.
    pub requests: Rate,
    /// Refusals within a minute beyond which a connection ends.
    pub strikes: usize,
    /// The buckets of users.
    pub users: Users,
}

impl Limiter {
    /// What `rate_limit.*` asks for, for connections of up to `max_rooms` rooms; `None` when it is switched off.
    #[must_use]
    pub fn new(config: &config::RateLimit, max_rooms: usize) -> Option<Self> {
        config.enabled.then(|| Self {
            requests: Rate::new(config.messages_per_second, config.burst.max(max_rooms)),
            messages: Rate::new(config.messages_per_second, config.burst),
            // A join is a frame, too.
            frames: Rate::new(config.frames_per_second, config.frames_per_second.max(max_rooms)),
            strikes: config.strikes,
            users: Users::default(),
        })
    }
}

/// What one connection has used, its frames aside. 24 bytes.
#[derive(Debug, Default)]
pub struct Allowance {
    messages: Bucket,
    requests: Bucket,
    strikes: Strikes,
}

impl Allowance {
    /// Takes a message off what this connection and its user may still send. `now_ms` by the node's clock, which all
    /// connections of a user share.
    ///
    /// # Errors
    /// It is too many. The connection has paid even so where only its user has no token left.
    pub fn message(&mut self, user: &UserId, now_ms: u64, limiter: &Limiter) -> Result<(), Refused> {
        // First its own: a flood does not get as far as the lock, where others would feel it.
        self.messages.take(now_ms, &limiter.messages)?;
        limiter.users.take(user, now_ms, &limiter.messages)
    }

    /// True when the connection itself has used up what it may say or ask. What is refused before that is due to others
    /// of the same name, who may be strangers, and no strike against it.
    #[must_use]
    pub fn is_used_up(&self, now_ms: u64, limiter: &Limiter) -> bool {
        self.messages.is_empty(now_ms, &limiter.messages) || self.requests.is_empty(now_ms, &limiter.requests)
    }

    /// Takes a request off what this connection may still ask for. `now_ms` by the node's clock.
    ///
    /// # Errors
    /// It is too many.
    pub fn request(&mut self, now_ms: u64, limiter: &Limiter) -> Result<(), Refused> {
        self.requests.take(now_ms, &limiter.requests)
    }

    /// Counts a refusal; true when there were too many. `now_ms` by any one clock.
    pub fn strike(&mut self, now_ms: u64, limiter: &Limiter) -> bool {
        self.strikes.add(now_ms, limiter.strikes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `asked` the bucket gives at `now_ms`.
    fn taken(bucket: &mut Bucket, asked: usize, now_ms: u64, rate: &Rate) -> usize {
        (0..asked).filter(|_| bucket.take(now_ms, rate).is_ok()).count()
    }

    #[test]
    fn what_a_connection_keeps_is_a_few_bytes() {
        assert_eq!((size_of::<Bucket>(), size_of::<Allowance>()), (8, 24));
    }

    #[test]
    fn a_burst_is_given_and_then_told_when_to_come_back() {
        let rate = Rate::new(10, 40);
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, 100, 5, &rate), 40);
        assert_eq!(bucket.take(5, &rate), Err(Refused { retry_after_ms: 100 }));
        assert_eq!(bucket.take(104, &rate), Err(Refused { retry_after_ms: 1 }));
        assert_eq!(bucket.take(105, &rate), Ok(()));
        assert_eq!(bucket.take(105, &rate), Err(Refused { retry_after_ms: 100 }));
    }

    #[test]
    fn the_time_told_is_the_first_at_which_it_works() {
        for (per_second, burst) in [(1, 1), (3, 2), (7, 1), (999, 5), (1_000_000, 1), (10_000_000, 3)] {
            let rate = Rate::new(per_second, burst);
            let mut bucket = Bucket::default();
            let start_ms = 1_000;
            assert_eq!(taken(&mut bucket, burst, start_ms, &rate), burst);
            let Err(Refused { retry_after_ms }) = bucket.take(start_ms, &rate) else {
                panic!("{per_second} a second: more than {burst} at once");
            };
            assert!(retry_after_ms >= 1);
            assert!(bucket.take(start_ms + retry_after_ms - 1, &rate).is_err(), "{per_second}");
            assert!(bucket.take(start_ms + retry_after_ms, &rate).is_ok(), "{per_second}");
        }
    }

    #[test]
    fn it_fills_up_to_its_burst_and_no_further() {
        let rate = Rate::new(10, 4);
        let mut bucket = Bucket::default();
        assert!(bucket.is_full(0, &rate));
        assert_eq!(taken(&mut bucket, 9, 0, &rate), 4);
        assert!(!bucket.is_full(399, &rate));
        assert_eq!(taken(&mut bucket, 9, 250, &rate), 2);
        assert_eq!(taken(&mut bucket, 9, 300, &rate), 1, "the half token of 250 counts");
        assert!(!bucket.is_full(699, &rate) && bucket.is_full(700, &rate));
        assert_eq!(taken(&mut bucket, 9, 1_000_000, &rate), 4);
    }

    #[test]
    fn in_the_long_run_a_rate_is_what_it_says() {
        const SECONDS: u64 = 1_000;
        for per_second in [1, 3, 7, 10, 333, 999, 1_001] {
            // Two, because a bucket for one loses the fraction of a token that a millisecond brings too much.
            let burst = 2 + per_second / 100;
            let rate = Rate::new(per_second, burst);
            let mut bucket = Bucket::default();
            let given: usize = (0..SECONDS * 1000).map(|now_ms| taken(&mut bucket, 3, now_ms, &rate)).sum();
            let expected = per_second * SECONDS as usize;
            assert!((expected..=expected + burst).contains(&given), "{per_second}: {given}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let rate = Rate::new(10, 4);
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, 4, 1_000, &rate), 4);
        assert_eq!(taken(&mut bucket, 4, 900, &rate), 0);
        assert_eq!(taken(&mut bucket, 4, 0, &rate), 0);
        assert_eq!(taken(&mut bucket, 4, 1_100, &rate), 1, "and takes nothing away");
    }

    #[test]
    fn a_clock_that_wraps_changes_nothing() {
        let rate = Rate::new(10_000_000, 10_000_000);
        // The last millisecond before the product wraps.
        let last_ms = u64::MAX / 10_000_000;
        assert!(rate.clock(last_ms + 1) < rate.clock(last_ms));
        let mut bucket = Bucket { full_at: rate.clock(last_ms - 10) };
        assert!(bucket.is_full(last_ms, &rate));
        assert_eq!(taken(&mut bucket, 10_000_001, last_ms, &rate), 10_000_000);
        assert_eq!(taken(&mut bucket, 10_001, last_ms + 1, &rate), 10_000);
        assert!(!bucket.is_full(last_ms + 1_000, &rate));
        assert!(bucket.is_full(last_ms + 1_001, &rate));
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
        assert_eq!(given(&mut Allowance::default(), &alice, 0), 0, "nor has who reconnects");
        assert_eq!(given(&mut connections[2], &bob, 0), 6);
        assert_eq!(given(&mut connections[1], &alice, 2_000), 2);
        assert_eq!(given(&mut connections[0], &alice, 3_000), 1);
    }

    #[test]
    fn what_others_of_the_name_use_up_is_not_held_against_a_connection() {
        let limiter = limiter(1, 4);
        let alice = "alice".parse().unwrap();
        let (mut busy, mut quiet) = (Allowance::default(), Allowance::default());
        assert!((0..4).all(|_| busy.message(&alice, 0, &limiter).is_ok()));
        assert!(busy.is_used_up(0, &limiter));
        for _ in 0..3 {
            assert!(quiet.message(&alice, 0, &limiter).is_err());
            assert!(!quiet.is_used_up(0, &limiter));
        }
        // It goes on although it is refused: that is its own doing.
        assert!(quiet.message(&alice, 0, &limiter).is_err());
        assert!(quiet.is_used_up(0, &limiter) && !quiet.is_used_up(1_000, &limiter));
    }

    #[test]
    fn all_rooms_can_be_entered_again_at_once_however_many_there_may_be() {
        for max_rooms in [1, 100, 300, 10_000] {
            let limiter = Limiter::new(&config::RateLimit::default(), max_rooms).expect("enabled by default");
            for rate in [&limiter.requests, &limiter.frames] {
                assert!(taken(&mut Bucket::default(), max_rooms, 0, rate) == max_rooms, "{max_rooms} rooms");
            }
        }
    }

    #[test]
    fn switched_off_there_is_nothing() {
        let config = config::RateLimit { enabled: false, ..config::RateLimit::default() };
        assert!(Limiter::new(&config, 100).is_none());
    }
}
