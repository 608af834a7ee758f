//! A client's place on its shard, as the client's own task holds it.

use std::rc::Rc;
use std::task::Waker;

use super::bounds::Overload;
use super::clients::ClientMut;
use super::inbox::TopicId;
use super::lane::LaneId;
use super::outbox::{Flush, Kind};
use super::room::Room;
use super::shard::{Shard, State};
use super::wheel::TICK_MS;
use crate::names::{ConnectionId, RoomName, UserId};
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::protocol::frame::Frame;

/// A slot belongs to its client for as long as the registration lives.
const REGISTERED: &str = "a registered client has its slot";

/// What a client's task has to know when it is woken.
#[derive(Debug, Default)]
pub struct Status {
    /// The connection is to end for this reason; its close frame is queued or sent.
    pub end: Option<EndReason>,
    /// Nothing waits at all.
    pub is_empty: bool,
    /// When the oldest waiting fan-out message was queued whose age ends the connection.
    pub oldest_ms: Option<u64>,
    /// Last time the socket took bytes, while it does not take them all.
    pub stalled_ms: Option<u64>,
    /// Last sign of life.
    pub heard_ms: u64,
    /// Until when a probe waits for an answer, or the answer holds.
    pub probe_until_ms: Option<u64>,
    /// By how much the shard's time, which all these are in, is behind the clock.
    pub lost_ms: u64,
}

/// A client's place on its shard, and the way its task speaks to it. Dropping it removes the client from every
/// list of the shard.
#[derive(Debug)]
pub struct Registration {
    shard: Rc<Shard>,
    id: ConnectionId,
}

impl Registration {
    pub(super) fn new(shard: Rc<Shard>, id: ConnectionId) -> Self {
        Self { shard, id }
    }

    /// The connection's id.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The shard.
    #[must_use]
    pub fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    /// The handshake is answered: what was queued meanwhile may be written.
    pub fn open(&self) {
        self.with(|shard, client| {
            client.is_blocked = false;
            shard.flush(client)
        });
    }

    /// The slot as rooms and the wheel write it.
    fn slot(&self) -> u32 {
        self.id.slot() as u32
    }

    /// Runs `f` on the client: it exists as long as the registration.
    fn with<R>(&self, f: impl FnOnce(&Shard, &mut ClientMut<'_>) -> R) -> R {
        let mut state = self.shard.state.borrow_mut();
        let mut client = state.clients.get_mut(self.id.slot()).expect(REGISTERED);
        debug_assert_eq!(client.id, self.id, "a slot belongs to one client while it is registered");
        f(&self.shard, &mut client)
    }

    /// What the task has to know.
    #[must_use]
    pub fn status(&self) -> Status {
        self.with(|shard, client| Status {
            end: client.end.clone(),
            is_empty: client.outbox.is_empty(),
            oldest_ms: if client.is_blocked { client.outbox.due_ms() } else { None },
            stalled_ms: client.is_blocked.then_some(client.progress_ms),
            heard_ms: client.heard_ms,
            probe_until_ms: client.probe.as_ref().map(|probe| probe.until_ms),
            lost_ms: shard.lost_ms(),
        })
    }

    /// True when the connection is to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.with(|_, client| client.end.is_some())
    }

    /// True when the socket takes no more for now, or the handshake is not answered yet.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.with(|_, client| client.is_blocked)
    }

    /// True when the client must take its answers before its next command is read.
    #[must_use]
    pub fn owes_much(&self) -> bool {
        self.with(|_, client| client.outbox.owes_much())
    }

    /// Remembers whom to wake; called with each poll of the task, cheap when nothing changed.
    pub fn set_waker(&self, waker: &Waker) {
        self.with(|_, client| match &mut client.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        });
    }

    /// Notes a sign of life, and answers a probe with it.
    pub fn heard(&self) {
        self.with(|shard, client| {
            client.heard_ms = shard.now_ms();
            if let Some(probe) = &mut client.probe {
                probe.heard(shard.now_ms());
            }
        });
    }

    /// Notes that a part of a message has come, in the middle of which no answer has a place: it answers a probe.
    pub fn heard_part(&self) {
        self.with(|shard, client| {
            if let Some(probe) = &mut client.probe {
                probe.heard(shard.now_ms());
            }
        });
    }

    /// While nothing is read of a client because it must first take its answers, the bytes that it takes are its signs
    /// of life; true when there were any.
    pub fn heard_by_progress(&self) -> bool {
        let is_new = self.with(|_, client| client.sent_ms > client.heard_ms);
        if is_new {
            self.heard();
        }
        is_new
    }

    /// Ends a probe whose time is over: whoever still waits is told that no answer came.
    pub fn probe_failed(&self) {
        self.with(|_, client| {
            if let Some(mut probe) = client.probe.take() {
                probe.tell(false);
            }
        });
    }

    /// Counts a ping or heartbeat that the client is sent: its answer is not counted against it.
    pub fn ask(&self) {
        self.with(|_, client| client.ask());
    }

    /// Answers that the client still owes.
    #[must_use]
    pub fn asked(&self) -> u16 {
        self.with(|_, client| client.asked)
    }

    /// Notes that some of them have come.
    pub fn answered(&self, count: u16) {
        self.with(|_, client| client.asked = client.asked.saturating_sub(count));
    }

    /// Queues the answer to the client's own command; [`Registration::flush`] sends it.
    pub fn reply(&self, frame: &Frame) {
        self.with(|shard, client| shard.own(client, frame));
    }

    /// Queues a ping or pong.
    pub fn control(&self, kind: Kind, frame: &Frame) {
        self.with(|shard, client| {
            if client.end.is_none() {
                shard.control(client, kind, frame);
            }
        });
    }

    /// Writes what the socket takes now.
    pub fn flush(&self) -> Flush {
        self.with(|shard, client| shard.flush(client))
    }

    /// Begins the end: queues the close frame, tries to send it and wakes the task, which sees to the rest. Only
    /// the first reason counts.
    pub fn end(&self, reason: EndReason) {
        self.with(|shard, client| shard.end_client(client, reason));
    }

    /// Asks to be woken when the shard's time is `at_ms`, unless an earlier wake is set already.
    pub fn arm(&self, at_ms: u64) {
        let mut state = self.shard.state.borrow_mut();
        let State { clients, wheel, .. } = &mut *state;
        let mut client = clients.get_mut(self.id.slot()).expect(REGISTERED);
        if at_ms.div_ceil(TICK_MS) < client.armed {
            client.armed = wheel.file(self.slot(), at_ms);
        }
    }

    /// Settles what the client speaks: before it is in any room and before it is sent anything. Plain until then.
    pub fn speak(&self, dialect: Dialect) {
        self.with(|_, client| {
            debug_assert!(client.topics.is_empty(), "a lane is chosen by what the client speaks");
            client.dialect = dialect;
        });
    }

    /// Says whose connection it is, for the operator who looks for slow ones.
    pub fn name(&self, user: UserId) {
        self.with(|_, client| client.user = Some(user));
    }

    /// What the client speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.with(|_, client| client.dialect)
    }

    /// Adds the client to a room, behind `after` in its stream. `overload` is what happens to the client when it
    /// cannot keep up with this room; in `throng.v1` a `gap` in `room` tells it what was dropped.
    pub fn subscribe(&self, topic: TopicId, after: u64, room: &RoomName, overload: Overload) {
        let mut state = self.shard.state.borrow_mut();
        let State { clients, rooms, .. } = &mut *state;
        let mut client = clients.get_mut(self.id.slot()).expect(REGISTERED);
        client.topics.push(topic);
        let name = || (client.dialect == Dialect::V1).then(|| room.clone());
        let lane = rooms
            .entry(LaneId::new(topic, client.dialect))
            .or_insert_with(|| Box::new(Room::new(overload, name())));
        lane.join(self.slot(), after);
    }

    /// Removes the client from a room, once it has got all of the room's stream up to the place `until`, its acks
    /// included, and nothing behind it; whatever is replied now stands right behind that. [`Registration::flush`]
    /// sends what is left of it. Writes to sockets: not to be called under the room's lock.
    pub fn unsubscribe(&self, topic: TopicId, until: u64) {
        self.shard.take_in();
        let mut state = self.shard.state.borrow_mut();
        let State { clients, rooms, .. } = &mut *state;
        let mut client = clients.get_mut(self.id.slot()).expect(REGISTERED);
        client.topics.retain(|known| *known != topic);
        let lane = LaneId::new(topic, client.dialect);
        if let Some(room) = rooms.get_mut(&lane) {
            self.shard.catch_up(&mut client, room, until);
        }
        drop(client);
        self.leave(&mut state, lane);
    }

    fn leave(&self, state: &mut State, lane: LaneId) {
        let Some(room) = state.rooms.get_mut(&lane) else { return };
        room.leave(self.slot());
        if room.is_empty()
            && let Some(room) = state.rooms.remove(&lane)
        {
            self.shard.inbox.done(room.pending_bytes());
            for (to, ack) in room.into_acks() {
                self.shard.answer(state, to, &ack.frame);
            }
        }
    }

    /// Last time when the client was sent something, as far as it takes it: exact but for the length of a sweep, and
    /// for who said something, the time until it begins.
    #[must_use]
    pub fn sent_ms(&self) -> u64 {
        let mut state = self.shard.state.borrow_mut();
        let State { clients, rooms, .. } = &mut *state;
        let client = clients.get_mut(self.id.slot()).expect(REGISTERED);
        let lanes = client.topics.iter().filter_map(|&topic| rooms.get(&LaneId::new(topic, client.dialect)));
        lanes.map(|room| room.swept_ms).fold(client.sent_ms, u64::max)
    }

    /// Bytes sent to the client so far.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.with(|_, client| client.hot.bytes_sent)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.shard.state.borrow_mut();
        let client = state.clients.remove(self.id.slot()).expect(REGISTERED);
        self.shard.metrics.queue_bytes.sub(client.queued() as u64);
        for topic in client.topics {
            self.leave(&mut state, LaneId::new(topic, client.dialect));
        }
    }
}
