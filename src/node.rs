//! Joins chat, broker and registry: what endpoints and HTTP talk to.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::time::timeout;

use crate::broker::memory::{Limits, Memory};
use crate::broker::room::{Room, RoomState};
use crate::broker::{self, BrokerError, Draft, Local, Position};
use crate::chat::news::{Diff, Names, News};
use crate::chat::presence::Outcome;
use crate::chat::rate_limit::Limiter;
use crate::chat::rooms::Rules;
use crate::clock::Clock;
use crate::config::{Config, Duplicate};
use crate::metrics::Metrics;
use crate::names::{ConnectionId, RoomName, UserId};
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::protocol::event::{self, CommandError};
use crate::registry::bounds::Overload;
use crate::registry::client::PROBE_MS;
use crate::registry::delivery::{Aside, Audience, Delivery};
use crate::registry::{Registration, Registry, Topic};

/// The longest that a newcomer waits to hear whether the incumbent lives.
const PROBE_PATIENCE: Duration = Duration::from_millis(PROBE_MS + 1_000);
/// Time between two lines in the log about a limit that clients can reach at will.
const LOG_PAUSE_MS: u64 = 1_000;

/// The broker's way to the members on this node.
#[derive(Debug)]
struct Fanout(Arc<Registry>);

impl Local for Fanout {
    type Topic = Topic;
    type Aside = Aside;

    fn topic(&self) -> Topic {
        self.0.topic()
    }

    fn has_space(&self, topic: &Topic, len: usize) -> bool {
        self.0.has_space(topic, len)
    }

    fn deliver(&self, topic: &mut Topic, delivery: broker::Delivery<'_, Aside>) {
        let broker::Delivery { frame, offset, aside } = delivery;
        self.0.publish(topic, Delivery { aside, ..Delivery::message(frame, offset, Instant::now()) });
    }

    fn is_occupied(&self, topic: &Topic) -> bool {
        topic.connections() > 0
    }
}

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
    broker: Memory<Fanout>,
    /// Rooms whose merged notice is due, with the time; each stands here at most once.
    due: Mutex<Vec<(u64, Arc<Room<Topic>>)>>,
    connections: AtomicUsize,
    is_draining: AtomicBool,
    /// When the log last said that there are too many rooms.
    warned_ms: AtomicU64,
}

impl Node {
    /// A node with nobody connected, which lives by the machine's clock.
    #[must_use]
    pub fn new(config: Config, metrics: Metrics) -> Arc<Self> {
        Self::with_clock(config, metrics, Clock::system())
    }

    /// A node with nobody connected, which lives by `clock`.
    #[must_use]
    pub fn with_clock(config: Config, metrics: Metrics, clock: Clock) -> Arc<Self> {
        let registry = Arc::new(Registry::new(config.workers, config.fanout.max_inbox_bytes));
        let limits = Limits {
            rooms: Rules::new(&config),
            history_total_bytes: config.history.total_bytes,
            max_rooms: config.limits.max_rooms,
            max_keys_per_user: config.limits.max_keys_per_user,
        };
        Arc::new(Self {
            broker: Memory::new(Fanout(Arc::clone(&registry)), limits),
            registry,
            metrics,
            limiter: Limiter::new(&config.rate_limit),
            due: Mutex::default(),
            connections: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            warned_ms: AtomicU64::new(0),
            clock,
            config,
        })
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

    /// Rooms that exist.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.broker.room_count()
    }

    /// Users who have not all their tokens.
    #[must_use]
    pub fn limited_users(&self) -> usize {
        self.limiter.as_ref().map_or(0, |limiter| limiter.users.len())
    }

    /// A place among `limits.max_connections`; `None` when all are taken.
    #[must_use]
    pub fn place(self: &Arc<Self>) -> Option<Place> {
        let place = Place(Arc::clone(self));
        let before = self.connections.fetch_add(1, Relaxed);
        (before < self.config.limits.max_connections).then_some(place)
    }

    /// Enters a connection as `user`. With `chat.duplicate = "reject"` an incumbent is pinged and keeps the id if it
    /// answers within two seconds; `owns_user` says that a token has proved who the newcomer is, and who does not
    /// have to wait for a dead connection of their own.
    ///
    /// # Errors
    /// [`EndReason::UserIdInUse`].
    ///
    /// # Cancel safety
    /// Nothing is entered unless the claim is returned.
    pub async fn claim(
        self: &Arc<Self>,
        user: &UserId,
        id: ConnectionId,
        owns_user: bool,
    ) -> Result<Claim, EndReason> {
        let directory = &self.registry.directory;
        let replaced = match self.config.chat.duplicate {
            Duplicate::Allow => {
                directory.add(user, id);
                SmallVec::new()
            }
            Duplicate::Reject if !owns_user => self.claim_from_the_dead(user, id).await?,
            Duplicate::Reject | Duplicate::Replace => directory.replace(user, id),
        };
        Ok(Claim { node: Arc::clone(self), user: user.clone(), id, replaced })
    }

    async fn claim_from_the_dead(
        &self,
        user: &UserId,
        id: ConnectionId,
    ) -> Result<SmallVec<[ConnectionId; 2]>, EndReason> {
        let directory = &self.registry.directory;
        match directory.claim(user, id) {
            Ok(()) => Ok(SmallVec::new()),
            // Bounded by the incumbent's shard; the limit here is for a shard that is no more.
            Err(incumbent)
                if timeout(PROBE_PATIENCE, self.registry.is_alive(incumbent)).await != Ok(false) =>
            {
                Err(EndReason::UserIdInUse)
            }
            Err(incumbent) => match directory.replace_if(user, incumbent, id) {
                Ok(()) => Ok(SmallVec::from_slice(&[incumbent])),
                // It went by itself, and perhaps somebody was faster: they are alive.
                Err(_) => {
                    directory.claim(user, id).map(|()| SmallVec::new()).map_err(|_| EndReason::UserIdInUse)
                }
            },
        }
    }

    /// Puts a connection into a room and tells the room.
    ///
    /// # Errors
    /// [`EndReason::Overloaded`] when there are too many rooms.
    pub fn enter(
        self: &Arc<Self>,
        registration: &Registration,
        room: &RoomName,
        user: &UserId,
    ) -> Result<Membership, EndReason> {
        let shard = registration.shard().index();
        let now_ms = self.now_ms();
        let entered = self.broker.enter(room, None, |state, _| {
            let after = state.topic.join(shard, registration.dialect());
            let rules = *state.settings();
            let outcome = state.presence.join(user, now_ms, &rules.presence);
            let due = self.tell(state, room, outcome);
            (state.topic.id(), after, due, Overload::from(rules.queue_policy))
        });
        let (room, _, (topic, after, due, overload)) = entered.map_err(|error| {
            let last_ms = self.warned_ms.swap(now_ms, Relaxed);
            if now_ms.saturating_sub(last_ms) >= LOG_PAUSE_MS {
                tracing::warn!(%error, "a room cannot be opened");
            }
            EndReason::Overloaded
        })?;
        // On the shard's own thread, with nothing in between: no sweep can pass.
        registration.subscribe(topic, after, room.name(), overload);
        self.note_due(due, &room);
        Ok(Membership {
            node: Arc::clone(self),
            room,
            user: user.clone(),
            shard,
            dialect: registration.dialect(),
        })
    }

    /// Says what the outcome wants said; returns when more is due. Called under the room's lock.
    fn tell(&self, state: &mut RoomState<Topic>, room: &RoomName, outcome: Outcome) -> Option<u64> {
        match outcome {
            Outcome::Quiet => None,
            Outcome::Due(at_ms) => Some(at_ms),
            Outcome::Tell(News { notice, diff }) => {
                let at = Instant::now();
                let frame = event::system(&notice, room, state.presence.len(), self.clock.unix_ms());
                self.registry.publish(&mut state.topic, Delivery::notice(&frame, Audience::Plain, at));
                if let Some(Diff { names, members }) = diff {
                    let changes =
                        names.as_ref().map(|Names { joined, left }| event::v1::Changes { joined, left });
                    let frame = event::v1::presence_diff(room, changes, members);
                    self.registry.publish(&mut state.topic, Delivery::notice(&frame, Audience::V1, at));
                }
                None
            }
        }
    }

    fn note_due(&self, due: Option<u64>, room: &Arc<Room<Topic>>) {
        if let Some(at_ms) = due {
            self.due.lock().push((at_ms, Arc::clone(room)));
        }
    }

    /// Sends merged notices that are due, lets old histories and full buckets go. Called about ten times a second with
    /// a number that counts up.
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
                    self.tell(state, room.name(), Outcome::Tell(news));
                }
            });
        }
        self.broker.expire(turn, now_ms);
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

/// A user id that a connection holds; dropping it gives it up, unless somebody has taken over.
#[derive(Debug)]
pub struct Claim {
    node: Arc<Node>,
    user: UserId,
    id: ConnectionId,
    replaced: SmallVec<[ConnectionId; 2]>,
}

impl Claim {
    /// The user.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Ends those whose place was taken. Called once the newcomer is in its room, so that the room sees the user
    /// neither leave nor join.
    pub fn settle(&mut self) {
        for id in mem::take(&mut self.replaced) {
            self.node.registry.end(id, EndReason::Replaced);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A newcomer that did not get as far as its room leaves no incumbent behind that nobody can find.
        self.settle();
        self.node.registry.directory.remove(&self.user, self.id);
    }
}

/// A connection's presence in a room; dropping it leaves the room and tells it.
#[derive(Debug)]
pub struct Membership {
    node: Arc<Node>,
    room: Arc<Room<Topic>>,
    user: UserId,
    shard: usize,
    dialect: Dialect,
}

impl Membership {
    /// Publishes a message to the room, the sender included. `now_ms` is [`Node::now_ms`].
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] when the fan-out is at its limit; the message has no offset then.
    pub fn publish(&self, text: &str, now_ms: u64) -> Result<Position, CommandError> {
        let node = &self.node;
        let ts = node.clock.unix_ms_at(now_ms);
        // JSON writes a control character as six bytes.
        let max_len = text.len() * 6 + event::MESSAGE_OVERHEAD;
        let draft = Draft { user: &self.user, key: None, max_len };
        let published = node.broker.publish(&self.room, draft, now_ms, |position| {
            let Position { epoch, offset } = position;
            event::message(&self.user, text, self.room.name(), epoch, offset, ts).into()
        });
        published.map(|published| published.position).map_err(|error| match error {
            BrokerError::Full | BrokerError::TooManyRooms | BrokerError::Gone => CommandError::Unavailable,
            BrokerError::TooManyKeys { retry_after_ms } => CommandError::RateLimited { retry_after_ms },
        })
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let node = &self.node;
        let now_ms = node.now_ms();
        let (due, is_empty) = self.room.with(|state| {
            state.topic.leave(self.shard, self.dialect);
            let rules = state.settings().presence;
            let outcome = state.presence.leave(&self.user, now_ms, &rules);
            let due = node.tell(state, self.room.name(), outcome);
            (due, state.topic.connections() == 0)
        });
        node.note_due(due, &self.room);
        if is_empty {
            node.broker.close_if_empty(&self.room);
        }
    }
}
