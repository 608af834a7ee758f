//! The state that the node's threads and the sender have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::Instant;

use super::disk::Unsynced;
use super::event::{Event, Resync};
use super::queue::{Batch, Bounds};
use super::receiver::Receiver;
use crate::clock::Clock;
use crate::config;

/// The settings that a reload can change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) linger: Duration,
    pub(super) timeout: Duration,
    pub(super) keep: Duration,
    offline_after: Duration,
    pub(super) bounds: Bounds,
}

impl Times {
    pub(super) fn new(config: &config::Webhooks) -> Self {
        Self {
            linger: config.linger,
            timeout: config.timeout,
            keep: config.keep,
            offline_after: config.offline_after,
            bounds: Bounds {
                events: config.max_events,
                bytes: config.max_bytes,
                disk_bytes: config.max_disk_bytes as u64,
            },
        }
    }
}

/// The state that the node's threads and the sender share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: String,
    /// Tells the events of this run of the node from those of others.
    pub(super) incarnation: u64,
    pub(super) clock: Clock,
    pub(super) times: RwLock<Times>,
    pub(super) receivers: RwLock<Vec<Arc<Receiver>>>,
    pub(super) next_event: AtomicU64,
    pub(super) next_delivery: AtomicU64,
    /// Set to the end of the time for the last deliveries when the node stops; changed when the receivers are.
    pub(super) signal: watch::Sender<Option<Instant>>,
}

impl Shared {
    /// Tells a receiver that events may be missing.
    pub(super) fn push_resync(&self, receiver: &Receiver, reason: &Resync) {
        let event = reason.event(&self.event_id(), self.clock.unix_ms());
        receiver.push(0, &Arc::new(event), self.times.read().bounds);
    }

    /// Tells a receiver that this node has started, behind all events from before: one of them could say that somebody
    /// is online who is not.
    pub(super) fn tell_start(&self, receiver: &Receiver) {
        receiver.owes_start.store(true, Relaxed);
        self.tell_start_behind_old(receiver);
    }

    /// Tells a receiver that this node has started, if it was not told yet and no events from before wait.
    pub(super) fn tell_start_behind_old(&self, receiver: &Receiver) {
        let is_due = receiver.owes_start.load(Relaxed) && !receiver.queue.lock().has_old();
        if is_due && receiver.owes_start.swap(false, Relaxed) {
            self.push_resync(receiver, &Resync::Started);
        }
    }

    /// Returns what was written to the disk and not synced yet.
    pub(super) fn take_unsynced(&self) -> Vec<Unsynced> {
        let receivers = self.receivers.read();
        receivers.iter().filter_map(|receiver| receiver.queue.lock().take_unsynced()).collect()
    }

    pub(super) fn event_id(&self) -> String {
        let number = self.next_event.fetch_add(1, Relaxed);
        format!("{}-{:016x}-{number}", self.node, self.incarnation)
    }

    /// Returns the id of a request, which all its attempts have. It is no event's id, because another request may
    /// contain the same events and more.
    pub(super) fn delivery_id(&self) -> String {
        let number = self.next_delivery.fetch_add(1, Relaxed);
        format!("{}-{:016x}-d{number}", self.node, self.incarnation)
    }

    pub(super) fn offline_after_ms(&self) -> u64 {
        self.times.read().offline_after.as_millis() as u64
    }

    /// Writes the body of a request, with a resync if events were dropped.
    pub(super) fn body(&self, batch: &Batch) -> Bytes {
        let now_ms = self.clock.unix_ms();
        let resync = (batch.dropped > 0).then(|| Resync::Dropped.event(&self.event_id(), now_ms));
        let events: Vec<&str> = batch
            .events
            .iter()
            .map(|event| &**event)
            .chain(&resync)
            .map(|event: &Event| &*event.json)
            .collect();
        let (node, dropped) = (&self.node, batch.dropped);
        let events = events.join(",");
        // The name of a node needs no escaping.
        format!(r#"{{"time_ms":{now_ms},"node":"{node}","events":[{events}],"dropped":{dropped}}}"#).into()
    }
}
