//! How far the log was written, noted apart from it: a log that holds less, or that stands in other files, is not the
//! one that was left.
//!
//! A note is written behind what it is about, and before anybody hears of that. So it never says more than there is:
//! the end of the process makes it say less, never more. It has two places in its file, so that one is whole whatever
//! happens while the other is written; and now and then a file of its own, the next number, so that a copy that is
//! put back over the files in place is an older note beside the true one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::error::LogError;
use super::folder::{FileId, delete, failed, make, numbered};
use super::format::Identity;

/// The places in the file: sectors of a disk are written whole.
const PLACES: [u64; 2] = [0, 512];
const LEN: usize = 72;
/// EndMarks in one file. A copy of the folder that is older than so many batches is noticed even if it was put over the
/// files in place; making a file costs some 20 µs.
const PER_FILE: u32 = 1024;

/// What is noted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EndMark {
    pub(super) identity: Identity,
    /// The oldest segment that must be there.
    pub(super) first: u32,
    /// The youngest.
    pub(super) last: u32,
    /// How much of it was written, and the sum of these bytes.
    pub(super) len: u64,
    pub(super) sum: u32,
    /// Its file.
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
        let note = Self {
            identity: bytes[8..24].try_into().ok()?,
            first: short(24)?,
            last: short(28)?,
            len: long(32)?,
            sum: short(40)?,
            file: FileId { inode: long(44)?, born_ns: long(52)? },
        };
        Some((long(0)?, note))
    }
}

/// The numbers of the files with notes, the youngest first.
fn numbers(dir: &Path) -> Result<Vec<u64>, LogError> {
    let mut numbers = numbered(dir, 12, ".end")?;
    numbers.reverse();
    Ok(numbers)
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.end"))
}

/// The last note in a folder.
pub(super) fn read(dir: &Path) -> Result<Option<EndMark>, LogError> {
    for number in numbers(dir)? {
        let path = path(dir, number);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let at = |place: u64| EndMark::read(bytes.get(place as usize..)?.get(..LEN)?);
        // One without any was being made when its process ended.
        if let Some((_, note)) = PLACES.into_iter().filter_map(at).max_by_key(|(turn, _)| *turn) {
            return Ok(Some(note));
        }
    }
    Ok(None)
}

/// Where notes are written.
#[derive(Debug)]
pub(super) struct EndMarks {
    dir: PathBuf,
    number: u64,
    /// The file of that number, and where it is.
    file: Option<(File, PathBuf)>,
    turn: u64,
    left: u32,
}

impl EndMarks {
    /// Nothing is written before the first note is.
    pub(super) fn in_folder(dir: &Path) -> Result<Self, LogError> {
        let number = numbers(dir)?.first().copied().unwrap_or(0);
        Ok(Self { dir: dir.to_owned(), number, file: None, turn: 0, left: 0 })
    }

    /// Replaces the note.
    pub(super) fn write(&mut self, note: EndMark) -> Result<(), LogError> {
        self.turn += 1;
        let bytes = note.to_bytes(self.turn);
        match &self.file {
            Some((file, path)) if self.left > 0 => {
                let place = PLACES[(self.turn % 2) as usize];
                file.write_all_at(&bytes, place).map_err(failed("write to", path))?;
                self.left -= 1;
            }
            _ => self.begin(&bytes)?,
        }
        Ok(())
    }

    /// Writes a note into a file of its own, and deletes those before it.
    fn begin(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let next = path(&self.dir, self.number + 1);
        let file = make(&next, bytes, PLACES[(self.turn % 2) as usize])?;
        let before = self.file.is_some().then_some(vec![self.number]);
        (self.number, self.file, self.left) = (self.number + 1, Some((file, next)), PER_FILE);
        let found = before.map_or_else(|| numbers(&self.dir), Ok)?;
        for number in found.into_iter().filter(|number| *number < self.number) {
            delete(&path(&self.dir, number))?;
        }
        Ok(())
    }

    /// Waits until the last note has reached the disk.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        let Some((file, path)) = &self.file else { return Ok(()) };
        file.sync_all().map_err(failed("sync", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_note_is_read_whatever_became_of_the_one_that_was_being_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let mut notes = EndMarks::in_folder(dir.path()).unwrap();
        let note =
            |len: u64| EndMark { len, last: 3, first: 2, identity: [7; 16], sum: 9, ..EndMark::default() };
        for len in 1..=2 * u64::from(PER_FILE) + 9 {
            notes.write(note(len)).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(note(len)));
            assert_eq!(numbers(dir.path()).unwrap().len(), 1);
            // The other place.
            if len > 1 {
                let now = path(dir.path(), notes.number);
                let whole = fs::read(&now).unwrap();
                let mut torn = whole.clone();
                let place = PLACES[(notes.turn % 2) as usize] as usize;
                torn[place + 40] ^= 1;
                fs::write(&now, &torn).unwrap();
                let before = (notes.left < PER_FILE).then(|| note(len - 1));
                assert_eq!(read(dir.path()).unwrap(), before, "{len}");
                fs::write(&now, &whole).unwrap();
            }
        }
        // One that was just made, and an older one that somebody has put back.
        fs::write(path(dir.path(), notes.number + 1), b"").unwrap();
        fs::write(path(dir.path(), 1), note(1).to_bytes(u64::MAX)).unwrap();
        let last = Some(note(2 * u64::from(PER_FILE) + 9));
        assert_eq!(read(dir.path()).unwrap(), last);
        let mut again = EndMarks::in_folder(dir.path()).unwrap();
        again.write(note(77)).unwrap();
        assert_eq!((read(dir.path()).unwrap(), numbers(dir.path()).unwrap().len()), (Some(note(77)), 1));
    }
}
