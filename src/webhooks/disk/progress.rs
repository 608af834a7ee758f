//! The file that says how far each lane of a receiver is, and how many events were dropped without its knowledge.
//!
//! It holds two copies that are written in turn, each with a number and a checksum: a write that is cut short leaves
//! the other one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use super::error::{DiskError, failed};
use super::format::LANES;

/// The name of the file; the last part is its version.
pub(super) const NAME: &str = "progress.1";
/// Bytes between the two copies, so that they lie in different sectors.
const APART: u64 = 4096;
const LEN: usize = 8 + 8 + 8 * LANES + 4;

/// The state of a receiver's deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last event of each lane that needs no delivery any more: it was delivered or given up.
    pub(super) done: [u64; LANES],
    /// Events that were dropped and of which the receiver was not told yet.
    pub(super) dropped: u64,
}

impl Progress {
    fn encode(&self, turn: u64) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let numbers = [turn, self.dropped].into_iter().chain(self.done);
        for (number, place) in numbers.zip(bytes.chunks_exact_mut(8)) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[..LEN - 4]);
        bytes[LEN - 4..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let (numbers, sum) = bytes.get(..LEN)?.split_at(LEN - 4);
        if crc32fast::hash(numbers).to_le_bytes() != *sum {
            return None;
        }
        let mut numbers =
            numbers.chunks_exact(8).filter_map(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let (turn, dropped) = (numbers.next()?, numbers.next()?);
        let mut done = [0; LANES];
        done.iter_mut().zip(numbers).for_each(|(done, number)| *done = number);
        Some((turn, Self { done, dropped }))
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct ProgressFile {
    pub(super) file: Arc<File>,
    turn: u64,
}

impl ProgressFile {
    /// Opens the file in a receiver's folder, and creates it if need be. The progress is `None` if there is none that
    /// can be read.
    pub(super) fn open(dir: &Path) -> Result<(Self, Option<Progress>), DiskError> {
        let path = dir.join(NAME);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed("open", &path))?;
        let copy = |at: u64| -> io::Result<Option<(u64, Progress)>> {
            let mut bytes = [0; LEN];
            match file.read_exact_at(&mut bytes, at) {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
                _ => Ok(Progress::decode(&bytes)),
            }
        };
        let copies = [copy(0).map_err(failed("read", &path))?, copy(APART).map_err(failed("read", &path))?];
        let found = copies.into_iter().flatten().max_by_key(|(turn, _)| *turn);
        let turn = found.map_or(0, |(turn, _)| turn);
        Ok((Self { file: Arc::new(file), turn }, found.map(|(_, progress)| progress)))
    }

    pub(super) fn write(&mut self, progress: &Progress) -> io::Result<()> {
        let turn = self.turn + 1;
        self.file.write_all_at(&progress.encode(turn), turn % 2 * APART)?;
        self.turn = turn;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_damaged_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, found) = ProgressFile::open(dir.path()).unwrap();
        assert_eq!(found, None);
        let each = [1, 2, 3].map(|number| Progress { done: [number; LANES], dropped: 10 * number });
        for progress in &each {
            file.write(progress).unwrap();
        }
        let open = || ProgressFile::open(dir.path()).unwrap().1;
        assert_eq!(open(), Some(each[2]));
        // The third one is in the second place.
        file.file.write_all_at(b"x", APART + 20).unwrap();
        assert_eq!(open(), Some(each[1]));
        file.file.write_all_at(b"x", 20).unwrap();
        assert_eq!(open(), None);
    }
}
