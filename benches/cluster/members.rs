//! The members of a node's rooms: they count what they get. No connection holds a user id here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use bytes::Bytes;
use throng::names::{ConnectionId, Offset, Position, RoomName, UserId};
use throng::testing::broker::redis::directory::Spent;
use throng::testing::broker::redis::directory::release::Missing;
use throng::testing::broker::redis::{Holder, Host, PrivateText};
use throng::testing::broker::room::SharedRoom;
use throng::testing::broker::{BrokerError, Encoded, Local, Publication, Published};
use throng::testing::chat::presence::{Change, LocalNews};
use throng::testing::protocol::close::EndReason;
use throng::testing::protocol::event::Content;
use throng::testing::revocation::Revocation;

/// A message with the time at which it was submitted.
pub(super) struct Message {
    pub(super) text: &'static str,
    pub(super) since: Instant,
}

/// Counts what is delivered and acknowledged on a node.
#[derive(Default)]
pub(super) struct Members {
    pub(super) delivered: AtomicU64,
    /// The time from the submission of each message until its ack, while somebody collects them.
    pub(super) acks: Mutex<Option<Vec<Duration>>>,
    /// Messages that were refused.
    pub(super) refused: AtomicU64,
}

impl Local for Members {
    type Topic = ();
    type SenderCopy = ();
    type Message = Message;
    fn topic(&self) {}
    fn has_space(&self, (): &(), _: usize) -> bool {
        true
    }
    fn deliver(&self, (): &mut (), _: Publication<'_, ()>) {
        self.delivered.fetch_add(1, Relaxed);
    }
    fn missed(&self, (): &mut (), room: &RoomName, from: Offset, to: Offset) {
        panic!("{room}: {from} to {to} are missing");
    }
    fn renamed(&self, (): &mut (), room: &RoomName, _: Position) {
        panic!("{room} is in another epoch");
    }
    fn lost(&self, (): &mut ()) {
        panic!("messages are lost");
    }
    fn is_occupied(&self, (): &()) -> bool {
        true
    }
    fn members(&self, (): &()) -> usize {
        1
    }
    fn show_typing(&self, (): &(), _: &RoomName, _: &UserId) {}
    fn encode(&self, _: &Message, _: &RoomName, _: Position) -> Encoded<()> {
        unreachable!("an engine encodes from the batch")
    }
    fn content<'m>(&self, message: &'m Message) -> Content<'m> {
        message.text.into()
    }
    fn sender_copy(&self, message: &Message, _: &RoomName, _: Position) -> Option<()> {
        if let Some(acks) = &mut *self.acks.lock() {
            acks.push(message.since.elapsed());
        }
        None
    }
    fn answer(&self, _: Message, _: &RoomName, answer: Result<Published, BrokerError>) {
        self.refused.fetch_add(u64::from(answer.is_err()), Relaxed);
    }
}

impl Host for Members {
    const SLICES: usize = 1;

    fn hold(&self, _: Holder, _: &[ConnectionId]) {}
    fn holds(&self, _: &UserId, _: ConnectionId) -> bool {
        false
    }
    fn release(&self, _: &UserId, _: ConnectionId) {}
    fn holders(&self, _: usize) -> Vec<Holder> {
        Vec::new()
    }
    fn end(&self, _: &UserId, _: ConnectionId, _: EndReason) -> bool {
        false
    }
    fn end_all(&self) {}
    async fn is_alive(&self, _: ConnectionId, _: u32) -> bool {
        false
    }
    async fn revoke(&self, _: Vec<Revocation>) -> usize {
        0
    }
    fn deliver_private(&self, _: &[ConnectionId], _: &PrivateText) -> usize {
        0
    }
    fn apply_presence(&self, _: &SharedRoom<Self>, _: Vec<Change>, _: u64) -> Option<LocalNews> {
        None
    }
    fn has_user(&self, _: &UserId) -> bool {
        false
    }
    async fn tell(&self, _: Bytes) -> Option<Bytes> {
        None
    }
    fn missing(&self, _: &UserId) -> Missing {
        Missing::default()
    }
    fn spend(&self, _: &UserId, _: Spent) {}
}
