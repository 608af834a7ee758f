//! A client's registration with its shard. The client's connection holds it and uses the shard only through it.

use std::io;
use std::rc::Rc;

use super::Shard;
use super::bounds::Overload;
use super::clients::ClientMut;
use super::egress::Egress;
use super::intake::Intake;
use super::lane::Lane;
use super::lane::id::LaneId;
use super::outbox::{Flush, Kind, Outbox};
use super::sink::{Arrived, Sink};
use super::state::State;
use super::status::Status;
use super::wheel::tick_of;
use crate::clock::Moment;
use crate::names::{ConnectionId, RoomName, UserId};
use crate::protocol::close::EndReason;
use crate::protocol::frame::Frame;
use crate::protocol::{Deflate, Dialect};
use crate::registry::delivery::LaneKind;
use crate::registry::topic::TopicId;
use crate::revocation::TokenMark;

/// The message of a panic that cannot happen: a client's slot belongs to it for as long as the registration lives.
const REGISTERED: &str = "a registered client has its slot";

/// A client's registration with its shard, through which its connection reaches the shard. Dropping it removes the
/// client from the shard and all its rooms.
#[derive(Debug)]
pub struct Registration {
    shard: Rc<Shard>,
    id: ConnectionId,
}

impl Registration {
    pub(super) fn new(shard: Rc<Shard>, id: ConnectionId) -> Self {
        Self { shard, id }
    }

    /// Returns the connection's id.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Returns the shard.
    #[must_use]
    pub fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    /// Sets the sink that bytes go to once the connection is [open](Registration::open), and gives it its first turn.
    pub fn attach(&self, sink: Sink) {
        self.with(|egress, client| {
            client.hot.sink = sink;
            egress.wakes.add(client);
        });
    }

    /// Queues the answer to the handshake, which goes out with the first events.
    pub fn answer(&self, head: &[u8]) {
        self.with(|egress, client| egress.queue_head(client, head));
    }

    /// Notes that the socket may be written to, and writes what has been queued until now. Call
    /// [`attach`](Registration::attach) before.
    pub fn open(&self) {
        self.with(|egress, client| {
            client.is_blocked = false;
            egress.flush(client);
        });
    }

    /// Reads bytes that the client has sent.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there are none now; any other error ends the connection.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Arrived> {
        self.with(|_, client| client.hot.sink.read(buffer))
    }

    /// Shuts the writing side of the socket down.
    ///
    /// # Errors
    /// The error of the socket. A peer that has gone already is not an error.
    pub fn shutdown(&self) -> io::Result<()> {
        self.with(|_, client| client.hot.sink.shutdown())
    }

    /// Makes closing the socket a reset, which discards the bytes that wait in the kernel.
    pub fn reset_on_close(&self) {
        self.with(|_, client| client.hot.sink.reset_on_close());
    }

    /// Returns true when the client holds memory that it needs only while something waits for it.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.with(|_, client| client.busy.is_some())
    }

    /// Frees this memory unless something waits for the client; returns true when it is freed. Call it when nothing is
    /// expected to wait soon: each queue that is needed again costs an allocation.
    pub fn rest(&self) -> bool {
        self.with(|_, client| client.rest())
    }

    /// Returns the client's slot, as the 32 bits in which lanes and the timer wheel keep it.
    fn slot(&self) -> u32 {
        self.id.slot() as u32
    }

    /// Runs `f` on the client, which exists as long as the registration.
    fn with<R>(&self, f: impl FnOnce(&Egress, &mut ClientMut<'_>) -> R) -> R {
        let mut state = self.shard.state.borrow_mut();
        let mut client = state.clients.get_mut(self.id.slot()).expect(REGISTERED);
        debug_assert_eq!(client.id, self.id, "a slot belongs to one client while it is registered");
        f(&self.shard.egress, &mut client)
    }

    /// Returns the state of the client that its connection reads when it has a turn.
    #[must_use]
    pub fn status(&self) -> Status {
        self.with(|egress, client| Status {
            end: client.end().cloned(),
            is_empty: client.is_empty(),
            oldest_ms: client.outbox().filter(|_| client.is_blocked).and_then(Outbox::due_ms),
            stalled_ms: client.busy.as_ref().filter(|_| client.is_blocked).map(|busy| busy.progress_ms),
            heard_ms: client.heard.ms(egress.time.now_ms()),
            probe_until_ms: client.probe().map(|probe| probe.until_ms),
            lost_ms: egress.time.lost_ms(),
        })
    }

    /// True when the connection is ending.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.with(|_, client| client.end().is_some())
    }

    /// True when the socket takes no more for now, or the handshake is not answered yet.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.with(|_, client| client.is_blocked)
    }

    /// True when the client must take its replies before its next command is read.
    #[must_use]
    pub fn owes_much(&self) -> bool {
        self.with(|_, client| client.owes_much())
    }

    /// Notes a sign of life, and answers a probe with it.
    pub fn heard(&self) {
        self.with(|egress, client| {
            client.heard = Moment::at(egress.time.now_ms());
            if let Some(probe) = client.probe() {
                probe.heard(egress.time.now_ms());
            }
        });
    }

    /// Notes that a part of a message has come. It answers a probe, because the client may be unable to send a pong
    /// before the message is complete. It is no sign of life otherwise.
    pub fn heard_part(&self) {
        self.with(|egress, client| {
            if let Some(probe) = client.probe() {
                probe.heard(egress.time.now_ms());
            }
        });
    }

    /// Notes a sign of life if the socket took bytes from the queue since the last one, and returns whether it did. For
    /// the time in which nothing is read from the client, because it must take its replies first.
    pub fn heard_by_progress(&self) -> bool {
        let is_new = self.with(|egress, client| {
            let now_ms = egress.time.now_ms();
            client.sent.ms(now_ms) > client.heard.ms(now_ms)
        });
        if is_new {
            self.heard();
        }
        is_new
    }

    /// Ends a probe when its time is over: all askers that still wait learn that no answer came.
    pub fn probe_failed(&self) {
        self.with(|_, client| {
            if let Some(mut probe) = client.busy.as_mut().and_then(|busy| busy.probe.take()) {
                probe.answer(false);
            }
        });
    }

    /// Counts a ping or heartbeat that is sent to the client. The rate limit does not count the answer.
    pub fn ask(&self) {
        self.with(|_, client| client.count_question());
    }

    /// Returns the number of pings and heartbeats that the client has not answered yet.
    #[must_use]
    pub fn asked(&self) -> u16 {
        self.with(|_, client| client.questions)
    }

    /// Notes that `count` answers to pings and heartbeats have come.
    pub fn answered(&self, count: u16) {
        self.with(|_, client| client.questions = client.questions.saturating_sub(count));
    }

    /// Queues the reply to the client's own command, unless the connection is ending. [`Registration::flush`] sends it.
    pub fn reply(&self, frame: &Frame) {
        self.with(|egress, client| egress.queue_reply(client, frame));
    }

    /// Queues the first event of the connection. Private messages may wait already, and come behind it: other
    /// connections find this one as soon as it holds its user id, some time before an engine has let it into its room.
    pub fn greet(&self, frame: &Frame) {
        self.with(|egress, client| egress.queue_first(client, frame));
    }

    /// Queues a ping or pong, unless the connection is ending. [`Registration::flush`] sends it.
    pub fn control(&self, kind: Kind, frame: &Frame) {
        self.with(|egress, client| {
            if client.end().is_none() {
                egress.queue_control(client, kind, frame);
            }
        });
    }

    /// Writes as much of the client's queue as the socket takes now.
    pub fn flush(&self) -> Flush {
        self.with(|egress, client| egress.flush(client))
    }

    /// Begins the end of the connection: queues the close frame, tries to send it and wakes the connection, which
    /// does the rest. Only the first reason counts.
    pub fn end(&self, reason: EndReason) {
        self.with(|egress, client| egress.end_client(client, reason));
    }

    /// Schedules a turn of the client's connection at `at_ms` of the shard's time, unless an earlier one is set.
    pub fn arm(&self, at_ms: u64) {
        let mut state = self.shard.state.borrow_mut();
        let State { clients, wheel, .. } = &mut *state;
        let mut client = clients.get_mut(self.id.slot()).expect(REGISTERED);
        if tick_of(at_ms) < client.armed {
            client.armed = wheel.file(self.slot(), at_ms);
        }
    }

    /// Sets the client's dialect, which is plain until then. Call it before the client joins a room or is sent
    /// anything.
    pub fn speak(&self, dialect: Dialect) {
        self.with(|_, client| {
            debug_assert!(client.topics().is_empty(), "the dialect chooses the lane");
            client.dialect = dialect;
        });
    }

    /// Sets the client's use of compression, which is off until then. Call it before the client joins a room.
    pub fn compress(&self, deflate: Deflate) {
        self.with(|_, client| {
            debug_assert!(client.topics().is_empty(), "compression chooses the lane");
            client.deflate = deflate;
        });
    }

    /// Returns the client's use of compression.
    #[must_use]
    pub fn deflate(&self) -> Deflate {
        self.with(|_, client| client.deflate)
    }

    /// Returns the kind of lane in which the client gets the events of a room.
    #[must_use]
    pub fn lane(&self) -> LaneKind {
        self.with(|_, client| client.lane())
    }

    /// Sets the client's user, for the operator's list of slow clients.
    pub fn name(&self, user: UserId) {
        self.with(|_, client| client.user = Some(user));
    }

    /// Notes the client's token, by which the shard finds it when the token is revoked. Check afterwards that it is not
    /// revoked already.
    pub fn set_token(&self, mark: TokenMark) {
        self.shard.state.borrow_mut().tokens.set(self.id.slot(), mark);
    }

    /// Returns the client's dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.with(|_, client| client.dialect)
    }

    /// Adds the client to a room: it gets what is behind the position `after` of the room's stream. `overload` is the
    /// room's policy for a client whose queue is full. In `throng.v1` a `gap` with the name `room` tells the client
    /// which messages were dropped.
    pub fn subscribe(&self, topic: TopicId, after: u64, room: &RoomName, overload: Overload) {
        let mut state = self.shard.state.borrow_mut();
        let State { clients, lanes, .. } = &mut *state;
        let mut client = clients.get_mut(self.id.slot()).expect(REGISTERED);
        client.enter(topic);
        let has_gaps = client.dialect == Dialect::V1;
        let lane = lanes
            .entry(LaneId::new(topic, client.lane()))
            .or_insert_with(|| Box::new(Lane::new(overload, room.clone(), has_gaps)));
        lane.join(self.slot(), after);
    }

    /// Removes the client from a room. Before that, queues for it the room's stream up to the position `until`, with
    /// the acks of its own messages, and nothing behind `until`: the next reply comes right after.
    /// [`Registration::flush`] sends what is queued. May write to the client's socket, so it must not be called under
    /// the room's lock.
    pub fn unsubscribe(&self, topic: TopicId, until: u64) {
        self.shard.take_in();
        let mut state = self.shard.state.borrow_mut();
        let State { clients, lanes, .. } = &mut *state;
        let mut client = clients.get_mut(self.id.slot()).expect(REGISTERED);
        client.leave(topic);
        let id = LaneId::new(topic, client.lane());
        if let Some(lane) = lanes.get_mut(&id) {
            lane.catch_up(&self.shard.egress, &mut client, until);
        }
        drop(client);
        self.leave(&mut state, id);
    }

    /// Removes the client from a lane (members of one room who get its events in one form). When it was the last one,
    /// removes the lane, frees its bytes in the inbox and queues the acks that it still held.
    fn leave(&self, state: &mut State, id: LaneId) {
        let Some(lane) = state.lanes.get_mut(&id) else { return };
        lane.leave(self.slot());
        if lane.is_empty()
            && let Some(lane) = state.lanes.remove(&id)
        {
            let Shard { egress, inbox, .. } = &*self.shard;
            inbox.done(lane.pending_bytes());
            let mut intake = Intake { state, egress, inbox };
            lane.into_acks().for_each(|(to, ack)| intake.reply(to, &ack.frame));
        }
    }

    /// Returns the last time when the client was sent something that its socket took, in the shard's milliseconds, to
    /// the precision of a sweep (one batch on its way through the members of a room). A direct write by a sweep counts
    /// as made when the sweep finishes, so the result may be early until then.
    #[must_use]
    pub fn sent_ms(&self) -> u64 {
        let mut state = self.shard.state.borrow_mut();
        let State { clients, lanes, .. } = &mut *state;
        let client = clients.get_mut(self.id.slot()).expect(REGISTERED);
        let topics = client.topics();
        let lanes = topics.iter().filter_map(|&topic| lanes.get(&LaneId::new(topic, client.lane())));
        let sent_ms = client.sent.ms(self.shard.now_ms());
        lanes.map(|lane| lane.swept_ms).fold(sent_ms, u64::max)
    }

    /// Returns the number of bytes sent to the client so far.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.with(|_, client| client.hot.bytes_sent)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.shard.state.borrow_mut();
        let client = state.clients.remove(self.id.slot()).expect(REGISTERED);
        state.departures.remove(&self.id);
        let end = state.clients.end();
        state.tokens.remove(self.id.slot(), end);
        self.shard.egress.metrics.queue_bytes.sub(client.queued() as u64);
        let kind = client.lane();
        for &topic in client.topics() {
            self.leave(&mut state, LaneId::new(topic, kind));
        }
    }
}
