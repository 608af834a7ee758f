//! The folder of one receiver: its lanes, its progress, and its bound.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::mem;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{DiskError, failed};
use super::format::LANES;
use super::lane::{Found, LaneLog, Reading};
use super::progress::{Progress, ProgressFile};
use super::recovery;
use crate::webhooks::event::Event;

/// The longest segment. A file is deleted when all its events are delivered, so each lane may keep this much too long.
const SEGMENT_BYTES: u64 = 4 << 20;
/// The bound of a receiver is at least this many segments, eight of which are being written.
const SEGMENTS: u64 = 64;
/// Time between two lines of the log about events that cannot be written.
const QUIET: Duration = Duration::from_secs(60);

/// Files to be deleted, without the lock of the queue.
#[derive(Debug, Default)]
#[must_use]
pub(in crate::webhooks) struct Garbage(Vec<PathBuf>);

impl Garbage {
    /// Deletes them. A file that stays is deleted when the server starts the next time.
    pub(in crate::webhooks) fn delete(self) {
        for path in self.0 {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(file = %path.display(), %error, "a file of webhooks.dir cannot be deleted");
            }
        }
    }
}

/// The events that wait for one receiver on disk, and those under way.
#[derive(Debug)]
pub(in crate::webhooks) struct Store {
    dir: PathBuf,
    url: String,
    lanes: Vec<LaneLog>,
    file: ProgressFile,
    /// Events that were dropped and of which the receiver was not told yet, as the file says.
    pub(in crate::webhooks) dropped: u64,
    bytes: u64,
    /// The last event of each lane that was there when the server started.
    old: [u64; LANES],
    /// True when files were made or deleted whose names were not synced to the disk yet.
    is_dir_dirty: bool,
    is_progress_dirty: bool,
    is_removed: bool,
    /// When the log last said that events cannot be written, and how many it has not told of.
    warned: Option<Instant>,
    untold: u64,
}

impl Store {
    /// Opens the folder of a receiver, and creates it if need be.
    pub(super) fn open(dir: &Path, url: &str) -> Result<Self, DiskError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(failed("make the folder", dir))?;
        let (file, progress) = ProgressFile::open(dir)?;
        let lanes = recovery::lanes(dir, progress.as_ref())?;
        let mut old = [0; LANES];
        old.iter_mut().zip(&lanes).for_each(|(old, lane)| *old = lane.next - 1);
        let mut store = Self {
            dir: dir.to_owned(),
            url: url.to_owned(),
            bytes: lanes.iter().map(LaneLog::bytes).sum(),
            lanes,
            file,
            dropped: progress.unwrap_or_default().dropped,
            old,
            is_dir_dirty: true,
            is_progress_dirty: false,
            is_removed: false,
            warned: None,
            untold: 0,
        };
        for lane in 0..LANES {
            store.done(lane, 0).delete();
        }
        if progress.is_none() {
            // From now on it is known which event of each lane must be the first.
            store.file.write(&store.progress()).map_err(failed("write to", dir))?;
        }
        Ok(store)
    }

    pub(in crate::webhooks) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns how many events wait or are under way.
    pub(in crate::webhooks) fn len(&self) -> u64 {
        self.lanes.iter().map(LaneLog::waiting).sum()
    }

    /// Returns true when events wait that were there when the server started.
    pub(in crate::webhooks) fn has_old(&self) -> bool {
        self.lanes.iter().zip(self.old).any(|(lane, old)| lane.done < old)
    }

    /// Returns true when all events of a lane that wait are in memory.
    pub(in crate::webhooks) fn is_read(&self, lane: usize) -> bool {
        self.lanes[lane].is_read()
    }

    /// Appends an event; the operating system has it when this returns. Returns its number in the lane; `None` when it
    /// is dropped, because there is no space within `most` bytes, or it cannot be written.
    pub(in crate::webhooks) fn append(&mut self, lane: usize, event: &Event, most: u64) -> Option<u64> {
        if self.is_removed {
            return None;
        }
        let needed = super::format::event_len(event.json.len()) as u64;
        if self.bytes + needed > most {
            self.drop_delivered();
        }
        if self.bytes + needed > most {
            self.warn("webhooks.max_disk_bytes is reached");
            return None;
        }
        let begins = self.lanes[lane].bytes();
        let appended = self.lanes[lane].append(event, SEGMENT_BYTES.min(most / SEGMENTS), &self.url);
        match appended {
            Ok(written) => {
                self.is_dir_dirty |= begins == 0 || written > needed;
                self.bytes += written;
                Some(self.lanes[lane].next - 1)
            }
            Err(error) => {
                self.warn(&error.to_string());
                None
            }
        }
    }

    /// Deletes the segments in which events were written last, where all of them are delivered. They are few.
    fn drop_delivered(&mut self) {
        let files = self.lanes.iter_mut().filter(|lane| lane.waiting() == 0).flat_map(LaneLog::clear);
        let files = files.collect();
        self.remove(files).delete();
    }

    /// Notes that the event that was just appended is in memory.
    pub(in crate::webhooks) fn skip_appended(&mut self, lane: usize) {
        self.lanes[lane].skip_appended();
    }

    /// Returns the part of a lane that is to be read next; `None` when there is no more of it.
    pub(in crate::webhooks) fn reading(&mut self, lane: usize) -> Option<Reading> {
        if self.is_removed { None } else { self.lanes[lane].reading() }
    }

    /// Takes the events that were read, until `take` returns false.
    pub(in crate::webhooks) fn take(
        &mut self,
        lane: usize,
        part: &Reading,
        bytes: &[u8],
        take: impl FnMut(Found) -> bool,
    ) {
        if self.lanes[lane].take(part, bytes, take) {
            let file = part.path().display();
            tracing::warn!(%file, "a file in webhooks.dir is damaged: events are missing, and the webhook is told");
        }
    }

    /// Goes on behind a segment that cannot be read.
    pub(in crate::webhooks) fn give_up(&mut self, lane: usize) {
        self.lanes[lane].give_up();
    }

    /// Notes that nothing more of a lane can be read. Returns how many events are missing at its end.
    pub(in crate::webhooks) fn end_reading(&mut self, lane: usize) -> u64 {
        self.lanes[lane].end_reading()
    }

    /// Returns the number of the last event of a lane that needs no delivery any more.
    pub(in crate::webhooks) fn done_of(&self, lane: usize) -> u64 {
        self.lanes[lane].done
    }

    /// Returns the number of the last event of a lane.
    pub(in crate::webhooks) fn last(&self, lane: usize) -> u64 {
        self.lanes[lane].next - 1
    }

    /// Notes that the events of a lane up to this one are delivered or given up.
    pub(in crate::webhooks) fn done(&mut self, lane: usize, until: u64) -> Garbage {
        let files = self.lanes[lane].done(until);
        self.remove(files)
    }

    /// Drops everything that waits.
    pub(in crate::webhooks) fn clear(&mut self) -> Garbage {
        let files = self.lanes.iter_mut().flat_map(LaneLog::clear).collect();
        self.remove(files)
    }

    fn remove(&mut self, files: Vec<(PathBuf, u64)>) -> Garbage {
        self.is_dir_dirty |= !files.is_empty();
        self.bytes -= files.iter().map(|(_, bytes)| bytes).sum::<u64>();
        Garbage(files.into_iter().map(|(path, _)| path).collect())
    }

    /// Writes how far the lanes are, and that so many events were dropped without the receiver's knowledge.
    pub(in crate::webhooks) fn save(&mut self, dropped: u64) {
        if self.is_removed {
            return;
        }
        self.dropped = dropped;
        self.is_progress_dirty = true;
        if let Err(error) = self.file.write(&self.progress()) {
            self.warn(&error.to_string());
        }
    }

    fn progress(&self) -> Progress {
        let mut progress = Progress { dropped: self.dropped, ..Progress::default() };
        progress.done.iter_mut().zip(&self.lanes).for_each(|(done, lane)| *done = lane.done);
        progress
    }

    /// Says in the log that something cannot be written, once in a while.
    fn warn(&mut self, reason: &str) {
        self.untold += 1;
        if self.warned.is_none_or(|at| at.elapsed() >= QUIET) {
            self.warned = Some(Instant::now());
            let times = mem::take(&mut self.untold);
            let folder = self.dir.display();
            tracing::warn!(%folder, times, reason, "events for a webhook cannot be written: they are dropped");
        }
    }

    /// Returns what was written and not synced to the disk yet.
    pub(in crate::webhooks) fn take_unsynced(&mut self) -> Unsynced {
        let mut files: Vec<_> = self.lanes.iter_mut().flat_map(LaneLog::take_unsynced).collect();
        if mem::take(&mut self.is_progress_dirty) {
            files.push(Arc::clone(&self.file.file));
        }
        Unsynced { files, dir: mem::take(&mut self.is_dir_dirty).then(|| self.dir.clone()) }
    }

    /// Removes the folder with everything in it that is ours.
    pub(in crate::webhooks) fn discard(&mut self) {
        self.is_removed = true;
        remove_folder(&self.dir);
    }
}

/// Removes a receiver's folder. Files that are not ours stay, and then the folder does as well, which the log says.
pub(super) fn remove_folder(dir: &Path) {
    if let Err(error) = try_remove_folder(dir) {
        tracing::warn!(folder = %dir.display(), %error, "a folder in webhooks.dir cannot be removed");
    }
}

fn try_remove_folder(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(recovery::is_own) {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

/// Files that were written and not synced to the disk.
#[derive(Debug)]
pub(in crate::webhooks) struct Unsynced {
    files: Vec<Arc<File>>,
    dir: Option<PathBuf>,
}

impl Unsynced {
    pub(in crate::webhooks) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dir.is_none()
    }

    /// Waits until it has reached the disk.
    pub(in crate::webhooks) fn sync(&self) -> io::Result<()> {
        // Each of them is synced, whichever fails.
        let mut files = Ok(());
        for file in &self.files {
            files = files.and(file.sync_data());
        }
        let dir = match &self.dir {
            // The folder of a receiver that was taken away meanwhile is gone.
            Some(dir) => match File::open(dir).and_then(|dir| dir.sync_all()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                done => done,
            },
            None => Ok(()),
        };
        files.and(dir)
    }
}
