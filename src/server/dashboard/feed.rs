//! Distributes the dashboard's snapshots to its viewers.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::admission::Refusal;

/// Most viewers at once. Each takes about 32 KiB, some 100 KiB until it has the last five minutes, and one of the
/// descriptors that the server keeps for itself.
const MAX_VIEWERS: usize = 32;
/// Events queued for one viewer: the two that it gets at once, and one more. A viewer that is further behind misses
/// some, and delays no other.
const QUEUED: usize = 3;

#[derive(Debug, Default)]
struct State {
    viewers: Vec<mpsc::Sender<Bytes>>,
    /// The last snapshot while there are viewers, which a new viewer gets at once.
    last: Option<Bytes>,
    is_closed: bool,
}

impl State {
    /// Removes the viewers that have disconnected; returns how many are left.
    fn prune(&mut self) -> usize {
        self.viewers.retain(|viewer| !viewer.is_closed());
        if self.viewers.is_empty() {
            *self = Self { is_closed: self.is_closed, ..Self::default() };
        }
        self.viewers.len()
    }
}

/// The viewers, and the last snapshot that was sent to them.
#[derive(Debug, Default)]
pub(super) struct Feed {
    state: Mutex<State>,
    arrived: Notify,
}

impl Feed {
    /// Adds a viewer, and returns the events for it: `first`, and the last snapshot at once. Dropping the receiver
    /// removes the viewer.
    ///
    /// # Errors
    /// [`Refusal::TooManyViewers`] or [`Refusal::Draining`].
    pub(super) fn watch(&self, first: Option<Bytes>) -> Result<mpsc::Receiver<Bytes>, Refusal> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Refusal::Draining);
        }
        if state.prune() >= MAX_VIEWERS {
            return Err(Refusal::TooManyViewers);
        }
        let (viewer, events) = mpsc::channel(QUEUED);
        for event in first.iter().chain(&state.last) {
            // The channel is new and has space.
            let _ = viewer.try_send(event.clone());
        }
        state.viewers.push(viewer);
        drop(state);
        self.arrived.notify_one();
        Ok(events)
    }

    /// Ends all streams, and refuses new viewers from now on.
    pub(super) fn close(&self) {
        *self.state.lock() = State { is_closed: true, ..State::default() };
    }

    /// Waits until there are viewers; returns their number, and whether it had to wait.
    pub(super) async fn viewers(&self) -> (usize, bool) {
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

    /// Sends an event to all viewers.
    pub(super) fn publish(&self, event: Bytes) {
        let mut state = self.state.lock();
        for viewer in &state.viewers {
            // Full: this viewer misses the event. Closed: it is removed below.
            let _ = viewer.try_send(event.clone());
        }
        state.last = Some(event);
        state.prune();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(events: &mut mpsc::Receiver<Bytes>) -> Vec<Bytes> {
        std::iter::from_fn(|| events.try_recv().ok()).collect()
    }

    #[test]
    fn all_viewers_get_the_same_and_new_ones_the_last() {
        let feed = Feed::default();
        let mut first = feed.watch(None).unwrap();
        feed.publish("1".into());
        let mut second = feed.watch(Some("0".into())).unwrap();
        feed.publish("2".into());
        assert_eq!(received(&mut first), ["1", "2"]);
        assert_eq!(received(&mut second), ["0", "1", "2"]);
        // A viewer that does not read misses what does not fit.
        ["3", "4", "5", "6"].into_iter().for_each(|event| feed.publish(event.into()));
        assert_eq!(received(&mut first), ["3", "4", "5"]);
    }

    #[test]
    fn viewers_that_have_gone_are_forgotten_with_the_last_snapshot() {
        let feed = Feed::default();
        let viewers: Vec<_> = (0..MAX_VIEWERS).map(|_| feed.watch(None).unwrap()).collect();
        assert_eq!(feed.watch(None).unwrap_err(), Refusal::TooManyViewers);
        drop(viewers);
        feed.publish("old".into());
        assert_eq!(feed.state.lock().viewers.capacity(), 0);
        let mut late = feed.watch(None).unwrap();
        assert_eq!(received(&mut late), [""; 0], "nobody watched, so that the last snapshot may be old");
        feed.close();
        assert!(late.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected));
        assert_eq!(feed.watch(None).unwrap_err(), Refusal::Draining);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_happens_while_nobody_watches() {
        use std::time::Duration;

        let feed = Feed::default();
        let idle = tokio::time::timeout(Duration::from_secs(3600), feed.viewers()).await;
        assert!(idle.is_err(), "it waits");
        let _viewer = feed.watch(None).unwrap();
        assert_eq!(feed.viewers().await, (1, false));
    }
}
