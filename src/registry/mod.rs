//! Who is connected, in which room, and how a message gets to all of them.
//!
//! [`Registry`] is the part that every thread may use: the shards' [inboxes](inbox) and the [user
//! directory](directory). A [`Shard`] belongs to one worker thread and holds that worker's clients.

pub mod batch;
pub mod bounds;
pub mod client;
mod clients;
pub mod directory;
pub mod fanout;
pub mod inbox;
pub mod outbox;
pub mod registration;
pub mod room;
pub mod shard;
pub mod sink;
mod slots;
pub mod wheel;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::oneshot;

use self::directory::Directory;
use self::inbox::{Command, Inbox, Publication, TopicId};
pub use self::registration::Registration;
pub use self::shard::Shard;
use crate::names::ConnectionId;
use crate::protocol::close::EndReason;
use crate::protocol::frame::Frame;

/// A room as all shards see it together: which of them have members, and the stream of what was sent there. Kept
/// by the owner of the room's lock.
#[derive(Debug)]
pub struct Topic {
    id: TopicId,
    /// Place of the last message or notice in the room's stream.
    seq: u64,
    /// Members on each shard.
    members: Box<[u32]>,
}

impl Topic {
    /// Names the room on the shards.
    #[must_use]
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Counts a member in; returns the place in the stream behind which it is to be served.
    pub fn join(&mut self, shard: usize) -> u64 {
        self.members[shard] += 1;
        self.seq
    }

    /// Counts a member out.
    pub fn leave(&mut self, shard: usize) {
        debug_assert!(self.members[shard] > 0, "nobody leaves twice");
        self.members[shard] = self.members[shard].saturating_sub(1);
    }

    /// Connections in the room.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.members.iter().map(|&count| count as usize).sum()
    }
}

/// The registry as every thread sees it.
#[derive(Debug)]
pub struct Registry {
    inboxes: Box<[Arc<Inbox>]>,
    next_topic: AtomicU64,
    /// Who is connected as which user.
    pub directory: Directory,
}

impl Registry {
    /// A registry of `shards` shards whose inboxes hold `max_inbox_bytes` each.
    ///
    /// # Panics
    /// When there are more shards than a [`ConnectionId`] can name.
    #[must_use]
    pub fn new(shards: usize, max_inbox_bytes: usize) -> Self {
        assert!((1..=ConnectionId::MAX_SHARDS).contains(&shards), "1 to 256 shards");
        Self {
            inboxes: (0..shards).map(|_| Arc::new(Inbox::new(max_inbox_bytes))).collect(),
            next_topic: AtomicU64::new(1),
            directory: Directory::default(),
        }
    }

    /// The inbox of a shard.
    ///
    /// # Panics
    /// When there is no such shard.
    #[must_use]
    pub fn inbox(&self, shard: usize) -> &Arc<Inbox> {
        &self.inboxes[shard]
    }

    /// A room that nobody is in yet.
    #[must_use]
    pub fn topic(&self) -> Topic {
        Topic {
            id: self.next_topic.fetch_add(1, Relaxed),
            seq: 0,
            members: vec![0; self.inboxes.len()].into_boxed_slice(),
        }
    }

    /// True when every shard with members has space for a frame of `len` bytes.
    #[must_use]
    pub fn has_space(&self, topic: &Topic, len: usize) -> bool {
        let mut occupied = topic.members.iter().zip(&self.inboxes).filter(|&(&members, _)| members > 0);
        occupied.all(|(_, inbox)| inbox.has_space(len))
    }

    /// Hands a frame to every shard with members: one push for each. Call under the room's lock, which makes the
    /// order of the stream.
    pub fn publish(&self, topic: &mut Topic, frame: &Frame, at: Instant) {
        topic.seq += 1;
        for (&members, inbox) in topic.members.iter().zip(&self.inboxes) {
            if members > 0 {
                inbox.publish(Publication { topic: topic.id, seq: topic.seq, frame: frame.clone(), at });
            }
        }
    }

    /// Ends a connection on whatever shard it is, if it still exists.
    pub fn end(&self, id: ConnectionId, reason: EndReason) {
        self.inboxes[id.shard()].command(Command::End(id, reason));
    }

    /// Pings a connection and says whether it answered in time; false when it no longer exists or is ending, true
    /// while somebody else waits for its answer.
    ///
    /// # Cancel safety
    /// The ping is sent all the same.
    pub async fn is_alive(&self, id: ConnectionId) -> bool {
        let (answer, is_alive) = oneshot::channel();
        self.inboxes[id.shard()].command(Command::Probe(id, answer));
        is_alive.await.unwrap_or(false)
    }
}
