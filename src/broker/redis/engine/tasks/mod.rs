//! The work of the engine's thread that needs several calls one after the other: keeping the node's lease, claiming and
//! releasing user ids, private messages, and the orders of other nodes.
//!
//! Each piece of work is an async function on the engine's own thread. It sends its calls through the [`Outbox`], which
//! the loop of the thread empties, and waits for the answers. So no state here needs a lock; a borrow of it never lasts
//! over an `.await`.

mod asks;
mod backoff;
mod channels;
mod claims;
mod control;
mod direct;
mod lease;
mod lost;
mod occupation;
mod outbox;
mod releases;
mod repeats;
mod revocations;
mod room_steps;
mod telling;
mod waiting;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::spawn_local;

pub(super) use self::channels::{Change, Channels};
pub(super) use self::outbox::{Answered, Outbox, TaskCall};
use self::room_steps::RoomSteps;
use self::waiting::{Lost, Releases, Waiter};
use super::health::Health;
use super::sharing::SeenNodes;
use crate::broker::Local;
use crate::broker::memory::Memory;
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::control::{Endings, Requests as ControlRequests};
use crate::broker::redis::directory::Owner;
use crate::broker::redis::directory::claim::Policy;
use crate::broker::redis::host::Host;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::link::LinkId;
use crate::broker::redis::nodes::{Details, Lease, NodeName, Nodes};
use crate::broker::redis::presence::occupied::Step;
use crate::broker::redis::requests::Requests;
use crate::broker::redis::users::UserRequest;
use crate::clock::Clock;
use crate::names::ConnectionId;

/// Most tasks at once. Each waits for the engine or for another node, for some seconds at most, and takes a few
/// kilobytes.
const MAX_TASKS: usize = 16_384;
/// Most releases that wait while user ids are claimed. Each claim without an answer adds one.
const MAX_RELEASES: usize = 262_144;

/// How the node's tasks end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    NotYet,
    /// The node's entry is being removed.
    UnderWay,
    Done,
}

/// The things that tasks are started with.
pub(super) struct Setup<L: Local> {
    pub(super) broker: Arc<Memory<L>>,
    pub(super) requests: Arc<Requests<L>>,
    pub(super) health: Arc<Health>,
    pub(super) clock: Clock,
    pub(super) keys: Keys,
    pub(super) node: NodeName,
    pub(super) by: Incarnation,
    /// The policy under which the claims of open connections are repeated.
    pub(super) policy: Policy,
    /// The details that the node tells with its beats until it has a report.
    pub(super) plain_details: Details,
    /// Life of what is kept of a room: `redis.room_ttl`, in milliseconds.
    pub(super) room_ttl_ms: u64,
}

/// The state that the tasks and the loop of the engine's thread share.
pub(super) struct Tasks<L: Local> {
    broker: Arc<Memory<L>>,
    requests: Arc<Requests<L>>,
    health: Arc<Health>,
    clock: Clock,
    keys: Keys,
    node: NodeName,
    policy: Policy,
    plain_details: Details,
    room_ttl_ms: u64,
    pub(super) outbox: Outbox,
    pub(super) channels: RefCell<Channels>,
    lease: RefCell<Lease>,
    nodes: RefCell<Nodes>,
    /// Counts the tables of nodes.
    nodes_version: Cell<u64>,
    /// Set when the table of nodes has changed since the rooms heard of it; true when a node has died.
    nodes_change: Cell<Option<bool>>,
    control: RefCell<ControlRequests<Waiter>>,
    endings: RefCell<Endings>,
    releases: Releases,
    rooms: RoomSteps,
    lost: Lost,
    /// The server of the keys that all nodes share is connected.
    is_up: Cell<bool>,
    up: Notify,
    /// The next beat has become due earlier.
    hurry: Notify,
    /// The claims of all open connections are to be repeated.
    doubt: Notify,
    running: Cell<usize>,
    leaving: Cell<Leaving>,
    /// The incarnation with which the rooms have to begin anew.
    anew: Cell<Option<Incarnation>>,
    /// The number of the last step, or private message with a key.
    attempts: Cell<u64>,
    /// The revocations have been read once.
    has_revocations: Cell<bool>,
    revocations_read: Notify,
}

impl<L: Host> Tasks<L> {
    /// Starts the tasks that run for as long as the node, on the current `LocalSet`.
    pub(super) fn start(setup: Setup<L>) -> Rc<Self> {
        let Setup { broker, requests, health, clock, keys, node, by, policy, plain_details, room_ttl_ms } =
            setup;
        let now = clock.now_ms();
        let tasks = Rc::new(Self {
            outbox: Outbox::default(),
            channels: RefCell::new(Channels::new(&keys, &node)),
            lease: RefCell::new(Lease::new(node.clone(), by, now)),
            nodes: RefCell::default(),
            nodes_version: Cell::new(0),
            nodes_change: Cell::new(None),
            control: RefCell::new(ControlRequests::new(by)),
            endings: RefCell::new(Endings::new(by)),
            releases: Releases::default(),
            rooms: RoomSteps::default(),
            lost: Lost::default(),
            is_up: Cell::new(false),
            up: Notify::new(),
            hurry: Notify::new(),
            doubt: Notify::new(),
            running: Cell::new(0),
            leaving: Cell::new(Leaving::NotYet),
            anew: Cell::new(None),
            attempts: Cell::new(0),
            has_revocations: Cell::new(false),
            revocations_read: Notify::new(),
            broker,
            requests,
            health,
            clock,
            keys,
            node,
            policy,
            plain_details,
            room_ttl_ms,
        });
        spawn_local(Rc::clone(&tasks).keep_lease());
        spawn_local(Rc::clone(&tasks).keep_claims());
        spawn_local(Rc::clone(&tasks).keep_revocations());
        tasks
    }

    /// Returns a number that this node uses once.
    fn next_attempt(&self) -> u64 {
        let number = self.attempts.get() + 1;
        self.attempts.set(number);
        number
    }

    fn host(&self) -> &L {
        self.broker.local()
    }

    /// Returns the present incarnation of this node.
    fn by(&self) -> Incarnation {
        self.lease.borrow().incarnation()
    }

    /// Returns a connection of this node as all nodes know it.
    fn owner(&self, connection: ConnectionId) -> Owner {
        Owner { node: self.node.clone(), incarnation: self.by(), connection }
    }

    /// Begins what a worker asks for.
    pub(super) fn request(self: &Rc<Self>, request: UserRequest<L>) {
        match request {
            UserRequest::EndReplaced(user, owners) => self.end_replaced(&user, owners),
            UserRequest::Release(user, connection) => {
                self.host().release(&user, connection);
                self.release(user, connection);
            }
            UserRequest::Offline(user, _) if !self.has_space() => self.host().user_left(&user),
            request if !self.has_space() => request.refuse(),
            UserRequest::Claim(claimant, answer) => {
                self.spawn(Rc::clone(self).answer_claim(claimant, answer))
            }
            UserRequest::Deliver(message, answer) => {
                self.spawn(Rc::clone(self).answer_deliver(message, answer))
            }
            UserRequest::Ask(question, answer) => self.spawn(Rc::clone(self).answer_ask(question, answer)),
            UserRequest::Erase(room, answer) => self.spawn(Rc::clone(self).answer_erase(room, answer)),
            UserRequest::Offline(user, wait_ms) => self.spawn(Rc::clone(self).tell_offline(user, wait_ms)),
            UserRequest::Vacated(room, wait_ms) => {
                let keys = self.keys.room(&room);
                self.tell_room(room, keys, Step::Vacated(wait_ms));
            }
            UserRequest::Revoke(revocation, weaker, answer) => {
                self.spawn(Rc::clone(self).answer_revoke(revocation, weaker, answer));
            }
        }
    }

    fn has_space(&self) -> bool {
        self.running.get() < MAX_TASKS && self.releases.waiting.borrow().len() < MAX_RELEASES
    }

    /// Runs a task. Callers whose work can be refused look for [space](Self::has_space) before. The other tasks are
    /// few.
    fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.running.set(self.running.get() + 1);
        let running = Running(Rc::clone(self));
        spawn_local(async move {
            task.await;
            drop(running);
        });
    }

    /// Notes whether the server of the keys that all nodes share is connected.
    pub(super) fn set_up(&self, is_up: bool) {
        if is_up && !self.is_up.replace(is_up) {
            self.up.notify_waiters();
        }
        self.is_up.set(is_up);
    }

    /// Notes that a link has just come up or gone down, so that its subscriptions are gone.
    pub(super) fn link_changed(&self, link: LinkId) {
        self.channels.borrow_mut().link_changed(link, self.clock.now_ms());
    }

    /// Does what is due: tells nodes to end connections, and gives up waiting for answers.
    pub(super) fn tick(self: &Rc<Self>, now: u64) {
        let expired = self.control.borrow_mut().expired(now);
        expired.into_iter().for_each(|done| self.finish(done));
        self.send_endings(now);
    }

    /// Returns when [`Tasks::tick`] has something to do, or a subscription is due.
    pub(super) fn next_ms(&self, now: u64) -> Option<u64> {
        let all = [
            self.control.borrow().next_ms(),
            self.endings.borrow().next_ms(),
            self.channels.borrow().next_ms(now),
        ];
        all.into_iter().flatten().min()
    }

    /// Runs `f` with the table of nodes.
    pub(super) fn with_nodes<R>(&self, f: impl FnOnce(SeenNodes<'_>) -> R) -> R {
        f(SeenNodes { nodes: &self.nodes.borrow(), version: self.nodes_version.get() })
    }

    /// Returns, once for each change of the table of nodes, whether a node has died.
    pub(super) fn take_nodes_change(&self) -> Option<bool> {
        self.nodes_change.take()
    }

    /// Returns the incarnation with which the rooms have to begin anew, once.
    pub(super) fn take_new_incarnation(&self) -> Option<Incarnation> {
        self.anew.take()
    }

    /// Returns true when all that the node has begun is done, and its entry in the table of nodes is gone. Begins to
    /// remove the entry as soon as nothing else is left. `is_quiet` is true when no call is under way.
    pub(super) fn has_left(self: &Rc<Self>, is_quiet: bool) -> bool {
        let is_idle =
            is_quiet && self.running.get() == 0 && self.outbox.is_empty() && self.releases.are_done();
        if is_idle && self.leaving.get() == Leaving::NotYet {
            self.leaving.set(Leaving::UnderWay);
            self.spawn(Rc::clone(self).leave());
        }
        is_idle && self.leaving.get() == Leaving::Done
    }
}

/// Counts a task until it is dropped with the task.
struct Running<L: Local>(Rc<Tasks<L>>);

impl<L: Local> Drop for Running<L> {
    fn drop(&mut self) {
        let Self(tasks) = self;
        tasks.running.set(tasks.running.get() - 1);
        if tasks.running.get() == 0 {
            // The loop may wait for the last one.
            tasks.outbox.wake();
        }
    }
}
