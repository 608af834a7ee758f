//! One server that is told events: its wishes, its queue and its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::event::{Event, Happening};
use super::queue::{Batch, Bounds, LANES, Queue};
use crate::config::{self, Url};
use crate::metrics::webhooks::{Attempt, WebhookGauges};
use crate::names::matches_pattern;
use crate::outbound::signature::Signer;

/// The configuration of a receiver. A reload replaces it.
#[derive(Debug)]
pub(super) struct Wishes {
    /// The place in the configuration, which is the receiver's name in logs and metrics.
    pub(super) place: usize,
    pub(super) url: Url,
    pub(super) signer: Signer,
    /// The events, as bits.
    events: u16,
    rooms: Vec<String>,
}

impl Wishes {
    pub(super) fn new(place: usize, receiver: &config::Webhook) -> Self {
        Self {
            place,
            url: receiver.url.clone(),
            signer: Signer::new(&receiver.secrets),
            events: bits(&receiver.events),
            rooms: receiver.rooms.clone(),
        }
    }

    fn want(&self, happening: &Happening<'_>) -> bool {
        let fits = |room: &str| self.rooms.iter().any(|pattern| matches_pattern(pattern, room));
        self.events & bit(happening.kind()) != 0
            && (self.rooms.is_empty() || happening.room().is_none_or(|room| fits(room.as_str())))
    }
}

pub(super) const fn bit(event: config::WebhookEvent) -> u16 {
    1 << event as u16
}

pub(super) fn bits(events: &[config::WebhookEvent]) -> u16 {
    events.iter().fold(0, |bits, event| bits | bit(*event))
}

/// A server that is told events.
#[derive(Debug)]
pub(super) struct Receiver {
    wishes: RwLock<Arc<Wishes>>,
    pub(super) queue: Mutex<Queue>,
    /// Wakes the task of each lane.
    pub(super) wake: [Notify; LANES],
    /// True when a reload has taken the receiver away.
    pub(super) is_removed: AtomicBool,
    /// True once its lanes have tasks.
    pub(super) is_served: AtomicBool,
    /// True while deliveries fail, so that the log says it once.
    pub(super) is_failing: AtomicBool,
    /// True while events from before the start are delivered, which the news of the start follow.
    pub(super) owes_start: AtomicBool,
    events: AtomicU64,
    dropped: AtomicU64,
    attempts: [AtomicU64; Attempt::ALL.len()],
}

impl Receiver {
    pub(super) fn new(wishes: Wishes) -> Self {
        Self {
            wishes: RwLock::new(Arc::new(wishes)),
            queue: Mutex::default(),
            wake: Default::default(),
            is_removed: AtomicBool::new(false),
            is_served: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            owes_start: AtomicBool::new(false),
            events: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            attempts: Default::default(),
        }
    }

    pub(super) fn wishes(&self) -> Arc<Wishes> {
        Arc::clone(&self.wishes.read())
    }

    pub(super) fn wants(&self, happening: &Happening<'_>) -> bool {
        self.wishes.read().want(happening)
    }

    /// Replaces the wishes, and switches a receiver on that was gone.
    pub(super) fn renew(&self, wishes: Wishes) {
        *self.wishes.write() = Arc::new(wishes);
        self.queue.lock().switch_on();
    }

    /// Adds an event to a lane, or drops it if there is no space.
    pub(super) fn push(&self, lane: usize, event: &Arc<Event>, bounds: Bounds) {
        self.events.fetch_add(1, Relaxed);
        let is_taken = self.queue.lock().push(lane, event, bounds);
        if is_taken {
            self.wake[lane].notify_one();
        } else {
            self.count_dropped(1);
        }
    }

    /// Notes that a request is over, delivered or given up.
    pub(super) fn done(&self, batch: &Batch, is_delivered: bool) {
        let garbage = self.queue.lock().done(batch, is_delivered);
        garbage.delete();
        let given_up = if is_delivered { 0 } else { batch.events.len() as u64 };
        self.count_dropped(batch.missing + given_up);
    }

    /// Drops everything and takes nothing more until the wishes are renewed. Returns how many events that are.
    pub(super) fn switch_off(&self) -> u64 {
        let (dropped, garbage) = self.queue.lock().switch_off();
        garbage.delete();
        self.count_dropped(dropped);
        dropped
    }

    pub(super) fn count_dropped(&self, events: u64) {
        self.dropped.fetch_add(events, Relaxed);
    }

    pub(super) fn count_attempt(&self, attempt: Attempt) {
        self.attempts[attempt as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn gauges(&self) -> WebhookGauges {
        let (queue, oldest) = {
            let queue = self.queue.lock();
            (queue.len(), queue.oldest())
        };
        WebhookGauges {
            place: self.wishes.read().place,
            events: self.events.load(Relaxed),
            attempts: self.attempts.each_ref().map(|count| count.load(Relaxed)),
            queue,
            oldest: oldest.map(|since| since.elapsed()).unwrap_or_default(),
            dropped: self.dropped.load(Relaxed),
        }
    }
}
