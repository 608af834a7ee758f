//! What a log had in it when it was opened or looked at.

use std::path::PathBuf;

use super::record::{Record, SentKey};
use crate::broker::Position;
use crate::names::{Offset, RoomName};

/// What a log had in it.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The rooms whose count goes on.
    pub rooms: Vec<RecoveredRoom>,
    /// Rooms that were found and that are not proved to be as they were left: each begins a new epoch, and those of
    /// which something is left are among `rooms`.
    pub renewed_rooms: Vec<RoomName>,
    /// Messages that should be there and cannot be read, as far as that is known.
    pub missing_messages: u64,
    /// What is not as it was left.
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    pub more_findings: usize,
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

/// Something that is not as it was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file; the folder, if no file is to be named.
    pub path: PathBuf,
    /// The first byte that is concerned.
    pub at: u64,
    /// What is wrong, for a person.
    pub what: String,
}

/// What one file has in it.
#[derive(Debug, Clone)]
pub struct FileFound {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes that count.
    pub bytes: u64,
    /// Messages, those that nobody keeps any more included.
    pub messages: u64,
    /// Rooms that it speaks of.
    pub rooms: usize,
    /// Whether it is as it was left.
    pub is_whole: bool,
}
