//! The thread that delivers: one task for each lane of each receiver, with one request under way in each.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout_at};

use super::disk::Unsynced;
use super::queue::{Batch, LANES, Refill};
use super::receiver::{Receiver, Wishes};
use super::shared::Shared;
use crate::metrics::webhooks::Attempt;
use crate::outbound::{self, Client, Method, Request};

/// Most bytes of a receiver's answer, which is not looked at.
const MAX_ANSWER: usize = 1024 * 1024;
/// The first wait before another attempt is a random part of this, and each later one of twice as much.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait that is not the receiver's wish.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// The longest wait that a receiver can wish for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Wait before another attempt to read events from the disk: the descriptors of the process may be used up for a while.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// Time between two syncs of what was written to the disk.
const SYNC: Duration = Duration::from_secs(1);

/// Syncs what was written to the disk. All files are, whichever of them fails.
pub(super) fn sync_all(unsynced: &[Unsynced]) {
    for error in unsynced.iter().filter_map(|unsynced| unsynced.sync().err()) {
        tracing::warn!(%error, "webhooks.dir cannot be synced to the disk");
    }
}

/// Syncs what was written to the disk every second, on a thread that may wait for it.
async fn sync(shared: Arc<Shared>) {
    loop {
        sleep(SYNC).await;
        let unsynced = shared.take_unsynced();
        if !unsynced.is_empty() {
            // A panic is logged where it happens.
            let _ = spawn_blocking(move || sync_all(&unsynced)).await;
        }
    }
}

/// Delivers until the node stops, and then what is left, until the time for that is over.
pub(super) async fn run(shared: Arc<Shared>, client: Client) {
    let mut signal = shared.signal.subscribe();
    let mut lanes = JoinSet::new();
    let mut syncing = JoinSet::new();
    syncing.spawn(sync(Arc::clone(&shared)));
    while signal.borrow_and_update().is_none() {
        let new: Vec<_> = {
            let receivers = shared.receivers.read();
            receivers.iter().filter(|receiver| !receiver.is_served.swap(true, Relaxed)).cloned().collect()
        };
        for receiver in new {
            for lane in 0..LANES {
                let (shared, receiver, client) = (Arc::clone(&shared), Arc::clone(&receiver), client.clone());
                lanes.spawn(Lane { signal: shared.signal.subscribe(), shared, receiver, client, lane }.run());
            }
        }
        // The lanes of receivers that were taken away have ended.
        while lanes.try_join_next().is_some() {}
        if signal.changed().await.is_err() {
            return;
        }
    }
    let until = (*signal.borrow()).unwrap_or_else(Instant::now);
    let all = async { while lanes.join_next().await.is_some() {} };
    if timeout_at(until, all).await.is_err() {
        for receiver in shared.receivers.read().iter() {
            let (left, is_kept, place) = {
                let mut queue = receiver.queue.lock();
                (queue.len(), queue.store().is_some(), receiver.wishes().place)
            };
            if left > 0 && is_kept {
                tracing::info!(webhook = place, left, "the node stops with events that wait in webhooks.dir");
            } else if left > 0 {
                tracing::warn!(webhook = place, left, "the node stops with events that were not delivered");
            }
        }
    }
}

/// The result of an attempt.
enum Outcome {
    Delivered,
    /// The receiver wants nothing more.
    Gone,
    /// To be tried again, after this time if the receiver has said so.
    Failed {
        after: Option<Duration>,
    },
}

/// One lane of one receiver.
struct Lane {
    shared: Arc<Shared>,
    receiver: Arc<Receiver>,
    client: Client,
    lane: usize,
    /// Changes when the node stops, and when the configuration has changed.
    signal: watch::Receiver<Option<Instant>>,
}

impl Lane {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let is_delivered = self.deliver(&batch).await;
            self.receiver.done(&batch, is_delivered);
            self.shared.tell_start_behind_old(&self.receiver);
        }
    }

    fn is_stopping(&self) -> bool {
        self.signal.borrow().is_some()
    }

    /// Waits for events that are due. Returns `None` when there will be none.
    async fn next_batch(&mut self) -> Option<Batch> {
        loop {
            if self.receiver.is_removed.load(Relaxed) {
                return None;
            }
            if !self.refill().await {
                return None;
            }
            let first = self.receiver.queue.lock().first(self.lane);
            let due = match first {
                None if self.is_stopping() => return None,
                None => None,
                Some((since, is_full)) => {
                    let due = Instant::from_std(since) + self.shared.times.read().linger;
                    if is_full || self.is_stopping() || due <= Instant::now() {
                        return self.receiver.queue.lock().take(self.lane);
                    }
                    Some(due)
                }
            };
            let lingering = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.receiver.wake[self.lane].notified() => {}
                () = lingering => {}
                // The sender of the signal lives as long as this lane.
                _ = self.signal.changed() => {}
            }
        }
    }

    /// Reads events from the disk, if none are in memory. Returns false when the node stops and they cannot be read.
    async fn refill(&mut self) -> bool {
        let mut is_told = false;
        loop {
            let wanted = self.receiver.queue.lock().wants_refill(self.lane);
            let part = match wanted {
                Refill::Nothing => return true,
                Refill::Read(part) => part,
                Refill::Missing(missing, garbage) => {
                    garbage.delete();
                    self.receiver.count_dropped(missing);
                    self.shared.tell_start_behind_old(&self.receiver);
                    return true;
                }
            };
            let error = match part.read() {
                Ok(bytes) => {
                    let bounds = self.shared.times.read().bounds;
                    let now_ms = self.shared.clock.unix_ms();
                    self.receiver.queue.lock().refill(self.lane, (&part, &bytes), bounds, now_ms);
                    is_told = false;
                    continue;
                }
                Err(error) => error,
            };
            let (file, is_gone) = (part.path().display(), error.kind() == io::ErrorKind::NotFound);
            if self.receiver.is_removed.load(Relaxed) {
                return false;
            }
            if is_gone {
                tracing::warn!(%file, %error, "a file of webhooks.dir is gone: its events are dropped");
                self.receiver.queue.lock().skip(self.lane);
                continue;
            }
            // The events are still there, whatever keeps the server from reading them.
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(%file, %error, "a file of webhooks.dir cannot be read: tried again every second");
            }
            if self.is_stopping() {
                return false;
            }
            sleep(READ_AGAIN).await;
        }
    }

    /// Sends a batch until the receiver has it. Returns false when it is given up.
    async fn deliver(&mut self, batch: &Batch) -> bool {
        let id = self.shared.delivery_id();
        let body = self.shared.body(batch);
        for attempt in 0.. {
            let wishes = self.receiver.wishes();
            let after = match self.post(&wishes, &id, body.clone()).await {
                Outcome::Delivered => return true,
                Outcome::Gone => {
                    let dropped = self.receiver.switch_off();
                    tracing::warn!(
                        webhook = wishes.place,
                        dropped,
                        "a webhook answers 410: off until a reload"
                    );
                    return false;
                }
                Outcome::Failed { after } => after,
            };
            if self.is_given_up(batch) {
                return false;
            }
            let wait = after.unwrap_or_else(|| back_off(attempt));
            tokio::select! {
                () = sleep(wait) => {}
                _ = self.signal.changed() => {}
            }
            if self.receiver.is_removed.load(Relaxed) || self.receiver.queue.lock().is_off() {
                return false;
            }
        }
        false
    }

    /// Returns true when all events of the batch are too old to be tried again.
    fn is_given_up(&self, batch: &Batch) -> bool {
        let newest = batch.events.iter().map(|event| event.at_unix_ms).max().unwrap_or(0);
        let age_ms = self.shared.clock.unix_ms().saturating_sub(newest);
        u128::from(age_ms) > self.shared.times.read().keep.as_millis()
    }

    async fn post(&self, wishes: &Wishes, id: &str, body: Bytes) -> Outcome {
        let unix_s = self.shared.clock.wall_s().max(0) as u64;
        let headers = wishes.signer.headers(id, unix_s, &body);
        let request = Request { method: Method::Post, url: &wishes.url, headers, body };
        let timeout = self.shared.times.read().timeout;
        let answer = self.client.request(request, timeout, MAX_ANSWER).await;
        let (attempt, problem, outcome) = match answer {
            Ok(answer) if (200..300).contains(&answer.status) => {
                (Attempt::Delivered, None, Outcome::Delivered)
            }
            Ok(answer) if answer.status == 410 => (Attempt::Status, None, Outcome::Gone),
            Ok(answer) => {
                let after = answer.header("retry-after").and_then(retry_after);
                (Attempt::Status, Some(format!("status {}", answer.status)), Outcome::Failed { after })
            }
            Err(outbound::Error::Deadline) => {
                (Attempt::Timeout, Some("no answer in time".into()), Outcome::Failed { after: None })
            }
            Err(error) => (Attempt::Error, Some(error.to_string()), Outcome::Failed { after: None }),
        };
        self.receiver.count_attempt(attempt);
        self.log(wishes.place, problem);
        outcome
    }

    /// Says once that deliveries fail, and once that they do not any more.
    fn log(&self, webhook: usize, problem: Option<String>) {
        let was_failing = self.receiver.is_failing.swap(problem.is_some(), Relaxed);
        match problem {
            Some(problem) if !was_failing => {
                tracing::warn!(webhook, problem, "a webhook does not take events: they wait");
            }
            None if was_failing => tracing::info!(webhook, "a webhook takes events again"),
            _ => {}
        }
    }
}

/// Reads the seconds of a `Retry-After`. A date is ignored.
fn retry_after(text: &str) -> Option<Duration> {
    Some(Duration::from_secs(text.parse().ok()?).min(MAX_RETRY_AFTER))
}

/// Returns the wait before the next attempt: random, so that lanes and nodes do not come back in step.
fn back_off(attempt: u32) -> Duration {
    let longest = FIRST_RETRY.saturating_mul(1 << attempt.min(16)).min(LAST_RETRY);
    longest.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_random_and_bounded() {
        for (attempt, longest_s) in [(0, 1), (1, 2), (5, 32), (6, 60), (40, 60), (u32::MAX, 60)] {
            let waits: Vec<Duration> = (0..100).map(|_| back_off(attempt)).collect();
            assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(longest_s)), "{attempt}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{attempt}");
        }
    }

    #[test]
    fn a_receiver_can_say_when_to_come_again() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("100000"), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after("-1"), None);
    }
}
