//! One client's queue of bytes to send, bounded in messages, bytes and age. Pure: it never looks at a clock, and
//! writes only to the [`Sink`] it is handed.
//!
//! An entry stays until its last byte is written, so an empty queue means that nothing is in flight and whoever
//! comes next may write at once. Entries know where their frames end: nothing is ever cut in the middle of a
//! frame, and control frames go in at frame boundaries.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::sink::Sink;

/// Most buffers handed to one vectored write.
const MAX_SLICES: usize = 64;
/// Own answers are appended to the one before while it is shorter than this.
const JOIN_BYTES: usize = 16 * 1024;
/// An emptied queue keeps no more room than this many entries.
const KEPT_CAPACITY: usize = 4;

/// Encoded frames, one behind the other, shared by every queue that holds a part of them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The frames' bytes.
    pub bytes: Vec<u8>,
    /// Where each frame ends, ascending, with its place in the room's stream.
    pub frames: Vec<FrameEnd>,
}

/// Where one frame of a batch ends.
#[derive(Debug, Clone, Copy)]
pub struct FrameEnd {
    /// Place in the room's stream of messages and notices.
    pub seq: u64,
    /// Index behind its last byte.
    pub end: u32,
}

impl Batch {
    /// A batch of one frame, or of several that are never told apart.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut batch = Self::default();
        batch.push(0, bytes);
        batch
    }

    /// Appends a frame.
    ///
    /// # Panics
    /// When the batch would exceed 4 GiB.
    pub fn push(&mut self, seq: u64, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        let end = u32::try_from(self.bytes.len()).expect("a batch is far smaller than 4 GiB");
        self.frames.push(FrameEnd { seq, end });
    }

    /// The part of the batch behind `after`: start of its bytes and number of frames; `None` when nothing is.
    #[must_use]
    pub fn behind(&self, after: u64) -> Option<(u32, u32)> {
        let skip = self.frames.partition_point(|frame| frame.seq <= after);
        let left = u32::try_from(self.frames.len() - skip).ok().filter(|&left| left > 0)?;
        Some((if skip == 0 { 0 } else { self.frames[skip - 1].end }, left))
    }

    /// True when no frame crosses `position`.
    fn is_boundary(&self, position: u32) -> bool {
        position == 0 || self.frames.binary_search_by_key(&position, |frame| frame.end).is_ok()
    }

    /// The end of the frame that `position` lies in.
    fn frame_end(&self, position: u32) -> u32 {
        let index = self.frames.partition_point(|frame| frame.end <= position);
        self.frames.get(index).map_or(position, |frame| frame.end)
    }
}

/// What an entry is, which decides whether it may be dropped and what it counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Fan-out: counts against the queue's bounds, may be dropped whole.
    Shared,
    /// The answer to the client's own command: never dropped, never counted.
    Own,
    /// A pong, of which only the newest is kept while the socket takes nothing.
    Pong,
    /// A ping or close frame.
    Control,
}

#[derive(Debug)]
struct Entry {
    batch: Rc<Batch>,
    /// First byte not yet written.
    start: u32,
    /// Behind the last byte to write.
    end: u32,
    /// Frames not yet written to the end.
    frames: u32,
    /// When it was queued, in the shard's milliseconds.
    at_ms: u64,
    kind: Kind,
}

impl Entry {
    fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    fn has_begun(&self) -> bool {
        !self.batch.is_boundary(self.start)
    }
}

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Fan-out messages.
    pub messages: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// Age of the oldest, in milliseconds.
    pub age_ms: u64,
}

/// Which bound a queue has reached; the text stands in the close frame's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Too many messages.
    Messages,
    /// Too many bytes.
    Bytes,
    /// The oldest entry is too old.
    Age,
}

impl Overflow {
    /// What to tell the client.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Messages => "too many messages queued",
            Self::Bytes => "too many bytes queued",
            Self::Age => "queued messages too old",
        }
    }
}

/// How far a flush came.
#[derive(Debug, PartialEq, Eq)]
pub enum Flush {
    /// Everything is written.
    Empty,
    /// The socket takes no more now.
    Blocked,
    /// The socket is gone.
    Gone,
}

/// What a flush did, to be added to the shard's counters.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// System calls.
    pub writes: u64,
    /// Bytes that left.
    pub bytes: u64,
    /// Fan-out messages that left whole.
    pub deliveries: u64,
}

/// One client's queue. See the module's documentation.
///
/// Memory: 72 bytes while empty; filled, 40 bytes an entry, the batches being shared.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: VecDeque<Entry>,
    shared_bytes: usize,
    shared_frames: usize,
    own_bytes: usize,
}

impl Outbox {
    /// True when nothing is waiting or in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of fan-out waiting.
    #[must_use]
    pub fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    /// Bytes of the client's own answers waiting.
    #[must_use]
    pub fn own_bytes(&self) -> usize {
        self.own_bytes
    }

    /// When the oldest fan-out entry was queued.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<u64> {
        self.entries.iter().find(|entry| entry.kind == Kind::Shared).map(|entry| entry.at_ms)
    }

    /// Which bound would be passed by `frames` more messages of `bytes` bytes.
    #[must_use]
    pub fn overflow(&self, bytes: usize, frames: usize, now_ms: u64, bounds: &Bounds) -> Option<Overflow> {
        // The rule, and its exception: what would overflow an empty queue is still sent.
        if self.shared_frames == 0 {
            return None;
        }
        if self.shared_frames + frames > bounds.messages {
            Some(Overflow::Messages)
        } else if self.shared_bytes + bytes > bounds.bytes {
            Some(Overflow::Bytes)
        } else if self.oldest_ms().is_some_and(|at| now_ms.saturating_sub(at) > bounds.age_ms) {
            Some(Overflow::Age)
        } else {
            None
        }
    }

    /// Queues the part of a batch from `start` on, `frames` messages of it.
    pub fn push_shared(&mut self, batch: &Rc<Batch>, start: u32, frames: u32, now_ms: u64) {
        let end = batch.bytes.len() as u32;
        self.shared_bytes += (end - start) as usize;
        self.shared_frames += frames as usize;
        let batch = Rc::clone(batch);
        self.entries.push_back(Entry { batch, start, end, frames, at_ms: now_ms, kind: Kind::Shared });
    }

    /// Queues a frame behind everything else; not for fan-out.
    pub fn push(&mut self, kind: Kind, frame: &[u8], now_ms: u64) {
        debug_assert_ne!(kind, Kind::Shared, "fan-out comes in shared batches");
        if kind == Kind::Own {
            self.own_bytes += frame.len();
        }
        if let Some(last) = self.entries.back_mut()
            && last.kind == kind
            && last.batch.bytes.len() < JOIN_BYTES
            && let Some(batch) = Rc::get_mut(&mut last.batch)
        {
            batch.push(0, frame);
            last.end = batch.bytes.len() as u32;
            last.frames += 1;
            return;
        }
        self.entries.push_back(whole(frame, now_ms, kind));
    }

    /// Queues a pong or ping at the next frame boundary. A pong that is still waiting is replaced (RFC 6455
    /// section 5.5.3), so a flood of pings to a client that does not read queues one.
    pub fn push_ahead(&mut self, kind: Kind, frame: &[u8], now_ms: u64) {
        let entry = whole(frame, now_ms, kind);
        if kind == Kind::Pong
            && let Some(old) = self.entries.iter_mut().find(|old| old.kind == Kind::Pong && !old.has_begun())
        {
            *old = entry;
            return;
        }
        let at = usize::from(self.split_front());
        self.entries.insert(at, entry);
    }

    /// Makes the first entry end with the frame that has begun, if one has, and puts the rest behind it.
    fn split_front(&mut self) -> bool {
        let Some(front) = self.entries.front_mut().filter(|front| front.has_begun()) else { return false };
        let end = front.batch.frame_end(front.start).min(front.end);
        if end < front.end {
            let rest =
                Entry { start: end, frames: front.frames - 1, batch: Rc::clone(&front.batch), ..*front };
            front.end = end;
            front.frames = 1;
            self.entries.insert(1, rest);
        }
        true
    }

    /// Drops everything but the tail of a frame that has begun, then queues a last frame.
    pub fn finish_now(&mut self, last: Option<&[u8]>, now_ms: u64) {
        let begun = self.split_front();
        for entry in self.entries.drain(usize::from(begun)..) {
            match entry.kind {
                Kind::Shared => {
                    self.shared_bytes -= entry.len();
                    self.shared_frames -= entry.frames as usize;
                }
                Kind::Own => self.own_bytes -= entry.len(),
                Kind::Pong | Kind::Control => {}
            }
        }
        self.finish_after_queue(last, now_ms);
        self.entries.shrink_to_fit();
    }

    /// Queues a last frame behind everything else.
    pub fn finish_after_queue(&mut self, last: Option<&[u8]>, now_ms: u64) {
        if let Some(frame) = last {
            self.entries.push_back(whole(frame, now_ms, Kind::Control));
        }
    }

    /// Drops the oldest fan-out entries that have not begun until `bytes` and `frames` fit; returns how many
    /// messages went.
    pub fn drop_oldest(&mut self, bytes: usize, frames: usize, bounds: &Bounds, now_ms: u64) -> u64 {
        let mut dropped = 0;
        let mut index = usize::from(self.split_front());
        while self.overflow(bytes, frames, now_ms, bounds).is_some() {
            let Some(found) = (index..self.entries.len()).find(|&i| self.entries[i].kind == Kind::Shared)
            else {
                break;
            };
            index = found;
            if let Some(entry) = self.entries.remove(found) {
                self.shared_bytes -= entry.len();
                self.shared_frames -= entry.frames as usize;
                dropped += u64::from(entry.frames);
            }
        }
        dropped
    }

    /// Writes as much as the socket takes, many entries to a system call.
    pub fn flush(&mut self, sink: &Sink, tally: &mut Tally) -> Flush {
        while !self.entries.is_empty() {
            let (result, wanted) = self.write_once(sink);
            tally.writes += 1;
            match result {
                Ok(0) => return Flush::Gone,
                Ok(written) => {
                    tally.bytes += written as u64;
                    self.advance(written, tally);
                    if written < wanted {
                        return Flush::Blocked;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flush::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flush::Gone,
            }
        }
        if self.entries.capacity() > KEPT_CAPACITY {
            self.entries = VecDeque::new();
        }
        Flush::Empty
    }

    fn write_once(&self, sink: &Sink) -> (io::Result<usize>, usize) {
        let bytes_of = |entry: &Entry| entry.start as usize..entry.end as usize;
        if let (Some(only), 1) = (self.entries.front(), self.entries.len()) {
            let bytes = &only.batch.bytes[bytes_of(only)];
            return (sink.write(bytes), bytes.len());
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut used = 0;
        let mut wanted = 0;
        for (slice, entry) in slices.iter_mut().zip(&self.entries) {
            *slice = IoSlice::new(&entry.batch.bytes[bytes_of(entry)]);
            wanted += entry.len();
            used += 1;
        }
        (sink.write_vectored(&slices[..used]), wanted)
    }

    /// Takes `written` bytes off the front.
    fn advance(&mut self, mut written: usize, tally: &mut Tally) {
        while written > 0 {
            let Some(front) = self.entries.front_mut() else { return };
            let step = written.min(front.len());
            written -= step;
            let whole = step == front.len();
            let before = front.start;
            front.start += step as u32;
            let left = if whole { 0 } else { frames_left(front, before) };
            let done = front.frames - left;
            front.frames = left;
            match front.kind {
                Kind::Shared => {
                    self.shared_bytes -= step;
                    self.shared_frames -= done as usize;
                    tally.deliveries += u64::from(done);
                }
                Kind::Own => self.own_bytes -= step,
                Kind::Pong | Kind::Control => {}
            }
            if whole {
                self.entries.pop_front();
            }
        }
    }
}

/// How many frames of a part-written entry are not yet written to the end.
fn frames_left(entry: &Entry, before: u32) -> u32 {
    let frames = &entry.batch.frames;
    let passed = frames.partition_point(|frame| frame.end <= entry.start)
        - frames.partition_point(|frame| frame.end <= before);
    entry.frames - passed as u32
}

fn whole(frame: &[u8], at_ms: u64, kind: Kind) -> Entry {
    let batch = Batch::of(frame);
    Entry { start: 0, end: batch.bytes.len() as u32, frames: 1, batch: Rc::new(batch), at_ms, kind }
}
