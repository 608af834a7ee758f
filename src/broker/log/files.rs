//! The folder of the log: its lock, its segments, and how bytes get there.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crc32fast::Hasher;

use super::format::{self, Batch, HEADER_BYTES, Header, Identity, MAGIC, OLD_MAGIC, Previous};
use super::note::{FileId, Note, Notes};
use super::{LogError, Sync};

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

    fn sync(&self) -> Result<(), LogError> {
        self.handle.sync_all().map_err(failed("sync", &self.dir))
    }
}

/// What is there when the log is opened.
#[derive(Debug)]
pub(super) struct There {
    pub(super) identity: Identity,
    /// Number and length of each segment, as far as it counts; oldest first.
    pub(super) segments: Vec<(u32, u64)>,
    /// The last of them, as the next one will call it.
    pub(super) previous: Previous,
    /// No segment has this number or a higher one.
    pub(super) next: u32,
}

/// The segments, and the one that is written.
#[derive(Debug)]
pub(super) struct Files {
    folder: Folder,
    segment_bytes: u64,
    identity: Identity,
    sync: Sync,
    boot: String,
    /// Number and length of those that are full, oldest first.
    sealed: VecDeque<(u32, u64)>,
    active: Active,
    /// None until what was found has been put in order.
    notes: Option<Notes>,
}

/// The segment that is written.
#[derive(Debug)]
struct Active {
    number: u32,
    path: PathBuf,
    len: u64,
    sum: Hasher,
    file: File,
    id: FileId,
    /// A write failed half-way and could not be undone: nothing may be written behind it.
    is_spoilt: bool,
    /// Something has not been told to reach the disk.
    is_dirty: bool,
}

impl Files {
    /// Begins a segment behind those that are there. Nothing is noted before [`Files::vouch`].
    pub(super) fn continue_in(
        folder: Folder,
        segment_bytes: u64,
        sync: Sync,
        boot: String,
        there: There,
    ) -> Result<Self, LogError> {
        let There { identity, segments, previous, next } = there;
        let header =
            Header { identity, number: next, previous, is_synced: sync == Sync::Batch, boot: boot.into() };
        let active = Active::begin(&folder, &header, sync)?;
        let (sealed, boot) = (segments.into(), header.boot.into());
        Ok(Self { folder, segment_bytes, identity, sync, boot, sealed, active, notes: None })
    }

    /// From now on the log is noted, and must be whole up to what is noted.
    pub(super) fn vouch(&mut self) -> Result<(), LogError> {
        if self.sync != Sync::Off {
            self.sync_data()?;
        }
        self.notes = Some(Notes::in_folder(&self.folder.dir)?);
        self.note(self.first())
    }

    fn first(&self) -> u32 {
        self.sealed.front().map_or(self.active.number, |(number, _)| *number)
    }

    fn note(&mut self, first: u32) -> Result<(), LogError> {
        let Some(notes) = &mut self.notes else { return Ok(()) };
        let Active { number: last, len, id: file, ref sum, .. } = self.active;
        notes.write(Note { identity: self.identity, first, last, len, sum: sum.clone().finalize(), file })
    }

    /// Writes a batch behind what is there; returns the number of its segment, and its length. On an error nothing
    /// of it counts.
    pub(super) fn write(&mut self, batch: Batch, is_acknowledged: bool) -> Result<(u32, u64), LogError> {
        if batch.is_empty() {
            return Ok((self.active.number, 0));
        }
        let bytes = batch.finish();
        let before = (self.active.len, self.active.sum.clone());
        let done = self.append(&bytes, is_acknowledged).and_then(|()| self.note(self.first()));
        if let Err(error) = done {
            // Without its end, or behind what is noted and cut off, it does not count.
            self.active.is_spoilt |= self.active.file.set_len(before.0).is_err();
            (self.active.len, self.active.sum) = before;
            return Err(error);
        }
        Ok((self.active.number, bytes.len() as u64))
    }

    fn append(&mut self, bytes: &[u8], is_acknowledged: bool) -> Result<(), LogError> {
        let active = &mut self.active;
        active.file.write_all_at(bytes, active.len).map_err(failed("write to", &active.path))?;
        active.len += bytes.len() as u64;
        active.sum.update(bytes);
        active.is_dirty = true;
        if is_acknowledged && self.sync == Sync::Batch {
            active.file.sync_data().map_err(failed("sync", &active.path))?;
            active.is_dirty = false;
        }
        Ok(())
    }

    /// True when the next batch must not go where the last one went.
    pub(super) fn is_full(&self) -> bool {
        self.active.is_spoilt || self.active.len >= self.segment_bytes
    }

    /// The segment that is written.
    pub(super) fn youngest(&self) -> u32 {
        self.active.number
    }

    /// Begins the next segment.
    pub(super) fn roll(&mut self) -> Result<(), LogError> {
        let previous = Previous {
            number: self.active.number,
            len: self.active.len,
            sum: self.active.sum.clone().finalize(),
        };
        let header = Header {
            identity: self.identity,
            number: previous.number + 1,
            previous,
            is_synced: self.sync == Sync::Batch,
            boot: self.boot.as_str().into(),
        };
        if self.sync != Sync::Off {
            self.sync_data()?;
        }
        let next = Active::begin(&self.folder, &header, self.sync)?;
        self.sealed.push_back((previous.number, previous.len));
        self.active = next;
        self.note(self.first())?;
        match &self.notes {
            Some(notes) if self.sync != Sync::Off => notes.sync(),
            _ => Ok(()),
        }
    }

    /// Number and length of the oldest segment that is not being written.
    pub(super) fn oldest(&self) -> Option<(u32, u64)> {
        self.sealed.front().copied()
    }

    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, LogError> {
        self.folder.read(number)
    }

    /// Deletes the oldest segment. First of all it is noted that it need not be there.
    pub(super) fn remove_oldest(&mut self) -> Result<(), LogError> {
        let Some((number, _)) = self.oldest() else { return Ok(()) };
        if self.sync != Sync::Off {
            // What was copied from it.
            self.sync_data()?;
        }
        self.note(self.sealed.get(1).map_or(self.active.number, |(number, _)| *number))?;
        if let Some(notes) = self.notes.as_ref().filter(|_| self.sync != Sync::Off) {
            notes.sync()?;
        }
        delete(&self.folder.path(number))?;
        self.sealed.pop_front();
        Ok(())
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.sealed.iter().map(|(_, len)| len).sum::<u64>() + self.active.len
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// True when something was written that has not been told to reach the disk, and should be.
    pub(super) fn wants_sync(&self) -> bool {
        self.sync != Sync::Off && self.active.is_dirty
    }

    /// Waits until what the youngest segment holds has reached the disk.
    pub(super) fn sync_data(&mut self) -> Result<(), LogError> {
        if self.active.is_dirty {
            self.active.file.sync_data().map_err(failed("sync", &self.active.path))?;
            self.active.is_dirty = false;
        }
        Ok(())
    }

    /// Waits until everything has reached the disk.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        let sealed = self.sealed.iter().map(|(number, _)| self.folder.path(*number));
        for path in sealed.chain([self.active.path.clone()]) {
            match File::open(&path).and_then(|file| file.sync_all()) {
                // Damaged or not, the log goes on without it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done.map_err(failed("sync", &path))?,
            }
        }
        self.notes.as_ref().map_or(Ok(()), Notes::sync)?;
        self.folder.sync()
    }
}

impl Active {
    /// A new segment with its first entry.
    fn begin(folder: &Folder, header: &Header, sync: Sync) -> Result<Self, LogError> {
        let mut batch = Batch::default();
        batch.segment(header);
        batch.segment(header);
        let bytes = [&MAGIC[..], &batch.finish()].concat();
        let path = folder.path(header.number);
        let file = make(&path, &bytes, 0)?;
        if sync != Sync::Off {
            file.sync_all().map_err(failed("sync", &path))?;
            folder.sync()?;
        }
        let id = FileId::of(&file.metadata().map_err(failed("read", &path))?);
        let mut sum = Hasher::new();
        sum.update(&bytes);
        let (number, len) = (header.number, bytes.len() as u64);
        Ok(Self { number, path, len, sum, file, id, is_spoilt: false, is_dirty: false })
    }
}
