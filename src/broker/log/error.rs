//! Why the history cannot be opened or written.

use std::path::PathBuf;

use crate::names::{Offset, RoomName};

/// An error of the history on disk.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has locked the folder.
    #[error("history.dir = {dir:?} is in use by another process")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A version with another format wrote the file.
    #[error("{path:?} in history.dir has a format that this version does not know")]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// A bug in throng: a message does not continue its room's offsets.
    #[error("message {offset} of room {room} does not follow the last one in history.dir")]
    Unconnected {
        /// The message's room.
        room: RoomName,
        /// The message's offset.
        offset: Offset,
    },
    /// A bug in throng: the thread that writes has panicked.
    #[error("the thread that writes history.dir has panicked")]
    Panicked,
    /// The operating system refused.
    #[error("history.dir: cannot {what} {path:?}: {reason}")]
    Io {
        /// The attempt that failed, as a verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        reason: std::io::Error,
    },
}
