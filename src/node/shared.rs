//! The state that all threads of a node share: its registry, its broker, its limits and counters.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::announcer::Announcer;
use super::direct::PrivateMessageIds;
use super::engine::Engine;
use super::fanout::{Fanout, Teller, Telling};
use super::held::HeldUsers;
use super::listing::Listing;
use crate::broker::durable::Durable;
use crate::broker::log::LogError;
use crate::broker::memory::{Memory, MemoryLimits};
use crate::broker::redis::nodes::{Overview, Report};
use crate::broker::redis::{Cluster, StartError};
use crate::chat::rooms::RoomRules;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::hooks::Hooks;
use crate::live::Live;
use crate::metrics::{Gauges, Metrics};
use crate::names::{RoomName, UserId};
use crate::rate_limit::Limiter;
use crate::registry::Registry;
use crate::revocation::Revocations;
use crate::revocation::journal::Journal;
use crate::shard::laggards::Laggards;
use crate::webhooks::{self, DiskError, Webhooks};

/// Shortest time for the delivery of the last events: the closes of connections, which a drain spreads over its window,
/// are events, too.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// Why a node cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder of `history.dir` cannot be used.
    #[error(transparent)]
    History(#[from] LogError),
    /// The engine cannot be used.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// Requests to other servers cannot be made.
    #[error("webhooks or hooks cannot be used: {0}")]
    Outbound(io::Error),
    /// The folder of `webhooks.dir` cannot be used.
    #[error(transparent)]
    Webhooks(#[from] DiskError),
    /// The revocations in `history.dir` cannot be used.
    #[error("the revocations in history.dir cannot be used: {0}")]
    Revocations(io::Error),
}

/// Takes requests for the slow clients of a shard. It is full while the shard has not begun with some earlier ones.
pub type LaggardSearch = mpsc::Sender<oneshot::Sender<Laggards>>;

/// One node of the service, shared by all its threads.
#[derive(Debug)]
pub struct Node {
    /// The settings in force.
    config: Live<Config>,
    /// The connections and their users.
    pub registry: Arc<Registry>,
    /// The counters that `/metrics` shows.
    pub metrics: Metrics,
    /// The clock of the node and of its shards.
    pub clock: Clock,
    /// The rate limits of connections and users; `None` when `rate_limit.enabled` is false.
    pub limiter: Arc<Live<Option<Limiter>>>,
    /// The events that other servers are told.
    pub webhooks: Arc<Webhooks>,
    /// The questions to another server; `None` where the configuration has none.
    pub hooks: Option<Hooks>,
    /// The rooms. The broker's clock counts from the Unix epoch, so that ages continue over a restart.
    pub(super) broker: Arc<Memory<Fanout>>,
    /// The engine, which gives messages their positions.
    pub(super) engine: Engine,
    pub(super) private_ids: PrivateMessageIds,
    pub(super) held: HeldUsers,
    pub(super) listing: Listing,
    /// The tokens that hold no longer.
    pub(super) revocations: Arc<Revocations>,
    /// The revocations on disk, in `history.dir`.
    pub(super) journal: Option<Journal>,
    pub(super) announcer: Arc<Announcer>,
    pub(super) connections: AtomicUsize,
    is_draining: AtomicBool,
    /// The way to ask each shard for its slow clients, once the workers run.
    laggards: OnceLock<Box<[LaggardSearch]>>,
    /// When the drain began, in milliseconds of the node's clock.
    drain_began_ms: AtomicU64,
    /// When the log last said that there are too many rooms, in milliseconds of the node's clock.
    pub(super) warned_ms: AtomicU64,
}

impl Node {
    /// Creates a node without connections, whose history is in memory alone. `clock` is the time of everything on it.
    #[must_use]
    pub fn new(config: Config, metrics: Metrics, clock: Clock) -> Arc<Self> {
        Self::in_memory(config, metrics, clock).complete()
    }

    /// Creates a node without connections. Its history is in `history.dir`, if that is set, and begins with what the
    /// folder holds; or in the engine that several nodes share. `clock` is the time of everything on it. Blocks until
    /// the folder is read, or the engine is reached.
    ///
    /// # Errors
    /// The folder or the engine cannot be used.
    pub fn open(config: Config, metrics: Metrics, clock: Clock) -> Result<Arc<Self>, OpenError> {
        let mut node = Self::in_memory(config, metrics, clock);
        let config = node.config.share();
        node.webhooks.start().map_err(|error| match error {
            webhooks::StartError::Disk(error) => OpenError::Webhooks(error),
            webhooks::StartError::Outbound(error) => OpenError::Outbound(error),
        })?;
        node.hooks = Hooks::start(&config, node.clock.clone()).map_err(OpenError::Outbound)?;
        if config.engine == config::Engine::Redis {
            let cluster = Cluster::start(&config, &node.broker, node.clock.clone())?;
            node.engine = Engine::Redis(Box::new(cluster));
            return Ok(node.complete());
        }
        if let Some(dir) = &config.history.dir {
            let clock = node.clock.clone();
            let log = Durable::open(dir, config.history.sync, &node.broker, move || clock.unix_ms())?;
            node.engine = Engine::Log(Box::new(log));
            // Behind the log, which has locked the folder for this process.
            let journal = Journal::open(dir, &node.revocations, node.unix_s());
            node.journal = Some(journal.map_err(OpenError::Revocations)?);
        }
        Ok(node.complete())
    }

    /// Lets the engine's thread ask the node, which has all its parts now.
    fn complete(self) -> Arc<Self> {
        let node = Arc::new(self);
        // Weak, because the node owns the broker, and that owns the teller.
        let weak = Arc::downgrade(&node);
        let tell = move |question| {
            let node = weak.upgrade();
            Box::pin(async move { node?.tell(&question).await }) as Telling
        };
        let is_first = node.broker.local().teller.set(Teller(Box::new(tell))).is_ok();
        debug_assert!(is_first, "a node is completed once");
        node
    }

    fn in_memory(config: Config, metrics: Metrics, clock: Clock) -> Self {
        let registry = Registry::new(config.workers, config.fanout.max_inbox_bytes);
        let registry = Arc::new(registry.with_queues(config.queue.max_messages, config.queue.max_bytes));
        let limits = MemoryLimits {
            rooms: RoomRules::new(&config),
            history_total_bytes: config.history.total_bytes,
            max_rooms: config.limits.max_rooms,
            // With an engine, that keeps the positions.
            max_positions: if config.engine == config::Engine::Redis { 0 } else { config.history.positions },
            position_ttl_ms: config.history.position_ttl.as_millis() as u64,
            default_room: config.chat.default_room.clone(),
            max_keys_per_user: config.keys_per_user(),
            max_keys_of_api: config.api.max_keys,
            max_keys_bytes: config.limits.max_keys_bytes,
        };
        let limiter = Limiter::new(&config.rate_limit, config.limits.max_rooms_per_connection);
        let limiter = Arc::new(Live::new(limiter));
        let announcer = Arc::new(Announcer::new(Arc::clone(&registry), clock.clone()));
        let webhooks = Arc::new(Webhooks::new(&config, clock.clone()));
        let revocations = Arc::<Revocations>::default();
        let fanout = Fanout {
            registry: Arc::clone(&registry),
            limiter: Arc::clone(&limiter),
            clock: clock.clone(),
            announcer: Arc::clone(&announcer),
            teller: OnceLock::new(),
            webhooks: Arc::clone(&webhooks),
            revocations: Arc::clone(&revocations),
        };
        let broker = Memory::new(fanout, limits);
        broker.tick(clock.unix_ms());
        Self {
            broker: Arc::new(broker),
            engine: Engine::Memory,
            registry,
            metrics,
            limiter,
            webhooks,
            hooks: None,
            private_ids: PrivateMessageIds::default(),
            held: HeldUsers::new(&clock),
            listing: Listing::default(),
            revocations,
            journal: None,
            announcer,
            connections: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            laggards: OnceLock::new(),
            drain_began_ms: AtomicU64::new(0),
            warned_ms: AtomicU64::new(0),
            clock,
            config: Live::new(config),
        }
    }

    /// Returns the settings in force, for a short time: for one statement, or a function that does not wait.
    pub fn config(&self) -> impl Deref<Target = Arc<Config>> + use<> {
        self.config.read()
    }

    /// Replaces the settings. Rooms that are open keep theirs until they are closed.
    pub fn replace_config(&self, config: Config) {
        let former = self.limiter.share();
        let limiter = Limiter::new(&config.rate_limit, config.limits.max_rooms_per_connection);
        self.limiter.replace(limiter.map(|limiter| match &*former {
            Some(former) => limiter.with_users_of(former),
            None => limiter,
        }));
        self.broker.reconfigure(RoomRules::new(&config), config.keys_per_user(), config.api.max_keys);
        self.config.replace(config);
    }

    /// Returns the milliseconds since the node began. Reads the clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Returns true from the first signal to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// Refuses new connections from now on.
    pub fn drain(&self) {
        self.drain_began_ms.store(self.now_ms(), Relaxed);
        self.is_draining.store(true, Relaxed);
    }

    /// Returns false when nothing can be published: the thread that writes `history.dir` has ended, or the engine has
    /// not answered for long.
    #[must_use]
    pub fn can_publish(&self) -> bool {
        self.engine.can_publish()
    }

    /// Returns false when the engine that several nodes share has not answered for long: no room can be entered.
    #[must_use]
    pub fn is_engine_up(&self) -> bool {
        self.engine.cluster().is_none_or(Cluster::is_up)
    }

    /// Sets what this node tells the other nodes about itself. Without an engine nobody is told.
    pub fn set_report(&self, report: Report) {
        if let Some(cluster) = self.engine.cluster() {
            cluster.set_report(report);
        }
    }

    /// Returns the nodes that share the engine; `None` without one.
    #[must_use]
    pub fn overview(&self) -> Option<Arc<Overview>> {
        self.engine.cluster().map(Cluster::overview)
    }

    /// Sets the ways to ask the shards for their slow clients, in the order of the shards. Only the first call has an
    /// effect.
    pub fn set_laggards(&self, shards: impl IntoIterator<Item = LaggardSearch>) {
        let _ = self.laggards.set(shards.into_iter().collect());
    }

    /// Asks every shard for its slow clients: `None` for one that has not begun with earlier requests.
    #[must_use]
    pub fn find_laggards(&self) -> Vec<Option<oneshot::Receiver<Laggards>>> {
        let ask = |shard: &LaggardSearch| {
            let (answer, found) = oneshot::channel();
            shard.try_send(answer).ok().map(|()| found)
        };
        self.laggards.get().map(|shards| shards.iter().map(ask).collect()).unwrap_or_default()
    }

    /// Publishes the messages that wait for the log, and closes it. Then delivers the events that wait for webhooks, in
    /// what is left of `drain.window` and at least in [`LAST_EVENTS`]. Blocks until that is done. Nothing can be
    /// published afterwards.
    ///
    /// # Errors
    /// The log could not be closed cleanly. The operating system has been given everything that was published.
    pub fn close(&self) -> Result<(), LogError> {
        let closed = self.engine.stop();
        let passed = Duration::from_millis(self.now_ms().saturating_sub(self.drain_began_ms.load(Relaxed)));
        self.webhooks.stop(self.config().drain.window.saturating_sub(passed).max(LAST_EVENTS));
        closed
    }

    /// Returns true when a user who has left is offline, as far as this node alone decides that. With an engine it is
    /// asked, and tells so itself.
    fn is_gone(&self, user: &UserId) -> bool {
        if let Some(cluster) = self.engine.cluster() {
            cluster.user_gone(user.clone(), self.webhooks.offline_after_ms().unwrap_or(0));
            return false;
        }
        self.registry.directory.find(user).is_empty()
    }

    /// Returns true when a room that was left is vacated, as far as this node alone decides that. With an engine it is
    /// asked, and tells so itself.
    fn is_vacated(&self, room: &RoomName) -> bool {
        if let Some(cluster) = self.engine.cluster() {
            cluster.room_gone(room.clone(), self.webhooks.vacated_after_ms().unwrap_or(0));
            return false;
        }
        // Somebody who comes takes the room out of those that were left.
        true
    }

    /// Returns how many rooms exist.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.broker.room_count()
    }

    /// Returns the values of the node's [`Gauges`].
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let config = self.config();
        Gauges {
            max_connections: config.limits.max_connections,
            max_queue_bytes: config.queue.total_bytes,
            is_draining: self.is_draining(),
            rooms: self.room_count(),
            limited_users: self.limiter.read().as_ref().as_ref().map_or(0, |limiter| limiter.users.len()),
            history_waiting: if self.engine.cluster().is_some() { 0 } else { self.engine.waiting() },
            history_failures: self.engine.write_failures(),
            keys: None,
            certificates: Vec::new(),
            engine: self
                .engine
                .cluster()
                .map(|cluster| (Arc::clone(cluster.metrics()), cluster.waiting_bytes())),
            webhooks: self.webhooks.gauges(),
            hooks: self.hooks.as_ref().map(Hooks::gauges).unwrap_or_default(),
        }
    }

    /// Makes merged announcements that are due, and forgets what has expired. Called about ten times a second, with a
    /// number that counts up.
    pub fn keep_house(&self, turn: usize) {
        let now_ms = self.now_ms();
        self.announcer.announce_due(now_ms);
        self.release_held(now_ms);
        self.webhooks.keep_house(now_ms, |user| self.is_gone(user), |room| self.is_vacated(room));
        self.revocations.forget(self.unix_s());
        self.broker.expire(turn, self.clock.unix_ms_at(now_ms));
        if let Some(limiter) = &**self.limiter.read() {
            limiter.users.forget(turn, now_ms, &limiter.messages);
        }
    }
}
