//! The inbox of a shard (the clients of one worker thread): other threads put frames for the clients and commands about
//! them into it. The frames are bounded in bytes.
//!
//! A lane has the members of one room on one shard that are sent its events in one form. A publication goes into the
//! lanes that it names, and from there in batches to the members: that is the fan-out.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::delivery::{Lanes, LossNote, SenderCopy};
use super::inquiry::{Departure, Described};
use super::probe::Asker;
use super::revoked::RevokedQueue;
use super::share::Share;
use super::topic::TopicId;
use crate::names::ConnectionId;
use crate::protocol::close::EndReason;
use crate::protocol::frame::Frame;

/// A frame for the members of a room that are on one shard.
#[derive(Debug)]
pub struct Publication {
    /// The room.
    pub topic: TopicId,
    /// The frame's position in the room's stream of messages and notices.
    pub seq: u64,
    /// The lanes that the frame goes into.
    pub lanes: Lanes,
    /// The note that a member gets from its queue if the queue drops the frame.
    pub loss: LossNote,
    /// The encoded frame.
    pub frame: Frame,
    /// The sender's own copy and its ack, when the sender is a client of this shard.
    pub sender: Option<SenderCopy>,
    /// When the frame was published.
    pub at: Instant,
}

impl Publication {
    /// Returns the bytes that count against the inbox's limit: the frame's length for each lane, because each lane
    /// copies the frame into a batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frame.len() * self.lanes.count()
    }
}

/// The event that a user is typing in a room. It has no position in the room's stream.
#[derive(Debug)]
pub struct Typing {
    /// The room.
    pub topic: TopicId,
    /// The event as an encoded frame.
    pub frame: Frame,
    /// The user who is typing, whose connection does not get the event.
    pub typist: Typist,
}

/// A user who is typing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typist {
    /// With this connection.
    Here(ConnectionId),
    /// On another node.
    Elsewhere,
}

/// A command about one client of a shard.
#[derive(Debug)]
pub enum Command {
    /// Ends this connection for this reason, if it still exists.
    End(ConnectionId, EndReason),
    /// Ends the members of this room for this reason.
    EndMembers(TopicId, EndReason),
    /// Wakes the task of this connection, after the shard has handled every earlier item.
    Wake(ConnectionId),
    /// Pings this connection to learn whether it is alive, and tells the asker whether it reacts within
    /// [`PROBE_MS`](super::probe::PROBE_MS). The asker is dropped when there is no such connection.
    Probe(ConnectionId, Asker),
    /// Sends this private message to the connection, within the bounds of its queue. The [`Share`] is the part of the
    /// queue that the message's sender uses up until the message has left.
    Send(ConnectionId, Frame, Option<Share>),
    /// Sends this frame to the connection as the reply to its own command. It is not subject to the bounds of the
    /// queue.
    Reply(ConnectionId, Frame),
    /// Describes this connection. The sender is dropped when there is no such connection.
    Describe(ConnectionId, oneshot::Sender<Described>),
    /// Lets this connection leave a room, because an operator wants it.
    Leave(ConnectionId, Departure),
}

/// One item of an inbox.
#[derive(Debug)]
pub enum Item {
    /// A frame to fan out.
    Publish(Publication),
    /// A typing event, for members for whom nothing else waits.
    Typing(Box<Typing>),
    /// A command to run.
    Command(Box<Command>),
}

/// The items that wait, and the way to tell the shard of a new one.
#[derive(Debug, Default)]
struct Queue {
    items: Vec<Item>,
    /// Wakes the shard's fan-out; set while it waits for an item.
    sleeper: Option<Waker>,
}

/// A shard's inbox.
#[derive(Debug)]
pub struct Inbox {
    queue: Mutex<Queue>,
    /// Bytes of all frames that were added and that the shard has neither begun to deliver nor dropped. They include
    /// frames that it has taken out of the inbox and that wait in lanes.
    bytes: AtomicUsize,
    /// The limit on `bytes`, which only some callers check.
    max_bytes: usize,
    /// The revoked tokens whose connections are to be ended.
    revoked: Arc<RevokedQueue>,
}

impl Inbox {
    /// Makes an inbox that is full when its frames have `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { queue: Mutex::default(), bytes: AtomicUsize::new(0), max_bytes, revoked: Arc::default() }
    }

    /// Returns the queue of revoked tokens whose connections are to be ended.
    #[must_use]
    pub fn revoked(&self) -> &Arc<RevokedQueue> {
        &self.revoked
    }

    /// Returns true when a frame of `len` bytes fits. The caller checks this before a message gets its offset, when the
    /// length is only known as an upper bound: six bytes for each byte of text, for each lane. Anything fits into an
    /// empty inbox, because otherwise the longest message could never be published.
    ///
    /// Checking reserves nothing. Publishers of different rooms may check at the same time, so the inbox may exceed its
    /// limit by one message for each worker thread, and by the messages that the log of the history writes at once.
    #[must_use]
    pub fn has_space(&self, len: usize) -> bool {
        let bytes = self.bytes.load(Relaxed);
        bytes == 0 || bytes + len <= self.max_bytes
    }

    /// Returns the bytes of all frames that were added and that the shard has neither begun to deliver nor dropped.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Adds a publication, even beyond the limit, and wakes the shard if it sleeps. The caller holds the room's lock,
    /// so that the publications of a room arrive in order. It has checked the space for a message, not for a notice.
    pub fn publish(&self, publication: Publication) {
        self.bytes.fetch_add(publication.bytes(), Relaxed);
        self.push(Item::Publish(publication));
    }

    /// Adds a typing event, or drops it when more than half of the limit is used up.
    pub fn typing(&self, typing: Typing) {
        if self.has_space(self.max_bytes / 2) {
            self.bytes.fetch_add(typing.frame.len(), Relaxed);
            self.push(Item::Typing(Box::new(typing)));
        }
    }

    /// Adds a private message for one connection, even beyond the limit: the caller has checked the space before.
    pub fn send(&self, id: ConnectionId, frame: Frame, share: Option<Share>) {
        self.bytes.fetch_add(frame.len(), Relaxed);
        self.command(Command::Send(id, frame, share));
    }

    /// Adds the reply to a connection's own command, even beyond the limit: when a full inbox is the reason that the
    /// command is refused, the client has to learn that.
    pub fn reply(&self, id: ConnectionId, frame: Frame) {
        self.bytes.fetch_add(frame.len(), Relaxed);
        self.command(Command::Reply(id, frame));
    }

    /// Adds a command and wakes the shard if it sleeps.
    pub fn command(&self, command: Command) {
        self.push(Item::Command(Box::new(command)));
    }

    fn push(&self, item: Item) {
        let sleeper = {
            let mut queue = self.queue.lock();
            queue.items.push(item);
            queue.sleeper.take()
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// Moves all items out of the inbox into `items`, which must be empty. Returns false when there were none. The
    /// bytes of the frames still count until [`Inbox::done`].
    pub fn take(&self, items: &mut Vec<Item>) -> bool {
        debug_assert!(items.is_empty(), "items that were taken before must be done first");
        std::mem::swap(&mut self.queue.lock().items, items);
        !items.is_empty()
    }

    /// Subtracts `bytes` of frames that the shard has begun to deliver, or has dropped.
    pub fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Blocks every push until the returned guard is dropped.
    #[cfg(test)]
    pub(crate) fn block(&self) -> impl Sized + '_ {
        self.queue.lock()
    }

    /// Waits until the inbox has an item. Only the shard's fan-out waits. A client of the shard that leaves a room
    /// takes all items, so the inbox can be empty when this returns.
    ///
    /// # Cancel safety
    /// Dropping the future loses no item: the next call returns at once if one is in the inbox. If the item was taken
    /// before that call, it keeps waiting, so check first whether the shard has work left.
    pub async fn wait(&self) {
        let mut sleeps = false;
        poll_fn(|cx| {
            let mut queue = self.queue.lock();
            let was_woken = sleeps && queue.sleeper.is_none();
            if was_woken || !queue.items.is_empty() {
                queue.sleeper = None;
                return Poll::Ready(());
            }
            sleeps = true;
            queue.sleeper = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
