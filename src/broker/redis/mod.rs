//! Rooms that several nodes share, on a Redis or Valkey server: it assigns the offsets, keeps the histories and the
//! idempotency keys, and passes each message to the nodes with members.
//!
//! One thread of its own does all the talking. Workers meet it at a queue that never makes them wait.

pub mod batch;
pub mod control;
pub mod directory;
mod engine;
mod host;
pub mod inspect;
pub mod keys;
pub mod link;
pub mod nodes;
pub mod presence;
mod requests;
pub mod revocations;
pub mod room;
pub mod script;
mod start_error;
#[cfg(test)]
mod testing;
pub mod topology;
mod users;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use parking_lot::Mutex;

use self::directory::Owner;
use self::engine::{Health, Starter, wait_for_entry, wait_for_servers};
pub use self::host::{Holder, Host, PrivateText};
use self::nodes::{Overview, Report};
pub use self::requests::{Answer, Preparation};
use self::requests::{Request, Requests};
pub use self::start_error::StartError;
use self::users::UserRequest;
pub use self::users::{AskAnswer, AskError, EraseAnswer, Told};
pub use self::users::{ClaimAnswer, ClaimError, Claimant, Grant};
pub use self::users::{PrivateAnswer, PrivateMessage};
pub use self::users::{RevokeAnswer, RevokeFailure};
use super::memory::Memory;
use super::{BrokerError, Job, Local};
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::engine::EngineMetrics;
use crate::names::{ConnectionId, RoomName, UserId};
use crate::revocation::Revocation;

/// The engine of several nodes. Dropping it stops its thread as [`Cluster::stop`] does.
pub struct Cluster<L: Local> {
    requests: Arc<Requests<L>>,
    health: Arc<Health>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<L: Local> fmt::Debug for Cluster<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl<L: Host> Cluster<L> {
    /// Starts the engine's thread and waits until the server was reached and has entered the node in its table of
    /// nodes. From then on it assigns all positions of `broker`, into which nobody has entered yet.
    ///
    /// # Errors
    /// The server cannot be reached within fifteen times `redis.patience`, or cannot be used; or another live node has
    /// the name of this one.
    pub fn start(config: &Config, broker: &Arc<Memory<L>>, clock: Clock) -> Result<Self, StartError> {
        let requests = Arc::new(Requests::new(config.redis.max_waiting_bytes));
        let closed = Arc::clone(&requests);
        broker.attach_engine(move |room| closed.closed(room.clone()));
        let starter = Starter::new(config, Arc::clone(broker), Arc::clone(&requests), clock)?;
        let health = starter.health();
        let ended = EndOfThread { requests: Arc::clone(&requests), health: Arc::clone(&health) };
        let run = move || {
            let _ended = ended;
            starter.run();
        };
        let thread = thread::Builder::new().name("engine".into()).spawn(run).map_err(StartError::Thread)?;
        let cluster = Self { requests, health, thread: Mutex::new(Some(thread)) };
        wait_for_servers(&cluster.health, config)?;
        inspect::at_start(config)?;
        wait_for_entry(&cluster.health, config)?;
        Ok(cluster)
    }
}

impl<L: Local> Cluster<L> {
    /// Submits a message, which is answered later. Never waits.
    ///
    /// # Errors
    /// [`BrokerError::NoEngine`] when `redis.max_waiting_bytes` wait, or the node stops. The message is dropped without
    /// an answer then.
    pub fn publish(&self, job: Job<L>) -> Result<(), BrokerError> {
        self.requests.publish(job)
    }

    /// Makes a room ready to be entered: follows it, and reads what a resuming connection missed. Never waits.
    pub fn prepare(&self, preparation: Preparation) {
        self.requests.room(Request::Prepare(preparation));
    }

    /// Reads the history of a room that is open, as far as the room's bounds allow. Never waits.
    pub fn read_history(&self, room: RoomName, answer: Answer) {
        self.requests.room(Request::ReadHistory(room, answer));
    }

    /// Tells the other nodes how the users of this node in a room have changed. Called when
    /// [`Presence::wants_exchange`](crate::chat::presence::Presence::wants_exchange) says so. Never waits.
    pub fn users_moved(&self, room: &RoomName) {
        self.requests.users_moved(room.clone());
    }

    /// Shows the room's members on other nodes that a user is typing, unless too much waits or too many type. Never
    /// waits.
    pub fn typing(&self, room: &RoomName, user: &UserId) {
        self.requests.typing(room, user);
    }

    /// Claims a user id for a connection. Never waits.
    pub fn claim(&self, claimant: Claimant, answer: ClaimAnswer<L>) {
        self.requests.room(Request::User(UserRequest::Claim(claimant, answer)));
    }

    /// Ends the connections that have lost a user id to a connection of this node, on whichever nodes they are. Never
    /// waits.
    pub fn end_replaced(&self, user: &UserId, owners: Vec<Owner>) {
        self.requests.end_replaced(user, owners);
    }

    /// Releases the user id that a connection of this node holds. Never waits.
    pub fn release(&self, user: UserId, connection: ConnectionId) {
        self.requests.release(user, connection);
    }

    /// Tells that a user is offline who has left for `wait_ms`, unless the user has come back on any node. Never waits.
    pub fn user_gone(&self, user: UserId, wait_ms: u64) {
        self.requests.user_gone(user, wait_ms);
    }

    /// Tells that a room is vacated which had no member for `wait_ms`, unless somebody has come on any node. Never
    /// waits.
    pub fn room_gone(&self, room: RoomName, wait_ms: u64) {
        self.requests.room_gone(room, wait_ms);
    }

    /// Delivers a private message to all connections of a user, on whichever nodes they are. Never waits.
    pub fn deliver(&self, message: PrivateMessage, answer: PrivateAnswer) {
        self.requests.room(Request::User(UserRequest::Deliver(message, answer)));
    }

    /// Puts a question to all other live nodes, at most [`MAX_TEXT`](control::message::MAX_TEXT) bytes. Never waits.
    pub fn ask(&self, question: Bytes, answer: AskAnswer) {
        self.requests.room(Request::User(UserRequest::Ask(question, answer)));
    }

    /// Forgets the history and the position of a room in the engine. Never waits.
    pub fn erase(&self, room: RoomName, answer: EraseAnswer) {
        self.requests.room(Request::User(UserRequest::Erase(room, answer)));
    }

    /// Revokes tokens on all nodes, in place of a weaker revocation of the same ones. Never waits.
    pub fn revoke(&self, revocation: Revocation, weaker: Option<Revocation>, answer: RevokeAnswer) {
        self.requests.room(Request::User(UserRequest::Revoke(revocation, weaker, answer)));
    }

    /// Returns how many messages wait for their answers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.requests.waiting.messages.load(Relaxed)
    }

    /// Returns how many bytes these messages take.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.requests.waiting.bytes.load(Relaxed)
    }

    /// Returns the engine's metrics.
    #[must_use]
    pub fn metrics(&self) -> &Arc<EngineMetrics> {
        &self.health.metrics
    }

    /// Sets what this node tells the others about itself with its beats.
    pub fn set_report(&self, report: Report) {
        self.health.board.set_report(report);
    }

    /// Returns the table of nodes as the last beat of this node returned it.
    #[must_use]
    pub fn overview(&self) -> Arc<Overview> {
        self.health.board.overview()
    }

    /// Returns true while the server has answered within the last five seconds.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.health.is_up()
    }

    /// Takes no more requests, waits a few seconds for the answers to messages that are under way, and ends the thread.
    /// Blocks until that is done.
    pub fn stop(&self) {
        self.requests.stop();
        let thread = self.thread.lock().take();
        // The engine's thread cannot wait for itself. It drops the node if it makes a report when all others let go.
        let other = thread.filter(|thread| thread.thread().id() != thread::current().id());
        if let Some(thread) = other
            && thread.join().is_err()
        {
            tracing::error!("the thread of the engine has panicked");
        }
    }
}

/// Dropped when the engine's thread ends, even by a panic: nobody waits for it any more, and the node is not ready.
struct EndOfThread<L: Local> {
    requests: Arc<Requests<L>>,
    health: Arc<Health>,
}

impl<L: Local> Drop for EndOfThread<L> {
    fn drop(&mut self) {
        self.health.begins_anew();
        self.requests.close();
    }
}

impl<L: Local> Drop for Cluster<L> {
    fn drop(&mut self) {
        self.stop();
    }
}
