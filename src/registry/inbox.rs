//! What other threads hand to a shard: publications, bounded in bytes, and commands about its clients.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Instant;

use parking_lot::Mutex;

use super::client::Asker;
use super::delivery::{Aside, Lanes, Place};
use super::fanout::Typing;
use super::share::Share;
use crate::names::ConnectionId;
use crate::protocol::close::EndReason;
use crate::protocol::frame::Frame;

/// Names a room on every shard; never used again.
pub type TopicId = u64;

/// A frame for the members of a room on one shard.
#[derive(Debug)]
pub struct Publication {
    /// The room.
    pub topic: TopicId,
    /// Its place in the room's stream of messages and notices.
    pub seq: u64,
    /// The lanes that it goes into.
    pub lanes: Lanes,
    /// What is said should it be dropped.
    pub place: Place,
    /// The encoded frame.
    pub frame: Frame,
    /// Its sender, if that is a client of this shard, and what it gets with it.
    pub aside: Option<Aside>,
    /// When it was published.
    pub at: Instant,
}

impl Publication {
    /// What it takes of the inbox' bytes: its frame's length for each lane, where it lies in a batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frame.len() * self.lanes.count()
    }
}

/// Something about one client of a shard.
#[derive(Debug)]
pub enum Command {
    /// End this connection, if it still exists.
    End(ConnectionId, EndReason),
    /// Wake the task of this connection: what it waits for has happened, and stands before this.
    Wake(ConnectionId),
    /// Ping this connection and say whether it answers within [`PROBE_MS`](super::client::PROBE_MS); the sender
    /// is dropped when there is no such connection.
    Probe(ConnectionId, Asker),
    /// Send this to the connection, within the bounds of its queue.
    Send(ConnectionId, Frame, Option<Share>),
    /// Send this to the connection as the answer to its own command.
    Reply(ConnectionId, Frame),
}

/// One thing in an inbox.
#[derive(Debug)]
pub enum Item {
    /// Fan this out.
    Publish(Publication),
    /// Show this to who has nothing else to do.
    Typing(Box<Typing>),
    /// Do this.
    Command(Box<Command>),
}

#[derive(Debug, Default)]
struct Queue {
    items: Vec<Item>,
    /// The shard sleeps, and this wakes it.
    sleeper: Option<Waker>,
}

/// A shard's inbox.
#[derive(Debug)]
pub struct Inbox {
    queue: Mutex<Queue>,
    /// Bytes of publications that the shard has not fanned out yet, those it has taken included.
    bytes: AtomicUsize,
    max_bytes: usize,
}

impl Inbox {
    /// An inbox that takes `max_bytes` of publications.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { queue: Mutex::default(), bytes: AtomicUsize::new(0), max_bytes }
    }

    /// True when a frame of `len` bytes fits, and always when nothing is there: `len` is an upper bound, six bytes for
    /// one and one frame for each lane, and who says the longest message would else be refused for ever. Asked before
    /// a message gets its offset. Publishers of different rooms may ask at once, so the bound may be passed by one
    /// message for each worker thread.
    #[must_use]
    pub fn has_space(&self, len: usize) -> bool {
        let bytes = self.bytes.load(Relaxed);
        bytes == 0 || bytes + len <= self.max_bytes
    }

    /// Bytes of publications that wait to be fanned out.
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

    /// Adds what somebody types, unless half of the space is taken.
    pub fn typing(&self, typing: Typing) {
        if self.has_space(self.max_bytes / 2) {
            self.bytes.fetch_add(typing.frame.len(), Relaxed);
            self.push(Item::Typing(Box::new(typing)));
        }
    }

    /// Adds a frame for one connection, whether it still fits or not: there was space when it was decided to send it.
    pub fn send(&self, id: ConnectionId, frame: Frame, share: Option<Share>) {
        self.bytes.fetch_add(frame.len(), Relaxed);
        self.command(Command::Send(id, frame, share));
    }

    /// Adds an answer to a connection's own command, whether it fits or not: the command that it answers did.
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

    /// Swaps everything waiting into `items`, which must be empty. Returns false when there was nothing.
    pub fn take(&self, items: &mut Vec<Item>) -> bool {
        debug_assert!(items.is_empty(), "what was taken before must be done first");
        std::mem::swap(&mut self.queue.lock().items, items);
        !items.is_empty()
    }

    /// Says that `bytes` of publications have been fanned out.
    pub fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Lets nobody add anything until what is returned is dropped.
    #[cfg(test)]
    pub(crate) fn block(&self) -> impl Sized + '_ {
        self.queue.lock()
    }

    /// Waits until something is here, or was: it may have been taken since. Only the shard waits.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing that is still here: who waits again finds it. What was taken meanwhile is to
    /// be looked for first.
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
