//! The segments of the log, and how bytes get into the one that is written.

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

/// What is there when the log is opened.
#[derive(Debug)]
pub(super) struct SegmentChain {
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
    active: ActiveSegment,
    /// None until what was found has been put in order.
    end_marks: Option<EndMarks>,
}

/// The segment that is written.
#[derive(Debug)]
struct ActiveSegment {
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
    /// Begins a segment behind those that are chain. Nothing is noted before [`Files::start_marking`].
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

    /// From now on the log is noted, and must be whole up to what is noted.
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

    /// Writes a batch behind what is chain; returns the number of its segment, and its length. On an error nothing
    /// of it counts.
    pub(super) fn write(&mut self, batch: Batch, is_acknowledged: bool) -> Result<(u32, u64), LogError> {
        if batch.is_empty() {
            return Ok((self.active.number, 0));
        }
        let bytes = batch.finish();
        let before = (self.active.len, self.active.sum.clone());
        let done = self.append(&bytes, is_acknowledged).and_then(|()| self.mark_end(self.first()));
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
        let next = ActiveSegment::begin(&self.folder, &header, self.sync)?;
        self.sealed.push_back((previous.number, previous.len));
        self.active = next;
        self.mark_end(self.first())?;
        match &self.end_marks {
            Some(marks) if self.sync != Sync::Off => marks.sync(),
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

    /// Deletes the oldest segment. First of all it is noted that it need not be chain.
    pub(super) fn remove_oldest(&mut self) -> Result<(), LogError> {
        let Some((number, _)) = self.oldest() else { return Ok(()) };
        if self.sync != Sync::Off {
            // What was copied from it.
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
        self.end_marks.as_ref().map_or(Ok(()), EndMarks::sync)?;
        self.folder.sync()
    }
}

impl ActiveSegment {
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
