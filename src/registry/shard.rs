//! One worker's part of the registry: its clients and their rooms. Lives on that worker's thread and is touched by
//! no other; other threads reach it through its [`Inbox`].
//!
//! No method blocks, and none calls back into the caller, so no `RefCell` is ever borrowed twice.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::backlog::Backlogs;
use super::bounds::Bounds;
pub use super::bounds::Overload;
use super::client::{Asker, Client, Probe};
use super::clients::{ClientMut, Clients};
use super::fanout::Work;
use super::farewell;
use super::inbox::{Command, Inbox, Item};
use super::lane::LaneId;
use super::outbox::{Flush, Kind, Tally};
use super::registration::Registration;
use super::room::{BatchLimits, Room};
use super::sink::Sink;
use super::wheel::Wheel;
use crate::clock::{Awake, Clock};
use crate::metrics::{Counter, ShardMetrics};
use crate::names::ConnectionId;
use crate::protocol::close::EndReason;
use crate::protocol::frame::{self, Frame, OpCode};

/// A gap in a shard's time that the log tells of, in milliseconds: others come on every busy machine.
const WORTH_A_LINE_MS: u64 = 1_000;

/// What a shard needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bounds of each client's queue.
    pub bounds: Bounds,
    /// What happens beyond them where no room says otherwise: to private messages.
    pub overload: Overload,
    /// This shard's share of the node's budget of queued bytes: beyond it one of the largest
    /// queues goes first, of which none is twice as large.
    pub queue_budget: u64,
    /// How long a batch may be.
    pub batch: BatchLimits,
    /// Wait for more before a sweep.
    pub linger: Duration,
}

/// Everything that belongs to the shard's one thread.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) clients: Clients,
    /// Apart from the table, so that this stays small and a room can be fetched before its turn.
    pub(super) rooms: FxHashMap<LaneId, Box<Room>>,
    pub(super) work: Work,
    pub(super) wheel: Wheel,
    generation: u32,
}

impl State {
    /// The client of that id, unless its connection is gone and the slot somebody else's.
    pub(super) fn client(&mut self, id: ConnectionId) -> Option<ClientMut<'_>> {
        self.clients.of(id)
    }

    /// Puts a client in the line of those to be written to, if something can be.
    pub(super) fn mark_dirty(&mut self, id: ConnectionId) {
        if let Some(mut client) = self.clients.of(id) {
            client.line_up(&mut self.work.dirty);
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Shard {
    index: usize,
    pub(super) state: RefCell<State>,
    /// Apart, because every change of a queue is noted here.
    pub(super) backlogs: RefCell<Backlogs>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) settings: Settings,
    clock: Clock,
    awake: Cell<Awake>,
    now_ms: Cell<u64>,
}

impl Shard {
    /// An empty shard that is fed by `inbox` and lives by `clock`.
    #[must_use]
    pub fn new(
        index: usize,
        inbox: Arc<Inbox>,
        metrics: Arc<ShardMetrics>,
        settings: Settings,
        clock: Clock,
    ) -> Rc<Self> {
        Rc::new(Self {
            index,
            state: RefCell::default(),
            backlogs: RefCell::default(),
            inbox,
            metrics,
            settings,
            now_ms: Cell::new(clock.now_ms()),
            awake: Cell::new(Awake::new(&clock)),
            clock,
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

    /// Milliseconds since its clock began, as of the last [`Shard::tick`], without those in which its thread stood
    /// [still](Awake): every deadline here goes by it.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Milliseconds since its clock began, as of the last [`Shard::tick`], as everybody on the node sees it.
    #[must_use]
    pub fn clock_ms(&self) -> u64 {
        self.now_ms.get() + self.lost_ms()
    }

    /// By how much [`Shard::now_ms`] is behind [`Shard::clock_ms`].
    #[must_use]
    pub fn lost_ms(&self) -> u64 {
        self.awake.get().lost_ms()
    }

    /// What happens to a client that does not keep up, where no room says otherwise.
    #[must_use]
    pub fn overload(&self) -> Overload {
        self.settings.overload
    }

    /// Looks at the clock: once for each wake of a task, never for each delivery.
    pub fn tick(&self) -> u64 {
        let before = self.awake.get();
        let mut awake = before;
        let now = awake.at(self.clock.now_ms());
        self.awake.set(awake);
        self.now_ms.set(now);
        let gap_ms = awake.lost_ms() - before.lost_ms();
        if gap_ms >= WORTH_A_LINE_MS {
            tracing::warn!(
                shard = self.index,
                gap_ms,
                "stood still: every deadline of a client is later by that"
            );
        }
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
        let generation = state.generation;
        let client = state
            .clients
            .insert_with(sink, |slot| Client::new(ConnectionId::new(self.index, slot, generation), now_ms));
        Registration::new(Rc::clone(self), client.id)
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
        let rooms = &self.state.borrow().rooms;
        rooms.keys().filter(|lane| !lane.is_v1() || !rooms.contains_key(&lane.other())).count()
    }

    /// The ids of all clients.
    #[must_use]
    pub fn ids(&self) -> Vec<ConnectionId> {
        self.state.borrow().clients.iter().map(|client| client.id).collect()
    }

    /// Ends a connection if it still exists: see [`Registration::end`].
    pub fn end(&self, id: ConnectionId, reason: EndReason) {
        let mut state = self.state.borrow_mut();
        if let Some(mut client) = state.client(id) {
            self.end_client(&mut client, reason);
        }
    }

    /// Wakes the clients whose deadline has come. Run every [`TICK_MS`](super::wheel::TICK_MS).
    pub fn wake_due(&self) {
        let now_ms = self.tick();
        let mut state = self.state.borrow_mut();
        let State { clients, wheel, .. } = &mut *state;
        let mut due = Vec::new();
        wheel.advance(now_ms, &mut due);
        self.enforce_budget(clients);
        for (slot, tick) in due {
            if let Some(mut client) = clients.get_mut(slot as usize).filter(|client| client.armed == tick) {
                client.armed = u64::MAX;
                client.wake();
            }
        }
    }

    /// Takes in what other threads have handed over so far.
    pub(super) fn take_in(&self) {
        let mut items = Vec::new();
        if self.inbox.take(&mut items) {
            self.accept(&mut items);
        }
    }

    /// Takes in what other threads handed over.
    pub(super) fn accept(&self, items: &mut Vec<Item>) {
        for item in items.drain(..) {
            match item {
                Item::Publish(publication) => self.admit(publication),
                Item::Typing(typing) => self.show_typing(&typing),
                Item::Command(command) => self.obey(*command),
            }
        }
    }

    fn obey(&self, command: Command) {
        match command {
            Command::End(id, reason) => self.end(id, reason),
            Command::Wake(id) => {
                if let Some(client) = self.state.borrow_mut().client(id) {
                    client.wake();
                }
            }
            Command::Send(id, frame, share) => self.deliver_alone(id, &frame, share),
            Command::Reply(id, frame) => {
                self.inbox.done(frame.len());
                self.answer(&mut self.state.borrow_mut(), id, &frame);
            }
            Command::Probe(id, asker) => self.probe(id, asker),
        }
    }

    /// Asks a client whether it is alive, unless somebody has asked already: then all get the one answer.
    fn probe(&self, id: ConnectionId, asker: Asker) {
        let now_ms = self.tick();
        let mut state = self.state.borrow_mut();
        // Where it is ending, its place is free as soon as its farewell is over; the dropped sender says so.
        let Some(mut client) = state.client(id).filter(|client| client.end.is_none()) else { return };
        if let Some(probe) = &mut client.probe {
            return probe.share(asker);
        }
        client.probe = Some(Box::new(Probe::new(asker, now_ms)));
        client.ask();
        self.control(&mut client, Kind::Control, &frame::data(OpCode::Ping, b""));
        // Blocked, it may still be in its handshake: the ping leaves once that is answered.
        if !client.is_blocked {
            self.flush(&mut client);
        }
        client.wake();
    }

    /// Changes a client's queue and keeps the count of queued bytes true.
    pub(super) fn queue<R>(&self, client: &mut Client, change: impl FnOnce(&mut Client, u64) -> R) -> R {
        let before = client.queued();
        let result = change(client, self.now_ms.get());
        let after = client.queued();
        let gauge: &Counter = &self.metrics.queue_bytes;
        if after > before {
            gauge.add((after - before) as u64);
            self.backlogs.borrow_mut().grown(client, after);
        } else {
            gauge.sub((before - after) as u64);
        }
        result
    }

    /// Queues a ping or pong: in its turn while the socket takes everything; ahead of what waits, and but one pong,
    /// once it does not.
    pub(super) fn control(&self, client: &mut Client, kind: Kind, frame: &Frame) {
        let is_blocked = client.is_blocked;
        self.queue(client, |client, now| match is_blocked {
            true => client.outbox.push_ahead(kind, frame, now),
            false => client.outbox.push(kind, frame, now),
        });
    }

    /// Writes what the client's socket takes.
    pub(super) fn flush(&self, client: &mut ClientMut<'_>) -> Flush {
        let mut tally = Tally::default();
        let ClientMut { client: cold, hot } = client;
        let flushed = self.queue(cold, |client, now_ms| {
            let flushed = client.outbox.flush(&hot.sink, &mut tally);
            if tally.bytes > 0 || !client.is_blocked {
                client.progress_ms = now_ms;
            }
            if tally.bytes > 0 {
                client.sent_ms = now_ms;
            }
            flushed
        });
        client.is_blocked = flushed == Flush::Blocked;
        client.hot.bytes_sent += tally.bytes;
        self.count(&tally);
        if flushed == Flush::Gone {
            self.end_client(client, EndReason::PeerVanished);
        }
        flushed
    }

    /// Adds to the shard's counters.
    pub(super) fn count(&self, tally: &Tally) {
        self.metrics.writes.add(tally.writes);
        self.metrics.bytes_sent.add(tally.bytes);
        self.metrics.deliveries.add(tally.deliveries);
    }

    /// Begins the end of a connection. The first reason counts.
    pub(super) fn end_client(&self, client: &mut ClientMut<'_>, reason: EndReason) {
        if client.end.is_some() {
            return;
        }
        if let EndReason::SlowConsumer(_) = reason {
            self.metrics.slow_consumers_dropped.add(1);
        }
        let close = farewell::last_frames(client.dialect, &reason);
        let drops_queue = matches!(reason, EndReason::SlowConsumer(_) | EndReason::PeerVanished);
        let was_blocked = client.is_blocked;
        client.end = Some(reason);
        client.probe = None;
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
