//! One worker's part of the registry: its clients and their rooms. Lives on that worker's thread and is touched by
//! no other; other threads reach it through its [`Inbox`].
//!
//! No method blocks, and none calls back into the caller, so the one `RefCell` is never borrowed twice.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use slab::Slab;

use super::client::{Client, PROBE_MS, Probe};
use super::fanout::Work;
use super::inbox::{Command, Inbox, Item, TopicId};
use super::outbox::{Bounds, Flush, Kind, Tally};
use super::room::{BatchLimits, Room};
use super::sink::Sink;
use super::wheel::{TICK_MS, Wheel};
use crate::metrics::{Counter, ShardMetrics};
use crate::names::ConnectionId;
use crate::protocol::close::EndReason;
use crate::protocol::frame::{self, Frame, OpCode};

/// What happens to a client whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// It is dropped with 4001.
    Disconnect,
    /// Its oldest messages are dropped.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
}

/// What a shard needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bounds of each client's queue.
    pub bounds: Bounds,
    /// What happens beyond them.
    pub overload: Overload,
    /// This shard's share of the node's budget of queued bytes: beyond it the largest queue goes first.
    pub queue_budget: u64,
    /// How long a batch may be.
    pub batch: BatchLimits,
    /// Wait for more before a sweep.
    pub linger: Duration,
}

/// What a client's task has to know when it is woken.
#[derive(Debug, Default)]
pub struct Status {
    /// The connection is to end for this reason; its close frame is queued or sent.
    pub end: Option<EndReason>,
    /// Nothing waits at all.
    pub is_empty: bool,
    /// When the oldest waiting fan-out message was queued.
    pub oldest_ms: Option<u64>,
    /// Last time the socket took bytes.
    pub progress_ms: u64,
    /// Last sign of life.
    pub heard_ms: u64,
    /// Until when a probe waits for an answer.
    pub probe_until_ms: Option<u64>,
}

/// Everything that belongs to the shard's one thread.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) clients: Slab<Client>,
    pub(super) rooms: FxHashMap<TopicId, Room>,
    pub(super) work: Work,
    wheel: Wheel,
    generation: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Shard {
    index: usize,
    pub(super) state: RefCell<State>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) settings: Settings,
    started: Instant,
    now_ms: Cell<u64>,
}

impl Shard {
    /// An empty shard that is fed by `inbox`.
    #[must_use]
    pub fn new(index: usize, inbox: Arc<Inbox>, metrics: Arc<ShardMetrics>, settings: Settings) -> Rc<Self> {
        Rc::new(Self {
            index,
            state: RefCell::default(),
            inbox,
            metrics,
            settings,
            started: Instant::now(),
            now_ms: Cell::new(0),
        })
    }

    /// Its place among the shards.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &ShardMetrics {
        &self.metrics
    }

    /// Milliseconds since the shard began, as of the last [`Shard::tick`].
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Looks at the clock: once for each wake of a task, never for each delivery.
    pub fn tick(&self) -> u64 {
        let now = self.started.elapsed().as_millis() as u64;
        self.now_ms.set(now);
        now
    }

    /// Adds a client that is in no room yet. What is queued for it waits until [`Registration::open`]. Dropping the
    /// registration removes it.
    ///
    /// # Panics
    /// When the shard has [`ConnectionId::MAX_SLOTS`] clients, far beyond the descriptors of a process.
    #[must_use]
    pub fn register(self: &Rc<Self>, sink: Sink) -> Registration {
        let now_ms = self.tick();
        let mut state = self.state.borrow_mut();
        state.generation = state.generation.wrapping_add(1);
        let entry = state.clients.vacant_entry();
        let slot = entry.key();
        let generation = state.generation;
        let id = ConnectionId::new(self.index, slot, generation);
        state.clients.insert(Client::new(id, sink, now_ms));
        Registration { shard: Rc::clone(self), slot: slot as u32, id }
    }

    /// Number of clients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.borrow().clients.len()
    }

    /// True when there is no client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of rooms with members here.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.state.borrow().rooms.len()
    }

    /// The ids of all clients.
    #[must_use]
    pub fn ids(&self) -> Vec<ConnectionId> {
        self.state.borrow().clients.iter().map(|(_, client)| client.id).collect()
    }

    /// Ends a connection if it still exists: see [`Registration::end`].
    pub fn end(&self, id: ConnectionId, reason: EndReason) {
        let mut state = self.state.borrow_mut();
        if let Some(client) = state.clients.get_mut(id.slot()).filter(|client| client.id == id) {
            self.end_client(client, reason);
        }
    }

    /// Wakes the clients whose deadline has come. Run every [`TICK_MS`] while there are clients.
    pub fn wake_due(&self) {
        let now_ms = self.tick();
        let mut state = self.state.borrow_mut();
        let State { clients, wheel, .. } = &mut *state;
        let mut due = Vec::new();
        wheel.advance(now_ms, &mut due);
        for (slot, tick) in due {
            if let Some(client) = clients.get_mut(slot as usize).filter(|client| client.armed == tick) {
                client.armed = u64::MAX;
                client.wake();
            }
        }
    }

    /// Takes in what other threads handed over.
    pub(super) fn accept(&self, items: &mut Vec<Item>) {
        for item in items.drain(..) {
            match item {
                Item::Publish(publication) => {
                    let mut state = self.state.borrow_mut();
                    let State { rooms, work, .. } = &mut *state;
                    match rooms.get_mut(&publication.topic) {
                        Some(room) => {
                            work.ready(publication.topic, room);
                            room.push(publication);
                        }
                        None => self.inbox.done(publication.frame.len()),
                    }
                }
                Item::Command(command) => self.obey(*command),
            }
        }
    }

    fn obey(&self, command: Command) {
        match command {
            Command::End(id, reason) => self.end(id, reason),
            Command::Probe(id, answer) => {
                let until_ms = self.tick() + PROBE_MS;
                let mut state = self.state.borrow_mut();
                let Some(client) = state.clients.get_mut(id.slot()).filter(|client| client.id == id) else {
                    return;
                };
                if client.waker.is_none() {
                    // Still in its handshake: as alive as a connection can be.
                    let _ = answer.send(true);
                    return;
                }
                client.probe = Some(Box::new(Probe { answer, until_ms }));
                self.control(client, Kind::Control, &frame::data(OpCode::Ping, b""));
                self.flush(client);
                client.wake();
            }
        }
    }

    /// Changes a client's queue and keeps the count of queued bytes true.
    pub(super) fn queue<R>(&self, client: &mut Client, change: impl FnOnce(&mut Client, u64) -> R) -> R {
        let before = client.queued();
        let result = change(client, self.now_ms.get());
        let after = client.queued();
        let gauge: &Counter = &self.metrics.queue_bytes;
        if after > before {
            gauge.add((after - before) as u64)
        } else {
            gauge.sub((before - after) as u64)
        }
        result
    }

    /// Queues a ping or pong: in its turn while the socket takes everything; ahead of what waits, and but one pong,
    /// once it does not.
    fn control(&self, client: &mut Client, kind: Kind, frame: &Frame) {
        let is_blocked = client.is_blocked;
        self.queue(client, |client, now| match is_blocked {
            true => client.outbox.push_ahead(kind, frame, now),
            false => client.outbox.push(kind, frame, now),
        });
    }

    /// Writes what the client's socket takes.
    pub(super) fn flush(&self, client: &mut Client) -> Flush {
        let mut tally = Tally::default();
        let flushed = self.queue(client, |client, now_ms| {
            let Client { outbox, sink, .. } = client;
            let flushed = outbox.flush(sink, &mut tally);
            if tally.bytes > 0 || !client.is_blocked {
                client.progress_ms = now_ms;
            }
            flushed
        });
        client.is_blocked = flushed == Flush::Blocked;
        client.bytes_sent += tally.bytes;
        self.metrics.writes.add(tally.writes);
        self.metrics.bytes_sent.add(tally.bytes);
        self.metrics.deliveries.add(tally.deliveries);
        if flushed == Flush::Gone {
            self.end_client(client, EndReason::PeerVanished);
        }
        flushed
    }

    /// Begins the end of a connection. The first reason counts.
    pub(super) fn end_client(&self, client: &mut Client, reason: EndReason) {
        if client.end.is_some() {
            return;
        }
        if let EndReason::SlowConsumer(_) = reason {
            self.metrics.slow_consumers_dropped.add(1);
        }
        let close = match &reason {
            EndReason::PeerVanished => None,
            // The client's own code comes back (RFC 6455 section 5.5.1); 1005 stands for none.
            EndReason::PeerClosed(code) => Some(frame::close((*code != 1005).then_some(*code), "")),
            other => Some(frame::close(Some(other.code()), &other.text())),
        };
        let drops_queue = matches!(reason, EndReason::SlowConsumer(_) | EndReason::PeerVanished);
        let was_blocked = client.is_blocked;
        client.end = Some(reason);
        self.queue(client, |client, now_ms| {
            if drops_queue {
                client.outbox.finish_now(close.as_deref(), now_ms);
            } else {
                client.outbox.finish_after_queue(close.as_deref(), now_ms);
            }
        });
        if close.is_some() && !was_blocked {
            self.flush(client);
        }
        client.wake();
    }
}

/// A client's place on its shard, and the way its task speaks to it. Dropping it removes the client from every
/// list of the shard.
#[derive(Debug)]
pub struct Registration {
    shard: Rc<Shard>,
    slot: u32,
    id: ConnectionId,
}

impl Registration {
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

    /// Runs `f` on the client: it exists as long as the registration.
    fn with<R>(&self, f: impl FnOnce(&Shard, &mut Client) -> R) -> R {
        let mut state = self.shard.state.borrow_mut();
        let client = &mut state.clients[self.slot as usize];
        debug_assert_eq!(client.id, self.id, "a slot belongs to one client while it is registered");
        f(&self.shard, client)
    }

    /// What the task has to know.
    #[must_use]
    pub fn status(&self) -> Status {
        self.with(|_, client| Status {
            end: client.end.clone(),
            is_empty: client.outbox.is_empty(),
            oldest_ms: client.outbox.oldest_ms(),
            progress_ms: client.progress_ms,
            heard_ms: client.heard_ms,
            probe_until_ms: client.probe.as_ref().map(|probe| probe.until_ms),
        })
    }

    /// True when the connection is to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.with(|_, client| client.end.is_some())
    }

    /// True when bytes wait for the socket.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.with(|_, client| client.is_blocked)
    }

    /// Bytes of the client's own answers that wait.
    #[must_use]
    pub fn own_bytes(&self) -> usize {
        self.with(|_, client| client.outbox.own_bytes())
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
            client.heard_ms = shard.now_ms.get();
            if let Some(probe) = client.probe.take() {
                let _ = probe.answer.send(true);
            }
        });
    }

    /// Tells whoever probes that no answer came.
    pub fn probe_failed(&self) {
        self.with(|_, client| {
            if let Some(probe) = client.probe.take() {
                let _ = probe.answer.send(false);
            }
        });
    }

    /// Queues the answer to the client's own command; [`Registration::flush`] sends it.
    pub fn reply(&self, frame: &Frame) {
        self.with(|shard, client| {
            if client.end.is_none() {
                shard.queue(client, |client, now| client.outbox.push(Kind::Own, frame, now));
            }
        });
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

    /// Asks to be woken when the clock shows `at_ms`, unless an earlier wake is set already.
    pub fn arm(&self, at_ms: u64) {
        let mut state = self.shard.state.borrow_mut();
        let State { clients, wheel, .. } = &mut *state;
        let client = &mut clients[self.slot as usize];
        if at_ms.div_ceil(TICK_MS) < client.armed {
            client.armed = wheel.file(self.slot, at_ms);
        }
    }

    /// Adds the client to a room, behind `after` in its stream.
    pub fn subscribe(&self, topic: TopicId, after: u64) {
        let mut state = self.shard.state.borrow_mut();
        let State { clients, rooms, .. } = &mut *state;
        rooms.entry(topic).or_default().join(self.slot, after);
        clients[self.slot as usize].topics.push(topic);
    }

    /// Removes the client from a room. What is queued already is still delivered.
    pub fn unsubscribe(&self, topic: TopicId) {
        let mut state = self.shard.state.borrow_mut();
        state.clients[self.slot as usize].topics.retain(|known| *known != topic);
        self.leave(&mut state, topic);
    }

    fn leave(&self, state: &mut State, topic: TopicId) {
        let Some(room) = state.rooms.get_mut(&topic) else { return };
        room.leave(self.slot);
        if room.is_empty()
            && let Some(room) = state.rooms.remove(&topic)
        {
            self.shard.inbox.done(room.pending_bytes());
        }
    }

    /// Bytes sent to the client so far.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.with(|_, client| client.bytes_sent)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.shard.state.borrow_mut();
        let client = state.clients.remove(self.slot as usize);
        self.shard.metrics.queue_bytes.sub(client.queued() as u64);
        for topic in client.topics {
            self.leave(&mut state, topic);
        }
    }
}
