//! One client's queue of bytes to send, bounded in messages, bytes and age. Pure: it never looks at a clock, and
//! writes only to the [`Sink`] it is handed.
//!
//! An entry stays until its last byte is written, so an empty queue means that nothing is in flight and whoever
//! comes next may write at once. Entries know where their frames end: nothing is ever cut in the middle of a
//! frame, and control frames go in at frame boundaries.

pub(super) mod gap;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::batch::Batch;
use super::bounds::{Bounds, Overflow};
use super::sink::Sink;

/// Most buffers handed to one vectored write.
const MAX_SLICES: usize = 64;
/// Own answers are appended to the one before while it is shorter than this.
const JOIN_BYTES: usize = 16 * 1024;
/// Unsent answers to a client's own commands beyond which its next command is not read: bytes, and frames, whose
/// bookkeeping costs 16 bytes each.
const PAUSE_BYTES: u32 = 64 * 1024;
const PAUSE_FRAMES: u32 = 1024;
/// An emptied queue keeps no more room than this many entries.
const KEPT_CAPACITY: usize = 4;

/// What an entry is, which decides whether it may be dropped and what it counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Fan-out: counts against the queue's bounds, may be dropped whole.
    Shared,
    /// The answer to the client's own command: never dropped, and outside the queue's bounds.
    Own,
    /// A pong, of which only the newest is kept while the socket takes nothing.
    Pong,
    /// A ping or close frame.
    Control,
    /// What was dropped here; never dropped itself.
    Gap,
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

impl Tally {
    /// Counts a part of a batch that left whole.
    pub fn delivered(&mut self, bytes: usize, frames: u32) {
        self.writes += 1;
        self.bytes += bytes as u64;
        self.deliveries += u64::from(frames);
    }
}

/// One client's queue. See the module's documentation.
///
/// Memory: 48 bytes while empty; filled, 32 bytes an entry, the batches being shared.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: VecDeque<Entry>,
    // 32 bits: 1 GiB is the most that may be set, and a batch beyond it.
    shared_bytes: u32,
    shared_frames: u32,
    own_bytes: u32,
    /// Frames of answers and control frames.
    own_frames: u32,
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
        self.shared_bytes as usize
    }

    /// Messages of fan-out waiting.
    #[must_use]
    pub fn shared_frames(&self) -> usize {
        self.shared_frames as usize
    }

    /// Bytes of the client's own answers waiting.
    #[must_use]
    pub fn own_bytes(&self) -> usize {
        self.own_bytes as usize
    }

    /// True when the client must take its answers before its next command is read.
    #[must_use]
    pub fn owes_much(&self) -> bool {
        self.own_bytes > PAUSE_BYTES || self.own_frames > PAUSE_FRAMES
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
        if self.shared_frames() + frames > bounds.messages {
            Some(Overflow::Messages)
        } else if self.shared_bytes() + bytes > bounds.bytes {
            Some(Overflow::Bytes)
        } else if self.oldest_ms().is_some_and(|at| now_ms.saturating_sub(at) > bounds.age_ms) {
            Some(Overflow::Age)
        } else {
            None
        }
    }

    /// Queues the part of a batch from `start` on, `frames` messages of it.
    pub fn push_shared(&mut self, batch: &Rc<Batch>, start: u32, frames: u32, now_ms: u64) {
        self.push_part(batch, start, batch.bytes.len() as u32, frames, now_ms);
    }

    /// Queues the part of a batch from `start` to `end`, `frames` messages.
    pub fn push_part(&mut self, batch: &Rc<Batch>, start: u32, end: u32, frames: u32, now_ms: u64) {
        self.shared_bytes += end - start;
        self.shared_frames += frames;
        let batch = Rc::clone(batch);
        self.entries.push_back(Entry { batch, start, end, frames, at_ms: now_ms, kind: Kind::Shared });
    }

    /// Queues a frame behind everything else; not for fan-out.
    pub fn push(&mut self, kind: Kind, frame: &[u8], now_ms: u64) {
        debug_assert_ne!(kind, Kind::Shared, "fan-out comes in shared batches");
        self.own_frames += 1;
        if kind == Kind::Own {
            self.own_bytes += frame.len() as u32;
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
        self.own_frames += 1;
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
            if entry.kind == Kind::Shared {
                self.shared_bytes -= entry.len() as u32;
                self.shared_frames -= entry.frames;
                continue;
            }
            self.own_frames -= entry.frames;
            if entry.kind == Kind::Own {
                self.own_bytes -= entry.len() as u32;
            }
        }
        self.finish_after_queue(last, now_ms);
        self.entries.shrink_to_fit();
    }

    /// Queues a last frame behind everything else.
    pub fn finish_after_queue(&mut self, last: Option<&[u8]>, now_ms: u64) {
        if let Some(frame) = last {
            self.own_frames += 1;
            self.entries.push_back(whole(frame, now_ms, Kind::Control));
        }
    }

    /// Writes as much as the socket takes, many entries to a system call.
    pub fn flush(&mut self, sink: &Sink, tally: &mut Tally) -> Flush {
        while !self.entries.is_empty() {
            self.encode_gaps();
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

    /// Takes `written` bytes off the front, which have left.
    pub fn advance(&mut self, mut written: usize, tally: &mut Tally) {
        while written > 0 {
            let Some(front) = self.entries.front_mut() else { return };
            let step = written.min(front.len());
            written -= step;
            let whole = step == front.len();
            let before = front.start;
            let step = step as u32;
            front.start += step;
            let left = if whole { 0 } else { frames_left(front, before) };
            let done = front.frames - left;
            front.frames = left;
            if front.kind == Kind::Shared {
                self.shared_bytes -= step;
                self.shared_frames -= done;
                tally.deliveries += u64::from(done);
            } else {
                self.own_frames -= done;
            }
            if front.kind == Kind::Own {
                self.own_bytes -= step;
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

#[cfg(test)]
mod tests;
