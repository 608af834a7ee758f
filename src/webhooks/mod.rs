//! Webhooks: tells other servers what happens, at least once, in order for each room and user, and never at the cost
//! of a client.
//!
//! The node hands events down as they arise. Each receiver has a bounded queue in eight lanes, and a thread of its own
//! delivers them. If there is no space, the newest event is dropped and counted, and the next request tells the
//! receiver. With `webhooks.dir` the queue is on disk, and survives the end of the process.
//!
//! Two things are worked out here: a user is online or offline, and a room is occupied or vacated, only once that has
//! lasted.

mod disk;
mod event;
mod leavers;
mod queue;
mod receiver;
mod receivers;
mod sender;
mod shared;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use self::disk::Disk;
pub use self::disk::DiskError;
pub use self::event::{Happening, Message, Resync};
use self::leavers::Waiting;
use self::queue::LANES;
use self::receiver::bit;
use self::shared::{Shared, Times};
use crate::clock::Clock;
use crate::config::{self, Config, WebhookEvent};
use crate::metrics::webhooks::WebhookGauges;
use crate::names::{RoomName, UserId};
use crate::outbound::Client;
use crate::outbound::thread::Thread;

/// Why webhooks cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of `webhooks.dir` cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Requests to other servers cannot be made.
    #[error(transparent)]
    Outbound(#[from] io::Error),
}

/// The webhooks of a node.
#[derive(Debug)]
pub struct Webhooks {
    shared: Arc<Shared>,
    /// The events that any receiver wants, as bits; 0 without receivers.
    wanted: AtomicU16,
    users: Mutex<Waiting<UserId>>,
    rooms: Mutex<Waiting<RoomName>>,
    /// Spreads rooms and users over the lanes; nobody outside can choose a lane.
    hasher: RandomState,
    ca_file: Option<PathBuf>,
    dir: Option<PathBuf>,
    /// The folder in which events wait, once it is open.
    disk: OnceLock<Disk>,
    thread: Mutex<Option<Thread>>,
    /// True when this node alone knows whether a user is online and a room is occupied.
    is_alone: bool,
    is_stopped: AtomicBool,
}

impl Webhooks {
    /// Makes the webhooks of a configuration. Nothing is sent before [`Webhooks::start`].
    #[must_use]
    pub fn new(config: &Config, clock: Clock) -> Self {
        let webhooks = Self {
            wanted: AtomicU16::new(0),
            users: Mutex::new(Waiting::new(&clock)),
            rooms: Mutex::new(Waiting::new(&clock)),
            hasher: RandomState::new(),
            ca_file: config.outbound.ca_file.clone(),
            dir: config.webhooks.dir.clone(),
            disk: OnceLock::new(),
            thread: Mutex::new(None),
            is_alone: config.engine == config::Engine::Memory,
            is_stopped: AtomicBool::new(false),
            shared: Arc::new(Shared {
                node: config.node.clone(),
                incarnation: fastrand::u64(..),
                times: RwLock::new(Times::new(&config.webhooks)),
                receivers: RwLock::default(),
                next_event: AtomicU64::new(1),
                next_delivery: AtomicU64::new(1),
                signal: watch::Sender::new(None),
                clock,
            }),
        };
        webhooks.set_receivers(&config.webhooks.receivers, Vec::new());
        webhooks
    }

    /// Opens `webhooks.dir`, and begins to deliver, if there are receivers. An event behind those from before says that
    /// nothing is known of the time before.
    ///
    /// # Errors
    /// `webhooks.dir` or `outbound.ca_file` cannot be used, or a thread cannot be made.
    pub fn start(&self) -> Result<(), StartError> {
        if let Some(dir) = &self.dir {
            self.open_disk(Disk::open(dir)?)?;
        }
        let receivers = self.shared.receivers.read().clone();
        // With several nodes, others have told of the users of this one, and news from before comes behind theirs.
        for receiver in receivers {
            if self.is_alone || receiver.queue.lock().has_old() {
                self.shared.tell_start(&receiver);
            }
        }
        Ok(self.start_thread()?)
    }

    fn start_thread(&self) -> io::Result<()> {
        let mut thread = self.thread.lock();
        if thread.is_none() && !self.shared.receivers.read().is_empty() {
            let client = Client::new(self.ca_file.as_deref()).map_err(io::Error::other)?;
            let shared = Arc::clone(&self.shared);
            *thread = Some(Thread::start("webhooks", move || sender::run(shared, client))?);
        }
        Ok(())
    }

    /// Applies a changed configuration. A receiver whose URL stays keeps its queue and gets its new secrets and wishes,
    /// and one that answered 410 is tried again. Events for a receiver that is gone from the configuration are dropped.
    ///
    /// # Errors
    /// A thread cannot be made, when these are the first receivers.
    pub fn reconfigure(&self, config: &config::Webhooks) -> io::Result<()> {
        let stores = self.stores_of_new(&config.receivers).map_err(io::Error::other)?;
        *self.shared.times.write() = Times::new(config);
        let added = self.set_receivers(&config.receivers, stores);
        for receiver in added {
            self.shared.push_resync(&receiver, &Resync::Added);
        }
        self.shared.signal.send_modify(|_| {});
        self.start_thread()
    }

    /// Returns true when any receiver wants to be told of such an event.
    #[must_use]
    pub fn want(&self, event: WebhookEvent) -> bool {
        self.wanted.load(Relaxed) & bit(event) != 0
    }

    /// Returns true when any receiver wants to be told of one of two events.
    fn want_any(&self, one: WebhookEvent, other: WebhookEvent) -> bool {
        self.wanted.load(Relaxed) & (bit(one) | bit(other)) != 0
    }

    /// Queues an event for the receivers that want it, and writes it to `webhooks.dir` if there is one: it survives the
    /// end of the process when this returns. Waits for no disk, but for one `write` to the operating system. Events of
    /// one room or user come in the order of these calls.
    pub fn note(&self, happening: &Happening<'_>) {
        if !self.want(happening.kind()) {
            return;
        }
        let receivers = self.shared.receivers.read();
        let mut wanting = receivers.iter().filter(|receiver| receiver.wants(happening)).peekable();
        if wanting.peek().is_none() {
            return;
        }
        let lane = match self.disk.get() {
            Some(disk) => disk.lane(happening.subject()),
            None => self.hasher.hash_one(happening.subject()) as usize % LANES,
        };
        let event = Arc::new(happening.event(&self.shared.event_id(), self.shared.clock.unix_ms()));
        let bounds = self.shared.times.read().bounds;
        for receiver in wanting {
            receiver.push(lane, &event, bounds);
        }
    }

    /// Tells every receiver that events may be missing.
    pub fn note_resync(&self, reason: &Resync) {
        let receivers = self.shared.receivers.read().clone();
        receivers.iter().for_each(|receiver| self.shared.push_resync(receiver, reason));
    }

    /// Returns true when any receiver wants to know who is online.
    fn tells_users(&self) -> bool {
        self.want_any(WebhookEvent::UserOnline, WebhookEvent::UserOffline)
    }

    /// Notes that a user has a first connection.
    pub fn user_came(&self, user: &UserId) {
        if !self.tells_users() {
            return;
        }
        // The event is queued under the lock, so that it comes in order with that of the user's leave.
        let mut users = self.users.lock();
        if !users.came(user) {
            self.note(&Happening::UserOnline(user));
        }
    }

    /// Notes that a user has no connection any more.
    pub fn user_left(&self, user: &UserId) {
        if !self.tells_users() {
            return;
        }
        let after_ms = self.shared.offline_after_ms();
        let mut users = self.users.lock();
        if !users.left(user, self.shared.clock.now_ms(), after_ms) {
            self.note(&Happening::UserOffline(user));
        }
    }

    /// Returns true when any receiver wants to know which rooms are occupied.
    fn tells_rooms(&self) -> bool {
        self.want_any(WebhookEvent::RoomOccupied, WebhookEvent::RoomVacated)
    }

    /// Returns true when this node alone knows whether a room is occupied. Where there are several, the engine says so.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Returns true when there is any receiver.
    #[must_use]
    pub fn is_telling(&self) -> bool {
        self.wanted.load(Relaxed) != 0
    }

    /// Notes that a room has a first member. Called under the room's lock.
    pub fn room_occupied(&self, room: &RoomName) {
        if !self.tells_rooms() {
            return;
        }
        let mut rooms = self.rooms.lock();
        if !rooms.came(room) {
            self.note(&Happening::RoomOccupied(room));
        }
    }

    /// Notes that a room has no member any more. On a node that is alone it is called under the room's lock.
    pub fn room_left(&self, room: &RoomName) {
        if !self.tells_rooms() {
            return;
        }
        let after_ms = self.shared.offline_after_ms();
        let mut rooms = self.rooms.lock();
        if !rooms.left(room, self.shared.clock.now_ms(), after_ms) {
            self.note(&Happening::RoomVacated(room));
        }
    }

    /// Tells of the users and rooms that have been gone for long enough by `now_ms`. `is_gone` says whether a user has
    /// no connection: another thread may be about to tell of a new one. `is_vacated` says whether this node may tell
    /// that a room is vacated.
    pub fn keep_house(
        &self,
        now_ms: u64,
        is_gone: impl Fn(&UserId) -> bool,
        is_vacated: impl Fn(&RoomName) -> bool,
    ) {
        if self.wanted.load(Relaxed) == 0 {
            return;
        }
        let mut users = self.users.lock();
        while let Some(user) = users.take_gone(now_ms) {
            if is_gone(&user) {
                self.note(&Happening::UserOffline(&user));
            }
        }
        drop(users);
        let mut rooms = self.rooms.lock();
        while let Some(room) = rooms.take_gone(now_ms) {
            if is_vacated(&room) {
                self.note(&Happening::RoomVacated(&room));
            }
        }
    }

    /// Takes all users who have left and are not offline yet.
    #[must_use]
    pub fn take_leavers(&self) -> Vec<UserId> {
        let mut users = self.users.lock();
        std::iter::from_fn(|| users.take_any()).collect()
    }

    /// Takes all rooms that were left and are not vacated yet.
    #[must_use]
    pub fn take_left_rooms(&self) -> Vec<RoomName> {
        let mut rooms = self.rooms.lock();
        std::iter::from_fn(|| rooms.take_any()).collect()
    }

    /// Returns the time after which a user without a connection is offline, in milliseconds; `None` when no receiver
    /// wants to know.
    #[must_use]
    pub fn offline_after_ms(&self) -> Option<u64> {
        self.tells_users().then(|| self.shared.offline_after_ms())
    }

    /// Returns the time after which a room without a member is vacated, in milliseconds; `None` when no receiver wants
    /// to know.
    #[must_use]
    pub fn vacated_after_ms(&self) -> Option<u64> {
        self.tells_rooms().then(|| self.shared.offline_after_ms())
    }

    /// Delivers what is left for at most `window`, and ends the thread. Blocks until that is done. All users and rooms
    /// that have left are gone now, if nobody else can tell so later.
    pub fn stop(&self, window: Duration) {
        if self.is_stopped.swap(true, Relaxed) {
            return;
        }
        if self.is_alone {
            for user in self.take_leavers() {
                self.note(&Happening::UserOffline(&user));
            }
            for room in self.take_left_rooms() {
                self.note(&Happening::RoomVacated(&room));
            }
        }
        self.shared.signal.send_replace(Some(Instant::now() + window));
        if let Some(thread) = self.thread.lock().take() {
            thread.join();
        }
        sender::sync_all(&self.shared.take_unsynced());
    }

    /// Returns the figures of each receiver.
    #[must_use]
    pub fn gauges(&self) -> Vec<WebhookGauges> {
        self.shared.receivers.read().iter().map(|receiver| receiver.gauges()).collect()
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}
