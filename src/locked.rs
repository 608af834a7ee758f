//! A folder that one process alone uses: the lock of `history.dir` and `webhooks.dir`.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Permission bits that neither the group nor others should have.
const WRITABLE: u32 = 0o022;

/// Why a folder cannot be locked.
#[derive(Debug)]
pub enum LockError {
    /// Another process has locked it.
    InUse,
    /// The operating system refused.
    Io {
        /// The attempt that failed, as a verb.
        what: &'static str,
        /// The operating system's error.
        reason: io::Error,
    },
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> LockError {
    move |reason| LockError::Io { what, reason }
}

/// A folder that this process has locked until the value is dropped. The folder itself is locked, which cannot be
/// removed apart from its files.
#[derive(Debug)]
pub struct LockedFolder {
    dir: PathBuf,
    handle: File,
}

impl Drop for LockedFolder {
    fn drop(&mut self) {
        // Closing unlocks too, unless a process that is just being started has inherited the file. If the lock stays,
        // opening the folder again reports it.
        let _ = self.handle.unlock();
    }
}

impl LockedFolder {
    /// Locks the folder for writing. Creates it if need be, accessible to this user alone.
    ///
    /// # Errors
    /// The folder is in use, or cannot be made or opened.
    pub fn lock(dir: &Path) -> Result<Self, LockError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make the folder"))?;
        Self::open(dir, File::try_lock)
    }

    /// Locks the folder for reading: no other process writes there meanwhile.
    ///
    /// # Errors
    /// The folder is in use, or cannot be opened.
    pub fn look(dir: &Path) -> Result<Self, LockError> {
        Self::open(dir, File::try_lock_shared)
    }

    fn open(dir: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Self, LockError> {
        let handle = File::open(dir).map_err(failed("open the folder"))?;
        match lock(&handle) {
            Ok(()) => Ok(Self { dir: dir.to_owned(), handle }),
            Err(TryLockError::WouldBlock) => Err(LockError::InUse),
            Err(TryLockError::Error(source)) => Err(failed("lock the folder")(source)),
        }
    }

    /// Returns the folder's path.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a warning to the log if others than the owner may write to the folder or something in it. `key` is the
    /// setting that names the folder.
    pub fn warn_if_open_to_others(&self, key: &str) {
        let inside =
            fs::read_dir(&self.dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let open = std::iter::once(self.dir.clone()).chain(inside).find_map(|path| {
            let mode = fs::symlink_metadata(&path).ok()?.permissions().mode();
            (mode & WRITABLE != 0).then_some((path, mode & 0o7777))
        });
        if let Some((path, mode)) = open {
            tracing::warn!(
                path = %path.display(),
                mode = %format_args!("{mode:04o}"),
                "others may write to {key}: take the permission away (chmod go-w)"
            );
        }
    }

    /// Waits until the names of the folder's files have reached the disk.
    ///
    /// # Errors
    /// The disk is broken.
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}
