//! Keeps the keys of tokens up to date that an issuer publishes at a URL (`auth.jwks_url`).
//!
//! The set is fetched at the start, when its time is over, and when a token names a key that it lacks. Strangers can
//! invent names of keys: for those it is fetched once in 30 seconds, however many come. While the issuer does not
//! answer, the last set holds for `auth.jwks_stale`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::policy::AdmissionPolicy;
use crate::clock::Clock;
use crate::config::{Config, Url};
use crate::keys::Algorithm;
use crate::keys::jwks::{KeySet, MAX_BYTES};
use crate::metrics::KeySetMetrics;
use crate::outbound::{Client, Method, Request};

/// Longest wait for the whole set.
const DEADLINE: Duration = Duration::from_secs(5);
/// Shortest time between two fetches for unknown keys, in milliseconds.
const UNKNOWN_MS: u64 = 30_000;
/// Bounds of the time for which an issuer can say that its set holds, and the time if it says nothing.
const LEAST_AGE: Duration = Duration::from_secs(60);
const MOST_AGE: Duration = Duration::from_secs(3600);
const USUAL_AGE: Duration = Duration::from_secs(600);
/// Pause after the first fetch that failed. Each further one doubles it, up to [`LEAST_AGE`].
const RETRY: Duration = Duration::from_secs(1);

/// The state that handshakes and the fetching share.
#[derive(Debug, Default)]
struct State {
    /// When the present set came, by the node's clock in milliseconds; `None` until the first one.
    fetched_ms: Option<u64>,
    /// When a fetch was last asked for because of an unknown key.
    asked_ms: Option<u64>,
    is_fetching: bool,
}

/// A set of keys at a URL.
#[derive(Debug)]
pub(super) struct RemoteKeys {
    url: Url,
    client: Client,
    clock: Clock,
    state: Mutex<State>,
    failures: AtomicU64,
    /// Wakes the fetching before its time.
    wanted: Notify,
    /// Counts the fetches that are over.
    fetches: watch::Sender<u64>,
}

impl RemoteKeys {
    /// Returns the keys at `auth.jwks_url`, if that is set. Nothing is fetched yet.
    ///
    /// # Errors
    /// The authorities of `outbound.ca_file` cannot be read.
    pub(super) fn new(config: &Config, clock: Clock) -> Result<Option<Self>, String> {
        let Some(url) = config.auth.jwks_url.clone() else { return Ok(None) };
        let client = Client::new(config.outbound.ca_file.as_deref())?;
        Ok(Some(Self {
            url,
            client,
            clock,
            state: Mutex::default(),
            failures: AtomicU64::new(0),
            wanted: Notify::new(),
            fetches: watch::Sender::new(0),
        }))
    }

    /// Returns true while there is a set that is younger than this.
    pub(super) fn are_good(&self, stale_after: Duration) -> bool {
        let stale_ms = stale_after.as_millis() as u64;
        self.age_ms().is_some_and(|age_ms| age_ms < stale_ms)
    }

    fn age_ms(&self) -> Option<u64> {
        let fetched_ms = self.state.lock().fetched_ms?;
        Some(self.clock.now_ms().saturating_sub(fetched_ms))
    }

    /// Returns the values for the metrics.
    pub(super) fn metrics(&self) -> KeySetMetrics {
        let age = self.age_ms().map(Duration::from_millis);
        KeySetMetrics { age, failures: self.failures.load(Relaxed) }
    }

    /// Makes the set be fetched before its time.
    pub(super) fn fetch_soon(&self) {
        self.wanted.notify_one();
    }

    /// Asks for the set because a token names an unknown key. Returns true when it was fetched meanwhile, and false at
    /// once when that has to wait for its time.
    ///
    /// # Cancel safety
    /// The set is fetched nevertheless.
    pub(super) async fn fetch_again(&self) -> bool {
        let mut fetches = self.fetches.subscribe();
        {
            let mut state = self.state.lock();
            let now_ms = self.clock.now_ms();
            let may_ask = state.asked_ms.is_none_or(|asked_ms| now_ms >= asked_ms + UNKNOWN_MS);
            match (state.is_fetching, may_ask) {
                (true, _) => {}
                (false, true) => {
                    state.asked_ms = Some(now_ms);
                    state.is_fetching = true;
                    self.fetch_soon();
                }
                (false, false) => return false,
            }
        }
        // The sender lives as long as this value.
        fetches.changed().await.is_ok()
    }

    /// Fetches the set whenever it is due. Never returns.
    pub(super) async fn keep(&self, policy: &AdmissionPolicy) {
        let mut failed: u32 = 0;
        loop {
            self.state.lock().is_fetching = true;
            let next = match self.fetch(policy.algorithm()).await {
                Ok((keys, age)) => {
                    failed = 0;
                    match policy.use_key_set(keys) {
                        Ok(()) => self.state.lock().fetched_ms = Some(self.clock.now_ms()),
                        Err(error) => {
                            tracing::error!(%error, url = %self.url, "the set of keys cannot be used")
                        }
                    }
                    age
                }
                Err(problem) => {
                    self.failures.fetch_add(1, Relaxed);
                    tracing::warn!(problem, url = %self.url, "the keys of tokens cannot be fetched");
                    failed = failed.saturating_add(1);
                    RETRY.saturating_mul(1 << (failed - 1).min(10)).min(LEAST_AGE)
                }
            };
            self.state.lock().is_fetching = false;
            self.fetches.send_modify(|count| *count += 1);
            // It is over sooner when an unknown key wants it.
            let _ = tokio::time::timeout(next, self.wanted.notified()).await;
        }
    }

    /// Fetches the set once. Returns it with the time for which it holds.
    async fn fetch(&self, algorithm: Algorithm) -> Result<(KeySet, Duration), String> {
        let headers = vec![("Accept".to_owned(), "application/jwk-set+json, application/json".to_owned())];
        let request = Request { method: Method::Get, url: &self.url, headers, body: Bytes::new() };
        let answer = self.client.request(request, DEADLINE, MAX_BYTES).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("the answer has status {}", answer.status));
        }
        let text = std::str::from_utf8(&answer.body).map_err(|_| "the answer is not UTF-8".to_owned())?;
        let keys = KeySet::parse(algorithm, text).map_err(|error| format!("the set {error}"))?;
        Ok((keys, age_of(answer.header("cache-control"))))
    }
}

/// Returns how long a set holds, from the header `Cache-Control` (RFC 9111, section 5.2.2.1).
fn age_of(cache_control: Option<&str>) -> Duration {
    let directives = cache_control.unwrap_or_default().split(',').map(str::trim);
    let mut ages = directives.filter_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| value.trim_matches('"').parse().ok())?
    });
    ages.next()
        .map_or(USUAL_AGE, |seconds: u32| Duration::from_secs(seconds.into()).clamp(LEAST_AGE, MOST_AGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_for_a_minute_to_an_hour() {
        for (header, seconds) in [
            (None, 600),
            (Some("no-store"), 600),
            (Some("public, max-age=300"), 300),
            (Some("Max-Age=\"120\", must-revalidate"), 120),
            (Some("max-age=0"), 60),
            (Some("max-age=86400"), 3600),
            (Some("s-maxage=5"), 600),
            (Some("max-age=soon"), 600),
        ] {
            assert_eq!(age_of(header), Duration::from_secs(seconds), "{header:?}");
        }
    }
}
