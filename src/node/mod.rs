//! Joins chat, broker and registry: what endpoints and HTTP talk to.

mod claim;
mod direct;
mod fanout;
mod held;
mod membership;
mod publish;
mod unanswered;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use smallvec::SmallVec;

pub use self::claim::{Claim, Credentials};
use self::direct::Directs;
use self::fanout::Fanout;
use self::held::HeldUsers;
pub use self::membership::{Entered, Membership};
pub use self::publish::{Post, refusal};
use crate::broker::durable::Durable;
use crate::broker::log::LogError;
use crate::broker::memory::{Limits, Memory};
use crate::broker::room::{Room, RoomState};
use crate::chat::news::News;
use crate::chat::presence::Outcome;
use crate::chat::rooms::Rules;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::{Gauges, Metrics};
use crate::names::RoomName;
use crate::protocol::event::{self, v1};
use crate::rate_limit::Limiter;
use crate::registry::delivery::{Audience, Delivery};
use crate::registry::{Registry, Topic};

/// One node of the service, shared by all its threads.
#[derive(Debug)]
pub struct Node {
    /// The effective configuration.
    pub config: Config,
    /// Who is connected.
    pub registry: Arc<Registry>,
    /// The counters.
    pub metrics: Metrics,
    /// The time of the node and of its shards.
    pub clock: Clock,
    /// How fast connections and users may be; `None` when `rate_limit.enabled` is false.
    pub limiter: Option<Limiter>,
    /// Its clock counts from the Unix epoch, so that ages go on over a restart.
    broker: Arc<Memory<Fanout>>,
    /// What is published goes through it if there is one.
    durable: Option<Durable<Fanout>>,
    directs: Directs,
    held: HeldUsers,
    /// Rooms whose merged news are due, with the time; each stands here at most once.
    due: Mutex<Vec<(u64, Arc<Room<Topic>>)>>,
    connections: AtomicUsize,
    is_draining: AtomicBool,
    /// When the log last said that there are too many rooms.
    warned_ms: AtomicU64,
}

impl Node {
    /// A node with nobody connected, which lives by `clock`, and whose history goes with it.
    #[must_use]
    pub fn new(config: Config, metrics: Metrics, clock: Clock) -> Arc<Self> {
        Arc::new(Self::in_memory(config, metrics, clock))
    }

    /// A node with nobody connected, whose history is in `history.dir` if there is one; it begins with what is there,
    /// and lives by `clock`.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(config: Config, metrics: Metrics, clock: Clock) -> Result<Arc<Self>, LogError> {
        let mut node = Self::in_memory(config, metrics, clock);
        if let Some(dir) = &node.config.history.dir {
            let clock = node.clock.clone();
            node.durable =
                Some(Durable::open(dir, node.config.history.sync, &node.broker, move || clock.unix_ms())?);
        }
        Ok(Arc::new(node))
    }

    fn in_memory(config: Config, metrics: Metrics, clock: Clock) -> Self {
        let registry = Registry::new(config.workers, config.fanout.max_inbox_bytes);
        let registry = Arc::new(registry.with_queues(config.queue.max_messages, config.queue.max_bytes));
        let limits = Limits {
            rooms: Rules::new(&config),
            history_total_bytes: config.history.total_bytes,
            max_rooms: config.limits.max_rooms,
            max_positions: config.history.positions,
            position_ttl_ms: config.history.position_ttl.as_millis() as u64,
            default_room: config.chat.default_room.clone(),
            max_keys_per_user: config.keys_per_user(),
            max_keys_bytes: config.limits.max_keys_bytes,
        };
        let broker = Memory::new(Fanout(Arc::clone(&registry)), limits);
        broker.tick(clock.unix_ms());
        Self {
            broker: Arc::new(broker),
            durable: None,
            registry,
            metrics,
            limiter: Limiter::new(&config.rate_limit, config.limits.max_rooms_per_connection),
            directs: Directs::default(),
            held: HeldUsers::new(&clock),
            due: Mutex::default(),
            connections: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            warned_ms: AtomicU64::new(0),
            clock,
            config,
        }
    }

    /// Milliseconds since the node began. Looks at the clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// True from the first signal to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// Refuses newcomers from now on.
    pub fn drain(&self) {
        self.is_draining.store(true, Relaxed);
    }

    /// False when nothing can be published any more, because the thread that writes `history.dir` is no more.
    #[must_use]
    pub fn has_engine(&self) -> bool {
        self.durable.as_ref().is_none_or(Durable::is_running)
    }

    /// Publishes what waits for the log, and closes it. Blocks until that is done; nothing can be published then.
    ///
    /// # Errors
    /// The log could not be closed well: what was published is on disk all the same, as far as the system goes.
    pub fn close(&self) -> Result<(), LogError> {
        self.durable.as_ref().map_or(Ok(()), Durable::stop)
    }

    /// Rooms that exist.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.broker.room_count()
    }

    /// See [`Gauges`].
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            max_connections: self.config.limits.max_connections,
            rooms: self.room_count(),
            limited_users: self.limiter.as_ref().map_or(0, |limiter| limiter.users.len()),
            history_waiting: self.durable.as_ref().map_or(0, Durable::waiting),
        }
    }

    /// A place among `limits.max_connections`; `None` when all are taken.
    #[must_use]
    pub fn place(self: &Arc<Self>) -> Option<Place> {
        let place = Place(Arc::clone(self));
        let before = self.connections.fetch_add(1, Relaxed);
        (before < self.config.limits.max_connections).then_some(place)
    }

    /// Says what the outcome wants said; returns when more is due. Called under the room's lock.
    fn tell(&self, state: &mut RoomState<Topic>, room: &RoomName, outcome: Outcome) -> Option<u64> {
        match outcome {
            Outcome::Quiet => None,
            Outcome::Due(at_ms) => Some(at_ms),
            Outcome::Tell(news) => {
                self.announce(state, room, &news);
                None
            }
        }
    }

    /// Tells each dialect in its way who came and went, if anybody who speaks it is there.
    fn announce(&self, state: &mut RoomState<Topic>, room: &RoomName, news: &News) {
        let at = Instant::now();
        if state.topic.has(Audience::Plain) {
            let frame = event::system(&news.notice, room, state.presence.len(), self.clock.unix_ms());
            self.registry.publish(&mut state.topic, Delivery::notice(&frame, Audience::Plain, at));
        }
        if let Some(diff) = news.diff.as_ref().filter(|_| state.topic.has(Audience::V1)) {
            let names = diff.names.as_ref();
            let changes = names.map(|names| v1::Changes { joined: &names.joined, left: &names.left });
            let frame = v1::presence_diff(room, changes, diff.members);
            self.registry.publish(&mut state.topic, Delivery::news(&frame, diff.members, at));
        }
    }

    fn note_due(&self, due: Option<u64>, room: &Arc<Room<Topic>>) {
        if let Some(at_ms) = due {
            self.due.lock().push((at_ms, Arc::clone(room)));
        }
    }

    /// Sends merged news that are due and lets go of what is too old. Called about ten times a second with a number
    /// that counts up.
    pub fn keep_house(&self, turn: usize) {
        let now_ms = self.now_ms();
        let due: SmallVec<[_; 4]> = {
            let mut waiting = self.due.lock();
            waiting.extract_if(.., |(at_ms, _)| *at_ms <= now_ms).collect()
        };
        for (_, room) in due {
            room.with(|state| {
                let rules = state.settings().presence;
                if let Some(news) = state.presence.merged(&rules) {
                    self.announce(state, room.name(), &news);
                }
            });
        }
        self.release_held(now_ms);
        self.broker.expire(turn, self.clock.unix_ms_at(now_ms));
        if let Some(limiter) = &self.limiter {
            limiter.users.forget(turn, now_ms, &limiter.messages);
        }
    }
}

/// A place among the connections; dropping it frees it.
#[derive(Debug)]
pub struct Place(Arc<Node>);

impl Place {
    /// The node.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
