//! End marks: how far the log was written, recorded apart from it. A log that holds less than its mark, or in other
//! files, is not the one that was left.
//!
//! A mark is written after what it describes and before anybody learns of that. So a process that is killed leaves a
//! mark that says too little, never one that says too much. A mark's file has two slots, so that one is whole whatever
//! happens while the other is written. Now and then a new file is begun, with the next number, so that a copy of the
//! folder that is put back over the files shows as an older mark beside the true one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::error::LogError;
use super::folder::{FileId, delete, failed, make, numbered};
use super::format::Identity;

/// Where the two slots begin in a file, in bytes: disks write whole sectors.
const SLOTS: [u64; 2] = [0, 512];
const LEN: usize = 72;
/// Marks in one file. A copy of the folder that is this many batches old is noticed even if it replaced the files in
/// place. Not more often, because creating a file costs some 20 µs.
const PER_FILE: u32 = 1024;

/// How far the log was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EndMark {
    pub(super) identity: Identity,
    /// The number of the oldest segment that must be there.
    pub(super) first: u32,
    /// The number of the youngest segment.
    pub(super) last: u32,
    /// How many bytes of the youngest segment were written; `sum` is their checksum.
    pub(super) len: u64,
    pub(super) sum: u32,
    /// The file of the youngest segment.
    pub(super) file: FileId,
}

impl EndMark {
    fn to_bytes(self, turn: u64) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let fields: [&[u8]; 8] = [
            &turn.to_le_bytes(),
            &self.identity,
            &self.first.to_le_bytes(),
            &self.last.to_le_bytes(),
            &self.len.to_le_bytes(),
            &self.sum.to_le_bytes(),
            &self.file.inode.to_le_bytes(),
            &self.file.born_ns.to_le_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        let sum = crc32fast::hash(&bytes[..LEN - 4]);
        bytes[LEN - 4..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<(u64, Self)> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let long = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        let short = |at: usize| Some(u32::from_le_bytes(bytes[at..at + 4].try_into().ok()?));
        if crc32fast::hash(&bytes[..LEN - 4]) != short(LEN - 4)? {
            return None;
        }
        let mark = Self {
            identity: bytes[8..24].try_into().ok()?,
            first: short(24)?,
            last: short(28)?,
            len: long(32)?,
            sum: short(40)?,
            file: FileId { inode: long(44)?, born_ns: long(52)? },
        };
        Some((long(0)?, mark))
    }
}

/// Returns the numbers of the files with marks, the youngest first.
fn numbers(dir: &Path) -> Result<Vec<u64>, LogError> {
    let mut numbers = numbered(dir, 12, ".end")?;
    numbers.reverse();
    Ok(numbers)
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.end"))
}

/// Returns the last mark in a folder.
pub(super) fn read(dir: &Path) -> Result<Option<EndMark>, LogError> {
    for number in numbers(dir)? {
        let path = path(dir, number);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let at = |slot: u64| EndMark::read(bytes.get(slot as usize..)?.get(..LEN)?);
        // A file without a whole mark was being created when its process ended.
        if let Some((_, mark)) = SLOTS.into_iter().filter_map(at).max_by_key(|(turn, _)| *turn) {
            return Ok(Some(mark));
        }
    }
    Ok(None)
}

/// Writes end marks into a folder.
#[derive(Debug)]
pub(super) struct EndMarks {
    dir: PathBuf,
    number: u64,
    /// The file with this number, and its path.
    file: Option<(File, PathBuf)>,
    turn: u64,
    left: u32,
}

impl EndMarks {
    /// Creates a writer that continues behind the marks of a folder. No file is written before the first mark is.
    pub(super) fn in_folder(dir: &Path) -> Result<Self, LogError> {
        let number = numbers(dir)?.first().copied().unwrap_or(0);
        Ok(Self { dir: dir.to_owned(), number, file: None, turn: 0, left: 0 })
    }

    /// Replaces the mark.
    pub(super) fn write(&mut self, mark: EndMark) -> Result<(), LogError> {
        self.turn += 1;
        let bytes = mark.to_bytes(self.turn);
        match &self.file {
            Some((file, path)) if self.left > 0 => {
                let slot = SLOTS[(self.turn % 2) as usize];
                file.write_all_at(&bytes, slot).map_err(failed("write to", path))?;
                self.left -= 1;
            }
            _ => self.begin(&bytes)?,
        }
        Ok(())
    }

    /// Writes the mark into a new file, and deletes the files before it.
    fn begin(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let next = path(&self.dir, self.number + 1);
        let file = make(&next, bytes, SLOTS[(self.turn % 2) as usize])?;
        let before = self.file.is_some().then_some(vec![self.number]);
        (self.number, self.file, self.left) = (self.number + 1, Some((file, next)), PER_FILE);
        let found = before.map_or_else(|| numbers(&self.dir), Ok)?;
        for number in found.into_iter().filter(|number| *number < self.number) {
            delete(&path(&self.dir, number))?;
        }
        Ok(())
    }

    /// Waits until the last mark has reached the disk.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        let Some((file, path)) = &self.file else { return Ok(()) };
        file.sync_all().map_err(failed("sync", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mark_is_read_even_if_a_newer_one_was_half_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let mut marks = EndMarks::in_folder(dir.path()).unwrap();
        let mark =
            |len: u64| EndMark { len, last: 3, first: 2, identity: [7; 16], sum: 9, ..EndMark::default() };
        for len in 1..=2 * u64::from(PER_FILE) + 9 {
            marks.write(mark(len)).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(mark(len)));
            assert_eq!(numbers(dir.path()).unwrap().len(), 1);
            // The other slot.
            if len > 1 {
                let now = path(dir.path(), marks.number);
                let whole = fs::read(&now).unwrap();
                let mut torn = whole.clone();
                let slot = SLOTS[(marks.turn % 2) as usize] as usize;
                torn[slot + 40] ^= 1;
                fs::write(&now, &torn).unwrap();
                let before = (marks.left < PER_FILE).then(|| mark(len - 1));
                assert_eq!(read(dir.path()).unwrap(), before, "{len}");
                fs::write(&now, &whole).unwrap();
            }
        }
        // A file that was just created, and an older one that somebody has put back.
        fs::write(path(dir.path(), marks.number + 1), b"").unwrap();
        fs::write(path(dir.path(), 1), mark(1).to_bytes(u64::MAX)).unwrap();
        let last = Some(mark(2 * u64::from(PER_FILE) + 9));
        assert_eq!(read(dir.path()).unwrap(), last);
        let mut again = EndMarks::in_folder(dir.path()).unwrap();
        again.write(mark(77)).unwrap();
        assert_eq!((read(dir.path()).unwrap(), numbers(dir.path()).unwrap().len()), (Some(mark(77)), 1));
    }
}
