//! What the acceptor and the task of a socket share while the socket has a place: whether it is waited for, and whether
//! it has to go.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::server) struct Ticket {
    /// The peer is waited for, as its task has seen it. A hint: a task that is busy when it is told to go goes later.
    is_idle: AtomicBool,
    must_go: AtomicBool,
    /// The task that waits for its peer. Taken by two threads once or twice in the life of a ticket.
    waiting: Mutex<Option<Waker>>,
}

impl Ticket {
    /// True where the peer is waited for, and `is_due`.
    pub(super) fn can_make_way(&self, is_due: bool) -> bool {
        is_due && self.is_idle.load(Relaxed)
    }

    /// Ends the socket's handshake the next time that its peer is waited for.
    pub(super) fn make_way(&self) {
        self.must_go.store(true, Relaxed);
        // Behind the lock the flag is seen: who waits has looked at it under the lock.
        let waiting = self.waiting.lock().take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// The task has something to do for its peer.
    pub(in crate::server) fn serve(&self) {
        self.is_idle.store(false, Relaxed);
    }

    /// Called by the task whenever it has done what could be done. Ready when it has to end.
    pub(in crate::server) fn poll_go(&self, cx: &mut Context<'_>, is_idle: bool) -> Poll<()> {
        self.is_idle.store(is_idle, Relaxed);
        if !is_idle {
            return Poll::Pending;
        }
        let mut waiting = self.waiting.lock();
        if self.must_go.load(Relaxed) {
            return Poll::Ready(());
        }
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
