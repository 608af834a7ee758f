//! The inbox of a shard, into which other threads push publications, bounded in bytes, and commands about its clients.

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
    /// Its position in the room's stream of messages and notices.
    pub seq: u64,
    /// The lanes that it goes into.
    pub lanes: Lanes,
    /// The note for a member whose queue drops the frame.
    pub loss: LossNote,
    /// The encoded frame.
    pub frame: Frame,
    /// The sender's own copy, when the sender is a client of this shard.
    pub sender: Option<SenderCopy>,
    /// When it was published.
    pub at: Instant,
}

impl Publication {
    /// Returns the bytes that it takes of the inbox's space: the frame's length for each lane, because each lane
    /// copies it into a batch.
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
    /// Ends this connection, if it still exists.
    End(ConnectionId, EndReason),
    /// Wakes the task of this connection, after everything that was pushed before.
    Wake(ConnectionId),
    /// Pings this connection and answers whether it reacts within [`PROBE_MS`](super::probe::PROBE_MS). The asker is
    /// dropped when there is no such connection.
    Probe(ConnectionId, Asker),
    /// Sends this to the connection, within the bounds of its queue.
    Send(ConnectionId, Frame, Option<Share>),
    /// Sends this to the connection as the reply to its own command.
    Reply(ConnectionId, Frame),
}

/// One item of an inbox.
#[derive(Debug)]
pub enum Item {
    /// A frame to fan out.
    Publish(Publication),
    /// An event to show to members for whom nothing else waits.
    Typing(Box<Typing>),
    /// A command to run.
    Command(Box<Command>),
}

#[derive(Debug, Default)]
struct Queue {
    items: Vec<Item>,
    /// Wakes the shard while it sleeps.
    sleeper: Option<Waker>,
}

/// A shard's inbox.
#[derive(Debug)]
pub struct Inbox {
    queue: Mutex<Queue>,
    /// Bytes of publications that the shard has not fanned out yet, including those that it has taken.
    bytes: AtomicUsize,
    max_bytes: usize,
}

impl Inbox {
    /// Makes an inbox that holds `max_bytes` of publications.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { queue: Mutex::default(), bytes: AtomicUsize::new(0), max_bytes }
    }

    /// True when a frame of `len` bytes fits, and always when the inbox is empty: `len` is an upper bound (six bytes
    /// for each byte of text, for each lane), so the longest message would otherwise be refused for ever. It is asked
    /// before a message gets its offset. Publishers of different rooms may ask at the same time, so the inbox may
    /// exceed its limit by one message for each worker thread.
    #[must_use]
    pub fn has_space(&self, len: usize) -> bool {
        let bytes = self.bytes.load(Relaxed);
        bytes == 0 || bytes + len <= self.max_bytes
    }

    /// Returns the bytes of publications that wait to be fanned out.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Adds a publication and wakes the shard if it sleeps. Called under the room's lock, so that a room's
    /// publications come in order; notices are added whether they fit or not.
    pub fn publish(&self, publication: Publication) {
        self.bytes.fetch_add(publication.bytes(), Relaxed);
        self.push(Item::Publish(publication));
    }

    /// Adds a typing event, unless half of the space is taken.
    pub fn typing(&self, typing: Typing) {
        if self.has_space(self.max_bytes / 2) {
            self.bytes.fetch_add(typing.frame.len(), Relaxed);
            self.push(Item::Typing(Box::new(typing)));
        }
    }

    /// Adds a frame for one connection, even beyond the limit: the caller has asked for space before.
    pub fn send(&self, id: ConnectionId, frame: Frame, share: Option<Share>) {
        self.bytes.fetch_add(frame.len(), Relaxed);
        self.command(Command::Send(id, frame, share));
    }

    /// Adds the reply to a connection's own command, even beyond the limit: the command that it answers did fit.
    pub fn reply(&self, id: ConnectionId, frame: Frame) {
        self.bytes.fetch_add(frame.len(), Relaxed);
        self.command(Command::Reply(id, frame));
    }

    /// Adds a command.
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

    /// Swaps all waiting items into `items`, which must be empty. Returns false when there were none.
    pub fn take(&self, items: &mut Vec<Item>) -> bool {
        debug_assert!(items.is_empty(), "items that were taken before must be done first");
        std::mem::swap(&mut self.queue.lock().items, items);
        !items.is_empty()
    }

    /// Frees the space of `bytes` of publications, which have been fanned out.
    pub fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Blocks every push until the returned guard is dropped.
    #[cfg(test)]
    pub(crate) fn block(&self) -> impl Sized + '_ {
        self.queue.lock()
    }

    /// Waits until an item is pushed. It may have been taken by the time this returns. Only the shard waits.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call finds what is still here. An item that was taken meanwhile no
    /// longer wakes it, so look at your own work first.
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
