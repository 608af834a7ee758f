//! The thread that writes: it takes what waits as one batch, gives each message its place, appends them all, and only
//! then lets them be seen.
//!
//! The busier the server, the larger the batches: no timer, and one write for all that came during the last one.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Log, LogError, Record};
use crate::broker::trim::Trim;
use crate::names::{Epoch, RoomName};

/// Most messages that wait or are being written. A batch is at most this: some milliseconds of work.
pub const MAX_WAITING: usize = 8 * 1024;
/// Most bytes of them, as who submits counts them; one message alone may have more. The bound of a shard's inbox, for
/// the same reason: more would be latency, not throughput. Memory: this three times over (message, frame, batch).
pub const MAX_WAITING_BYTES: usize = 8 << 20;
/// Most rooms of which the thread has yet to hear what they no longer need, while the disk takes nothing: of others it
/// stays on disk until something is said there. Memory: some 100 bytes each.
const MAX_TRIMS: usize = 1 << 18;
/// How often waste is looked after when nobody says anything.
const HOUSEKEEPING: Duration = Duration::from_secs(10);
/// How long what was written waits until it is told to reach the disk, with `history.sync = "1s"`; a little is left for
/// the disk.
const SYNC_PAUSE: Duration = Duration::from_millis(900);
/// Time between two lines in the log about a disk that does not take anything.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// The two steps of a message's publishing, in the hands of the writer. All calls come from its thread, and none may
/// wait.
pub trait Publisher: Send {
    /// A message that has no place yet.
    type Job: Send;
    /// One that has, and that nobody sees yet.
    type Assigned;

    /// The first step.
    fn assign(&mut self, job: Self::Job) -> BatchStep<Self::Assigned>;

    /// The second step: its record is written. Called in the order of placing.
    fn committed(&mut self, assigned: Self::Assigned);

    /// Instead of the second step: nothing of the batch was appended, and nothing new is assigned before all of it is
    /// taken back. Called in the reverse order of placing, for an offset that is taken back must be the last.
    fn failed(&mut self, assigned: Self::Assigned, error: &LogError);
}

/// What came of the first step.
#[derive(Debug)]
pub enum BatchStep<P> {
    /// To be appended.
    Append(Record, P),
    /// There is nothing to append, but what becomes of it depends on the batch: a duplicate of a message in it.
    Follow(P),
    /// There is nothing more to do: refused, or a duplicate of what is in the room. It has been answered.
    Done,
}

/// Why a message cannot be submitted now; it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected<J> {
    /// [`MAX_WAITING`] or [`MAX_WAITING_BYTES`] is reached.
    Full(J),
    /// The writer has stopped.
    Stopped(J),
}

/// What a room no longer needs.
#[derive(Debug, Clone, Copy)]
struct PendingTrim {
    epoch: Epoch,
    trim: Trim,
    /// The first life that has ended since the thread last looked, where this is a later one: of those between them the
    /// log has never heard.
    ended: Option<Epoch>,
}

impl PendingTrim {
    /// In the order in which it happened.
    fn parts(self, room: RoomName) -> impl Iterator<Item = (RoomName, Epoch, Trim)> {
        let ended = self.ended.map(|epoch| (room.clone(), epoch, Trim::All));
        ended.into_iter().chain([(room, self.epoch, self.trim)])
    }
}

#[derive(Debug)]
struct Waiting<J> {
    jobs: Vec<J>,
    /// Jobs and bytes, those of the batch that is being written included.
    count: usize,
    bytes: usize,
    /// At most one for each room.
    trims: HashMap<RoomName, PendingTrim>,
    is_stopping: bool,
}

#[derive(Debug)]
struct Shared<J> {
    waiting: Mutex<Waiting<J>>,
    /// The thread, from the moment when it first looks for something to do.
    thread: OnceLock<Thread>,
}

/// The way to the thread that writes. Dropping it stops the thread as [`Writer::stop`] does.
#[derive(Debug)]
pub struct Writer<J> {
    shared: Arc<Shared<J>>,
    thread: Mutex<Option<JoinHandle<Result<(), LogError>>>>,
}

impl<J: Send + 'static> Writer<J> {
    /// Starts the thread. `now_unix_ms` is the clock, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start<P: Publisher<Job = J> + 'static>(
        log: Log,
        publisher: P,
        now_unix_ms: impl Fn() -> u64 + Send + 'static,
    ) -> io::Result<Self> {
        let waiting =
            Waiting { jobs: Vec::new(), count: 0, bytes: 0, trims: HashMap::new(), is_stopping: false };
        let shared = Arc::new(Shared { waiting: Mutex::new(waiting), thread: OnceLock::new() });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("history".into()).spawn(move || {
            WriterThread { shared: StopOnDrop(theirs), log, publisher, warned_at: None, dirty_since: None }
                .run(now_unix_ms)
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Hands over a message that holds `bytes`; never waits.
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

    /// A way to say what a room no longer needs, which never waits and does not keep the thread. Memory: one entry for
    /// each room until the thread takes it.
    pub fn trim_sink(&self) -> impl Fn(&RoomName, Epoch, Trim) + Send + Sync + use<J> {
        let shared = Arc::clone(&self.shared);
        move |room, epoch, trim| shared.discard(room, epoch, trim)
    }

    /// Messages that wait or are being written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.lock().count
    }

    /// True until the writer is stopped, or has panicked: then nothing can be published any more.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.shared.waiting.lock().is_stopping
    }

    /// Takes nothing more, writes what waits and closes the log. Blocks until that is done.
    ///
    /// # Errors
    /// The log could not be closed well, or the thread has panicked.
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

    /// Called when something has come. A thread that is not known yet has not looked yet.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Waits for something to do until then, and takes it all; `None` when there is nothing and never will be. Called
    /// by the thread alone.
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
            // What comes from here on makes this return at once.
            thread::park_timeout(left);
        }
    }

    /// What was taken holds memory no longer.
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
            tracing::error!(%error, "the history was not closed well");
        }
    }
}

/// Should anything panic, nobody waits for a thread that is no more.
struct StopOnDrop<J>(Arc<Shared<J>>);

impl<J> Drop for StopOnDrop<J> {
    fn drop(&mut self) {
        self.0.stop();
        // Whoever submitted them hears of it when they are dropped; outside the lock, for it may be anything.
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
    /// All that wait, for nothing else was being written.
    bytes: usize,
    trims: HashMap<RoomName, PendingTrim>,
}

struct WriterThread<P: Publisher> {
    /// First, to be dropped first: whoever finds the publisher gone finds the writer stopped.
    shared: StopOnDrop<P::Job>,
    log: Log,
    publisher: P,
    warned_at: Option<Instant>,
    /// When something was written that has not been told to reach the disk, and should be.
    dirty_since: Option<Instant>,
}

impl<P: Publisher> WriterThread<P> {
    fn run(mut self, now_unix_ms: impl Fn() -> u64) -> Result<(), LogError> {
        while let Some(Taken { jobs, bytes, trims }) = self.shared.0.take(self.next_turn()) {
            // Also what this thread's measurements begin with: it may have slept for long.
            let now_ms = now_unix_ms();
            let count = jobs.len();
            self.publish(jobs);
            self.shared.0.release(count, bytes);
            let trims = trims.into_iter().flat_map(|(room, pending)| pending.parts(room));
            let kept = self.log.discard(trims).and_then(|()| self.log.keep_house(now_ms));
            if let Err(error) = kept.and_then(|()| self.sync()) {
                self.warn(&error);
            }
        }
        self.log.close()
    }

    /// When something is to be done though nobody says anything.
    fn next_turn(&self) -> Instant {
        self.dirty_since.map_or_else(|| Instant::now() + HOUSEKEEPING, |since| since + SYNC_PAUSE)
    }

    /// Tells what was written to reach the disk, if it is time.
    fn sync(&mut self) -> Result<(), LogError> {
        if !self.log.wants_sync() {
            self.dirty_since = None;
            return Ok(());
        }
        let since = *self.dirty_since.get_or_insert_with(Instant::now);
        if since.elapsed() < SYNC_PAUSE {
            return Ok(());
        }
        // On an error, too, the next attempt comes later.
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
                self.warn(&error);
                all_assigned.into_iter().rev().for_each(|assigned| self.publisher.failed(assigned, &error));
            }
        }
    }

    fn warn(&mut self, error: &LogError) {
        if self.warned_at.is_none_or(|at| at.elapsed() >= LOG_PAUSE) {
            self.warned_at = Some(Instant::now());
            tracing::error!(%error, "the history cannot be written");
        }
    }
}

#[cfg(test)]
mod tests;
