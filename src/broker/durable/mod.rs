//! Publishing through a log on disk (`history.dir`): what is answered and delivered survives the end of the process.
//!
//! Messages wait for the log's thread, which takes all that wait, gives them their places, writes them at once, and
//! only then puts them into their rooms. Nobody waits for the disk: the sender is answered later, in the order of
//! submission.
//!
//! Where there is a log the broker's clock counts from the Unix epoch, so that ages go on over a restart.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::log::writer::{self, Publisher, Rejected, Writer};
use super::log::{Finding, Log, LogError, Record, Recovered, RecoveredRoom};
use super::memory::{Life, Memory};
use super::publish::{Placed, Placing};
use super::room::SharedRoom;
use super::{BrokerError, Draft, Encoded, Local, Position, Published};
use crate::config::HistorySync;
use crate::names::{Key, RoomName, UserId};

/// What a message holds in memory besides its frame, roughly.
const JOB_BYTES: usize = 512;
/// Findings that are logged, and rooms that are named: enough to see what has happened.
const MAX_SAID: usize = 16;

/// A message to be published.
pub struct Job<L: Local> {
    /// Where.
    pub room: SharedRoom<L>,
    /// Who sends it.
    pub user: UserId,
    /// Its idempotency key.
    pub key: Option<Key>,
    /// An upper bound of the frame's length, in bytes.
    pub max_len: usize,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// Makes the frame for its place; called under the room's lock, by the log's thread.
    pub encode: Box<dyn FnOnce(Position) -> Encoded<L::Aside> + Send>,
    /// Tells the sender, by the log's thread; never called if that panics: nobody knows then.
    pub answer: Box<dyn FnOnce(Result<Published, BrokerError>) + Send>,
}

impl<L: Local> fmt::Debug for Job<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("room", self.room.name())
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A broker's log.
#[derive(Debug)]
pub struct Durable<L: Local> {
    writer: Writer<Job<L>>,
}

impl<L> Durable<L>
where
    L: Local<Topic: 'static, Aside: 'static> + 'static,
{
    /// Opens the log, puts what it has into the broker, and starts its thread. Before anybody enters. The broker is
    /// published to through this alone from now on. `now_unix_ms` is the clock, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The folder cannot be used, or there is no thread to be had.
    pub fn open(
        dir: &Path,
        sync: HistorySync,
        broker: &Arc<Memory<L>>,
        now_unix_ms: impl Fn() -> u64 + Send + 'static,
    ) -> Result<Self, LogError> {
        let now_ms = now_unix_ms();
        broker.tick(now_ms);
        let (log, recovered) = Log::open(dir, sync, now_ms, |room, at_unix_ms| {
            now_ms.saturating_sub(at_unix_ms) >= broker.rules.of(room).history.ttl_ms
        })?;
        warn(dir, &recovered);
        let (rooms, bytes) = (recovered.rooms.len(), log.disk_bytes());
        let writer = Writer::start(log, TwoSteps { broker: Arc::clone(broker) }, now_unix_ms);
        let writer = writer.map_err(|reason| LogError::Io {
            what: "start the thread for",
            path: dir.to_owned(),
            reason,
        })?;
        broker.budget.tell(Box::new(writer.discarder()));

        let mut refused = Vec::new();
        for found in recovered.rooms {
            let name = found.room.clone();
            refused.extend(broker.restore(&name, life(found, now_ms)).err());
        }
        if let Some(error) = refused.last() {
            tracing::warn!(refused = refused.len(), %error, "rooms of the history cannot be opened");
        }
        tracing::info!(rooms, bytes, dir = %dir.display(), "history recovered");
        Ok(Self { writer })
    }

    /// Hands a message over; its `answer` is called later.
    ///
    /// # Errors
    /// [`BrokerError::NotWritten`] when too much waits, or the log's thread is no more; its `answer` is not called.
    pub fn publish(&self, job: Job<L>) -> Result<(), BrokerError> {
        let bytes = job.max_len + JOB_BYTES;
        self.writer
            .submit(job, bytes)
            .map_err(|(Rejected::Full(_) | Rejected::Stopped(_))| BrokerError::NotWritten)
    }

    /// Messages that wait or are being written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.writer.waiting()
    }

    /// False when nothing can be published any more, because the log's thread has stopped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.writer.is_running()
    }

    /// Takes no more messages, publishes those that wait, and closes the log. Blocks until that is done.
    ///
    /// # Errors
    /// As [`Writer::stop`].
    pub fn stop(&self) -> Result<(), LogError> {
        self.writer.stop()
    }
}

/// Says what is not as it was left.
fn warn(dir: &Path, recovered: &Recovered) {
    for Finding { path, at, what } in recovered.findings.iter().take(MAX_SAID) {
        tracing::warn!(file = %path.display(), byte = at, "the history's folder is not as it was left: {what}");
    }
    let findings = recovered.findings.len() + recovered.more_findings;
    let (missing, renewed) = (recovered.missing_messages, &recovered.renewed_rooms);
    if findings == 0 && missing == 0 && renewed.is_empty() {
        return;
    }
    let names: Vec<&str> = renewed.iter().take(MAX_SAID).map(RoomName::as_str).collect();
    let more = if renewed.len() > names.len() { ", …" } else { "" };
    tracing::warn!(
        dir = %dir.display(),
        findings,
        missing_messages = missing,
        new_epochs = renewed.len(),
        rooms = %format_args!("{}{more}", names.join(", ")),
        "the history goes on with the messages that are left, and these rooms begin a new epoch"
    );
}

/// What was written before the clock was set back lies in the future, and counts as written now; of keys the log has
/// seen to that.
fn life(found: RecoveredRoom, now_ms: u64) -> Life {
    let messages = found.messages.into_iter();
    let messages = messages.map(|message| (message.at_unix_ms.min(now_ms), message.frame)).collect();
    let keys = found.keys.into_iter();
    let keys = keys.map(|(offset, sent)| (sent.user, sent.key, offset, sent.at_unix_ms));
    Life { position: found.position, messages, keys: keys.collect() }
}

/// What the log's thread does with each message.
struct TwoSteps<L: Local> {
    broker: Arc<Memory<L>>,
}

struct Pending<L: Local> {
    room: SharedRoom<L>,
    /// None for a duplicate, whose original has it.
    placed: Option<Placed<L::Aside>>,
    published: Published,
    answer: Box<dyn FnOnce(Result<Published, BrokerError>) + Send>,
}

impl<L> Publisher for TwoSteps<L>
where
    L: Local<Topic: 'static, Aside: 'static> + 'static,
{
    type Job = Job<L>;
    type Placed = Pending<L>;

    fn place(&mut self, job: Job<L>) -> writer::Placing<Pending<L>> {
        let Job { mut room, user, key, max_len, at_unix_ms, encode, answer } = job;
        // Whoever sends and leaves at once may have been the last one.
        if room.with(|state| state.is_closed)
            && let Ok((again, ..)) = self.broker.enter(room.name(), None, |_, _| ())
        {
            room = again;
        }
        let draft = Draft { user: &user, key: key.clone(), max_len };
        match self.broker.place(&room, draft, at_unix_ms, encode) {
            Ok(Placing::New(placed)) => {
                let record = Record {
                    room: room.name().clone(),
                    position: placed.position(),
                    first: placed.first(),
                    at_unix_ms,
                    user,
                    key,
                    frame: placed.frame().clone(),
                };
                let published = Published { position: placed.position(), is_duplicate: false };
                writer::Placing::Append(record, Pending { room, placed: Some(placed), published, answer })
            }
            Ok(Placing::Duplicate { position, is_committed }) => {
                let published = Published { position, is_duplicate: true };
                if !is_committed {
                    return writer::Placing::Follow(Pending { room, placed: None, published, answer });
                }
                answer(Ok(published));
                writer::Placing::Done
            }
            Err(error) => {
                answer(Err(error));
                writer::Placing::Done
            }
        }
    }

    fn committed(&mut self, pending: Pending<L>) {
        let Pending { room, placed, published, answer } = pending;
        if let Some(placed) = placed {
            self.broker.commit(&room, placed);
        }
        answer(Ok(published));
    }

    fn failed(&mut self, pending: Pending<L>, _: &LogError) {
        let Pending { room, placed, answer, .. } = pending;
        if let Some(placed) = placed {
            self.broker.abandon(&room, placed);
        }
        answer(Err(BrokerError::NotWritten));
    }
}

#[cfg(test)]
mod tests;
