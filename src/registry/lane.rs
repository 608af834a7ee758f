//! A room has two lanes on each shard, one for each dialect, with members and a sweep each. Both get what is for
//! everybody in the one order of the room's stream.

use super::client::Client;
use super::delivery::Aside;
use super::inbox::{Publication, TopicId};
use super::outbox::Kind;
use super::room::Pending;
use super::shard::{Shard, State};
use crate::names::ConnectionId;
use crate::protocol::Dialect;
use crate::protocol::frame::Frame;

/// Names a lane of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LaneId(u64);

impl LaneId {
    /// Topics count from 1: the one bit is there for as long as the process lives.
    pub(super) const fn new(topic: TopicId, dialect: Dialect) -> Self {
        Self(topic << 1 | dialect as u64)
    }

    /// The room's other lane.
    pub(super) const fn other(self) -> Self {
        Self(self.0 ^ 1)
    }

    pub(super) const fn is_v1(self) -> bool {
        self.0 & 1 == Dialect::V1 as u64
    }
}

impl Shard {
    /// Puts a publication into the lanes that it is for.
    pub(super) fn admit(&self, publication: Publication) {
        let state = &mut *self.state.borrow_mut();
        let Publication { topic, seq, lanes, place, frame, aside, at } = publication;
        let [plain, v1] = [Dialect::Plain, Dialect::V1].map(|dialect| LaneId::new(topic, dialect));
        let pending = |frame, aside| Pending { seq, place, frame, aside, at };
        // Whoever speaks `throng.v1` has an ack, and nobody else.
        let (of_plain, of_v1) = match aside {
            Some(Aside { ack: None, .. }) => (aside, None),
            _ => (None, aside),
        };
        let alone = match (lanes.has(Dialect::Plain), lanes.has(Dialect::V1)) {
            (true, true) => {
                self.put(state, plain, pending(frame.clone(), of_plain));
                self.put(state, v1, pending(frame, of_v1))
            }
            (true, false) => {
                self.put(state, plain, pending(frame, of_plain));
                of_v1
            }
            (false, true) => self.put(state, v1, pending(frame, of_v1)),
            (false, false) => of_v1,
        };
        if let Some(Aside { to, ack: Some(ack) }) = alone {
            self.answer(state, to, &ack.frame);
        }
    }

    /// Puts a frame into a lane, if it has members here; else its aside comes back.
    fn put(&self, state: &mut State, lane: LaneId, pending: Pending) -> Option<Aside> {
        let State { rooms, work, .. } = state;
        let Some(room) = rooms.get_mut(&lane) else {
            self.inbox.done(pending.frame.len());
            return pending.aside;
        };
        work.expected += room.len();
        let is_speaking = pending.aside.is_some();
        room.push(pending);
        work.ready(lane, room);
        if is_speaking {
            work.speaking(lane, room);
        }
        None
    }

    /// Answers a client's command, in no room's stream.
    pub(super) fn answer(&self, state: &mut State, to: ConnectionId, frame: &Frame) {
        if let Some(mut client) = state.client(to) {
            self.own(&mut client, frame);
        }
        state.mark_dirty(to);
    }

    /// Queues an answer to the client's own command.
    pub(super) fn own(&self, client: &mut Client, frame: &Frame) {
        if client.end.is_none() {
            self.queue(client, |client, now_ms| client.outbox.push(Kind::Own, frame, now_ms));
        }
    }
}
