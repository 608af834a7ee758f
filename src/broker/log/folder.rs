//! The folder of the log: its lock, the names of its files, and how a file is made, read and deleted there.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::UNIX_EPOCH;

use super::error::LogError;
use super::format::{self, HEADER_BYTES, Header, MAGIC, OLD_MAGIC};

/// Identifies this boot of this machine, on Linux.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// What neither the group nor others may have.
const WRITABLE: u32 = 0o022;

/// This boot of this machine; empty when that cannot be known, which equals no other.
pub(super) fn boot() -> String {
    fs::read_to_string(BOOT).map(|boot| boot.trim().to_owned()).unwrap_or_default()
}

pub(super) fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LogError + use<'a> {
    move |reason| LogError::Io { what, path: path.to_owned(), reason }
}

/// The numbers that stand in the names of a folder's files, so many digits before `suffix`; the lowest first.
pub(super) fn numbered<N: FromStr + Ord>(
    dir: &Path,
    digits: usize,
    suffix: &str,
) -> Result<Vec<N>, LogError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let name = entry.map_err(failed("read", dir))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(suffix));
        numbers.extend(stem.filter(|stem| stem.len() == digits).and_then(|stem| stem.parse::<N>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A new file with its first bytes at a place; what is there under that name is left of an attempt that failed.
///
/// Should the file of one that fails stay, it is passed over: it is the beginning of nothing.
pub(super) fn make(path: &Path, bytes: &[u8], at: u64) -> Result<File, LogError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.map_err(failed("make", path))?;
    if let Err(error) = file.write_all_at(bytes, at) {
        let _ = fs::remove_file(path);
        return Err(failed("write to", path)(error));
    }
    Ok(file)
}

/// Deletes a file, if it is there.
pub(super) fn delete(path: &Path) -> Result<(), LogError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("delete", path)(error)),
        _ => Ok(()),
    }
}

/// A file as the system knows it. A copy is another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) inode: u64,
    /// When it was made, in nanoseconds since the Unix epoch: numbers of files that are gone are used again. 0 where
    /// the file system does not know it.
    pub(super) born_ns: u64,
}

impl FileId {
    pub(super) fn of(file: &Metadata) -> Self {
        let born = file.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Self { inode: file.ino(), born_ns: born.map_or(0, |at| at.as_nanos() as u64) }
    }
}

/// A folder that this process has alone, until this is dropped. What is locked is the folder itself, which cannot be
/// removed apart from what is in it.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    handle: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing does it too, unless a process that is just being started has inherited the file. A lock that stays
        // is noticed by whoever opens the folder next.
        let _ = self.handle.unlock();
    }
}

impl Folder {
    /// To write there. The folder is made if need be.
    pub(super) fn lock(dir: &Path) -> Result<Self, LogError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make the folder", dir))?;
        Self::open(dir, File::try_lock)
    }

    /// To read there: nobody writes meanwhile.
    pub(super) fn look(dir: &Path) -> Result<Self, LogError> {
        Self::open(dir, File::try_lock_shared)
    }

    fn open(dir: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Self, LogError> {
        let handle = File::open(dir).map_err(failed("open the folder", dir))?;
        match lock(&handle) {
            Ok(()) => Ok(Self { dir: dir.to_owned(), handle }),
            Err(TryLockError::WouldBlock) => Err(LogError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed("lock the folder", dir)(source)),
        }
    }

    /// What others than its owner may change, the folder or something in it, and its mode; the first that is found.
    pub(super) fn open_to_others(&self) -> Option<(PathBuf, u32)> {
        let inside = fs::read_dir(&self.dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        std::iter::once(self.dir.clone()).chain(inside).find_map(|path| {
            let mode = fs::symlink_metadata(&path).ok()?.permissions().mode();
            (mode & WRITABLE != 0).then_some((path, mode & 0o7777))
        })
    }

    pub(super) fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:010}.log"))
    }

    /// The numbers of the segments, oldest first.
    pub(super) fn numbers(&self) -> Result<Vec<u32>, LogError> {
        numbered(&self.dir, 10, ".log")
    }

    /// A whole segment.
    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, LogError> {
        let path = self.path(number);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let version = MAGIC.len() - 1;
        match bytes.get(..MAGIC.len()) {
            Some(magic) if magic == MAGIC || magic == OLD_MAGIC => Ok(bytes),
            Some(magic) if magic[..version] == MAGIC[..version] => Err(LogError::Version { path }),
            _ => Ok(bytes),
        }
    }

    /// The first entry of a segment, and its file; `None` when it is damaged or of the old version.
    pub(super) fn header(&self, number: u32) -> Result<(Option<Header>, FileId), LogError> {
        let path = self.path(number);
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        let file = File::open(&path).map_err(failed("open", &path))?;
        let id = FileId::of(&file.metadata().map_err(failed("read", &path))?);
        file.take(HEADER_BYTES as u64).read_to_end(&mut bytes).map_err(failed("read", &path))?;
        Ok((format::header_of(&bytes), id))
    }

    /// Takes a segment that is not ours out of the log; the file stays, under another name.
    pub(super) fn set_aside(&self, number: u32) -> Result<(), LogError> {
        let path = self.path(number);
        fs::rename(&path, path.with_extension("log.aside")).map_err(failed("rename", &path))
    }

    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.handle.sync_all().map_err(failed("sync", &self.dir))
    }
}
