//! The events of one lane on disk: a chain of segments, written at its end and read from its beginning.
//!
//! Every event has a number, one above that of the event before. So what is missing is known exactly, wherever it was
//! lost.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{self, Entry, MAGIC, Step, reader};
use crate::webhooks::event::Event;

/// Bytes that are read at once, unless a single event is longer.
const READ_BYTES: u64 = 256 * 1024;

/// A file of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) len: u64,
    /// The number of the last event that was written there or before.
    pub(super) last: u64,
}

/// The segment that is written to.
#[derive(Debug)]
struct Active {
    file: Arc<File>,
    /// True when a write failed half-way and could not be undone: nothing may be written behind it.
    is_spoilt: bool,
    /// True while something was written that has not been synced to the disk.
    is_dirty: bool,
}

/// An event that was read, and how many are missing before it.
#[derive(Debug)]
pub(in crate::webhooks) struct Found {
    pub(in crate::webhooks) event: Event,
    pub(in crate::webhooks) number: u64,
    pub(in crate::webhooks) missing: u64,
}

/// A part of a segment to be read without the lock of the queue.
#[derive(Debug)]
pub(in crate::webhooks) struct Reading {
    path: PathBuf,
    at: u64,
    end: u64,
}

impl Reading {
    /// Reads some of the events, at least one if there is one.
    pub(in crate::webhooks) fn read(&self) -> io::Result<Vec<u8>> {
        let file = File::open(&self.path)?;
        let wanted = (self.end - self.at).min(READ_BYTES);
        let bytes = read_at(&file, self.at, wanted)?;
        match reader(&bytes).step() {
            // The next event is longer, or damaged: then the rest of the segment shows where the next one begins.
            Step::Torn | Step::Damaged(_) if wanted < self.end - self.at => {
                read_at(&file, self.at, self.end - self.at)
            }
            _ => Ok(bytes),
        }
    }

    pub(in crate::webhooks) fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads so many bytes, or fewer if the file was cut by somebody.
fn read_at(file: &File, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// The events of one lane on disk.
#[derive(Debug)]
pub(super) struct LaneLog {
    dir: PathBuf,
    lane: usize,
    /// Oldest first. The last one is written to, if there is an active one.
    segments: VecDeque<Segment>,
    active: Option<Active>,
    next_segment: u32,
    /// The number of the next event.
    pub(super) next: u64,
    /// The last event that needs no delivery any more.
    pub(super) done: u64,
    /// The number of the next event to be read, and where it is looked for.
    read: u64,
    place: (u32, u64),
    /// Full segments that were not synced to the disk yet.
    unsynced: Vec<Arc<File>>,
}

impl LaneLog {
    /// Continues a lane behind the segments that were found.
    pub(super) fn new(dir: &Path, lane: usize, segments: VecDeque<Segment>, next: u64, done: u64) -> Self {
        let next_segment = segments.back().map_or(1, |segment| segment.number + 1);
        let first = segments.front().map_or(next_segment, |segment| segment.number);
        Self {
            dir: dir.to_owned(),
            lane,
            segments,
            active: None,
            next_segment,
            next,
            done,
            read: done + 1,
            place: (first, MAGIC.len() as u64),
            unsynced: Vec::new(),
        }
    }

    pub(super) fn path_of(dir: &Path, lane: usize, number: u32) -> PathBuf {
        dir.join(format!("{lane}-{number:010}.log"))
    }

    fn path(&self, number: u32) -> PathBuf {
        Self::path_of(&self.dir, self.lane, number)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum()
    }

    /// Returns how many events wait or are under way.
    pub(super) fn waiting(&self) -> u64 {
        self.next - 1 - self.done
    }

    /// Returns true when everything was read.
    pub(super) fn is_read(&self) -> bool {
        self.read == self.next
    }

    /// Appends an event. The operating system has it when this returns. Returns the length in bytes, which includes
    /// the beginning of a new segment. After an error nothing was appended.
    pub(super) fn append(&mut self, event: &Event, segment_bytes: u64, url: &str) -> io::Result<u64> {
        let mut begun = 0;
        if self.active.as_ref().is_none_or(|active| active.is_spoilt)
            || self.segments.back().is_some_and(|segment| segment.len >= segment_bytes)
        {
            begun = self.roll(url)?;
        }
        let (Some(active), Some(segment)) = (&mut self.active, self.segments.back_mut()) else {
            return Ok(0);
        };
        let mut bytes = Vec::with_capacity(format::event_len(event.json.len()));
        let entry = Entry::Event { number: self.next, at_unix_ms: event.at_unix_ms, json: &event.json };
        format::write(&mut bytes, &entry);
        active.is_dirty = true;
        if let Err(error) = active.file.write_all_at(&bytes, segment.len) {
            active.is_spoilt = active.file.set_len(segment.len).is_err();
            return Err(error);
        }
        segment.len += bytes.len() as u64;
        segment.last = self.next;
        self.next += 1;
        Ok(begun + bytes.len() as u64)
    }

    /// Begins the next segment. Returns its length.
    fn roll(&mut self, url: &str) -> io::Result<u64> {
        let path = self.path(self.next_segment);
        let mut bytes = MAGIC.to_vec();
        format::write(&mut bytes, &Entry::Header { next: self.next, url });
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all_at(&bytes, 0) {
            // Readers skip a file without a whole entry, and the next attempt overwrites it.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let active = Active { file: Arc::new(file), is_spoilt: false, is_dirty: true };
        let before = self.active.replace(active);
        self.unsynced.extend(before.filter(|active| active.is_dirty).map(|active| active.file));
        let len = bytes.len() as u64;
        self.segments.push_back(Segment { number: self.next_segment, len, last: self.next - 1 });
        self.next_segment += 1;
        Ok(len)
    }

    /// Notes that the event that was just appended is in memory, so that it need not be read.
    pub(super) fn skip_appended(&mut self) {
        self.read = self.next;
        self.place = self.segments.back().map_or(self.place, |segment| (segment.number, segment.len));
    }

    /// Returns the part of the chain that is to be read next; `None` when there is no more of it.
    pub(super) fn reading(&mut self) -> Option<Reading> {
        let (number, at) = self.place;
        let segment = self.segments.iter().find(|segment| {
            (segment.number > number || segment.number == number && segment.len > at)
                && segment.last >= self.read
        })?;
        let at = if segment.number == number { at } else { MAGIC.len() as u64 };
        self.place = (segment.number, at);
        Some(Reading { path: self.path(segment.number), at, end: segment.len })
    }

    /// Takes the events that were read, until `take` returns false. Returns true if something in the bytes is damaged.
    pub(super) fn take(&mut self, part: &Reading, bytes: &[u8], mut take: impl FnMut(Found) -> bool) -> bool {
        let is_end = part.at + bytes.len() as u64 >= part.end;
        let (mut reader, mut at, mut is_damaged) = (reader(bytes), 0, false);
        loop {
            match reader.step() {
                Step::Entry(Entry::Event { number, at_unix_ms, json }, ..) if number >= self.read => {
                    let missing = number - self.read;
                    self.read = number + 1;
                    let event = Event { json: json.to_owned(), at_unix_ms };
                    if !take(Found { event, number, missing }) {
                        at = reader.at();
                        break;
                    }
                }
                Step::Entry(..) => {}
                // The next whole event may begin in these bytes and end behind them: it is looked for from here again.
                Step::Damaged(_) if reader.at() == bytes.len() && !is_end && at > 0 => break,
                Step::Damaged(_) => is_damaged = true,
                Step::Torn | Step::End => break,
            }
            at = reader.at();
        }
        if at == 0 {
            // Somebody has cut the file.
            self.give_up();
            return true;
        }
        self.place.1 = part.at + at as u64;
        is_damaged
    }

    /// Goes on behind the segment that was to be read: it cannot be.
    pub(super) fn give_up(&mut self) {
        let end =
            self.segments.iter().find(|segment| segment.number == self.place.0).map(|segment| segment.len);
        self.place.1 = end.unwrap_or(u64::MAX);
    }

    /// Notes that nothing more can be read of what was written. Returns how many events are missing at the end.
    pub(super) fn end_reading(&mut self) -> u64 {
        let missing = self.next - self.read;
        self.read = self.next;
        missing
    }

    /// Notes that events are delivered or given up. Returns the files to be deleted, with their bytes.
    pub(super) fn done(&mut self, until: u64) -> Vec<(PathBuf, u64)> {
        self.done = self.done.max(until);
        let mut files = Vec::new();
        while let Some(segment) = self.segments.front().copied().filter(|segment| {
            segment.last <= self.done && !(self.active.is_some() && segment.number + 1 == self.next_segment)
        }) {
            self.segments.pop_front();
            files.push((self.path(segment.number), segment.len));
        }
        files
    }

    /// Drops everything. Returns the files to be deleted, with their bytes.
    pub(super) fn clear(&mut self) -> Vec<(PathBuf, u64)> {
        self.active = None;
        self.unsynced.clear();
        self.read = self.next;
        self.done(self.next - 1)
    }

    /// Returns the files that were written and not synced to the disk yet.
    pub(super) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        let mut files = mem::take(&mut self.unsynced);
        if let Some(active) = &mut self.active
            && mem::take(&mut active.is_dirty)
        {
            files.push(Arc::clone(&active.file));
        }
        files
    }
}

/// The contents of a segment as found at the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// The first number that the segment names, and the last one.
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
    /// Bytes up to the end of the last whole entry, or of damage.
    pub(super) len: u64,
    pub(super) is_torn: bool,
    /// Where damage begins, and whether it reaches to the end.
    pub(super) damaged_at: Option<u64>,
    pub(super) ends_damaged: bool,
}

/// Reads a whole segment.
pub(super) fn scan(bytes: &[u8]) -> Scanned {
    let mut found = Scanned { len: bytes.len() as u64, ..Scanned::default() };
    let entries = bytes.get(MAGIC.len()..).unwrap_or_default();
    if !bytes.starts_with(MAGIC) {
        // A file that is just being begun when the process ends may have any part of its first bytes.
        found.is_torn = MAGIC.starts_with(bytes);
        found.damaged_at = (!found.is_torn).then_some(0);
    }
    let mut reader = reader(entries);
    loop {
        let at = (MAGIC.len() + reader.at()) as u64;
        match reader.step() {
            Step::Entry(Entry::Header { next, .. }, ..) => {
                found.first = found.first.or(Some(next));
                found.ends_damaged = false;
            }
            Step::Entry(Entry::Event { number, .. }, ..) => {
                found.first = found.first.or(Some(number));
                found.last = found.last.max(Some(number));
                found.ends_damaged = false;
            }
            Step::Damaged(_) => {
                found.damaged_at = found.damaged_at.or(Some(at));
                found.ends_damaged = true;
            }
            Step::Torn => {
                (found.is_torn, found.len) = (true, at);
                return found;
            }
            Step::End => return found,
        }
    }
}
