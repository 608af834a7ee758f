//! The folder of the log: its lock, its segments, and how bytes get there.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::LogError;
use super::format::{Batch, MAGIC};

/// Identifies this boot of this machine, on Linux.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// This boot of this machine; empty when that cannot be known, which equals no other.
pub(super) fn boot() -> String {
    fs::read_to_string(BOOT).map(|boot| boot.trim().to_owned()).unwrap_or_default()
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LogError + use<'a> {
    move |reason| LogError::Io { what, path: path.to_owned(), reason }
}

/// A folder that this process has alone, until this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    lock: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing does it too, unless a process that is just being started has inherited the file. A lock that stays
        // is noticed by whoever opens the folder next.
        let _ = self.lock.unlock();
    }
}

impl Folder {
    pub(super) fn lock(dir: &Path) -> Result<Self, LogError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make the folder", dir))?;
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(&path).map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(LogError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:010}.log"))
    }

    /// The numbers of the segments, oldest first.
    pub(super) fn numbers(&self) -> Result<Vec<u32>, LogError> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed("read", &self.dir))? {
            let name = entry.map_err(failed("read", &self.dir))?.file_name();
            let stem =
                name.to_str().and_then(|name| name.strip_suffix(".log")).filter(|stem| stem.len() == 10);
            numbers.extend(stem.and_then(|stem| stem.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A whole segment.
    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, LogError> {
        let path = self.path(number);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let version = MAGIC.len() - 1;
        match bytes.get(..MAGIC.len()) {
            Some(magic) if magic != MAGIC && magic[..version] == MAGIC[..version] => {
                Err(LogError::Version { path })
            }
            _ => Ok(bytes),
        }
    }
}

/// The segments, and the one that is written.
#[derive(Debug)]
pub(super) struct Files {
    folder: Folder,
    segment_bytes: u64,
    boot: String,
    /// Number and length of those that are full, oldest first.
    sealed: VecDeque<(u32, u64)>,
    number: u32,
    len: u64,
    active: File,
    /// A write failed half-way and could not be undone: nothing may be written behind it.
    is_spoilt: bool,
}

impl Files {
    /// Begins a segment behind those that are there, given with the length that counts.
    pub(super) fn continue_in(
        folder: Folder,
        segment_bytes: u64,
        boot: String,
        there: &[(u32, u64)],
    ) -> Result<Self, LogError> {
        let (last, previous_len) = there.last().copied().unwrap_or_default();
        let number = last + 1;
        let (active, len) = begin(&folder, number, previous_len, &boot)?;
        let sealed = there.iter().copied().collect();
        Ok(Self { folder, segment_bytes, boot, sealed, number, len, active, is_spoilt: false })
    }

    /// Writes a batch behind what is there; returns the number of its segment, and its length. On an error nothing
    /// of it counts.
    pub(super) fn write(&mut self, batch: Batch) -> Result<(u32, u64), LogError> {
        if batch.is_empty() {
            return Ok((self.number, 0));
        }
        if self.is_spoilt || self.len >= self.segment_bytes {
            self.roll()?;
        }
        let bytes = batch.finish();
        if let Err(error) = self.active.write_all_at(&bytes, self.len) {
            // Without its end it does not count in any case.
            self.is_spoilt = self.active.set_len(self.len).is_err();
            return Err(failed("write to", &self.folder.path(self.number))(error));
        }
        self.len += bytes.len() as u64;
        Ok((self.number, bytes.len() as u64))
    }

    /// Begins the next segment.
    pub(super) fn roll(&mut self) -> Result<(), LogError> {
        let (active, len) = begin(&self.folder, self.number + 1, self.len, &self.boot)?;
        self.sealed.push_back((self.number, self.len));
        self.number += 1;
        (self.active, self.len, self.is_spoilt) = (active, len, false);
        Ok(())
    }

    /// Number and length of the oldest segment that is not being written.
    pub(super) fn oldest(&self) -> Option<(u32, u64)> {
        self.sealed.front().copied()
    }

    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, LogError> {
        self.folder.read(number)
    }

    /// Deletes the oldest segment.
    pub(super) fn remove_oldest(&mut self) -> Result<(), LogError> {
        let Some((number, _)) = self.oldest() else { return Ok(()) };
        let path = self.folder.path(number);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("delete", &path)(error)),
            _ => {
                self.sealed.pop_front();
                Ok(())
            }
        }
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.sealed.iter().map(|(_, len)| len).sum::<u64>() + self.len
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Waits until everything has reached the disk.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        let sealed = self.sealed.iter().map(|(number, _)| self.folder.path(*number));
        for path in sealed.chain([self.folder.path(self.number), self.folder.dir.clone()]) {
            File::open(&path).and_then(|file| file.sync_all()).map_err(failed("sync", &path))?;
        }
        Ok(())
    }
}

/// A new segment with its first entry. A file of that number is what is left of an attempt that failed.
fn begin(folder: &Folder, number: u32, previous_len: u64, boot: &str) -> Result<(File, u64), LogError> {
    let mut batch = Batch::default();
    batch.segment(previous_len, boot);
    let bytes = [&MAGIC[..], &batch.finish()].concat();
    let path = folder.path(number);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    let file = file.map_err(failed("make", &path))?;
    if let Err(error) = file.write_all_at(&bytes, 0) {
        // Should it stay, it is taken for what it is: the beginning of nothing.
        let _ = fs::remove_file(&path);
        return Err(failed("write to", &path)(error));
    }
    Ok((file, bytes.len() as u64))
}
