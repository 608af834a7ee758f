//! How the acceptor takes a handshake permit back: the state that it shares with the task of the permit's socket.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// The current activity of a socket's task during the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Activity {
    /// It is working on a request, and will be done in a moment.
    Working,
    /// It waits for another connection that the peer has chosen (the holder of a user id), possibly for seconds.
    AwaitingOther,
    /// It waits for its own peer.
    AwaitingPeer,
}

/// The state of one permit that the acceptor and the task of the socket share.
#[derive(Debug, Default)]
pub(in crate::server) struct Revocation {
    /// The task's last [`Activity`]. It is a hint: a task that is working when its permit is revoked ends later.
    activity: AtomicU8,
    is_revoked: AtomicBool,
    /// Wakes the task while it waits. Two threads take this lock once or twice in the life of a permit.
    waker: Mutex<Option<Waker>>,
}

impl Revocation {
    /// Returns true when the task waits for its peer or, with `or_other`, for another connection.
    pub(super) fn is_waiting(&self, or_other: bool) -> bool {
        let activity = self.activity.load(Relaxed);
        activity == Activity::AwaitingPeer as u8 || or_other && activity == Activity::AwaitingOther as u8
    }

    /// Ends the handshake as soon as its task waits.
    pub(super) fn revoke(&self) {
        self.is_revoked.store(true, Relaxed);
        // The lock orders the flag: a task that has stored its waker before looked at the flag under the same lock.
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes that the task works on a request.
    pub(in crate::server) fn set_working(&self) {
        self.activity.store(Activity::Working as u8, Relaxed);
    }

    /// Notes what the task is doing; called whenever nothing more can be done for now. Ready when the permit is revoked
    /// and the task is not working: then the task has to end. Otherwise a revocation wakes the task.
    pub(in crate::server) fn poll_revoked(&self, cx: &mut Context<'_>, activity: Activity) -> Poll<()> {
        self.activity.store(activity as u8, Relaxed);
        if activity == Activity::Working {
            return Poll::Pending;
        }
        let mut waker = self.waker.lock();
        if self.is_revoked.load(Relaxed) {
            return Poll::Ready(());
        }
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
