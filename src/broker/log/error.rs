//! Why the history cannot be opened or written.

use std::path::PathBuf;

use crate::names::{Offset, RoomName};

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
