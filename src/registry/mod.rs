//! Who is connected, in which room, and how a message gets to all of them.
//!
//! [`Registry`] is the part that every thread may use: the shards' [inboxes](inbox) and the [user
//! directory](directory). A [`Shard`] belongs to one worker thread and holds that worker's clients.

mod backlog;
pub mod batch;
pub mod bounds;
pub mod client;
mod clients;
pub mod delivery;
pub mod directory;
pub mod fanout;
mod farewell;
pub mod inbox;
mod lane;
pub mod outbox;
pub mod registration;
pub mod room;
pub mod shard;
pub mod share;
pub mod sink;
mod slots;
pub mod survey;
pub mod wheel;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::oneshot;

use self::client::Asker;
use self::delivery::{Audience, Delivery};
use self::directory::Directory;
use self::inbox::{Command, Inbox, Publication, TopicId};
pub use self::registration::Registration;
pub use self::shard::Shard;
use self::share::{Share, Shares};
use crate::names::ConnectionId;
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::protocol::frame::Frame;

/// A room as all shards see it together: which of them have members, and the stream of what was sent there. Kept
/// by the owner of the room's lock.
#[derive(Debug)]
pub struct Topic {
    id: TopicId,
    /// Place of the last message or notice in the room's stream.
    seq: u64,
    /// Members on each shard, by dialect.
    members: Box<[[u32; 2]]>,
}

impl Topic {
    /// Names the room on the shards.
    #[must_use]
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Counts a member in; returns the place in the stream behind which it is to be served.
    pub fn join(&mut self, shard: usize, dialect: Dialect) -> u64 {
        self.members[shard][dialect as usize] += 1;
        self.seq
    }

    /// Counts a member out; returns the place in the stream up to which it is to be served.
    pub fn leave(&mut self, shard: usize, dialect: Dialect) -> u64 {
        let members = &mut self.members[shard][dialect as usize];
        debug_assert!(*members > 0, "nobody leaves twice");
        *members = members.saturating_sub(1);
        self.seq
    }

    /// True when anybody is in the room whom this is for.
    #[must_use]
    pub fn has(&self, audience: Audience) -> bool {
        self.members.iter().any(|&members| audience.lanes(members).count() > 0)
    }

    /// Connections in the room.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.members.iter().flatten().map(|&count| count as usize).sum()
    }
}

/// The registry as every thread sees it.
#[derive(Debug)]
pub struct Registry {
    inboxes: Box<[Arc<Inbox>]>,
    next_topic: AtomicU64,
    /// Who is connected as which user.
    pub directory: Directory,
    /// What senders of private messages have in the queues of others.
    pub shares: Arc<Shares>,
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
            shares: Shares::new(usize::MAX, usize::MAX),
        }
    }

    /// The same, for clients whose queues hold so many messages and bytes.
    #[must_use]
    pub fn with_queues(self, messages: usize, bytes: usize) -> Self {
        Self { shares: Shares::new(messages, bytes), ..self }
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
            members: vec![[0; 2]; self.inboxes.len()].into_boxed_slice(),
        }
    }

    /// True when every shard with members has space for a frame of `len` bytes.
    #[must_use]
    pub fn has_space(&self, topic: &Topic, len: usize) -> bool {
        topic.members.iter().zip(&self.inboxes).all(|(&members, inbox)| {
            let lanes = Audience::All.lanes(members).count();
            lanes == 0 || inbox.has_space(len * lanes)
        })
    }

    /// Hands a frame to every shard with members whom it is for: one push for each, and its ack to the shard of whom
    /// that is for in any case. Call under the room's lock, which makes the order of the stream.
    pub fn publish(&self, topic: &mut Topic, delivery: Delivery<'_>) {
        topic.seq += 1;
        let Delivery { frame, audience, place, mut aside, at } = delivery;
        for (index, (&members, inbox)) in topic.members.iter().zip(&self.inboxes).enumerate() {
            let lanes = audience.lanes(members);
            let aside = aside.take_if(|aside| aside.to.shard() == index);
            if lanes.count() > 0 || aside.as_ref().is_some_and(|aside| aside.ack.is_some()) {
                let (topic, seq, frame) = (topic.id, topic.seq, frame.clone());
                inbox.publish(Publication { topic, seq, lanes, place, frame, aside, at });
            }
        }
    }

    /// True when the shard of this connection has space for a frame of `len` bytes.
    #[must_use]
    pub fn has_space_for(&self, id: ConnectionId, len: usize) -> bool {
        self.inboxes[id.shard()].has_space(len)
    }

    /// Sends a frame to one connection on whatever shard it is, as fan-out: within the bounds of its queue, beyond
    /// which the node's policy says what happens. Ask for [space](Registry::has_space_for) before. Whether the
    /// connection still exists is not known. `share` is dropped when the frame has left, or never will.
    pub fn send(&self, id: ConnectionId, frame: &Frame, share: Option<Share>) {
        self.inboxes[id.shard()].send(id, frame.clone(), share);
    }

    /// Answers a connection's own command, on whatever shard it is: see [`Registration::reply`].
    pub fn reply(&self, id: ConnectionId, frame: &Frame) {
        self.inboxes[id.shard()].reply(id, frame.clone());
    }

    /// Wakes a connection's task, on whatever shard it is, behind everything that was handed over before.
    pub fn wake(&self, id: ConnectionId) {
        self.inboxes[id.shard()].command(Command::Wake(id));
    }

    /// Ends a connection on whatever shard it is, if it still exists.
    pub fn end(&self, id: ConnectionId, reason: EndReason) {
        self.inboxes[id.shard()].command(Command::End(id, reason));
    }

    /// Asks a connection for a sign of life and says whether one came in time; false when it no longer exists or is
    /// ending. It is pinged once for all who ask within the same time, and not at all for a second after its answer.
    /// True at once where too many wait for the answer already, in all or of those whom the same `from` stands for.
    ///
    /// # Cancel safety
    /// The ping is sent all the same.
    pub async fn is_alive(&self, id: ConnectionId, from: u32) -> bool {
        let (answer, is_alive) = oneshot::channel();
        self.inboxes[id.shard()].command(Command::Probe(id, Asker { from, answer }));
        is_alive.await.unwrap_or(false)
    }
}
