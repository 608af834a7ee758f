//! Why `webhooks.dir` cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the folder in which events wait.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has locked the folder.
    #[error("webhooks.dir = {dir:?} is in use by another process")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A version with another format wrote the file.
    #[error("{path:?} in webhooks.dir has a format that this version does not know")]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("webhooks.dir: cannot {what} {path:?}: {reason}")]
    Io {
        /// The attempt that failed, as a verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        reason: io::Error,
    },
}

pub(super) fn failed<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> DiskError + use<'a> {
    move |reason| DiskError::Io { what, path: path.to_owned(), reason }
}
