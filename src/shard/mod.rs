//! One worker's share of the connections: its clients, the lanes of their rooms, and the fan-out to them. A lane is the
//! members of one room on one shard who get its events in one form.
//!
//! A [`Shard`] lives on its worker's thread, and no other thread touches it: other threads push what is for its clients
//! into its [`Inbox`](crate::registry::inbox::Inbox).

mod backlog;
pub mod batch;
pub mod bounds;
mod client;
mod clients;
mod egress;
pub mod fanout;
mod farewell;
mod inquiry;
mod intake;
pub mod laggards;
mod lane;
pub mod outbox;
mod probe;
mod registration;
pub mod revoked;
pub mod sink;
mod slots;
mod state;
mod status;
mod time;
mod tokens;
mod wakes;
pub mod wheel;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use self::batch::Batch;
use self::bounds::Overload;
use self::client::Client;
use self::egress::Egress;
pub use self::egress::ShardSettings;
use self::fanout::slice::Slice;
use self::intake::Intake;
use self::laggards::Laggards;
use self::lane::id::LaneId;
use self::outbox::Kind;
use self::probe::Probe;
pub use self::registration::Registration;
use self::state::State;
pub use self::status::Status;
use self::time::ShardTime;
use self::wheel::Tick;
use crate::clock::Clock;
use crate::metrics::ShardMetrics;
use crate::names::ConnectionId;
use crate::protocol::close::EndReason;
use crate::protocol::frame::{self, Frame, OpCode};
use crate::registry::inbox::{Command, Inbox, Item};
use crate::registry::probe::Asker;
use crate::registry::share::Share;
use crate::registry::topic::TopicId;

/// One worker's clients, the lanes of their rooms, and the work that is left for them.
///
/// No method blocks, and none calls back into its caller, so that no `RefCell` is ever borrowed twice.
#[derive(Debug)]
pub struct Shard {
    state: RefCell<State>,
    egress: Egress,
    inbox: Arc<Inbox>,
}

impl Shard {
    /// Makes an empty shard that takes its work from `inbox` and its time from `clock`.
    #[must_use]
    pub fn new(
        index: usize,
        inbox: Arc<Inbox>,
        metrics: Arc<ShardMetrics>,
        settings: ShardSettings,
        clock: Clock,
    ) -> Rc<Self> {
        let egress = Egress::new(index, settings, ShardTime::new(index, clock), metrics);
        Rc::new(Self { state: RefCell::default(), egress, inbox })
    }

    /// Returns the shard's index among the node's shards.
    #[must_use]
    pub fn index(&self) -> usize {
        self.egress.index
    }

    /// Returns the shard's counters.
    #[must_use]
    pub fn metrics(&self) -> &ShardMetrics {
        &self.egress.metrics
    }

    /// Returns the milliseconds since the clock began, as of the last [`Shard::tick`], without the time in which the
    /// thread stood [still](crate::clock::Awake). Every deadline of a client is in this time.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.egress.time.now_ms()
    }

    /// Returns the milliseconds since the clock began, as of the last [`Shard::tick`]. The clock is the same for all
    /// threads of the node.
    #[must_use]
    pub fn clock_ms(&self) -> u64 {
        self.now_ms() + self.lost_ms()
    }

    /// Returns the milliseconds by which [`Shard::now_ms`] is behind [`Shard::clock_ms`].
    #[must_use]
    pub fn lost_ms(&self) -> u64 {
        self.egress.time.lost_ms()
    }

    /// Reads the clock and returns [`Shard::now_ms`]. Call it once for each wake of a task, never for each delivery.
    pub fn tick(&self) -> u64 {
        self.egress.time.tick()
    }

    /// Returns the policy for a client whose queue is full, for frames of no room: rooms set their own.
    #[must_use]
    pub fn overload(&self) -> Overload {
        self.egress.settings.overload
    }

    /// Adds a client that is in no room yet. Frames for it wait until [`Registration::open`]. Dropping the registration
    /// removes the client.
    ///
    /// # Panics
    /// When the shard has [`ConnectionId::MAX_SLOTS`] clients, far beyond the descriptors of a process.
    #[must_use]
    pub fn register(self: &Rc<Self>) -> Registration {
        let now_ms = self.tick();
        let mut state = self.state.borrow_mut();
        let generation = state.next_generation();
        let id = |slot| ConnectionId::new(self.index(), slot, generation);
        let client = state.clients.insert_with(|slot| Client::new(id(slot), now_ms));
        Registration::new(Rc::clone(self), client.id)
    }

    /// Returns the number of clients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.borrow().clients.len()
    }

    /// Returns the number of slots, including empty ones: the slots of all clients are below it. It falls when most
    /// clients have gone.
    #[must_use]
    pub fn slots_end(&self) -> usize {
        self.state.borrow().clients.end()
    }

    /// True when there is no client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of rooms that have members on this shard.
    #[must_use]
    pub fn room_count(&self) -> usize {
        let lanes = &self.state.borrow().lanes;
        // A room with lanes of several dialects counts once.
        lanes.keys().filter(|id| !id.before().any(|other| lanes.contains_key(&other))).count()
    }

    /// Returns the ids of all clients.
    #[must_use]
    pub fn ids(&self) -> Vec<ConnectionId> {
        self.state.borrow().clients.iter().map(|client| client.id).collect()
    }

    /// Names the task that gives the connections their turns: it is woken when one has something to do. Until then
    /// nothing is noted for [`Shard::take_woken`].
    pub fn serve(&self, waker: &Waker) {
        self.egress.wakes.serve(waker);
    }

    /// Calls `take` with the slot of each client whose connection has something to do. Another client may have got the
    /// slot meanwhile. `take` must not use the shard.
    pub fn take_woken(&self, mut take: impl FnMut(u32)) {
        let clients = &mut self.state.borrow_mut().clients;
        self.egress.wakes.take(|slot| {
            if let Some(mut client) = clients.get_mut(slot as usize) {
                client.is_woken = false;
            }
            take(slot);
        });
    }

    /// Begins the end of a connection, if it still exists: queues the close frame, tries to send it and wakes the
    /// connection.
    pub fn end(&self, id: ConnectionId, reason: EndReason) {
        if let Some(mut client) = self.state.borrow_mut().client(id) {
            self.egress.end_client(&mut client, reason);
        }
    }

    /// Ends all members of a room, in all dialects.
    fn end_members(&self, topic: TopicId, reason: &EndReason) {
        let mut state = self.state.borrow_mut();
        let State { clients, lanes, .. } = &mut *state;
        for lane in LaneId::of(topic).into_iter().filter_map(|id| lanes.get(&id)) {
            for slot in lane.slots() {
                if let Some(mut client) = clients.get_mut(slot as usize) {
                    self.egress.end_client(&mut client, reason.clone());
                }
            }
        }
    }

    /// Wakes the connections with a deadline that has come, and ends clients with the longest queues if the shard
    /// exceeds its budget of queued bytes. Call it every [`TICK_MS`](wheel::TICK_MS).
    pub fn wake_due(&self) {
        let now_ms = self.tick();
        let mut state = self.state.borrow_mut();
        let State { clients, wheel, .. } = &mut *state;
        let mut due = Vec::new();
        wheel.advance(now_ms, &mut due);
        self.egress.enforce_budget(clients);
        for (slot, tick) in due {
            // An entry is stale unless its tick is the one noted with the client.
            if let Some(mut client) = clients.get_mut(slot as usize).filter(|client| client.armed == tick) {
                client.armed = Tick::MAX;
                self.egress.wakes.add(&mut client);
            }
        }
    }

    /// Looks through the next few thousand slots for laggards (clients that do not take what waits for them) and adds
    /// them to `found`. Returns true until all slots have been looked at. Clients that come or go between two calls may
    /// be missed.
    pub fn find_laggards(&self, found: &mut Laggards) -> bool {
        if self.egress.metrics.queue_bytes.get() == 0 {
            return false;
        }
        let now_ms = self.tick();
        found.look(&self.state.borrow().clients, now_ms)
    }

    /// Takes in everything that waits in the inbox.
    fn take_in(&self) {
        let mut items = Vec::new();
        if self.inbox.take(&mut items) {
            self.accept(&mut items);
        }
    }

    /// Takes in items that were taken out of the inbox, in their order.
    fn accept(&self, items: &mut Vec<Item>) {
        for item in items.drain(..) {
            match item {
                Item::Publish(publication) => self.intake(|intake| intake.publish(publication)),
                Item::Typing(typing) => self.intake(|intake| intake.show_typing(&typing)),
                Item::Command(command) => self.run_command(*command),
            }
        }
    }

    /// Runs `f` with the shard's state, borrowed for the intake of one item.
    fn intake(&self, f: impl FnOnce(&mut Intake<'_>)) {
        f(&mut Intake { state: &mut self.state.borrow_mut(), egress: &self.egress, inbox: &self.inbox });
    }

    fn run_command(&self, command: Command) {
        match command {
            Command::End(id, reason) => self.end(id, reason),
            Command::EndMembers(topic, reason) => self.end_members(topic, &reason),
            Command::Wake(id) => {
                if let Some(mut client) = self.state.borrow_mut().client(id) {
                    self.egress.wakes.add(&mut client);
                }
            }
            Command::Send(id, frame, share) => self.send(id, &frame, share),
            Command::Reply(id, frame) => {
                self.inbox.done(frame.len());
                self.intake(|intake| intake.reply(id, &frame));
            }
            Command::Probe(id, asker) => self.probe(id, asker),
            Command::Describe(id, answer) => self.describe(id, answer),
            Command::Leave(id, departure) => self.order_departure(id, departure),
        }
    }

    /// Queues a frame of no room for one client, within the bounds of its queue, and puts the client into the line of
    /// those to be written to.
    fn send(&self, id: ConnectionId, frame: &Frame, share: Option<Share>) {
        self.inbox.done(frame.len());
        let mut state = self.state.borrow_mut();
        if let Some(mut client) = state.client(id) {
            let batch = Rc::new(Batch { overload: self.overload(), _share: share, ..Batch::of(frame) });
            self.egress.offer_frames(&mut client, &batch, 0..1);
        }
        state.mark_dirty(id);
    }

    /// Pings a client to learn whether it is alive. While an earlier ping waits for its answer, or that answer still
    /// holds, no other is sent and the asker shares the answer. Drops the asker when the client is gone or ending.
    fn probe(&self, id: ConnectionId, asker: Asker) {
        let now_ms = self.tick();
        let mut state = self.state.borrow_mut();
        // A client that is ending gives its user id up. The asker is dropped, which tells the waiting task that the
        // client is not alive.
        let Some(mut client) = state.client(id).filter(|client| client.end().is_none()) else { return };
        if let Some(probe) = client.probe() {
            return probe.join(asker);
        }
        client.busy(now_ms).probe = Some(Box::new(Probe::new(asker, now_ms)));
        client.count_question();
        self.egress.queue_control(&mut client, Kind::Control, &frame::data(OpCode::Ping, b""));
        // A blocked client may still be in its handshake: the ping is sent once the handshake is answered.
        if !client.is_blocked {
            self.egress.flush(&mut client);
        }
        self.egress.wakes.add(&mut client);
    }

    /// True when the fan-out has work. The answer must not be kept: any task may add work, as when a client that leaves
    /// its room takes in the inbox.
    fn has_work(&self) -> bool {
        !self.state.borrow().queue.is_empty()
    }

    /// Does one slice of the fan-out: as much as may run before other tasks get their turn. Returns true when work is
    /// left.
    pub fn slice(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let State { clients, lanes, queue, .. } = &mut *state;
        if queue.is_empty() {
            return false;
        }
        self.tick();
        Slice::new(&self.egress, &self.inbox, clients, queue).run(lanes);
        self.egress.enforce_budget(clients);
        !queue.is_empty()
    }
}

#[cfg(test)]
mod tests;
