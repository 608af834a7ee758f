//! The events of links, and the queue through which they reach the engine.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::call::CallError;
use super::facts::ServerFacts;
use super::reason::DownReason;
use crate::broker::redis::script::{Reply, ServerError};
use crate::shrink::ShrinkWhenSparse;

/// Most bytes of pushes that should wait for an engine: as many as a network of 1 Gbit/s brings in half a second. An
/// engine that is later than that does better to read the rooms' histories.
pub const MAX_PUSH_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that a push takes in memory besides its channel and payload, roughly.
const PUSH_BYTES: usize = 160;
/// Events for which the queue keeps its memory: some 400 KiB, so that it does not grow anew for each burst.
const KEPT_EVENTS: usize = 4_096;

/// Tells the links of an engine apart. The owner chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// An event on a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Both connections are there, and a probe has come through. No channel is subscribed to yet.
    Up(Arc<ServerFacts>),
    /// Both connections are gone, with all subscriptions, or an attempt to connect has failed for another reason than
    /// the one before. All calls have been answered. The link tries again for ever.
    Down(DownReason),
    /// A call is answered. There is exactly one of these for each call.
    Answer {
        /// The number that the caller gave.
        tag: u64,
        /// The server's reply, or why there is none.
        result: Result<Reply, CallError>,
    },
    /// A message on a channel.
    Push {
        /// The channel.
        channel: Bytes,
        /// The message.
        payload: Bytes,
    },
    /// A subscription is confirmed.
    Subscribed {
        /// The channel.
        channel: Bytes,
    },
    /// A channel is no longer subscribed to.
    Unsubscribed {
        /// The channel.
        channel: Bytes,
        /// False when the server ended the subscription of its own, as it does when a slot moves.
        is_asked: bool,
    },
    /// The server refused to subscribe to a channel.
    SubscribeRefused {
        /// The channel.
        channel: Bytes,
        /// Why.
        error: ServerError,
    },
}

/// Creates the queue between the links of an engine and its thread.
///
/// It holds at most `max_push_bytes` of pushes: a link whose push does not fit drops its connections. Other events are
/// never refused: there is one for each call or subscription that the engine asked for, and one for each time that a
/// link breaks.
#[must_use]
pub fn event_queue(max_push_bytes: usize) -> (EventSender, EventReceiver) {
    let queue = Arc::new(Queue { max_push_bytes, waiting: Mutex::default(), arrived: Notify::new() });
    (EventSender { queue: Arc::clone(&queue) }, EventReceiver { queue })
}

#[derive(Debug)]
struct Queue {
    max_push_bytes: usize,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<(LinkId, Event)>,
    push_bytes: usize,
    /// The receiver is gone: nothing is kept any more.
    is_closed: bool,
}

/// The links' end of the queue.
#[derive(Debug, Clone)]
pub struct EventSender {
    queue: Arc<Queue>,
}

impl EventSender {
    /// Queues an event that is not a push.
    pub(super) fn send(&self, link: LinkId, event: Event) {
        let mut waiting = self.queue.waiting.lock();
        if !waiting.is_closed {
            waiting.events.push_back((link, event));
            drop(waiting);
            self.queue.arrived.notify_one();
        }
    }

    /// Answers a call that no link can take.
    pub fn refuse(&self, tag: u64) {
        self.send(LinkId(u32::MAX), Event::Answer { tag, result: Err(CallError::NotSent) });
    }

    /// Queues a push. Returns false when the queue has no space for it.
    #[must_use]
    pub(super) fn push(&self, link: LinkId, channel: Bytes, payload: Bytes) -> bool {
        let bytes = size(&channel, &payload);
        let mut waiting = self.queue.waiting.lock();
        if waiting.push_bytes + bytes > self.queue.max_push_bytes {
            return false;
        }
        if !waiting.is_closed {
            waiting.push_bytes += bytes;
            waiting.events.push_back((link, Event::Push { channel, payload }));
            drop(waiting);
            self.queue.arrived.notify_one();
        }
        true
    }
}

/// The engine's end of the queue.
#[derive(Debug)]
pub struct EventReceiver {
    queue: Arc<Queue>,
}

impl EventReceiver {
    /// Waits until there is an event, and moves at most `most` of them to the end of `into`, the oldest first. May be
    /// dropped while it waits: no event is lost.
    pub async fn receive(&mut self, into: &mut Vec<(LinkId, Event)>, most: usize) {
        while self.try_receive(into, most) == 0 {
            self.queue.arrived.notified().await;
        }
    }

    /// Moves at most `most` events to the end of `into`, and returns how many there were.
    pub fn try_receive(&mut self, into: &mut Vec<(LinkId, Event)>, most: usize) -> usize {
        let mut waiting = self.queue.waiting.lock();
        let taken = waiting.events.len().min(most);
        let before = into.len();
        into.extend(waiting.events.drain(..taken));
        let push_bytes = |(_, event): &(LinkId, Event)| match event {
            Event::Push { channel, payload } => size(channel, payload),
            _ => 0,
        };
        waiting.push_bytes -= into[before..].iter().map(push_bytes).sum::<usize>();
        if waiting.events.capacity() > KEPT_EVENTS {
            waiting.events.shrink_when_sparse();
        }
        taken
    }

    /// Returns how many bytes of pushes wait.
    #[must_use]
    pub fn push_bytes(&self) -> usize {
        self.queue.waiting.lock().push_bytes
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting.lock();
        *waiting = Waiting { is_closed: true, ..Waiting::default() };
    }
}

fn size(channel: &Bytes, payload: &Bytes) -> usize {
    channel.len() + payload.len() + PUSH_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(1);

    fn push(sender: &EventSender, payload: &'static str) -> bool {
        sender.push(LINK, "c".into(), payload.into())
    }

    #[test]
    fn pushes_are_counted_until_they_are_received() {
        let (sender, mut receiver) = event_queue(2 * (PUSH_BYTES + 4));
        assert!(push(&sender, "one") && push(&sender, "two") && !push(&sender, ""));
        let mut events = Vec::new();
        assert_eq!(receiver.try_receive(&mut events, 1), 1);
        assert!(push(&sender, "six") && !push(&sender, ""));
        // Events of other kinds are not counted.
        sender.send(LINK, Event::Subscribed { channel: "c".into() });
        assert_eq!((receiver.try_receive(&mut events, 10), receiver.push_bytes()), (3, 0));
        let payloads = events.into_iter().filter_map(|(_, event)| match event {
            Event::Push { payload, .. } => Some(payload),
            _ => None,
        });
        assert_eq!(payloads.collect::<Vec<_>>(), ["one", "two", "six"]);
    }

    #[test]
    fn nothing_is_kept_for_a_receiver_that_is_gone() {
        let (sender, receiver) = event_queue(PUSH_BYTES + 4);
        drop(receiver);
        assert!(push(&sender, "one") && push(&sender, "two"));
        sender.send(LINK, Event::Subscribed { channel: "c".into() });
        assert_eq!(sender.queue.waiting.lock().events.len(), 0);
    }
}
