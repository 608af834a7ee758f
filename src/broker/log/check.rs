//! Inspects a log without a server, and gives its rooms new epochs.

use std::path::Path;

use super::folder::{self, Folder};
use super::{FileFound, Finding, Log, LogError, Opening, SEGMENT_BYTES, Sync, recovery};
use crate::broker::Position;
use crate::names::RoomName;

/// The contents of a folder.
#[derive(Debug)]
pub struct Checked {
    /// The segments, oldest first.
    pub files: Vec<FileFound>,
    /// Differences from how the folder was left.
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    pub more_findings: usize,
    /// The rooms, sorted by name.
    pub rooms: Vec<RoomFound>,
}

/// A room in a folder.
#[derive(Debug, Clone)]
pub struct RoomFound {
    /// The room's name.
    pub name: RoomName,
    /// The position of the room's last message.
    pub position: Position,
    /// Messages that can be read.
    pub messages: usize,
    /// True when a server would continue the room's epoch; otherwise it would begin a new one.
    pub goes_on: bool,
}

/// Reads a folder and changes nothing. No server may open it meanwhile.
///
/// # Errors
/// As [`Log::open`]. The folder is not created.
pub fn check(dir: &Path, now_unix_ms: u64) -> Result<Checked, LogError> {
    let found = recovery::scan(&Folder::look(dir)?, &folder::boot(), now_unix_ms)?;
    let describe = |(name, position, messages, goes_on): (&RoomName, Position, usize, bool)| RoomFound {
        name: name.clone(),
        position,
        messages,
        goes_on,
    };
    let mut rooms: Vec<RoomFound> = found.rooms.describe().map(describe).collect();
    rooms.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    Ok(Checked { files: found.files, findings: found.findings, more_findings: found.more_findings, rooms })
}

/// Gives the named rooms new epochs (all rooms if none is named), and also those to which a server would give one.
/// Messages are kept. Returns the rooms with a new epoch, sorted by name.
///
/// # Errors
/// As [`Log::open`]. The folder is not created.
pub fn new_epochs(dir: &Path, named: &[RoomName], now_unix_ms: u64) -> Result<Vec<RoomName>, LogError> {
    drop(Folder::look(dir)?);
    let opening = Opening { dir, segment_bytes: SEGMENT_BYTES, sync: Sync::Off, now_unix_ms };
    let (log, recovered) =
        Log::open_with(opening, |_, _| false, |room| named.is_empty() || named.contains(room))?;
    log.close()?;
    let mut renewed = recovered.renewed_rooms;
    renewed.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    Ok(renewed)
}
