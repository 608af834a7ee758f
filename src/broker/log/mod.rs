//! The history on disk (`history.dir`): appended messages are there again after the process was killed at any moment.
//!
//! Messages are appended to the youngest of a chain of segments, in batches that count as a whole. The operating system
//! has a batch when [`Log::append`] returns: it survives the end of the process, and with [`Sync::Batch`] that of the
//! machine. Without [`Sync::Batch`], the rooms of a log that was not closed begin new epochs after the machine was
//! booted again: messages could be missing whose positions clients already know.
//!
//! After a restart a room continues its epoch when its last position is proved by what is on disk: the log must reach
//! its end mark, in the files in which it was written, with an unbroken chain of segments. If something was lost (a
//! segment is missing or an older one, a checksum is wrong), some rooms begin a new epoch with the messages that are
//! left: those that have lost messages, and those that could have, unless a later entry proves otherwise.
//!
//! Messages that are no longer kept are removed with their segment. The oldest segment is deleted when nothing in it is
//! kept. It is cleaned (what is kept is copied to the youngest) when the disk holds too much, or when something in the
//! log has not been kept for a minute.
//!
//! Disk: about three times the messages that are kept (including their names and some 80 bytes each, and some 60 bytes
//! and the name for each room, for each room that is gone and whose position is remembered, and for each key), and five
//! segments of [`SEGMENT_BYTES`]. Memory: 8 bytes for each message kept and some 120 for each of these rooms; two
//! segments while one is cleaned.
//!
//! Why a format of our own: a log is what is needed, and neither of the embedded stores that were tried (fjall 3.1,
//! redb 4.6) kept its promises without a sync per batch. With fjall a batch that was refused on a full disk was there
//! after a restart, nothing could be written until then, and a flipped bit of a sequence number made an old position
//! the current one; redb forgets what was not synced, and opens nothing of a file that was cut.

pub mod check;
mod clean;
mod end_mark;
mod error;
mod files;
mod folder;
mod format;
mod found;
mod index;
mod record;
mod recovery;
mod renew;
mod rooms;
pub mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

pub use self::error::LogError;
use self::files::Files;
use self::folder::Folder;
use self::format::Batch;
pub use self::found::{FileFound, Finding, Recovered, RecoveredRoom};
use self::index::Index;
pub use self::record::{Record, SentKey};
use self::recovery::Scan;
use super::Position;
use super::trim::Trim;
use crate::chat::keys::KEPT_MS;
use crate::config::HistorySync as Sync;
use crate::names::{Epoch, Offset, RoomName};

/// Length at which a segment is followed by the next one. Small enough to be read and copied at once, large enough that
/// one quiet room does not keep much of others on disk.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// The log of one node, which no other process can open meanwhile. Dropping it is like a kill: see [`Log::close`].
#[derive(Debug)]
pub struct Log {
    files: Files,
    index: Index,
    /// When a segment was last cleaned because something in it was no longer kept, in milliseconds since the Unix
    /// epoch.
    cleaned_unix_ms: u64,
    /// Bytes of segments that may still be cleaned in return for what was appended.
    credit: u64,
    /// Rooms that are gone since the active segment began: the next segment repeats that. Memory: as much as a segment
    /// has room for, some hundred bytes each.
    gone: Vec<(RoomName, Epoch)>,
}

/// The log to open, and how.
#[derive(Debug, Clone, Copy)]
struct Opening<'a> {
    dir: &'a Path,
    segment_bytes: u64,
    sync: Sync,
    now_unix_ms: u64,
}

impl Log {
    /// Opens the log in a folder, which is created if need be, accessible to this user alone. `is_expired` is asked
    /// about the oldest messages of each room, with their time.
    ///
    /// # Errors
    /// The folder is in use, of another version, or cannot be read and written.
    pub fn open(
        dir: &Path,
        sync: Sync,
        now_unix_ms: u64,
        is_expired: impl Fn(&RoomName, u64) -> bool,
    ) -> Result<(Self, Recovered), LogError> {
        let opening = Opening { dir, segment_bytes: SEGMENT_BYTES, sync, now_unix_ms };
        Self::open_with(opening, is_expired, |_| false)
    }

    /// Opens the log; rooms for which `is_to_be_renewed` returns true begin a new epoch in any case.
    fn open_with(
        Opening { dir, segment_bytes, sync, now_unix_ms }: Opening<'_>,
        is_expired: impl Fn(&RoomName, u64) -> bool,
        is_to_be_renewed: impl Fn(&RoomName) -> bool,
    ) -> Result<(Self, Recovered), LogError> {
        let (folder, boot) = (Folder::lock(dir)?, folder::boot());
        let found = recovery::scan(&folder, &boot, now_unix_ms)?;
        folder.locked.warn_if_open_to_others("history.dir");
        for number in &found.set_aside {
            folder.set_aside(*number)?;
        }
        let Scan { chain, rooms, findings, more_findings, .. } = found;
        let before = chain.previous.number;
        let files = Files::continue_in(folder, segment_bytes, sync, boot, chain)?;
        let (index, mut recovered, repairs) = rooms.into_recovered(is_expired, is_to_be_renewed);
        (recovered.findings, recovered.more_findings) = (findings, more_findings);
        let mut log = Self { files, index, cleaned_unix_ms: now_unix_ms, credit: 0, gone: Vec::new() };
        log.put_in_order(before, &recovered, repairs)?;
        log.files.start_marking()?;
        log.clean_up(now_unix_ms)?;
        Ok((log, recovered))
    }

    fn write(&mut self, batch: Batch, is_acknowledged: bool) -> Result<(u32, u64), LogError> {
        if self.files.is_full() && !batch.is_empty() {
            self.roll()?;
        }
        self.files.write(batch, is_acknowledged)
    }

    /// Returns true when something was written that should reach the disk soon (`history.sync`).
    #[must_use]
    pub fn wants_sync(&self) -> bool {
        self.files.wants_sync()
    }

    /// Waits until everything written has reached the disk.
    ///
    /// # Errors
    /// The disk is broken.
    pub fn sync_data(&mut self) -> Result<(), LogError> {
        self.files.sync_data()
    }

    /// Appends messages. When this returns, they survive the end of the process.
    ///
    /// # Errors
    /// The disk is full or broken, or a message does not continue its room (in a new epoch: is not the first). None of
    /// the messages was appended. They may be appended again later.
    pub fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        let mut batch = Batch::default();
        let mut ends: HashMap<&RoomName, Position> = HashMap::new();
        let mut lens = Vec::with_capacity(records.len());
        for record in records {
            let end = ends.get(&record.room).copied().or_else(|| self.index.position(&record.room));
            let end = end.filter(|end| end.epoch == record.position.epoch);
            if record.position.offset != end.map_or(Offset(1), |end| end.offset.next()) {
                return Err(LogError::Unconnected {
                    room: record.room.clone(),
                    offset: record.position.offset,
                });
            }
            ends.insert(&record.room, record.position);
            lens.push(batch.message(record, false));
        }
        let (segment, written) = self.write(batch, true)?;
        self.credit += 2 * written;
        for (record, len) in records.iter().zip(lens) {
            self.index.append(&record.room, record.position, record.first, (segment, len));
            if record.key.is_some() {
                self.index.note_key(segment, record.at_unix_ms.saturating_add(KEPT_MS));
            }
        }
        Ok(())
    }

    /// Drops what rooms no longer keep, unless they are in another epoch by now. It is removed from disk with its
    /// segment.
    ///
    /// # Errors
    /// The disk is full or broken. Dropped messages may return when the log is opened again.
    pub fn discard(
        &mut self,
        trims: impl IntoIterator<Item = (RoomName, Epoch, Trim)>,
    ) -> Result<(), LogError> {
        let mut batch = Batch::default();
        let (mut standing, mut begun) = (Vec::new(), Vec::new());
        for (room, epoch, trim) in trims {
            if self.index.is_current(&room, epoch) == (trim == Trim::Begins) {
                continue;
            }
            match trim {
                // Written before the room has any message, so that it continues after a restart.
                Trim::Begins => {
                    self.index.forget(&room);
                    let position = Position { epoch, offset: Offset(0) };
                    batch.position(&room, position, Offset(1));
                    begun.push((room, position));
                }
                Trim::All => {
                    self.index.forget(&room);
                    batch.forget(&room, epoch);
                    self.gone.push((room, epoch));
                }
                Trim::Before(first) => {
                    let before = self.index.range(&room);
                    self.index.trim(&room, first);
                    if let Some((position, first)) =
                        self.index.range(&room).filter(|now| Some(*now) != before)
                    {
                        batch.position(&room, position, first);
                        standing.push((room, position));
                    }
                }
            }
        }
        let (segment, written) = self.write(batch, false)?;
        self.credit += 2 * written;
        for (room, position) in standing {
            // The room may have been forgotten later in the same batch.
            if self.index.is_current(&room, position.epoch) {
                self.index.set_position(&room, position, segment);
            }
        }
        for (room, position) in begun {
            self.index.set_position(&room, position, segment);
        }
        Ok(())
    }

    /// Returns the bytes on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.files.disk_bytes()
    }

    /// Closes the log cleanly: everything has reached the disk, and rooms continue even after the machine is booted
    /// again.
    ///
    /// # Errors
    /// The disk is full or broken. Appended messages are as safe as before.
    pub fn close(mut self) -> Result<(), LogError> {
        self.files.sync()?;
        let mut batch = Batch::default();
        batch.close();
        self.files.write(batch, false)?;
        self.files.sync()
    }
}
