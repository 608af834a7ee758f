//! The contents of a log as found when it was opened or inspected.

use std::path::PathBuf;

use super::record::{Record, SentKey};
use crate::broker::Position;
use crate::names::{Offset, RoomName};

/// The contents of a log as found when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The rooms that continue, in their old epoch or in a new one.
    pub rooms: Vec<RecoveredRoom>,
    /// Rooms that are not proved to be as they were left: each begins a new epoch. Those of which something is left are
    /// among `rooms`.
    pub renewed_rooms: Vec<RoomName>,
    /// Messages that should be there and cannot be read, as far as that is known.
    pub missing_messages: u64,
    /// Differences from how the log was left.
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    pub more_findings: usize,
}

/// A room that was found in a log.
#[derive(Debug)]
pub struct RecoveredRoom {
    /// The room's name.
    pub room: RoomName,
    /// The position of the room's last message, which may have expired.
    pub position: Position,
    /// The room's messages, oldest first, without a hole, up to `position`.
    pub messages: Vec<Record>,
    /// The keys that came within the last [`KEPT_MS`](crate::chat::keys::KEPT_MS), lowest offset first. Those of
    /// messages that are no longer kept are among them.
    pub keys: Vec<(Offset, SentKey)>,
}

/// A difference from how the log was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file; the folder, if the difference is in no single file.
    pub path: PathBuf,
    /// The first byte that is affected.
    pub at: u64,
    /// A description for people.
    pub what: String,
}

/// The contents of one file of a log.
#[derive(Debug, Clone)]
pub struct FileFound {
    /// The file's path.
    pub path: PathBuf,
    /// Valid bytes.
    pub bytes: u64,
    /// Messages, those that are no longer kept included.
    pub messages: u64,
    /// Rooms with entries in the file.
    pub rooms: usize,
    /// True when the file is as it was left.
    pub is_whole: bool,
}
