//! The inbox of a shard: other threads push into it what is for the shard's clients, frames for the members of rooms
//! and commands about single clients. The bytes of its frames are bounded. A lane is the members of one room on one
//! shard that speak one dialect.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;

use super::delivery::{Lanes, LossNote, SenderCopy};
use super::probe::Asker;
use super::share::Share;
use super::topic::TopicId;
use crate::names::ConnectionId;
use crate::protocol::close::EndReason;
use crate::protocol::frame::Frame;

/// A frame for the members of a room on one shard.
#[derive(Debug)]
pub struct Publication {
    /// The room.
    pub topic: TopicId,
    /// The frame's position in the room's stream of messages and notices.
    pub seq: u64,
    /// The lanes that the frame goes into.
    pub lanes: Lanes,
    /// The note for a member whose queue drops the frame.
    pub loss: LossNote,
    /// The encoded frame.
    pub frame: Frame,
    /// The copy for the client that sent the message, if that is a client of this shard.
    pub sender: Option<SenderCopy>,
    /// Time when the frame was published.
    pub at: Instant,
}

impl Publication {
    /// Returns the bytes that the publication takes of the inbox's space: the frame's length for each lane, because
    /// each lane copies the frame into a batch.
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
    /// The encoded event.
    pub frame: Frame,
    /// The connection of the user who is typing. It does not get the event.
    pub except: ConnectionId,
}

/// A command about one client of a shard.
#[derive(Debug)]
pub enum Command {
    /// Ends the connection for this reason, if it still exists.
    End(ConnectionId, EndReason),
    /// Wakes the connection's task, after the shard has taken in everything that was pushed before.
    Wake(ConnectionId),
    /// Pings the connection and tells the asker whether an answer comes within [`PROBE_MS`](super::probe::PROBE_MS).
    /// Drops the asker when the connection is gone or ending.
    Probe(ConnectionId, Asker),
    /// Sends the frame to the connection, within the bounds of its queue. The share is dropped once the frame is sent,
    /// or never will be.
    Send(ConnectionId, Frame, Option<Share>),
    /// Sends the frame to the connection as the reply to its own command. Such a reply is never dropped.
    Reply(ConnectionId, Frame),
}

/// One item of an inbox.
#[derive(Debug)]
pub enum Item {
    /// A frame to fan out.
    Publish(Publication),
    /// A typing event to show to members for which nothing else waits.
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
    /// Bytes of frames that were pushed and that the shard has not begun to fan out, or queued for their one client. A
    /// frame counts until then, even if the shard has taken it out of the inbox.
    bytes: AtomicUsize,
    /// Bytes beyond which the inbox has no space.
    max_bytes: usize,
}

impl Inbox {
    /// Makes an inbox with space for `max_bytes` bytes of frames.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { queue: Mutex::default(), bytes: AtomicUsize::new(0), max_bytes }
    }

    /// True when a frame of `len` bytes fits, and always when the inbox is empty. Call it before a message gets its
    /// offset, with an upper bound of its length (six bytes for each byte of text, for each lane). That bound may be
    /// larger than the whole inbox, so without the exception the longest messages would be refused for ever.
    ///
    /// Publishers of different rooms may ask at the same time, so the inbox may exceed its limit by one message for
    /// each worker thread.
    #[must_use]
    pub fn has_space(&self, len: usize) -> bool {
        let bytes = self.bytes.load(Relaxed);
        bytes == 0 || bytes + len <= self.max_bytes
    }

    /// Returns the bytes of frames that the shard has not begun to fan out or queued for their client.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Adds a publication, whether it fits or not, and wakes the shard if it sleeps. Call it under the room's lock, so
    /// that a room's publications come in order, and for a message ask [`Inbox::has_space`] before.
    pub fn publish(&self, publication: Publication) {
        self.bytes.fetch_add(publication.bytes(), Relaxed);
        self.push(Item::Publish(publication));
    }

    /// Adds a typing event. Drops it instead when more than half of the space is taken.
    pub fn typing(&self, typing: Typing) {
        if self.has_space(self.max_bytes / 2) {
            self.bytes.fetch_add(typing.frame.len(), Relaxed);
            self.push(Item::Typing(Box::new(typing)));
        }
    }

    /// Adds a frame for one connection, whether it fits or not: ask [`Inbox::has_space`] before.
    pub fn send(&self, id: ConnectionId, frame: Frame, share: Option<Share>) {
        self.bytes.fetch_add(frame.len(), Relaxed);
        self.command(Command::Send(id, frame, share));
    }

    /// Adds the reply to a connection's own command, whether it fits or not: the command was accepted before.
    pub fn reply(&self, id: ConnectionId, frame: Frame) {
        self.bytes.fetch_add(frame.len(), Relaxed);
        self.command(Command::Reply(id, frame));
    }

    /// Adds a command about one connection, which takes no space, and wakes the shard if it sleeps.
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

    /// Moves all waiting items into `items`, which must be empty, and keeps its memory for the next ones. Returns false
    /// when there were none.
    pub fn take(&self, items: &mut Vec<Item>) -> bool {
        debug_assert!(items.is_empty(), "items that were taken before must be done first");
        std::mem::swap(&mut self.queue.lock().items, items);
        !items.is_empty()
    }

    /// Frees the space of `bytes` bytes of frames, which the shard has begun to fan out, queued for their client or
    /// dropped.
    pub fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Blocks every push until the returned guard is dropped.
    #[cfg(test)]
    pub(crate) fn block(&self) -> impl Sized + '_ {
        self.queue.lock()
    }

    /// Waits until an item is in the inbox. Another task of the shard may have taken it by the time this returns. Only
    /// the shard's fan-out may wait.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call returns at once if an item is still in the inbox. But an item
    /// that another task of the shard has taken meanwhile no longer ends the wait, so check for work before the next
    /// call.
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
