//! Publishing through a log on disk (`history.dir`): what is answered and delivered survives the end of the process.
//!
//! Messages wait for the log's thread. It takes all that wait, assigns their offsets, writes them at once, and only
//! then delivers them. No other thread waits for the disk: senders are answered later, in the order in which they
//! published.
//!
//! Where there is a log, the broker's clock counts from the Unix epoch, so that ages continue over a restart.

use std::path::Path;
use std::sync::Arc;

use super::log::writer::{self, Publisher, Rejected, Writer};
use super::log::{Finding, Log, LogError, Record, Recovered, RecoveredRoom};
use super::memory::{Memory, RestoredRoom};
use super::publish::{Assigned, Assignment};
use super::room::SharedRoom;
use super::{BrokerError, Draft, Job, Local, Published};
use crate::config::HistorySync;
use crate::names::RoomName;

/// Bytes that a message takes in memory besides its frame, roughly.
const JOB_BYTES: usize = 512;
/// Most findings that are logged, and rooms that are named: enough to see what has happened.
const MAX_SAID: usize = 16;

/// A broker's log.
#[derive(Debug)]
pub struct Durable<L: Local> {
    writer: Writer<Job<L>>,
}

impl<L> Durable<L>
where
    L: Local<Topic: 'static, SenderCopy: 'static, Message: 'static> + 'static,
{
    /// Opens the log, restores its rooms into the broker, and starts its thread. Called before any connection enters;
    /// from then on everything is published through this. `now_unix_ms` is the clock, in milliseconds since the Unix
    /// epoch.
    ///
    /// # Errors
    /// The folder cannot be used, or the thread cannot be started.
    pub fn open(
        dir: &Path,
        sync: HistorySync,
        broker: &Arc<Memory<L>>,
        now_unix_ms: impl Fn() -> u64 + Send + 'static,
    ) -> Result<Self, LogError> {
        let now_ms = now_unix_ms();
        broker.tick(now_ms);
        let (log, recovered) = Log::open(dir, sync, now_ms, |room, at_unix_ms| {
            now_ms.saturating_sub(at_unix_ms) >= broker.rules.read().of(room).history.ttl_ms
        })?;
        warn(dir, &recovered);
        let (rooms, bytes) = (recovered.rooms.len(), log.disk_bytes());
        let writer = Writer::start(log, LogPublisher { broker: Arc::clone(broker) }, now_unix_ms);
        let writer = writer.map_err(|reason| LogError::Io {
            what: "start the thread for",
            path: dir.to_owned(),
            reason,
        })?;
        broker.budget.attach_log(Box::new(writer.trim_sink()));

        let mut refused = Vec::new();
        for found in recovered.rooms {
            let name = found.room.clone();
            refused.extend(broker.restore(&name, restored(found, now_ms)).err());
        }
        if let Some(error) = refused.last() {
            let refused = refused.len();
            tracing::warn!(refused, %error, "rooms in history.dir are not opened: only their positions are kept");
        }
        tracing::info!(rooms, bytes, dir = %dir.display(), "history recovered");
        Ok(Self { writer })
    }

    /// Submits a message, which is answered later.
    ///
    /// # Errors
    /// [`BrokerError::NotWritten`] when too much waits, or the log's thread has ended. The message is dropped without
    /// an answer then.
    pub fn publish(&self, job: Job<L>) -> Result<(), BrokerError> {
        let bytes = job.max_len + JOB_BYTES;
        self.writer
            .submit(job, bytes)
            .map_err(|(Rejected::Full(_) | Rejected::Stopped(_))| BrokerError::NotWritten)
    }

    /// Returns how many messages wait or are being written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.writer.waiting()
    }

    /// Returns how many writes to the folder have failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.writer.failures()
    }

    /// Returns false when nothing can be published any more, because the log's thread has stopped.
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

/// Logs how the folder differs from what was left there.
fn warn(dir: &Path, recovered: &Recovered) {
    for Finding { path, at, what } in recovered.findings.iter().take(MAX_SAID) {
        tracing::warn!(file = %path.display(), byte = at, "history.dir is not as it was left: {what}");
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
        "the history continues with the messages that are left, and these rooms begin a new epoch"
    );
}

/// Converts a recovered room. Messages written before the clock was set back lie in the future, and count as written
/// now; for keys the log has done the same.
fn restored(found: RecoveredRoom, now_ms: u64) -> RestoredRoom {
    let messages = found.messages.into_iter();
    let messages = messages.map(|message| (message.at_unix_ms.min(now_ms), message.frame)).collect();
    let keys = found.keys.into_iter();
    let keys = keys.map(|(offset, sent)| (sent.user, sent.key, offset, sent.at_unix_ms));
    RestoredRoom { position: found.position, messages, keys: keys.collect() }
}

/// Carries out the two steps of publishing for the log's thread.
struct LogPublisher<L: Local> {
    broker: Arc<Memory<L>>,
}

struct PendingMessage<L: Local> {
    room: SharedRoom<L>,
    /// `None` for a duplicate of a message that is being written: the original has it.
    assigned: Option<Assigned<L::SenderCopy>>,
    published: Published,
    message: L::Message,
}

impl<L> Publisher for LogPublisher<L>
where
    L: Local<Topic: 'static, SenderCopy: 'static, Message: 'static> + 'static,
{
    type Job = Job<L>;
    type Assigned = PendingMessage<L>;

    fn assign(&mut self, job: Job<L>) -> writer::BatchStep<PendingMessage<L>> {
        let Job { mut room, user, key, key_bound, max_len, at_unix_ms, message } = job;
        let local = self.broker.local();
        // A sender who has left meanwhile may have been the room's last member.
        if room.with(|state| state.is_closed)
            && let Ok((again, ..)) = self.broker.enter(room.name(), None, |_, _| ())
        {
            room = again;
        }
        let draft = Draft { user: &user, key: key.clone(), key_bound, max_len };
        let encode = |at| local.encode(&message, room.name(), at);
        match self.broker.assign(&room, draft, at_unix_ms, encode) {
            Ok(Assignment::New(assigned)) => {
                let record = Record {
                    room: room.name().clone(),
                    position: assigned.position(),
                    first: assigned.first(),
                    at_unix_ms,
                    user,
                    key,
                    frame: assigned.frame().clone(),
                };
                let published = Published { position: assigned.position(), is_duplicate: false };
                writer::BatchStep::Append(
                    record,
                    PendingMessage { room, assigned: Some(assigned), published, message },
                )
            }
            Ok(Assignment::Duplicate { position, is_committed }) => {
                let published = Published { position, is_duplicate: true };
                if !is_committed {
                    return writer::BatchStep::Follow(PendingMessage {
                        room,
                        assigned: None,
                        published,
                        message,
                    });
                }
                local.answer(message, room.name(), Ok(published));
                writer::BatchStep::Done
            }
            Err(error) => {
                local.answer(message, room.name(), Err(error));
                writer::BatchStep::Done
            }
        }
    }

    fn committed(&mut self, pending: PendingMessage<L>) {
        let PendingMessage { room, assigned, published, message } = pending;
        if let Some(assigned) = assigned {
            self.broker.commit(&room, assigned);
        }
        self.broker.local().answer(message, room.name(), Ok(published));
    }

    fn failed(&mut self, pending: PendingMessage<L>, _: &LogError) {
        let PendingMessage { room, assigned, message, .. } = pending;
        if let Some(assigned) = assigned {
            self.broker.abandon(&room, assigned);
        }
        self.broker.local().answer(message, room.name(), Err(BrokerError::NotWritten));
    }
}

#[cfg(test)]
mod tests;
