//! The requests of workers to the engine's thread: a queue that never makes them wait, with a limit on its bytes.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::directory::Owner;
use super::users::UserRequest;
use crate::broker::{BrokerError, Job, Local, Opener, Position};
use crate::names::{ConnectionId, RoomName, UserId};

/// Bytes that a message takes in memory besides its text, roughly.
const AROUND_MESSAGE: usize = 512;
/// Most requests for rooms that wait at once. A connection asks for one room at a time, so that only a node with more
/// connections than this can reach it; the request is refused then.
const MAX_ROOM_REQUESTS: usize = 1 << 20;

/// Most requests that wait before news of typing are dropped.
const MAX_TYPING: usize = 10_000;

/// Takes the answer to a request for a room. Called by the engine's thread, so it must not wait.
pub type Answer = Box<dyn FnOnce(Result<(), BrokerError>) + Send>;

/// A request to make a room ready to be entered.
pub struct Preparation {
    /// The room.
    pub room: RoomName,
    /// The user who would open the room.
    pub opener: Opener,
    /// The position of the last message that the connection has seen, if it resumes.
    pub resume: Option<Position>,
    /// Takes the answer.
    pub answer: Answer,
}

/// A message that waits, with the part of the limit that it takes.
pub(super) struct QueuedJob<L: Local> {
    pub(super) job: Job<L>,
    /// When it was submitted.
    pub(super) since: Instant,
    pub(super) charge: WaitingBytes,
}

/// One request of a worker.
pub(super) enum Request<L: Local> {
    Publish(QueuedJob<L>),
    Prepare(Preparation),
    ReadHistory(RoomName, Answer),
    /// The room was closed on this node.
    Closed(RoomName),
    /// The users of this node in a room have changed.
    UsersMoved(RoomName),
    /// A user is typing in a room.
    Typing(RoomName, UserId),
    User(UserRequest<L>),
}

/// Bytes that count against the limit of waiting messages until this is dropped.
#[derive(Debug)]
pub(super) struct WaitingBytes {
    bytes: usize,
    all: Arc<Waiting>,
}

impl Drop for WaitingBytes {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Relaxed);
        self.all.messages.fetch_sub(1, Relaxed);
    }
}

/// The messages that were submitted and are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) bytes: AtomicUsize,
    pub(super) messages: AtomicUsize,
}

struct Queue<L: Local> {
    requests: Vec<Request<L>>,
    /// Requests for rooms among them.
    rooms: usize,
    is_stopping: bool,
}

/// The queue between the workers and the engine's thread.
pub(super) struct Requests<L: Local> {
    queue: Mutex<Queue<L>>,
    notify: Notify,
    pub(super) waiting: Arc<Waiting>,
    max_bytes: usize,
}

impl<L: Local> Requests<L> {
    pub(super) fn new(max_bytes: usize) -> Self {
        let queue = Queue { requests: Vec::new(), rooms: 0, is_stopping: false };
        Self { queue: Mutex::new(queue), notify: Notify::new(), waiting: Arc::default(), max_bytes }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`BrokerError::NoEngine`] when too much waits, or the engine's thread is stopping.
    pub(super) fn publish(&self, job: Job<L>) -> Result<(), BrokerError> {
        let bytes = job.max_len / 2 + AROUND_MESSAGE;
        let Waiting { bytes: all, messages } = &*self.waiting;
        if all.fetch_add(bytes, Relaxed) + bytes > self.max_bytes {
            all.fetch_sub(bytes, Relaxed);
            return Err(BrokerError::NoEngine);
        }
        messages.fetch_add(1, Relaxed);
        let charge = WaitingBytes { bytes, all: Arc::clone(&self.waiting) };
        let mut queue = self.queue.lock();
        if queue.is_stopping {
            return Err(BrokerError::NoEngine);
        }
        queue.requests.push(Request::Publish(QueuedJob { job, since: Instant::now(), charge }));
        drop(queue);
        self.notify.notify_one();
        Ok(())
    }

    /// Queues a request for a room or of a user; answers it at once when the thread is stopping or too many wait.
    pub(super) fn room(&self, request: Request<L>) {
        let mut queue = self.queue.lock();
        if !queue.is_stopping && queue.rooms < MAX_ROOM_REQUESTS {
            queue.rooms += 1;
            queue.requests.push(request);
            drop(queue);
            return self.notify.notify_one();
        }
        drop(queue);
        request.refuse();
    }

    /// Queues the news that a user is typing, or drops it when half of the limit of waiting messages is used up.
    pub(super) fn typing(&self, room: &RoomName, user: &UserId) {
        let mut queue = self.queue.lock();
        if !queue.is_stopping
            && queue.requests.len() < MAX_TYPING
            && self.waiting.bytes.load(Relaxed) < self.max_bytes / 2
        {
            queue.requests.push(Request::Typing(room.clone(), user.clone()));
            drop(queue);
            self.notify.notify_one();
        }
    }

    /// Queues the news that the users of a room have changed. There is one for each room at most, until the thread
    /// takes the changes.
    pub(super) fn users_moved(&self, room: RoomName) {
        let mut queue = self.queue.lock();
        if !queue.is_stopping {
            queue.requests.push(Request::UsersMoved(room));
            drop(queue);
            self.notify.notify_one();
        }
    }

    /// Queues the news that a room was closed. Their number is bounded by `limits.max_rooms`.
    pub(super) fn closed(&self, room: RoomName) {
        self.note(Request::Closed(room));
    }

    /// Queues the release of a user id. Their number is bounded by that of the connections.
    pub(super) fn release(&self, user: UserId, connection: ConnectionId) {
        self.note(Request::User(UserRequest::Release(user, connection)));
    }

    /// Queues the question whether a user is offline. Their number is bounded by that of the users who have left.
    pub(super) fn user_gone(&self, user: UserId, wait_ms: u64) {
        self.note(Request::User(UserRequest::Offline(user, wait_ms)));
    }

    /// Queues the question whether a room is vacated. Their number is bounded by that of the rooms that were left.
    pub(super) fn room_gone(&self, room: RoomName, wait_ms: u64) {
        self.note(Request::User(UserRequest::Vacated(room, wait_ms)));
    }

    /// Queues the end of connections that have lost their user id. Each claim has some at most once.
    pub(super) fn end_replaced(&self, user: &UserId, owners: Vec<Owner>) {
        if !owners.is_empty() {
            self.note(Request::User(UserRequest::EndReplaced(user.clone(), owners)));
        }
    }

    /// Queues a request without an answer, unless the thread is stopping.
    fn note(&self, request: Request<L>) {
        let mut queue = self.queue.lock();
        if !queue.is_stopping {
            queue.requests.push(request);
            drop(queue);
            self.notify.notify_one();
        }
    }

    /// Lets the thread come to its end.
    pub(super) fn stop(&self) {
        self.queue.lock().is_stopping = true;
        self.notify.notify_one();
    }

    /// Takes no more requests, and refuses those that wait: the thread has ended.
    pub(super) fn close(&self) {
        let left = {
            let mut queue = self.queue.lock();
            queue.is_stopping = true;
            mem::take(&mut queue.requests)
        };
        left.into_iter().for_each(Request::refuse);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.queue.lock().is_stopping
    }

    /// Takes all requests, in their order.
    pub(super) fn take(&self, requests: &mut Vec<Request<L>>) {
        debug_assert!(requests.is_empty(), "requests that were taken before are done first");
        let mut queue = self.queue.lock();
        mem::swap(&mut queue.requests, requests);
        queue.rooms = 0;
    }

    /// Waits until something was queued since the last wait.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn wait(&self) {
        self.notify.notified().await;
    }
}

impl<L: Local> Request<L> {
    /// Answers a request that cannot be carried out.
    pub(super) fn refuse(self) {
        match self {
            Self::Prepare(Preparation { answer, .. }) | Self::ReadHistory(_, answer) => {
                answer(Err(BrokerError::NoEngine));
            }
            Self::User(request) => request.refuse(),
            Self::Publish(_) | Self::Closed(_) | Self::Typing(..) | Self::UsersMoved(_) => {}
        }
    }
}
