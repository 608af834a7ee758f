//! The requests of a link's owner that the link's task has not yet taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::call::{Call, CallError, MAX_CALL_BYTES, MAX_CALLS, Reply};
use super::confirmations::Change;
use super::event::{Event, EventSender, LinkId};
use super::reason::DownReason;

/// Most changes of subscriptions that wait to be sent: more channels than a node can have rooms, and some 100 MiB.
const MAX_CHANGES: usize = 1 << 20;

/// A call that is certain to be answered once: when this is dropped, at the latest.
#[derive(Debug)]
pub(super) struct Unanswered {
    tag: u64,
    bytes: usize,
    shared: Arc<Shared>,
    result: Result<Reply, CallError>,
}

impl Unanswered {
    /// Notes that the call may reach the server from now on.
    pub(super) fn is_being_sent(&mut self) {
        self.result = Err(CallError::Lost);
    }

    /// Answers the call.
    pub(super) fn answer(mut self, result: Result<Reply, CallError>) {
        self.result = result;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Err(CallError::Lost));
        self.shared.calls.fetch_sub(1, Ordering::Relaxed);
        self.shared.call_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.shared.events.send(self.shared.link, Event::Answer { tag: self.tag, result });
    }
}

/// A call that is to be sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) call: Call,
    /// How long the answer may take.
    pub(super) deadline: Option<Duration>,
    pub(super) unanswered: Unanswered,
}

/// The state that the handle of a link and its task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: LinkId,
    pub(super) events: EventSender,
    calls: AtomicUsize,
    call_bytes: AtomicUsize,
    probe_channel: Mutex<Bytes>,
    mailbox: Mutex<Mailbox>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Mailbox {
    /// The link is up.
    is_open: bool,
    requests: Vec<Request>,
    changes: VecDeque<Change>,
    is_overflown: bool,
}

impl Shared {
    pub(super) fn new(link: LinkId, events: EventSender, probe_channel: Bytes) -> Self {
        Self {
            link,
            events,
            calls: AtomicUsize::new(0),
            call_bytes: AtomicUsize::new(0),
            probe_channel: Mutex::new(probe_channel),
            mailbox: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Queues a call, or answers it at once.
    pub(super) fn call(self: &Arc<Self>, tag: u64, call: Call, deadline: Option<Duration>) {
        let bytes = call.size();
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let call_bytes = self.call_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_full = !has_space(calls, call_bytes, bytes);
        let result = Err(if is_full { CallError::Full } else { CallError::NotSent });
        let unanswered = Unanswered { tag, bytes, shared: Arc::clone(self), result };
        let mut mailbox = self.mailbox.lock();
        if !is_full && mailbox.is_open {
            mailbox.requests.push(Request { call, deadline, unanswered });
            drop(mailbox);
            self.arrived.notify_one();
        }
    }

    /// Returns true when a call would not be refused for its number or bytes.
    pub(super) fn has_space(&self, call: &Call) -> bool {
        let (calls, call_bytes) = self.in_flight();
        has_space(calls, call_bytes, call.size())
    }

    /// Returns the channel on which the link shall probe.
    pub(super) fn probe_channel(&self) -> Bytes {
        self.probe_channel.lock().clone()
    }

    /// Lets the link probe on another channel.
    pub(super) fn probe_on(&self, channel: Bytes) {
        *self.probe_channel.lock() = channel;
        self.arrived.notify_one();
    }

    /// Queues a change of the subscriptions. Ignored while the link is down.
    pub(super) fn change(&self, change: Change) {
        let mut mailbox = self.mailbox.lock();
        if mailbox.is_open && mailbox.changes.len() < MAX_CHANGES {
            mailbox.changes.push_back(change);
        } else {
            mailbox.is_overflown |= mailbox.is_open;
        }
        drop(mailbox);
        self.arrived.notify_one();
    }

    /// Returns how many calls wait for their answers, and their bytes.
    pub(super) fn in_flight(&self) -> (usize, usize) {
        (self.calls.load(Ordering::Relaxed), self.call_bytes.load(Ordering::Relaxed))
    }

    /// Takes requests from now on.
    pub(super) fn open(&self) {
        self.mailbox.lock().is_open = true;
    }

    /// Refuses requests from now on, and answers those that were not sent.
    pub(super) fn close(&self) {
        let unsent = std::mem::take(&mut *self.mailbox.lock());
        drop(unsent);
    }

    /// Waits until something was queued. May be dropped while it waits.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Moves all calls and at most `most` changes into `taken`.
    ///
    /// # Errors
    /// Too many changes were queued, and some are lost.
    pub(super) fn take(&self, taken: &mut Taken, most: usize) -> Result<(), DownReason> {
        let mut mailbox = self.mailbox.lock();
        if mailbox.is_overflown {
            return Err(DownReason::SubscriptionsFull(MAX_CHANGES));
        }
        std::mem::swap(&mut mailbox.requests, &mut taken.requests);
        let count = mailbox.changes.len().min(most);
        taken.changes.extend(mailbox.changes.drain(..count));
        taken.has_more_changes = !mailbox.changes.is_empty();
        if mailbox.changes.is_empty() {
            mailbox.changes = VecDeque::new();
        }
        Ok(())
    }
}

/// Returns true when a link with so many calls takes one more. A single call is never too large for it.
fn has_space(calls: usize, call_bytes: usize, bytes: usize) -> bool {
    calls < MAX_CALLS && (calls == 0 || call_bytes + bytes <= MAX_CALL_BYTES)
}

/// Requests that were taken from the mailbox. The memory of its lists is used again.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) requests: Vec<Request>,
    pub(super) changes: Vec<Change>,
    pub(super) has_more_changes: bool,
}
