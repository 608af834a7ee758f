//! The part of the fan-out that every thread may use: the members of each room counted by shard, the inbox of each
//! shard, and the directory of users. The clients that one worker thread owns, and their queues, are in
//! [`shard`](crate::shard).

pub mod delivery;
pub mod directory;
pub mod inbox;
pub mod inquiry;
pub mod probe;
pub mod revoked;
pub mod share;
pub mod topic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::oneshot;

use self::delivery::{Audience, Delivery, LaneKind};
use self::directory::Directory;
use self::inbox::{Command, Inbox, Publication, Typing, Typist};
use self::inquiry::{Departure, Described};
use self::probe::Asker;
use self::share::{Share, Shares};
use self::topic::Topic;
use crate::names::{ConnectionId, RoomName};
use crate::protocol::close::EndReason;
use crate::protocol::frame::Frame;
use crate::revocation::Revocation;

/// The way from any thread to the clients of every shard.
#[derive(Debug)]
pub struct Registry {
    inboxes: Box<[Arc<Inbox>]>,
    next_topic: AtomicU64,
    /// The connections of each user.
    pub directory: Directory,
    /// The private messages of each user that are unsent in the queues of other users' connections.
    pub shares: Arc<Shares>,
}

impl Registry {
    /// Makes a registry of `shards` shards. Each has an inbox with space for `max_inbox_bytes` bytes.
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

    /// Sets the bounds of a client's queue in messages and bytes. The private messages of one user may fill an eighth
    /// of them. Without this call that is not bounded.
    #[must_use]
    pub fn with_queues(self, messages: usize, bytes: usize) -> Self {
        Self { shares: Shares::new(messages, bytes), ..self }
    }

    /// Returns the inbox of a shard.
    ///
    /// # Panics
    /// When there is no such shard.
    #[must_use]
    pub fn inbox(&self, shard: usize) -> &Arc<Inbox> {
        &self.inboxes[shard]
    }

    /// Makes a room without members, with an id of its own.
    #[must_use]
    pub fn topic(&self) -> Topic {
        Topic::new(self.next_topic.fetch_add(1, Relaxed), self.inboxes.len())
    }

    /// True when the inbox of every shard with members of the room has space for a frame of `len` bytes to all members.
    #[must_use]
    pub fn has_space(&self, topic: &Topic, len: usize) -> bool {
        topic.members().zip(&self.inboxes).all(|(members, inbox)| {
            let lanes = Audience::Any.lanes(members).count();
            lanes == 0 || inbox.has_space(len * lanes)
        })
    }

    /// Pushes a frame into the inbox of every shard that has members of its audience. The copy for the sender (the
    /// client that sent the message) goes with it to the sender's shard; a copy with an ack goes there even without
    /// such members. Call it under the room's lock, which makes the order of the room's stream.
    pub fn publish(&self, topic: &mut Topic, delivery: Delivery<'_>) {
        let (id, seq) = (topic.id(), topic.next_seq());
        let Delivery { frame, audience, loss, mut sender, at } = delivery;
        for (index, (members, inbox)) in topic.members().zip(&self.inboxes).enumerate() {
            let lanes = audience.lanes(members);
            let sender = sender.take_if(|copy| copy.to.shard() == index);
            if lanes.count() > 0 || sender.as_ref().is_some_and(|copy| copy.ack.is_some()) {
                let frame = frame.clone();
                inbox.publish(Publication { topic: id, seq, lanes, loss, frame, sender, at });
            }
        }
    }

    /// Shows the room's members of `throng.v1` that a user is typing: all of them but the user's own connection. An
    /// inbox that is more than half full drops the event. Whether the room's lock is held does not matter, because the
    /// event has no position in the room's stream.
    pub fn typing(&self, topic: &Topic, frame: &Frame, typist: Typist) {
        for (index, (members, inbox)) in topic.members().zip(&self.inboxes).enumerate() {
            let is_here = matches!(typist, Typist::Here(id) if id.shard() == index);
            let readers: u32 = LaneKind::OF_V1.map(|kind| members[kind as usize]).iter().sum();
            if readers > u32::from(is_here) {
                inbox.typing(Typing { topic: topic.id(), frame: frame.clone(), typist });
            }
        }
    }

    /// True when the inbox of this connection's shard has space for a frame of `len` bytes.
    #[must_use]
    pub fn has_space_for(&self, id: ConnectionId, len: usize) -> bool {
        self.inboxes[id.shard()].has_space(len)
    }

    /// Sends a frame to one connection of any shard, within the bounds of its queue; beyond them the node's policy
    /// applies. Ask for [space](Registry::has_space_for) before. A connection that is gone gets nothing, and the caller
    /// does not learn that. `share` is dropped once the frame is sent, or never will be.
    pub fn send(&self, id: ConnectionId, frame: &Frame, share: Option<Share>) {
        self.inboxes[id.shard()].send(id, frame.clone(), share);
    }

    /// Queues the reply to a connection's own command, for a connection of any shard.
    pub fn reply(&self, id: ConnectionId, frame: &Frame) {
        self.inboxes[id.shard()].reply(id, frame.clone());
    }

    /// Wakes a connection of any shard, after the shard has taken in everything that was pushed before.
    pub fn wake(&self, id: ConnectionId) {
        self.inboxes[id.shard()].command(Command::Wake(id));
    }

    /// Ends a connection of any shard, if it still exists.
    pub fn end(&self, id: ConnectionId, reason: EndReason) {
        self.inboxes[id.shard()].command(Command::End(id, reason));
    }

    /// Ends the connections of all shards whose tokens are revoked, and returns how many there were. Add the
    /// revocations to their table before, so that no connection is missed that is just being made.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer only.
    pub async fn end_revoked(&self, revocations: Arc<[Revocation]>) -> usize {
        let sweeps = self.inboxes.iter().map(|inbox| inbox.revoked().add(Arc::clone(&revocations)));
        let mut ended = 0;
        for sweep in sweeps.collect::<Vec<_>>() {
            // A shard that has stopped has no connections.
            ended += sweep.await.unwrap_or(0);
        }
        ended
    }

    /// Ends all members of a room.
    pub fn end_members(&self, topic: &Topic, reason: &EndReason) {
        for (members, inbox) in topic.members().zip(&self.inboxes) {
            if Audience::Any.lanes(members).count() > 0 {
                inbox.command(Command::EndMembers(topic.id(), reason.clone()));
            }
        }
    }

    /// Pings a connection to learn whether it is alive. Returns whether a sign of life came within two seconds, and
    /// false when the connection no longer exists or is ending.
    ///
    /// All askers that wait at the same time share one ping, and for a second after an answer none is sent: it still
    /// holds. `from` stands for the address on behalf of which the caller asks. Returns true at once if too many askers
    /// wait for the answer already, in all or with the same `from`.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer only: the ping is sent nevertheless.
    pub async fn is_alive(&self, id: ConnectionId, from: u32) -> bool {
        let (answer, is_alive) = oneshot::channel();
        self.inboxes[id.shard()].command(Command::Probe(id, Asker { from, answer }));
        is_alive.await.unwrap_or(false)
    }

    /// Asks for the facts that the shard of a connection knows about it. There is no answer when the connection is
    /// gone.
    #[must_use]
    pub fn describe(&self, id: ConnectionId) -> oneshot::Receiver<Described> {
        let (answer, described) = oneshot::channel();
        self.inboxes[id.shard()].command(Command::Describe(id, answer));
        described
    }

    /// Lets a connection leave a room, because an operator wants it. The answer is true when it was in the room. There
    /// is none when the connection is gone or ending.
    #[must_use]
    pub fn leave(&self, id: ConnectionId, room: RoomName) -> oneshot::Receiver<bool> {
        let (answer, left) = oneshot::channel();
        self.inboxes[id.shard()].command(Command::Leave(id, Departure { room, answer }));
        left
    }
}
