//! Connects the broker to this node's members: what the broker publishes goes to the shards' inboxes. The engine of
//! several nodes reaches the connections of this one through it too.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::announcer::Announcer;
use super::pending::PendingMessage;
use super::reach;
use super::telling::{self, PublishedMessage};
use crate::broker::redis::directory::Spent;
use crate::broker::redis::directory::release::Missing;
use crate::broker::redis::{Holder, Host, PrivateText};
use crate::broker::room::SharedRoom;
use crate::broker::{self, BrokerError, Encoded, Local, Position, Published};
use crate::chat::presence::{Change, LocalNews};
use crate::clock::{self, Clock};
use crate::live::Live;
use crate::names::{ConnectionId, Offset, RoomName, UserId};
use crate::protocol::close::EndReason;
use crate::protocol::event::{Content, v1};
use crate::protocol::sse;
use crate::rate_limit::Limiter;
use crate::registry::Registry;
use crate::registry::delivery::{Audience, Delivery, SenderCopy};
use crate::registry::directory;
use crate::registry::inbox::Typist;
use crate::registry::topic::Topic;
use crate::revocation::{Revocation, Revocations, seconds};
use crate::webhooks::{Happening, Resync, Webhooks};

/// The registry, as the broker's [`Local`].
#[derive(Debug)]
pub(super) struct Fanout {
    pub(super) registry: Arc<Registry>,
    pub(super) limiter: Arc<Live<Option<Limiter>>>,
    pub(super) clock: Clock,
    pub(super) announcer: Arc<Announcer>,
    pub(super) webhooks: Arc<Webhooks>,
    /// Answers the questions of other nodes, once the node is complete.
    pub(super) teller: OnceLock<Teller>,
    pub(super) revocations: Arc<Revocations>,
}

/// Answers a question of another node; see [`Host::tell`].
pub(super) struct Teller(pub(super) Box<dyn Fn(Bytes) -> Telling + Send + Sync>);

/// The future of an answer, which stays on the engine's thread.
pub(super) type Telling = Pin<Box<dyn Future<Output = Option<Bytes>>>>;

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}

impl Local for Fanout {
    type Topic = Topic;
    type SenderCopy = SenderCopy;
    type Message = PendingMessage;

    fn topic(&self) -> Topic {
        self.registry.topic()
    }

    fn has_space(&self, topic: &Topic, len: usize) -> bool {
        self.registry.has_space(topic, len)
    }

    fn deliver(&self, topic: &mut Topic, publication: broker::Publication<'_, SenderCopy>) {
        let broker::Publication { frame, offset, sender_copy } = publication;
        let delivery =
            Delivery { sender: sender_copy, ..Delivery::message(frame, offset, clock::recent_instant()) };
        self.registry.publish(topic, delivery);
        // One more encoding, but only in rooms that somebody reads in this way.
        if topic.has(Audience::Sse) {
            let event = sse::message(frame);
            let delivery = Delivery::message(&event, offset, clock::recent_instant());
            self.registry.publish(topic, Delivery { audience: Audience::Sse, ..delivery });
        }
    }

    fn is_occupied(&self, topic: &Topic) -> bool {
        topic.connections() > 0
    }

    fn missed(&self, topic: &mut Topic, room: &RoomName, from: Offset, to: Offset) {
        let frame = v1::gap(room, from, to);
        self.registry.publish(topic, Delivery::notice(&frame, Audience::V1, clock::recent_instant()));
    }

    fn renamed(&self, topic: &mut Topic, room: &RoomName, at: Position) {
        let frame = v1::epoch(room, at.epoch, at.offset);
        self.registry.publish(topic, Delivery::notice(&frame, Audience::V1, clock::recent_instant()));
    }

    fn lost(&self, topic: &mut Topic) {
        self.registry.end_members(topic, &EndReason::PositionLost);
    }

    fn encode(&self, message: &PendingMessage, room: &RoomName, at: Position) -> Encoded<SenderCopy> {
        message.encode(room, at)
    }

    fn members(&self, topic: &Topic) -> usize {
        topic.connections()
    }

    fn show_typing(&self, topic: &Topic, room: &RoomName, user: &UserId) {
        self.registry.typing(topic, &v1::typing(room, user), Typist::Elsewhere);
    }

    fn content<'m>(&self, message: &'m PendingMessage) -> Content<'m> {
        message.content.get()
    }

    fn sender_copy(&self, message: &PendingMessage, room: &RoomName, at: Position) -> Option<SenderCopy> {
        message.sender_copy(room, at)
    }

    fn appended(&self, message: &PendingMessage, room: &RoomName, at: Position) {
        let PendingMessage { user, content, at_unix_ms, .. } = message;
        let content = content.get();
        let published = PublishedMessage { room, user, content, at_unix_ms: *at_unix_ms };
        telling::message(&self.webhooks, published, at);
    }

    fn answer(&self, message: PendingMessage, room: &RoomName, answer: Result<Published, BrokerError>) {
        if let Ok(Published { position, is_duplicate: false }) = answer {
            self.appended(&message, room, position);
        }
        message.answer(&self.registry, room, answer);
    }
}

impl Host for Fanout {
    const SLICES: usize = directory::STRIPES;

    fn hold(&self, holder: Holder, replaced: &[ConnectionId]) {
        let Holder { user, connection, session } = holder;
        self.registry.directory.add_instead(&user, connection, session, replaced);
    }

    fn holds(&self, user: &UserId, connection: ConnectionId) -> bool {
        self.registry.directory.find(user).contains(&connection)
    }

    fn release(&self, user: &UserId, connection: ConnectionId) {
        self.registry.directory.remove(user, connection);
    }

    fn holders(&self, slice: usize) -> Vec<Holder> {
        let all = self.registry.directory.in_stripe(slice).into_iter();
        all.map(|(user, connection, session)| Holder { user, connection, session }).collect()
    }

    fn end(&self, user: &UserId, connection: ConnectionId, reason: EndReason) -> bool {
        let held = self.holds(user, connection);
        self.registry.directory.remove(user, connection);
        // A connection that was replaced on this node is not in the directory any more, and may still be open.
        self.registry.end(connection, reason);
        held
    }

    fn end_all(&self) {
        for holder in (0..Self::SLICES).flat_map(|slice| self.holders(slice)) {
            self.registry.end(holder.connection, EndReason::Restarting);
        }
    }

    fn is_alive(&self, connection: ConnectionId, address: u32) -> impl Future<Output = bool> {
        reach::is_alive(&self.registry, connection, address)
    }

    async fn tell(&self, question: Bytes) -> Option<Bytes> {
        self.teller.get()?.0(question).await
    }

    fn revoke(&self, revocations: Vec<Revocation>) -> impl Future<Output = usize> {
        let now_s = seconds(self.clock.wall_s());
        for revocation in &revocations {
            if self.revocations.add(*revocation, now_s).is_err() {
                tracing::error!(
                    "there are too many revocations: some of the engine's are not in force on this node"
                );
            }
        }
        self.registry.end_revoked(revocations.into())
    }

    fn deliver_private(&self, to: &[ConnectionId], message: &PrivateText) -> usize {
        let PrivateText { from, content, id, at_unix_ms } = message;
        let content = content.get();
        let recipients = reach::with_space(&self.registry, from, to.iter().copied(), &content);
        let frame = v1::direct(from, content, id.epoch, id.offset.0, *at_unix_ms);
        reach::send(&self.registry, recipients, &frame)
    }

    fn offline_after_ms(&self) -> Option<u64> {
        self.webhooks.offline_after_ms()
    }

    fn tell_user(&self, user: &UserId, is_online: bool) {
        let told = if is_online { Happening::UserOnline(user) } else { Happening::UserOffline(user) };
        self.webhooks.note(&told);
    }

    fn user_left(&self, user: &UserId) {
        self.webhooks.user_left(user);
    }

    fn vacated_after_ms(&self) -> Option<u64> {
        self.webhooks.vacated_after_ms()
    }

    fn tell_room(&self, room: &RoomName, is_occupied: bool) {
        let told = if is_occupied { Happening::RoomOccupied(room) } else { Happening::RoomVacated(room) };
        self.webhooks.note(&told);
    }

    fn room_left(&self, room: &RoomName) {
        self.webhooks.room_left(room);
    }

    fn take_leavers(&self) -> Vec<UserId> {
        self.webhooks.take_leavers()
    }

    fn take_left_rooms(&self) -> Vec<RoomName> {
        self.webhooks.take_left_rooms()
    }

    fn is_telling(&self) -> bool {
        self.webhooks.is_telling()
    }

    fn has_user(&self, user: &UserId) -> bool {
        !self.registry.directory.find(user).is_empty()
    }

    fn node_lost(&self, node: &str) {
        self.webhooks.note_resync(&Resync::NodeLost(node.to_owned()));
    }

    fn apply_presence(
        &self,
        room: &SharedRoom<Self>,
        changes: Vec<Change>,
        now_ms: u64,
    ) -> Option<LocalNews> {
        self.announcer.apply(room, changes, now_ms)
    }

    fn missing(&self, user: &UserId) -> Missing {
        let limiter = self.limiter.read();
        let Some(limiter) = &**limiter else { return Missing::default() };
        let rate = &limiter.messages;
        let thousandths = limiter.users.missing(user, self.clock.now_ms(), rate);
        Missing { thousandths, full_in_ms: rate.ms_for(thousandths) }
    }

    fn spend(&self, user: &UserId, spent: Spent) {
        if let Some(limiter) = &**self.limiter.read() {
            let rate = &limiter.messages;
            let missing = spent.missing.saturating_sub(rate.thousandths_in(spent.age_ms));
            limiter.users.drain(user, missing, self.clock.now_ms(), rate);
        }
    }
}
