//! The history on disk (`history.dir`): what was appended is there again after the process was killed at any moment.
//!
//! Messages are appended to the youngest of a row of segments, in batches that count as a whole. A batch is in the
//! hands of the operating system when [`Log::append`] returns: it survives the end of the process, not that of the
//! machine. So a log that was not closed, and that another boot of the machine wrote, is started afresh: a position
//! that was told to somebody could be missing in it.
//!
//! A room's count goes on after a restart when its last position is proved by what is on disk. Where something was
//! lost (a segment is missing, a sum is wrong), the rooms that could have been in it, and that nothing behind it
//! vouches for, are not recovered: they begin a new epoch, and their members are told so.
//!
//! What is no longer kept goes with its segment. The oldest segment is deleted when nothing in it is kept; it is
//! cleaned (what is kept is copied to the youngest) when the disk holds too much, or when something in the log has
//! not been kept for a minute.
//!
//! Disk: about three times the messages that are kept (their names and some 80 bytes each included, and some 60 bytes
//! and the name for each room and each key), and five segments of [`SEGMENT_BYTES`]. Memory: 8 bytes for each message
//! kept and some 120 for each room; two segments while one is cleaned.
//!
//! Why a format of our own: a log is what is needed, and neither of the embedded stores that were tried (fjall 3.1,
//! redb 4.6) kept its promises without a sync per batch. With fjall a batch that was refused on a full disk was there
//! after a restart, nothing could be written until then, and a flipped bit of a sequence number made an old position
//! the current one; redb forgets what was not synced, and opens nothing of a file that was cut.

mod clean;
mod files;
mod format;
mod index;
mod recovery;
pub mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use self::files::Files;
use self::format::Batch;
use self::index::Index;
use super::Position;
use crate::chat::keys::KEPT_MS;
use crate::names::{Epoch, Key, Offset, RoomName, UserId};
use crate::protocol::frame::Frame;

/// A segment that has grown to this length is followed by the next one. Small enough to be read and copied at once,
/// large enough that one quiet room does not keep much waste of others alive.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// A message on its way into the log, or out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it was said.
    pub room: RoomName,
    /// Its place there.
    pub position: Position,
    /// The oldest message that the room's history kept when this one came: what is before it is not recovered.
    pub first: Offset,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// Who said it.
    pub user: UserId,
    /// Its idempotency key.
    pub key: Option<Key>,
    /// The frame as members get it.
    pub frame: Frame,
}

/// An idempotency key under which a message was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentKey {
    /// Whose it is.
    pub user: UserId,
    /// The key.
    pub key: Key,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
}

impl SentKey {
    /// When it is forgotten, in milliseconds since the Unix epoch, as seen at `now_unix_ms`: what was sent before the
    /// clock was set back lies in the future, and counts as sent now.
    fn until_ms(&self, now_unix_ms: u64) -> u64 {
        self.at_unix_ms.min(now_unix_ms).saturating_add(KEPT_MS)
    }
}

impl Record {
    fn sent_key(&self) -> Option<SentKey> {
        let key = self.key.clone()?;
        Some(SentKey { user: self.user.clone(), key, at_unix_ms: self.at_unix_ms })
    }
}

/// What a room no longer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waste {
    /// The messages before this one.
    Before(Offset),
    /// Everything: the room is no more, and its epoch never comes back.
    All,
}

/// Why the history cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The lock is taken.
    #[error("history.dir = {dir:?} is in use by another process")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// Another version wrote it.
    #[error("{path:?} in history.dir has a format that this version does not know")]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// Our own fault: a message has no place in the log.
    #[error("message {offset} of room {room} does not follow the last one in history.dir")]
    Unconnected {
        /// Its room.
        room: RoomName,
        /// Its offset.
        offset: Offset,
    },
    /// Our own fault: the thread that writes has panicked.
    #[error("the thread that writes history.dir has panicked")]
    Panicked,
    /// The system said no.
    #[error("history.dir: cannot {what} {path:?}: {reason}")]
    Io {
        /// The verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
}

/// What a log had in it.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The rooms whose count goes on.
    pub rooms: Vec<RecoveredRoom>,
    /// Rooms that were found and whose last position cannot be proved: each begins a new epoch.
    pub lost_rooms: usize,
}

/// A room as it was.
#[derive(Debug)]
pub struct RecoveredRoom {
    /// Its name.
    pub room: RoomName,
    /// The place of its last message, which may have expired.
    pub position: Position,
    /// Its messages, oldest first, without a hole, up to `position`.
    pub messages: Vec<Record>,
    /// The keys that came within [`KEPT_MS`], oldest offset first, also those of messages that are kept no longer.
    pub keys: Vec<(Offset, SentKey)>,
}

/// The log of one node. Whoever has it open has it alone. Dropping it is what a kill would be; see [`Log::close`].
#[derive(Debug)]
pub struct Log {
    files: Files,
    index: Index,
    /// When something was last cleaned because it was waste, in milliseconds since the Unix epoch.
    cleaned_unix_ms: u64,
    /// Bytes of segments that may still be cleaned for what was appended.
    credit: u64,
}

impl Log {
    /// Opens the log in a folder, which is made if need be, for this user alone. `is_expired` is asked about the
    /// oldest messages of each room, with their time.
    ///
    /// # Errors
    /// The folder is in use, of another version, or cannot be read and written.
    pub fn open(
        dir: &Path,
        now_unix_ms: u64,
        is_expired: impl Fn(&RoomName, u64) -> bool,
    ) -> Result<(Self, Recovered), LogError> {
        Self::open_with(dir, SEGMENT_BYTES, now_unix_ms, is_expired)
    }

    fn open_with(
        dir: &Path,
        segment_bytes: u64,
        now_unix_ms: u64,
        is_expired: impl Fn(&RoomName, u64) -> bool,
    ) -> Result<(Self, Recovered), LogError> {
        let (folder, boot) = (files::Folder::lock(dir)?, files::boot());
        let found = recovery::scan(&folder, &boot, now_unix_ms)?;
        let files = Files::continue_in(folder, segment_bytes, boot, &found.segments)?;
        let (index, recovered) = found.into_rooms(is_expired);
        let mut log = Self { files, index, cleaned_unix_ms: now_unix_ms, credit: 0 };
        log.keep_house(now_unix_ms)?;
        Ok((log, recovered))
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
        let (segment, written) = self.files.write(batch)?;
        self.credit += 2 * written;
        for (record, len) in records.iter().zip(lens) {
            self.index.append(&record.room, record.position, record.first, (segment, len));
            if record.key.is_some() {
                self.index.keyed(segment, record.at_unix_ms.saturating_add(KEPT_MS));
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
        waste: impl IntoIterator<Item = (RoomName, Epoch, Waste)>,
    ) -> Result<(), LogError> {
        let mut batch = Batch::default();
        let mut standing = Vec::new();
        for (room, epoch, waste) in waste {
            if !self.index.lives(&room, epoch) {
                continue;
            }
            match waste {
                Waste::All => {
                    self.index.forget(&room);
                    batch.forget(&room, epoch);
                }
                Waste::Before(first) => {
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
        let (segment, written) = self.files.write(batch)?;
        self.credit += 2 * written;
        for (room, position) in standing {
            // It may have been forgotten behind its trimming.
            if self.index.lives(&room, position.epoch) {
                self.index.stand(&room, position, segment);
            }
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
        self.files.write(batch)?;
        self.files.sync()
    }
}
