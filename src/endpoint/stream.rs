//! `/sse/{room}`: the messages of a room as server-sent events, for those who only read.

use std::sync::Arc;

use super::chat::refused_entry;
use super::peer::Peer;
use crate::broker::Position;
use crate::broker::resume::{NextPage, Page, Replay, Resumed};
use crate::names::{RoomName, UserId};
use crate::node::{Node, Subscribed, Subscription};
use crate::protocol::close::{EndReason, Overflow};
use crate::protocol::sse;
use crate::shard::Registration;

/// A request to read a room.
#[derive(Debug)]
pub struct StreamRequest<'a> {
    /// The room.
    pub room: &'a RoomName,
    /// The owner of the token, or a user who stands for all who need none.
    pub opener: &'a UserId,
    /// A hash of the client's address, with a key of this process.
    pub address: u32,
    /// The position of the last message that the client has seen.
    pub resume: Option<Position>,
    /// The origin of the page that reads, if there is one.
    pub origin: Option<&'a str>,
}

/// One connection that reads a room.
#[derive(Debug)]
pub struct Stream {
    subscription: Subscription,
    /// Missed messages that are still to be sent.
    rest: Option<Replay>,
}

impl Stream {
    /// Subscribes to the room, and queues the head of the response, the first event, and missed messages.
    ///
    /// # Errors
    /// The room cannot be opened.
    pub fn begin(
        node: &Arc<Node>,
        registration: &Registration,
        request: &StreamRequest<'_>,
    ) -> Result<Self, EndReason> {
        let &StreamRequest { room, opener, address, resume, origin } = request;
        let subscribed = node.subscribe(registration, room, (opener, address), resume);
        let Subscribed { subscription, start, resumed } = subscribed.map_err(refused_entry)?;
        let is_recovered = matches!(resumed, Resumed::Recovered { .. });
        let first = [sse::head(origin), sse::welcome(room, start, is_recovered)].concat();
        registration.greet(&first.into());
        let metrics = registration.shard().metrics();
        let rest = match resumed {
            Resumed::Fresh => None,
            Resumed::NotRecovered => {
                metrics.not_recovered.add(1);
                None
            }
            Resumed::Recovered { page, rest, .. } => {
                metrics.recovered.add(1);
                queue(registration, &page);
                rest
            }
        };
        Ok(Self { subscription, rest })
    }

    /// Returns true while missed messages are still to be sent.
    pub(super) fn is_pending(&self) -> bool {
        self.rest.is_some()
    }

    /// Queues the next page of missed messages.
    ///
    /// # Errors
    /// The reason to end the connection.
    pub(super) fn go_on(&mut self, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        let Some(rest) = self.rest.take() else { return Ok(()) };
        match self.subscription.read_on(rest, peer.registration) {
            NextPage::More(page, rest) => {
                queue(peer.registration, &page);
                self.rest = Some(rest);
            }
            NextPage::Last(page, ()) => queue(peer.registration, &page),
            NextPage::Lost => return Err(EndReason::PositionLost),
            NextPage::TooSlow => return Err(EndReason::SlowConsumer(Overflow::Resume)),
        }
        Ok(())
    }
}

/// Queues a page of messages. Where some before it are gone, the offsets say so: they leave them out.
fn queue(registration: &Registration, page: &Page) {
    for frame in &page.frames {
        registration.reply(&sse::message(frame));
    }
}
