//! How long to wait before coming back.

use std::time::Duration;

use tokio::time::Instant;

/// Longest wait that a server's advice may ask for.
const MAX_ADVICE: Duration = Duration::from_secs(24 * 60 * 60);

/// The delays between attempts: `random(0, min(cap, base · 2^attempt))`, that is exponential with full jitter, so
/// that many clients that lost their server in the same instant come back spread out.
///
/// The count starts afresh once a connection was healthy for `reset_after`, not when it is made: a server that takes
/// connections and drops them at once must not be hammered. What the server advises replaces the first delay, and
/// makes a later one longer, never shorter, for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    reset_after: Duration,
    attempt: u32,
    connected_at: Option<Instant>,
    advised: Option<Duration>,
}

impl Default for Backoff {
    /// `base` 500 ms, `cap` 20 s, `reset_after` 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(20), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Delays of at most `base` at first and of at most `cap` ever; a connection of `reset_after` counts as healthy.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration, reset_after: Duration) -> Self {
        Self { base, cap, reset_after, attempt: 0, connected_at: None, advised: None }
    }

    /// Delays since a connection was last healthy.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The most that the next delay can be, unless the server advises otherwise.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        let factor = 2_u32.checked_pow(self.attempt).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// A connection is up.
    pub fn connected(&mut self, at: Instant) {
        self.connected_at = Some(at);
    }

    /// The connection is gone, if there was one. When it was healthy for long enough, the count starts afresh.
    pub fn disconnected(&mut self, at: Instant) {
        let up = self.connected_at.take().map(|since| at.saturating_duration_since(since));
        if up.is_some_and(|up| up >= self.reset_after) {
            self.attempt = 0;
        }
    }

    /// The server wishes the next delay to be this; at most a day of it is taken.
    pub fn advise(&mut self, after: Duration) {
        self.advised = Some(after.min(MAX_ADVICE));
    }

    /// The delay before the next attempt.
    pub fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let (ceiling, is_first) = (self.ceiling(), self.attempt == 0);
        self.attempt = self.attempt.saturating_add(1);
        let jittered = ceiling.mul_f64(rng.f64());
        match self.advised.take() {
            Some(advised) if is_first => advised,
            Some(advised) => advised.max(jittered),
            None => jittered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 40_000;

    /// Draws of the delay after `attempts` others, each of a client of its own, as thousands of them would.
    fn delays(attempts: u32) -> Vec<Duration> {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut one = || {
            let mut backoff = Backoff::default();
            for _ in 0..attempts {
                backoff.next(&mut rng);
            }
            backoff.next(&mut rng)
        };
        (0..DRAWS).map(|_| one()).collect()
    }

    #[test]
    fn a_delay_is_uniform_up_to_a_ceiling_that_doubles_until_the_cap() {
        let ceilings_ms = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000];
        for (attempts, ceiling_ms) in (0..).zip(ceilings_ms) {
            let mut buckets = [0_u32; 20];
            for delay in delays(attempts) {
                assert!(delay <= Duration::from_millis(ceiling_ms), "attempt {attempts}: {delay:?}");
                let place = delay.as_secs_f64() * 1_000.0 / ceiling_ms as f64 * buckets.len() as f64;
                buckets[(place as usize).min(buckets.len() - 1)] += 1;
            }
            // Each bucket should have 2,000 with a deviation of 44: 220 are five of them.
            let expected = (DRAWS / buckets.len()) as u32;
            assert!(buckets.iter().all(|n| n.abs_diff(expected) < 220), "attempt {attempts}: {buckets:?}");
        }
    }

    #[test]
    fn the_count_never_overflows() {
        let mut backoff = Backoff { attempt: u32::MAX - 1, ..Backoff::default() };
        for _ in 0..3 {
            assert!(backoff.next(&mut fastrand::Rng::with_seed(1)) <= backoff.cap);
        }
        let long = Backoff::new(Duration::MAX, Duration::MAX, Duration::ZERO);
        assert_eq!(Backoff { attempt: 40, ..long }.ceiling(), Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn thirty_healthy_seconds_and_nothing_less_begin_the_count_afresh() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.next(&mut rng);
        }
        backoff.connected(Instant::now());
        tokio::time::advance(Duration::from_millis(29_999)).await;
        backoff.disconnected(Instant::now());
        assert_eq!(backoff.attempt(), 5);
        // Down for long is not healthy for long.
        tokio::time::advance(Duration::from_secs(3600)).await;
        backoff.disconnected(Instant::now());
        assert_eq!((backoff.attempt(), backoff.ceiling()), (5, Duration::from_secs(16)));
        backoff.connected(Instant::now());
        tokio::time::advance(Duration::from_secs(30)).await;
        backoff.disconnected(Instant::now());
        assert_eq!((backoff.attempt(), backoff.ceiling()), (0, Duration::from_millis(500)));
    }

    #[test]
    fn advice_replaces_the_first_delay_and_prolongs_others() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        backoff.advise(Duration::from_secs(60));
        assert_eq!(backoff.next(&mut rng), Duration::from_secs(60));
        let next = backoff.next(&mut rng);
        assert!(next <= Duration::from_secs(1), "the count went on, the advice is used up: {next:?}");
        backoff.advise(Duration::MAX);
        assert_eq!(backoff.next(&mut rng), MAX_ADVICE);
        // A server that says "at once" each time is not hammered.
        backoff.advise(Duration::ZERO);
        assert!(backoff.next(&mut rng) > Duration::ZERO);
    }
}
