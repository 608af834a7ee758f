//! Counts the messages of a member that the log has not written yet. Leaving a room waits for them: an ack stands in
//! the stream where its message stands, and nothing of a room may follow `left`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::names::ConnectionId;
use crate::registry::Registry;

/// The messages of one membership that wait for the log.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    count: AtomicUsize,
    /// True when the connection waits until there are none.
    is_awaited: AtomicBool,
}

impl Unanswered {
    /// Counts one more message, until the returned guard is dropped.
    pub(super) fn add(self: &Arc<Self>, registry: &Arc<Registry>, by: ConnectionId) -> UnansweredGuard {
        self.count.fetch_add(1, SeqCst);
        UnansweredGuard { all: Arc::clone(self), registry: Arc::clone(registry), by }
    }

    /// Returns true when there are some. The connection is woken when there are none any more.
    pub(super) fn awaits(&self) -> bool {
        // The order matters: the guard of the last message counts down first and looks for a waiting task second.
        self.is_awaited.store(true, SeqCst);
        self.count.load(SeqCst) > 0
    }
}

/// Counts a message that waits for the log. Dropped when the message is answered, or never will be.
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
