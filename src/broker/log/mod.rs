//! The history on disk (`history.dir`): what was appended is there again after the process was killed at any moment.
//!
//! Messages are appended to the youngest of a row of segments, in batches that count as a whole. A batch is in the
//! hands of the operating system when [`Log::append`] returns: it survives the end of the process, and with
//! [`Sync::Batch`] that of the machine. Without that, rooms of a log that was not closed, and that another boot of the
//! machine wrote, begin new epochs: a position that was told to somebody could be missing in it.
//!
//! A room's count goes on after a restart when its last position is proved by what is on disk: the log must reach what
//! was noted of it, in the files in which it was written, with an unbroken chain of segments. Where something was lost
//! (a segment is missing or an older one, a sum is wrong), the rooms that have lost messages, or that could have been
//! in what is lost and that nothing behind it vouches for, begin a new epoch with the messages that are left.
//!
//! What is no longer kept goes with its segment. The oldest segment is deleted when nothing in it is kept; it is
//! cleaned (what is kept is copied to the youngest) when the disk holds too much, or when something in the log has
//! not been kept for a minute.
//!
//! Disk: about three times the messages that are kept (their names and some 80 bytes each included, and some 60 bytes
//! and the name for each room, for each that is no more and whose position is remembered, and for each key), and five
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

/// A segment that has grown to this length is followed by the next one. Small enough to be read and copied at once,
/// large enough that one quiet room does not keep much waste of others alive.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// The log of one node. Whoever has it open has it alone. Dropping it is what a kill would be; see [`Log::close`].
#[derive(Debug)]
pub struct Log {
    files: Files,
    index: Index,
    /// When something was last cleaned because it was waste, in milliseconds since the Unix epoch.
    cleaned_unix_ms: u64,
    /// Bytes of segments that may still be cleaned for what was appended.
    credit: u64,
    /// Rooms that were said to be no more since the youngest segment began: the next one says it again. Memory: as
    /// much as a segment has room for, some hundred bytes each.
    gone: Vec<(RoomName, Epoch)>,
}

/// What is to be opened, and how.
#[derive(Debug, Clone, Copy)]
struct Opening<'a> {
    dir: &'a Path,
    segment_bytes: u64,
    sync: Sync,
    now_unix_ms: u64,
}

impl Log {
    /// Opens the log in a folder, which is made if need be, for this user alone. `is_expired` is asked about the
    /// oldest messages of each room, with their time.
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

    /// Rooms for which `is_to_be_renewed` is true begin a new epoch in any case.
    fn open_with(
        Opening { dir, segment_bytes, sync, now_unix_ms }: Opening<'_>,
        is_expired: impl Fn(&RoomName, u64) -> bool,
        is_to_be_renewed: impl Fn(&RoomName) -> bool,
    ) -> Result<(Self, Recovered), LogError> {
        let (folder, boot) = (Folder::lock(dir)?, folder::boot());
        let found = recovery::scan(&folder, &boot, now_unix_ms)?;
        if let Some((path, mode)) = folder.open_to_others() {
            let path = path.display();
            tracing::warn!(%path, mode = %format_args!("{mode:04o}"), "others may write to the history's folder");
        }
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
        log.keep_house(now_unix_ms)?;
        Ok((log, recovered))
    }

    fn write(&mut self, batch: Batch, is_acknowledged: bool) -> Result<(u32, u64), LogError> {
        if self.files.is_full() && !batch.is_empty() {
            self.roll()?;
        }
        self.files.write(batch, is_acknowledged)
    }

    /// True when something was written that should reach the disk soon (`history.sync`).
    #[must_use]
    pub fn wants_sync(&self) -> bool {
        self.files.wants_sync()
    }

    /// Waits until what was written has reached the disk.
    ///
    /// # Errors
    /// The disk is broken.
    pub fn sync_data(&mut self) -> Result<(), LogError> {
        self.files.sync_data()
    }

    /// Appends messages. When this returns they survive the end of the process.
    ///
    /// # Errors
    /// The disk is full or broken, or a message does not connect to the last one of its room (of a new epoch: is not
    /// the first). None of them was appended. It may be tried again with what comes next.
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

    /// Lets go of what rooms no longer need, if they still live in that epoch. It goes from the disk with its
    /// segment.
    ///
    /// # Errors
    /// The disk is full or broken: what was let go of may come back when the log is opened again.
    pub fn discard(
        &mut self,
        waste: impl IntoIterator<Item = (RoomName, Epoch, Trim)>,
    ) -> Result<(), LogError> {
        let mut batch = Batch::default();
        let (mut standing, mut begun) = (Vec::new(), Vec::new());
        for (room, epoch, waste) in waste {
            if self.index.is_current(&room, epoch) == (waste == Trim::Begins) {
                continue;
            }
            match waste {
                // Known before anything is said chain, so that it goes on after a restart.
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
            // It may have been forgotten behind its trimming.
            if self.index.is_current(&room, position.epoch) {
                self.index.set_position(&room, position, segment);
            }
        }
        for (room, position) in begun {
            self.index.set_position(&room, position, segment);
        }
        Ok(())
    }

    /// Bytes on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.files.disk_bytes()
    }

    /// Ends the log well: everything has reached the disk, and the counts go on even in another boot of the machine.
    ///
    /// # Errors
    /// The disk is full or broken; what was appended is no less safe than before.
    pub fn close(mut self) -> Result<(), LogError> {
        self.files.sync()?;
        let mut batch = Batch::default();
        batch.close();
        self.files.write(batch, false)?;
        self.files.sync()
    }
}
