//! The folder of the log: the names of its files, and how files are created, read and deleted there.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::UNIX_EPOCH;

use super::error::LogError;
use super::format::{self, HEADER_BYTES, Header, MAGIC, OLD_MAGIC};
use crate::locked::{LockError, LockedFolder};

/// Identifies this boot of this machine, on Linux.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Returns an identifier of this boot of this machine; empty when it cannot be known, which is taken for another boot.
pub(super) fn boot() -> String {
    fs::read_to_string(BOOT).map(|boot| boot.trim().to_owned()).unwrap_or_default()
}

pub(super) fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LogError + use<'a> {
    move |reason| LogError::Io { what, path: path.to_owned(), reason }
}

/// Returns the numbers in the names of a folder's files that have so many digits before `suffix`, the lowest first.
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

/// Creates a file with its first bytes at an offset. A file of that name is left over from an attempt that failed, and
/// is overwritten.
///
/// If writing fails and the file cannot be deleted either, it is harmless: readers skip a file without a whole entry.
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

/// Identifies a file; a copy of it is another file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) inode: u64,
    /// When the file was created, in nanoseconds since the Unix epoch, because inode numbers are used again. 0 where
    /// the file system does not know it.
    pub(super) born_ns: u64,
}

impl FileId {
    pub(super) fn of(file: &Metadata) -> Self {
        let born = file.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Self { inode: file.ino(), born_ns: born.map_or(0, |at| at.as_nanos() as u64) }
    }
}

/// The folder of a log, which this process has locked until the value is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    pub(super) locked: LockedFolder,
}

fn not_locked(dir: &Path) -> impl FnOnce(LockError) -> LogError + use<'_> {
    move |error| match error {
        LockError::InUse => LogError::InUse { dir: dir.to_owned() },
        LockError::Io { what, reason } => failed(what, dir)(reason),
    }
}

impl Folder {
    /// Locks the folder for writing. Creates it if need be.
    pub(super) fn lock(dir: &Path) -> Result<Self, LogError> {
        let locked = LockedFolder::lock(dir).map_err(not_locked(dir))?;
        Ok(Self { dir: dir.to_owned(), locked })
    }

    /// Locks the folder for reading: no other process writes there meanwhile.
    pub(super) fn look(dir: &Path) -> Result<Self, LogError> {
        let locked = LockedFolder::look(dir).map_err(not_locked(dir))?;
        Ok(Self { dir: dir.to_owned(), locked })
    }

    pub(super) fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:010}.log"))
    }

    /// Returns the numbers of the segments, oldest first.
    pub(super) fn numbers(&self) -> Result<Vec<u32>, LogError> {
        numbered(&self.dir, 10, ".log")
    }

    /// Reads a whole segment.
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

    /// Returns the first entry of a segment, and its file. The entry is `None` when it is damaged or of the old
    /// version.
    pub(super) fn header(&self, number: u32) -> Result<(Option<Header>, FileId), LogError> {
        let path = self.path(number);
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        let file = File::open(&path).map_err(failed("open", &path))?;
        let id = FileId::of(&file.metadata().map_err(failed("read", &path))?);
        file.take(HEADER_BYTES as u64).read_to_end(&mut bytes).map_err(failed("read", &path))?;
        Ok((format::header_of(&bytes), id))
    }

    /// Takes a segment that belongs to another log out of this one, by renaming its file.
    pub(super) fn set_aside(&self, number: u32) -> Result<(), LogError> {
        let path = self.path(number);
        fs::rename(&path, path.with_extension("log.aside")).map_err(failed("rename", &path))
    }

    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.locked.sync().map_err(failed("sync", &self.dir))
    }
}
