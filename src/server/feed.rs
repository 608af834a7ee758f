//! What the dashboard reads: one snapshot a second, made once for everybody who looks, and none while nobody does.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::snapshot;
use super::worker::Worker;
use crate::admission::Refusal;
use crate::node::Node;

/// Time between two snapshots.
const PERIOD: Duration = Duration::from_secs(1);
/// Viewers at once: some 32 KiB each, and as many of the descriptors that the server has for itself.
const MAX_VIEWERS: usize = 32;
/// Snapshots that wait for one viewer. Whoever is behind by more misses some, and nobody waits.
const WAITING: usize = 2;
/// When a viewer whose connection is lost should ask again.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct State {
    viewers: Vec<mpsc::Sender<Bytes>>,
    /// The last snapshot, while somebody looks: what a newcomer is shown at once.
    last: Option<Bytes>,
    is_closed: bool,
}

impl State {
    /// Forgets those who have gone; returns how many are left.
    fn prune(&mut self) -> usize {
        self.viewers.retain(|viewer| !viewer.is_closed());
        if self.viewers.is_empty() {
            *self = Self { is_closed: self.is_closed, ..Self::default() };
        }
        self.viewers.len()
    }
}

/// Who looks.
#[derive(Debug, Default)]
pub(super) struct Feed {
    state: Mutex<State>,
    arrived: Notify,
}

impl Feed {
    /// Events for one more viewer, the first at once; leaves when the receiver is dropped.
    ///
    /// # Errors
    /// [`Refusal::TooManyViewers`], [`Refusal::Draining`].
    pub(super) fn watch(&self) -> Result<mpsc::Receiver<Bytes>, Refusal> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Refusal::Draining);
        }
        if state.prune() >= MAX_VIEWERS {
            return Err(Refusal::TooManyViewers);
        }
        let (viewer, events) = mpsc::channel(WAITING);
        if let Some(last) = &state.last {
            // There is space: it is new.
            let _ = viewer.try_send(last.clone());
        }
        state.viewers.push(viewer);
        drop(state);
        self.arrived.notify_one();
        Ok(events)
    }

    /// Ends all streams, and lets nobody look any more.
    pub(super) fn close(&self) {
        *self.state.lock() = State { is_closed: true, ..State::default() };
    }

    /// Number of viewers, once there are any. Says also whether they had to be waited for.
    async fn viewers(&self) -> (usize, bool) {
        let mut has_waited = false;
        loop {
            let viewers = self.state.lock().prune();
            if viewers > 0 {
                return (viewers, has_waited);
            }
            self.arrived.notified().await;
            has_waited = true;
        }
    }

    fn tell(&self, event: Bytes) {
        let mut state = self.state.lock();
        for viewer in &state.viewers {
            // Full: this viewer misses it. Closed: forgotten with the next look.
            let _ = viewer.try_send(event.clone());
        }
        state.last = Some(event);
        state.prune();
    }
}

/// Makes the snapshots; never returns.
///
/// # Cancel safety
/// Nothing is lost but the snapshot that was being made.
pub(super) async fn run(feed: &Feed, node: &Node, workers: &[Worker]) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for id in 1_u64.. {
        let (viewers, has_waited) = feed.viewers().await;
        if has_waited {
            ticks.reset_immediately();
        }
        ticks.tick().await;
        match snapshot::take(node, workers, viewers).await {
            Ok(json) => feed.tell(event(id, &json)),
            Err(error) => tracing::error!(%error, "a snapshot for the dashboard cannot be written"),
        }
    }
}

/// A server-sent event (HTML standard, section 9.2): JSON has no line breaks, so that it is one line of data.
fn event(id: u64, json: &str) -> Bytes {
    format!("retry: {}\nid: {id}\ndata: {json}\n\n", RETRY.as_millis()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(events: &mut mpsc::Receiver<Bytes>) -> Vec<Bytes> {
        std::iter::from_fn(|| events.try_recv().ok()).collect()
    }

    #[test]
    fn all_viewers_get_the_same_and_newcomers_the_last() {
        let feed = Feed::default();
        let mut first = feed.watch().unwrap();
        feed.tell("1".into());
        let mut second = feed.watch().unwrap();
        feed.tell("2".into());
        assert_eq!(received(&mut first), ["1", "2"]);
        assert_eq!(received(&mut second), ["1", "2"]);
        // Whoever does not read misses what does not fit.
        ["3", "4", "5"].into_iter().for_each(|event| feed.tell(event.into()));
        assert_eq!(received(&mut first), ["3", "4"]);
    }

    #[test]
    fn who_has_gone_is_forgotten_with_all_that_was_kept_for_them() {
        let feed = Feed::default();
        let viewers: Vec<_> = (0..MAX_VIEWERS).map(|_| feed.watch().unwrap()).collect();
        assert_eq!(feed.watch().unwrap_err(), Refusal::TooManyViewers);
        drop(viewers);
        feed.tell("old".into());
        assert_eq!(feed.state.lock().viewers.capacity(), 0);
        let mut late = feed.watch().unwrap();
        assert_eq!(received(&mut late), [""; 0], "nobody looked, so what there is may be old");
        feed.close();
        assert!(late.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected));
        assert_eq!(feed.watch().unwrap_err(), Refusal::Draining);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_happens_while_nobody_looks() {
        let feed = Feed::default();
        let idle = tokio::time::timeout(Duration::from_secs(3600), feed.viewers()).await;
        assert!(idle.is_err(), "it waits");
        let _viewer = feed.watch().unwrap();
        assert_eq!(feed.viewers().await, (1, false));
    }

    #[test]
    fn an_event_is_as_browsers_read_it() {
        assert_eq!(event(7, "{}"), "retry: 2000\nid: 7\ndata: {}\n\n");
    }
}
