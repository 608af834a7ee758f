//! Reading a room without being in it: a subscription gets the messages, and nobody is told of it.

use std::sync::Arc;

use super::shared::Node;
use crate::broker::memory::Entrant;
use crate::broker::resume::{NextPage, Replay, Resumed};
use crate::broker::room::Room;
use crate::broker::{BrokerError, Position};
use crate::names::{ConnectionId, RoomName, UserId};
use crate::protocol::Dialect;
use crate::registry::topic::{Topic, TopicId};
use crate::shard::Registration;
use crate::shard::bounds::Overload;

/// The result of subscribing to a room.
#[derive(Debug)]
pub struct Subscribed {
    /// The subscription.
    pub subscription: Subscription,
    /// The position behind which messages follow: the missed ones if there are any, the live ones otherwise.
    pub start: Position,
    /// The missed messages, if the connection asked for them.
    pub resumed: Resumed,
}

/// A connection's subscription of a room. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    node: Arc<Node>,
    room: Arc<Room<Topic>>,
    id: ConnectionId,
    topic: TopicId,
    overload: Overload,
    /// True when the connection gets what is published. False while it still reads what it missed.
    is_live: bool,
}

impl Node {
    /// Subscribes a connection to a room. `opener` and `address` stand for the client where rooms are evicted, and
    /// `resume` is the position of the last message that it has seen.
    ///
    /// # Errors
    /// As for [`Node::enter`].
    pub fn subscribe(
        self: &Arc<Self>,
        registration: &Registration,
        room: &RoomName,
        (opener, address): (&UserId, u32),
        resume: Option<Position>,
    ) -> Result<Subscribed, BrokerError> {
        let shard = registration.shard().index();
        let entrant = Entrant { user: opener, address };
        let entered = self.broker.enter_as(room, entrant, resume, |state, resumed| {
            let after = match resumed.is_complete() {
                true => Some(state.topic.join(shard, Dialect::Sse)),
                false => {
                    state.topic.begin_reading();
                    None
                }
            };
            (state.topic.id(), after, state.position(), Overload::from(state.settings().queue_policy))
        });
        let (room, resumed, (topic, after, position, overload)) = entered?;
        let start = match resumed {
            Resumed::Recovered { after, .. } => Position { offset: after, ..position },
            Resumed::Fresh | Resumed::NotRecovered => position,
        };
        let id = registration.id();
        self.metrics.shard(shard).sse_connections.add(1);
        let mut subscription =
            Subscription { node: Arc::clone(self), room, id, topic, overload, is_live: false };
        if let Some(after) = after {
            subscription.follow(registration, after);
        }
        Ok(Subscribed { subscription, start, resumed })
    }
}

impl Subscription {
    /// Returns the room's name.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        self.room.name()
    }

    /// Subscribes the connection to the live messages behind `after`. Runs on the shard's own thread with nothing
    /// between it and the room's lock, so the shard has delivered nothing in between.
    fn follow(&mut self, registration: &Registration, after: u64) {
        registration.subscribe(self.topic, after, self.room.name(), self.overload);
        self.is_live = true;
    }

    /// Reads the next page of missed messages. With the last page the connection begins to get live messages.
    pub fn read_on(&mut self, replay: Replay, registration: &Registration) -> NextPage<()> {
        let shard = self.id.shard();
        let next = self.room.read_on(replay, |state| {
            state.topic.end_reading();
            state.topic.join(shard, Dialect::Sse)
        });
        next.map_last(|after| self.follow(registration, after))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.node.metrics.shard(self.id.shard()).sse_connections.sub(1);
        self.room.with(|state| {
            if self.is_live {
                state.topic.leave(self.id.shard(), Dialect::Sse);
            } else {
                state.topic.end_reading();
            }
        });
        self.node.broker.close_if_empty(&self.room);
    }
}
