//! What the acceptor and the task of a socket share while the socket has a place: whether it is waited for, and whether
//! it has to go.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// What a socket's task has to do for its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Doing {
    /// Something: it is over in a moment.
    Serves,
    /// Nothing until somebody else has answered, whom the peer has chosen: a matter of seconds.
    Asks,
    /// Nothing: the peer is waited for.
    Waits,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::server) struct Ticket {
    /// A [`Doing`], as the task has seen it. A hint: a task that serves when it is told to go goes later.
    doing: AtomicU8,
    must_go: AtomicBool,
    /// The task that waits for its peer. Taken by two threads once or twice in the life of a ticket.
    waiting: Mutex<Option<Waker>>,
}

impl Ticket {
    /// True where the peer is waited for, or, where `asks_too`, somebody else.
    pub(super) fn can_make_way(&self, asks_too: bool) -> bool {
        let doing = self.doing.load(Relaxed);
        doing == Doing::Waits as u8 || asks_too && doing == Doing::Asks as u8
    }

    /// Ends the socket's handshake the next time that its task has nothing to do.
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
        self.doing.store(Doing::Serves as u8, Relaxed);
    }

    /// Called by the task whenever it has done what could be done. Ready when it has to end.
    pub(in crate::server) fn poll_go(&self, cx: &mut Context<'_>, doing: Doing) -> Poll<()> {
        self.doing.store(doing as u8, Relaxed);
        if doing == Doing::Serves {
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
