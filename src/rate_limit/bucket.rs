//! A token bucket of eight bytes, and the rate that fills it.
//!
//! A bucket is a GCRA (generic cell rate algorithm): instead of a number of tokens and the time they were counted, it
//! stores the one moment at which it will be full again. Taking a token costs a multiplication and a comparison, and
//! nothing has to refill a bucket.

/// One token in the unit of every sum here: a millisecond adds `per_second` thousandths of a token. No rate has to be
/// rounded this way, so that the long-term rate is exactly the configured one.
const TOKEN: u64 = 1000;

/// Most milliseconds by which the time of one thread may be behind that of another. A bucket that lacks more than that
/// and its depth was filled at another rate.
const STEP_BACK_MS: u64 = 1000;

/// The average rate and the burst size of a [`Bucket`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u64,
    depth: u64,
}

impl Rate {
    /// Allows `per_second` tokens on average and `burst` at once after a pause; values below 1 count as 1.
    #[must_use]
    pub fn new(per_second: usize, burst: usize) -> Self {
        Self { per_second: per_second.max(1) as u64, depth: burst.max(1) as u64 * TOKEN }
    }

    /// Returns how many thousandths of a token so many milliseconds add.
    #[must_use]
    pub fn thousandths_in(&self, ms: u64) -> u64 {
        ms.saturating_mul(self.per_second)
    }

    /// Returns how many milliseconds add so many thousandths of a token.
    #[must_use]
    pub fn ms_for(&self, thousandths: u64) -> u64 {
        thousandths.div_ceil(self.per_second)
    }

    /// Returns the most thousandths of a token that a bucket of this rate can lack.
    fn most_missing(&self) -> u64 {
        self.depth.saturating_add(self.thousandths_in(STEP_BACK_MS))
    }

    /// Converts a time to thousandths of a token. The result may wrap: only differences are used.
    fn clock(&self, now_ms: u64) -> u64 {
        now_ms.wrapping_mul(self.per_second)
    }
}

/// A refusal because a bucket is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Milliseconds from now until the next token is available, at least 1.
    pub retry_after_ms: u64,
}

/// A token bucket. The default is full, as long as a clock that began at 0 has not run for 2^63 thousandths of a token:
/// 29 years at the highest rate that can be configured. A bucket may be used with another rate from some moment on. It
/// is full then, or refuses a second longer than an empty one at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When the bucket will be full again, by [`Rate::clock`].
    full_at: u64,
}

impl Bucket {
    /// Takes a token. A time before the last one, as another thread may have read it, adds no tokens.
    ///
    /// # Errors
    /// The bucket is empty. A refused attempt takes nothing, so that repeating it does not prolong the wait.
    pub fn take(&mut self, now_ms: u64, rate: &Rate) -> Result<(), Refused> {
        let now = rate.clock(now_ms);
        let missing = self.missing(now, rate) + TOKEN;
        if missing > rate.depth {
            return Err(Refused { retry_after_ms: (missing - rate.depth).div_ceil(rate.per_second) });
        }
        self.full_at = now.wrapping_add(missing);
        Ok(())
    }

    /// Returns true when the bucket has no token.
    #[must_use]
    pub fn is_empty(self, now_ms: u64, rate: &Rate) -> bool {
        self.missing_at(now_ms, rate) + TOKEN > rate.depth
    }

    /// Returns true when no token is missing, so that the bucket equals a new one.
    #[must_use]
    pub fn is_full(self, now_ms: u64, rate: &Rate) -> bool {
        self.missing_at(now_ms, rate) == 0
    }

    /// Returns how many thousandths of a token are missing.
    #[must_use]
    pub fn missing_at(self, now_ms: u64, rate: &Rate) -> u64 {
        self.missing(rate.clock(now_ms), rate)
    }

    /// Takes tokens until at least so many thousandths of a token are missing, but no more than the bucket has.
    pub fn drain(&mut self, missing: u64, now_ms: u64, rate: &Rate) {
        let now = rate.clock(now_ms);
        let missing = missing.min(rate.depth).max(self.missing(now, rate));
        self.full_at = now.wrapping_add(missing);
    }

    fn missing(self, now: u64, rate: &Rate) -> u64 {
        let ahead = self.full_at.wrapping_sub(now);
        // More than a bucket can lack means that the moment has passed, or that it was computed for another rate.
        if ahead > rate.most_missing() { 0 } else { ahead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes up to `asked` tokens at `now_ms`; returns how many the bucket had.
    fn taken(bucket: &mut Bucket, asked: usize, now_ms: u64, rate: &Rate) -> usize {
        (0..asked).filter(|_| bucket.take(now_ms, rate).is_ok()).count()
    }

    #[test]
    fn a_burst_is_allowed_and_the_next_refusal_says_when_to_retry() {
        let rate = Rate::new(10, 40);
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, 100, 5, &rate), 40);
        assert_eq!(bucket.take(5, &rate), Err(Refused { retry_after_ms: 100 }));
        assert_eq!(bucket.take(104, &rate), Err(Refused { retry_after_ms: 1 }));
        assert_eq!(bucket.take(105, &rate), Ok(()));
        assert_eq!(bucket.take(105, &rate), Err(Refused { retry_after_ms: 100 }));
    }

    #[test]
    fn a_retry_succeeds_at_the_given_time_and_not_before() {
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
    fn a_bucket_fills_up_to_its_burst_and_no_further() {
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
    fn the_long_term_rate_is_the_configured_one() {
        const SECONDS: u64 = 1_000;
        for per_second in [1, 3, 7, 10, 333, 999, 1_001] {
            // At least two: a bucket with space for one token loses the fraction by which a millisecond overfills it.
            let burst = 2 + per_second / 100;
            let rate = Rate::new(per_second, burst);
            let mut bucket = Bucket::default();
            let given: usize = (0..SECONDS * 1000).map(|now_ms| taken(&mut bucket, 3, now_ms, &rate)).sum();
            let expected = per_second * SECONDS as usize;
            assert!((expected..=expected + burst).contains(&given), "{per_second}: {given}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_adds_no_tokens() {
        let rate = Rate::new(10, 4);
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, 4, 1_000, &rate), 4);
        assert_eq!(taken(&mut bucket, 4, 900, &rate), 0);
        assert_eq!(taken(&mut bucket, 4, 0, &rate), 0);
        assert_eq!(taken(&mut bucket, 4, 1_100, &rate), 1, "the step back takes no tokens away");
    }

    #[test]
    fn another_rate_refuses_for_a_second_longer_at_most() {
        let rates = [(1, 1), (10, 40), (10, 4), (1_000, 1_000), (1_000_000, 1_000_000)];
        let rates = rates.map(|(per_second, burst)| Rate::new(per_second, burst));
        for (old, new) in rates.iter().flat_map(|old| rates.iter().map(move |new| (old, new))) {
            for now_ms in [0, 1, 999, 60_000, 1_000_000_000] {
                let mut used = Bucket::default();
                used.drain(u64::MAX, now_ms, old);
                for later_ms in (0..10_000).step_by(7) {
                    let (mut bucket, now_ms) = (used, now_ms + later_ms);
                    if let Err(Refused { retry_after_ms }) = bucket.take(now_ms, new) {
                        assert!(retry_after_ms <= STEP_BACK_MS + new.ms_for(TOKEN), "{old:?} to {new:?}");
                        assert!(bucket.take(now_ms + retry_after_ms, new).is_ok(), "{old:?} to {new:?}");
                    }
                }
            }
        }
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
}
