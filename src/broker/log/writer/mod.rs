//! The thread that writes the log. It takes all waiting messages as one batch, has each assigned its offset, appends
//! them all, and only then lets them be delivered.
//!
//! The busier the server, the larger the batches. There is no timer: one write takes everything that came during the
//! last one.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Log, LogError, Record};
use crate::broker::trim::Trim;
use crate::names::{Epoch, RoomName};

/// Most messages that wait or are being written. A batch has at most this many: some milliseconds of work.
pub const MAX_WAITING: usize = 8 * 1024;
/// Most bytes of these messages, as counted by [`Writer::submit`]'s callers; a single message may have more. As large
/// as a shard's inbox may be, and for the same reason: more would add latency, not throughput. Memory: three times this
/// (message, frame, batch).
pub const MAX_WAITING_BYTES: usize = 8 << 20;
/// Most rooms whose trims wait while the disk takes nothing. Trims of further rooms are dropped: what they no longer
/// keep stays on disk until their next message. Memory: some 100 bytes each.
const MAX_TRIMS: usize = 1 << 18;
/// How often the log is cleaned when nothing is published.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// How long written bytes wait until they are synced with `history.sync = "1s"`; the rest of the second is for the
/// disk.
const SYNC_PAUSE: Duration = Duration::from_millis(900);
/// Time between two lines in the log about a disk that takes nothing.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// The two steps of publishing, which the writer carries out. All calls come from its thread, and none may wait.
pub trait Publisher: Send {
    /// A message without an offset.
    type Job: Send;
    /// A message with an offset, which nobody sees yet.
    type Assigned;

    /// Assigns the message its offset: the first step.
    fn assign(&mut self, job: Self::Job) -> BatchStep<Self::Assigned>;

    /// Delivers the message, whose record is written: the second step. Called in the order of offsets.
    fn committed(&mut self, assigned: Self::Assigned);

    /// Takes the message's offset back, in place of the second step: nothing of the batch was appended. Called in the
    /// reverse order of offsets, because only the last one can be taken back. No offset is assigned before all of the
    /// batch are taken back.
    fn failed(&mut self, assigned: Self::Assigned, error: &LogError);
}

/// The result of the first step.
#[derive(Debug)]
pub enum BatchStep<P> {
    /// The record is to be appended.
    Append(Record, P),
    /// Nothing is to be appended, but the answer depends on the batch: a duplicate of a message in it.
    Follow(P),
    /// Nothing is left to do: the message was refused, or is a duplicate of one in the room, and was answered.
    Done,
}

/// Why a message cannot be submitted now. Gives the message back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected<J> {
    /// [`MAX_WAITING`] or [`MAX_WAITING_BYTES`] is reached.
    Full(J),
    /// The writer has stopped.
    Stopped(J),
}

/// The trim of a room, until the thread takes it.
#[derive(Debug, Clone, Copy)]
struct PendingTrim {
    epoch: Epoch,
    trim: Trim,
    /// The first epoch that has ended since the thread last looked, if `epoch` is a later one. The log has never heard
    /// of the epochs in between.
    ended: Option<Epoch>,
}

impl PendingTrim {
    /// Returns the trims in the order in which they happened.
    fn parts(self, room: RoomName) -> impl Iterator<Item = (RoomName, Epoch, Trim)> {
        let ended = self.ended.map(|epoch| (room.clone(), epoch, Trim::All));
        ended.into_iter().chain([(room, self.epoch, self.trim)])
    }
}

#[derive(Debug)]
struct Waiting<J> {
    jobs: Vec<J>,
    /// How many jobs there are, and their bytes, those of the batch that is being written included.
    count: usize,
    bytes: usize,
    /// At most one for each room.
    trims: HashMap<RoomName, PendingTrim>,
    is_stopping: bool,
}

#[derive(Debug)]
struct Shared<J> {
    waiting: Mutex<Waiting<J>>,
    /// The thread, once it has first looked for something to do.
    thread: OnceLock<Thread>,
    /// Writes that failed, flushes included.
    failures: AtomicU64,
}

/// A handle of the thread that writes. Dropping it stops the thread as [`Writer::stop`] does.
#[derive(Debug)]
pub struct Writer<J> {
    shared: Arc<Shared<J>>,
    thread: Mutex<Option<JoinHandle<Result<(), LogError>>>>,
}

impl<J: Send + 'static> Writer<J> {
    /// Starts the thread. `now_unix_ms` is the clock, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start<P: Publisher<Job = J> + 'static>(
        log: Log,
        publisher: P,
        now_unix_ms: impl Fn() -> u64 + Send + 'static,
    ) -> io::Result<Self> {
        let waiting =
            Waiting { jobs: Vec::new(), count: 0, bytes: 0, trims: HashMap::new(), is_stopping: false };
        let shared = Arc::new(Shared {
            waiting: Mutex::new(waiting),
            thread: OnceLock::new(),
            failures: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("history".into()).spawn(move || {
            WriterThread { shared: StopOnDrop(theirs), log, publisher, warned_at: None, dirty_since: None }
                .run(now_unix_ms)
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Submits a message that takes `bytes` of memory. Never waits.
    ///
    /// # Errors
    /// The message comes back when too much waits already, or when the writer has stopped.
    pub fn submit(&self, job: J, bytes: usize) -> Result<(), Rejected<J>> {
        let mut waiting = self.shared.waiting.lock();
        if waiting.is_stopping {
            return Err(Rejected::Stopped(job));
        }
        let is_full = waiting.count >= MAX_WAITING || waiting.bytes + bytes > MAX_WAITING_BYTES;
        if is_full && waiting.count > 0 {
            return Err(Rejected::Full(job));
        }
        waiting.jobs.push(job);
        waiting.count += 1;
        waiting.bytes += bytes;
        drop(waiting);
        self.shared.wake();
        Ok(())
    }

    /// Returns a function that takes trims of rooms, which never waits and does not keep the thread alive. Memory: one
    /// entry for each room until the thread takes it.
    pub fn trim_sink(&self) -> impl Fn(&RoomName, Epoch, Trim) + Send + Sync + use<J> {
        let shared = Arc::clone(&self.shared);
        move |room, epoch, trim| shared.discard(room, epoch, trim)
    }

    /// Returns how many messages wait or are being written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.lock().count
    }

    /// Returns how many writes to the log have failed. A batch of messages counts once.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Relaxed)
    }

    /// Returns true until the writer is stopped, or has panicked: then nothing can be published any more.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.shared.waiting.lock().is_stopping
    }

    /// Takes no more messages, writes those that wait, and closes the log. Blocks until that is done.
    ///
    /// # Errors
    /// The log could not be closed cleanly, or the thread has panicked.
    pub fn stop(&self) -> Result<(), LogError> {
        self.shared.stop();
        match self.thread.lock().take().map(JoinHandle::join) {
            None => Ok(()),
            Some(result) => result.unwrap_or(Err(LogError::Panicked)),
        }
    }
}

impl<J> Shared<J> {
    fn discard(&self, room: &RoomName, epoch: Epoch, trim: Trim) {
        let mut waiting = self.waiting.lock();
        if waiting.is_stopping || waiting.trims.len() >= MAX_TRIMS && !waiting.trims.contains_key(room) {
            return;
        }
        let pending = waiting.trims.entry(room.clone()).or_insert(PendingTrim { epoch, trim, ended: None });
        let is_same = pending.epoch == epoch;
        if !is_same && pending.trim == Trim::All {
            pending.ended = pending.ended.or(Some(pending.epoch));
        }
        pending.trim = match (pending.trim, trim) {
            (Trim::All, _) if is_same => Trim::All,
            (Trim::Before(a), Trim::Before(b)) if is_same => Trim::Before(a.max(b)),
            _ => trim,
        };
        pending.epoch = epoch;
        drop(waiting);
        self.wake();
    }

    fn stop(&self) {
        self.waiting.lock().is_stopping = true;
        self.wake();
    }

    /// Wakes the thread. If it is not known yet, it has not looked for work yet and need not be woken.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Waits until there is something to do or `until` has come, and takes it all. Returns `None` when the writer is
    /// stopped and nothing is left. Called by the thread alone.
    fn take(&self, until: Instant) -> Option<Taken<J>> {
        self.thread.get_or_init(thread::current);
        loop {
            let mut waiting = self.waiting.lock();
            let is_idle = waiting.jobs.is_empty() && waiting.trims.is_empty();
            if is_idle && waiting.is_stopping {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if !is_idle || left.is_zero() {
                let Waiting { jobs, trims, bytes, .. } = &mut *waiting;
                return Some(Taken { jobs: mem::take(jobs), bytes: *bytes, trims: mem::take(trims) });
            }
            drop(waiting);
            // Anything submitted from here on makes this return at once.
            thread::park_timeout(left);
        }
    }

    /// Releases the memory of what was taken.
    fn release(&self, count: usize, bytes: usize) {
        let mut waiting = self.waiting.lock();
        waiting.count -= count;
        waiting.bytes -= bytes;
    }
}

impl<J> Drop for Writer<J> {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(Ok(Err(error))) = self.thread.lock().take().map(JoinHandle::join) {
            tracing::error!(%error, "history.dir was not closed cleanly");
        }
    }
}

/// Stops the writer when dropped, so that after a panic nobody waits for a thread that has ended.
struct StopOnDrop<J>(Arc<Shared<J>>);

impl<J> Drop for StopOnDrop<J> {
    fn drop(&mut self) {
        self.0.stop();
        // Dropping a job lets its sender know. Done outside the lock, because that may run any code.
        let left = {
            let mut waiting = self.0.waiting.lock();
            (waiting.count, waiting.bytes) = (0, 0);
            mem::take(&mut waiting.jobs)
        };
        drop(left);
    }
}

struct Taken<J> {
    jobs: Vec<J>,
    /// The bytes of all jobs, because nothing else was being written.
    bytes: usize,
    trims: HashMap<RoomName, PendingTrim>,
}

struct WriterThread<P: Publisher> {
    /// Declared first to be dropped first: when the publisher is gone, the writer is already stopped.
    shared: StopOnDrop<P::Job>,
    log: Log,
    publisher: P,
    warned_at: Option<Instant>,
    /// When the first bytes were written that should be synced and were not.
    dirty_since: Option<Instant>,
}

impl<P: Publisher> WriterThread<P> {
    fn run(mut self, now_unix_ms: impl Fn() -> u64) -> Result<(), LogError> {
        while let Some(Taken { jobs, bytes, trims }) = self.shared.0.take(self.next_deadline()) {
            // Read at the beginning of every turn, because the thread may have slept for long.
            let now_ms = now_unix_ms();
            let count = jobs.len();
            self.publish(jobs);
            self.shared.0.release(count, bytes);
            let trims = trims.into_iter().flat_map(|(room, pending)| pending.parts(room));
            let kept = self.log.discard(trims).and_then(|()| self.log.clean_up(now_ms));
            if let Err(error) = kept.and_then(|()| self.sync()) {
                self.count_failure(&error);
            }
        }
        self.log.close()
    }

    /// Returns when the thread has something to do although nothing is published.
    fn next_deadline(&self) -> Instant {
        self.dirty_since.map_or_else(|| Instant::now() + HOUSEKEEPING, |since| since + SYNC_PAUSE)
    }

    /// Syncs what was written to the disk, if it is time.
    fn sync(&mut self) -> Result<(), LogError> {
        if !self.log.wants_sync() {
            self.dirty_since = None;
            return Ok(());
        }
        let since = *self.dirty_since.get_or_insert_with(Instant::now);
        if since.elapsed() < SYNC_PAUSE {
            return Ok(());
        }
        // After an error, too, the next attempt comes later.
        self.dirty_since = None;
        self.log.sync_data()
    }

    fn publish(&mut self, jobs: Vec<P::Job>) {
        let mut records = Vec::with_capacity(jobs.len());
        let mut all_assigned = Vec::with_capacity(jobs.len());
        for job in jobs {
            match self.publisher.assign(job) {
                BatchStep::Append(record, assigned) => {
                    records.push(record);
                    all_assigned.push(assigned);
                }
                BatchStep::Follow(assigned) => all_assigned.push(assigned),
                BatchStep::Done => {}
            }
        }
        match self.log.append(&records) {
            Ok(()) => all_assigned.into_iter().for_each(|assigned| self.publisher.committed(assigned)),
            Err(error) => {
                self.count_failure(&error);
                all_assigned.into_iter().rev().for_each(|assigned| self.publisher.failed(assigned, &error));
            }
        }
    }

    /// Counts a write that failed, and logs it, at most once in a while.
    fn count_failure(&mut self, error: &LogError) {
        self.shared.0.failures.fetch_add(1, Relaxed);
        if self.warned_at.is_none_or(|at| at.elapsed() >= LOG_PAUSE) {
            self.warned_at = Some(Instant::now());
            tracing::error!(%error, "history.dir cannot be written: a message that cannot be stored is refused");
        }
    }
}

#[cfg(test)]
mod tests;
