//! The segments of the log, and how bytes get into the active one.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crc32fast::Hasher;

use super::end_mark::{EndMark, EndMarks};
use super::error::LogError;
use super::folder::{FileId, Folder, delete, failed, make};
use super::format::{Batch, Header, Identity, MAGIC, Previous};
use crate::config::HistorySync as Sync;

/// The segments found when the log is opened.
#[derive(Debug)]
pub(super) struct SegmentChain {
    pub(super) identity: Identity,
    /// Number and valid length of each segment, oldest first.
    pub(super) segments: Vec<(u32, u64)>,
    /// The last of them, as the next segment will describe it.
    pub(super) previous: Previous,
    /// The next segment's number, above those of all that are there.
    pub(super) next: u32,
}

/// The sealed segments, and the active one.
#[derive(Debug)]
pub(super) struct Files {
    folder: Folder,
    segment_bytes: u64,
    identity: Identity,
    sync: Sync,
    boot: String,
    /// Number and length of the full segments, oldest first.
    sealed: VecDeque<(u32, u64)>,
    active: ActiveSegment,
    /// `None` until what was found has been put in order.
    end_marks: Option<EndMarks>,
}

/// The segment that is written to.
#[derive(Debug)]
struct ActiveSegment {
    number: u32,
    path: PathBuf,
    len: u64,
    sum: Hasher,
    file: File,
    id: FileId,
    /// True when a write failed half-way and could not be undone: nothing may be written behind it.
    is_spoilt: bool,
    /// True while something was written that has not been synced to the disk.
    is_dirty: bool,
}

impl Files {
    /// Begins a new segment behind those that were found. No end mark is written before [`Files::start_marking`].
    pub(super) fn continue_in(
        folder: Folder,
        segment_bytes: u64,
        sync: Sync,
        boot: String,
        chain: SegmentChain,
    ) -> Result<Self, LogError> {
        let SegmentChain { identity, segments, previous, next } = chain;
        let header =
            Header { identity, number: next, previous, is_synced: sync == Sync::Batch, boot: boot.into() };
        let active = ActiveSegment::begin(&folder, &header, sync)?;
        let (sealed, boot) = (segments.into(), header.boot.into());
        Ok(Self { folder, segment_bytes, identity, sync, boot, sealed, active, end_marks: None })
    }

    /// Begins to write end marks. From now on the log must be whole up to its mark.
    pub(super) fn start_marking(&mut self) -> Result<(), LogError> {
        if self.sync != Sync::Off {
            self.sync_data()?;
        }
        self.end_marks = Some(EndMarks::in_folder(&self.folder.dir)?);
        self.mark_end(self.first())
    }

    fn first(&self) -> u32 {
        self.sealed.front().map_or(self.active.number, |(number, _)| *number)
    }

    fn mark_end(&mut self, first: u32) -> Result<(), LogError> {
        let Some(marks) = &mut self.end_marks else { return Ok(()) };
        let ActiveSegment { number: last, len, id: file, ref sum, .. } = self.active;
        marks.write(EndMark { identity: self.identity, first, last, len, sum: sum.clone().finalize(), file })
    }

    /// Writes a batch behind everything else. Returns the number of its segment, and its length. After an error nothing
    /// of the batch counts.
    pub(super) fn write(&mut self, batch: Batch, is_acknowledged: bool) -> Result<(u32, u64), LogError> {
        if batch.is_empty() {
            return Ok((self.active.number, 0));
        }
        let bytes = batch.finish();
        let before = (self.active.len, self.active.sum.clone());
        let done = self.append(&bytes, is_acknowledged).and_then(|()| self.mark_end(self.first()));
        if let Err(error) = done {
            // The batch does not count either way: its end is missing, or it lies behind the end mark and is cut off.
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

    /// Returns true when the next batch must go to a new segment.
    pub(super) fn is_full(&self) -> bool {
        self.active.is_spoilt || self.active.len >= self.segment_bytes
    }

    /// Returns the number of the active segment.
    pub(super) fn youngest(&self) -> u32 {
        self.active.number
    }

    /// Seals the active segment and begins the next one.
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
        let next = ActiveSegment::begin(&self.folder, &header, self.sync)?;
        self.sealed.push_back((previous.number, previous.len));
        self.active = next;
        self.mark_end(self.first())?;
        match &self.end_marks {
            Some(marks) if self.sync != Sync::Off => marks.sync(),
            _ => Ok(()),
        }
    }

    /// Returns number and length of the oldest sealed segment.
    pub(super) fn oldest(&self) -> Option<(u32, u64)> {
        self.sealed.front().copied()
    }

    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, LogError> {
        self.folder.read(number)
    }

    /// Deletes the oldest segment, after an end mark that no longer requires it.
    pub(super) fn remove_oldest(&mut self) -> Result<(), LogError> {
        let Some((number, _)) = self.oldest() else { return Ok(()) };
        if self.sync != Sync::Off {
            // The copies of its entries reach the disk first.
            self.sync_data()?;
        }
        self.mark_end(self.sealed.get(1).map_or(self.active.number, |(number, _)| *number))?;
        if let Some(marks) = self.end_marks.as_ref().filter(|_| self.sync != Sync::Off) {
            marks.sync()?;
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

    /// Returns true when something was written that should be synced to the disk and was not.
    pub(super) fn wants_sync(&self) -> bool {
        self.sync != Sync::Off && self.active.is_dirty
    }

    /// Waits until the bytes of the active segment have reached the disk.
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
                // A segment that was removed by others is no reason to stop: the log continues without it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done.map_err(failed("sync", &path))?,
            }
        }
        self.end_marks.as_ref().map_or(Ok(()), EndMarks::sync)?;
        self.folder.sync()
    }
}

impl ActiveSegment {
    /// Creates a segment with its first entry.
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
