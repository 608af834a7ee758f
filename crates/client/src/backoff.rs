//! How long to wait before reconnecting.

use std::time::Duration;

use tokio::time::Instant;

/// Longest delay that is accepted from the server.
const MAX_ADVICE: Duration = Duration::from_secs(24 * 60 * 60);

/// The delays between connection attempts: `random(0, min(cap, base · 2^attempt))`, which is exponential backoff with
/// full jitter. Many clients that lose their server at the same instant come back spread out.
///
/// The count of attempts starts anew once a connection has been up for `reset_after`, not as soon as it is up: a server
/// that accepts connections and drops them at once must not be hammered. For the same reason, a delay that the server
/// asks for replaces the first delay, but makes later ones only longer, never shorter.
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
    /// Returns a backoff with a `base` of 500 ms, a `cap` of 20 s and a `reset_after` of 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(20), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Creates a backoff whose first delay is at most `base` and whose longest is at most `cap`. A connection that has
    /// been up for `reset_after` counts as healthy and starts the count of attempts anew.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration, reset_after: Duration) -> Self {
        Self { base, cap, reset_after, attempt: 0, connected_at: None, advised: None }
    }

    /// Returns the number of delays since a connection was last healthy.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the longest that the next delay can be, unless the server asks for another one.
    #[must_use]
    pub fn ceiling(&self) -> Duration {
        let factor = 2_u32.checked_pow(self.attempt).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// Notes that a connection is up.
    pub fn connected(&mut self, at: Instant) {
        self.connected_at = Some(at);
    }

    /// Notes that the connection, if there was one, has ended. The count of attempts starts anew when it was up for
    /// long enough.
    pub fn disconnected(&mut self, at: Instant) {
        let up = self.connected_at.take().map(|since| at.saturating_duration_since(since));
        if up.is_some_and(|up| up >= self.reset_after) {
            self.attempt = 0;
        }
    }

    /// Notes the delay that the server asks for before the next attempt. At most a day is accepted.
    pub fn advise(&mut self, after: Duration) {
        self.advised = Some(after.min(MAX_ADVICE));
    }

    /// Draws the delay before the next attempt and counts the attempt.
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

    /// Draws the delay after `attempts` earlier ones for many clients, each with a backoff of its own.
    fn delays(attempts: u32) -> Vec<Duration> {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut draw = || {
            let mut backoff = Backoff::default();
            for _ in 0..attempts {
                backoff.next(&mut rng);
            }
            backoff.next(&mut rng)
        };
        (0..DRAWS).map(|_| draw()).collect()
    }

    #[test]
    fn a_delay_is_uniform_up_to_a_ceiling_that_doubles_until_the_cap() {
        let ceilings_ms = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000];
        for (attempts, ceiling_ms) in (0..).zip(ceilings_ms) {
            let mut buckets = [0_u32; 20];
            for delay in delays(attempts) {
                assert!(delay <= Duration::from_millis(ceiling_ms), "attempt {attempts}: {delay:?}");
                let bucket = delay.as_secs_f64() * 1_000.0 / ceiling_ms as f64 * buckets.len() as f64;
                buckets[(bucket as usize).min(buckets.len() - 1)] += 1;
            }
            // Each bucket should hold 2,000 draws with a standard deviation of 44; 220 is five of those.
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
    async fn only_thirty_healthy_seconds_start_the_count_anew() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.next(&mut rng);
        }
        backoff.connected(Instant::now());
        tokio::time::advance(Duration::from_millis(29_999)).await;
        backoff.disconnected(Instant::now());
        assert_eq!(backoff.attempt(), 5);
        // Time without a connection does not count as healthy.
        tokio::time::advance(Duration::from_secs(3600)).await;
        backoff.disconnected(Instant::now());
        assert_eq!((backoff.attempt(), backoff.ceiling()), (5, Duration::from_secs(16)));
        backoff.connected(Instant::now());
        tokio::time::advance(Duration::from_secs(30)).await;
        backoff.disconnected(Instant::now());
        assert_eq!((backoff.attempt(), backoff.ceiling()), (0, Duration::from_millis(500)));
    }

    #[test]
    fn advice_replaces_the_first_delay_and_lengthens_others() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        backoff.advise(Duration::from_secs(60));
        assert_eq!(backoff.next(&mut rng), Duration::from_secs(60));
        let next = backoff.next(&mut rng);
        assert!(
            next <= Duration::from_secs(1),
            "the advice must count once, and the attempts go on: {next:?}"
        );
        backoff.advise(Duration::MAX);
        assert_eq!(backoff.next(&mut rng), MAX_ADVICE);
        // A server that asks for no delay each time must not be hammered.
        backoff.advise(Duration::ZERO);
        assert!(backoff.next(&mut rng) > Duration::ZERO);
    }
}
