//! What a member has said and the log has not written yet. Whoever leaves the room waits for that: an ack stands at the
//! place of its message, and nothing of a room behind `left`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::names::ConnectionId;
use crate::registry::Registry;

/// The messages of one membership that wait for the log.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    count: AtomicUsize,
    /// Somebody waits until there are none.
    is_awaited: AtomicBool,
}

impl Unanswered {
    /// One more, until what is returned is dropped.
    pub(super) fn add(self: &Arc<Self>, registry: &Arc<Registry>, by: ConnectionId) -> UnansweredGuard {
        self.count.fetch_add(1, SeqCst);
        UnansweredGuard { all: Arc::clone(self), registry: Arc::clone(registry), by }
    }

    /// True when there are some: the connection's task will be woken when there are none any more.
    pub(super) fn awaits(&self) -> bool {
        // In this order: whoever answers the last one counts it first and then looks who waits.
        self.is_awaited.store(true, SeqCst);
        self.count.load(SeqCst) > 0
    }
}

/// A message that waits for the log; dropped when it was answered, or never will be.
#[derive(Debug)]
pub(super) struct UnansweredGuard {
    all: Arc<Unanswered>,
    registry: Arc<Registry>,
    by: ConnectionId,
}

impl Drop for UnansweredGuard {
    fn drop(&mut self) {
        let was_last = self.all.count.fetch_sub(1, SeqCst) == 1;
        if was_last && self.all.is_awaited.swap(false, SeqCst) {
            self.registry.wake(self.by);
        }
    }
}
