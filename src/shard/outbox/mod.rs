//! One client's queue of bytes to send. It tells whether more frames would exceed its bounds in messages, bytes and
//! age; the caller decides what happens then. It never reads a clock, and writes only to the [`Sink`] that it is
//! handed.
//!
//! An entry stays until its last byte is written, so an empty queue means that no frame is partly written and the next
//! may be written at once. Entries know where their frames end: no frame is ever dropped in part, and control frames
//! are inserted only between two frames.

mod loss;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::batch::Batch;
use super::bounds::Bounds;
use super::sink::Sink;
use crate::protocol::close::Overflow;

/// Most buffers that are passed to one vectored write.
const MAX_SLICES: usize = 64;
/// Bytes of an entry below which another reply or control frame of the same kind is appended to it.
const JOIN_BYTES: usize = 16 * 1024;
/// Bytes of waiting replies to a client's own commands beyond which its next command is not read.
const PAUSE_BYTES: u32 = 64 * 1024;
/// Number of unsent replies, control frames and gaps beyond which the client's next command is not read: each takes at
/// least 24 bytes of memory beside its own bytes.
const PAUSE_FRAMES: u32 = 1024;
/// Most entries for which a queue keeps memory once it is written.
const KEPT_CAPACITY: usize = 4;

/// The kind of an entry, which decides whether it may be dropped and which bounds it counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The answer to the handshake. It goes before everything else, is never dropped, and is no part of the
    /// conversation: its bytes are not counted.
    Head,
    /// Part of a batch: fan-out or a private message. It counts against the queue's bounds and may be dropped.
    Shared,
    /// The reply to the client's own command. It is never dropped and does not count against the queue's bounds.
    Reply,
    /// A pong. While the socket takes nothing, only the newest is kept.
    Pong,
    /// A ping, or the last frames of a connection.
    Control,
    /// The event that tells the client what was dropped at this point of the queue. It is never dropped itself.
    Gap,
}

/// A part of a batch that waits to be written.
#[derive(Debug)]
struct Entry {
    batch: Rc<Batch>,
    /// Index in the batch of the first byte that is not yet written.
    start: u32,
    /// Index in the batch behind the last byte to write.
    end: u32,
    /// Number of frames not yet written to their ends.
    frames: u32,
    /// Time when it was queued, in the shard's milliseconds.
    at_ms: u64,
    kind: Kind,
}

impl Entry {
    fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// True when its first frame is partly written.
    fn has_begun(&self) -> bool {
        !self.batch.is_boundary(self.start)
    }
}

/// The result of a flush.
#[derive(Debug, PartialEq, Eq)]
pub enum Flush {
    /// Everything is written.
    Empty,
    /// The socket takes no more now.
    Blocked,
    /// The socket is gone.
    Gone,
}

/// The counts of some writes to clients, to be added to the shard's counters.
#[derive(Debug, Default, Clone, Copy)]
pub struct WriteCounts {
    /// System calls.
    pub writes: u64,
    /// Bytes that were written, without answers to handshakes.
    pub bytes: u64,
    /// Frames of fan-out and private messages that were written whole.
    pub deliveries: u64,
}

impl WriteCounts {
    /// Counts one write that has written a part of a batch whole.
    pub fn delivered(&mut self, bytes: usize, frames: u32) {
        self.writes += 1;
        self.bytes += bytes as u64;
        self.deliveries += u64::from(frames);
    }
}

/// One client's queue of bytes to send.
///
/// It takes 48 bytes of memory while empty, and 32 bytes for each entry. The batches are shared with other queues.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: VecDeque<Entry>,
    // 32 bits suffice for the bytes: the largest bound is 1 GiB, and one batch may exceed it.
    shared_bytes: u32,
    /// Number of waiting fan-out messages.
    shared_frames: u32,
    /// Bytes of waiting replies.
    reply_bytes: u32,
    /// Number of replies, control frames and gaps that wait.
    other_frames: u32,
}

impl Outbox {
    /// True when nothing waits or is partly written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the bytes of fan-out and private messages that wait.
    #[must_use]
    pub fn shared_bytes(&self) -> usize {
        self.shared_bytes as usize
    }

    /// Returns the number of frames of fan-out and private messages that wait.
    #[must_use]
    pub fn shared_frames(&self) -> usize {
        self.shared_frames as usize
    }

    /// Returns the bytes of waiting replies.
    #[must_use]
    pub fn reply_bytes(&self) -> usize {
        self.reply_bytes as usize
    }

    /// Returns true when so many replies (or other frames that are not fan-out) wait that the client's next command is
    /// not read until it has taken some of them.
    #[must_use]
    pub fn owes_much(&self) -> bool {
        self.reply_bytes > PAUSE_BYTES || self.other_frames > PAUSE_FRAMES
    }

    /// Returns the time when the oldest waiting entry of fan-out or a private message was queued.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<u64> {
        self.entries.iter().find(|entry| entry.kind == Kind::Shared).map(|entry| entry.at_ms)
    }

    /// Returns the bound that the queue would exceed with `frames` more messages of `bytes` bytes, or that the age of
    /// its oldest message exceeds already.
    #[must_use]
    pub fn overflow(&self, bytes: usize, frames: usize, now_ms: u64, bounds: &Bounds) -> Option<Overflow> {
        // A batch that exceeds the bounds by itself is still sent when no other message waits.
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

    /// Queues the part of a batch from the byte `start` to the end, which has `frames` frames.
    pub fn push_shared(&mut self, batch: &Rc<Batch>, start: u32, frames: u32, now_ms: u64) {
        self.push_part(batch, start, batch.bytes.len() as u32, frames, now_ms);
    }

    /// Queues the part of a batch from the byte `start` up to `end`, which has `frames` frames.
    pub fn push_part(&mut self, batch: &Rc<Batch>, start: u32, end: u32, frames: u32, now_ms: u64) {
        self.shared_bytes += end - start;
        self.shared_frames += frames;
        let batch = Rc::clone(batch);
        self.entries.push_back(Entry { batch, start, end, frames, at_ms: now_ms, kind: Kind::Shared });
    }

    /// Queues a reply or control frame behind everything else. Appends it to the last entry if that is short and of the
    /// same kind.
    pub fn push(&mut self, kind: Kind, frame: &[u8], now_ms: u64) {
        debug_assert_ne!(kind, Kind::Shared, "fan-out comes in shared batches");
        self.other_frames += 1;
        if kind == Kind::Reply {
            self.reply_bytes += frame.len() as u32;
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

    /// Queues a pong, a ping or the first event of a connection ahead of everything but the answer to the handshake or
    /// the rest of a frame that is partly written. A pong replaces one that still waits (RFC 6455 section 5.5.3), so a
    /// client that sends many pings and reads nothing has one pong queued.
    pub fn push_ahead(&mut self, kind: Kind, frame: &[u8], now_ms: u64) {
        let entry = whole(frame, now_ms, kind);
        if kind == Kind::Pong
            && let Some(old) = self.entries.iter_mut().find(|old| old.kind == Kind::Pong && !old.has_begun())
        {
            *old = entry;
            return;
        }
        self.other_frames += 1;
        if kind == Kind::Reply {
            self.reply_bytes += frame.len() as u32;
        }
        let at = usize::from(self.split_front());
        self.entries.insert(at, entry);
    }

    /// Queues the answer to the handshake ahead of everything. Nothing may have been written before.
    pub fn push_head(&mut self, head: &[u8], now_ms: u64) {
        self.other_frames += 1;
        self.entries.push_front(whole(head, now_ms, Kind::Head));
    }

    /// Returns whether nothing may go before the first entry of the queue, because it answers the handshake or its
    /// first frame is partly written. Such a frame becomes an entry of its own, cut off from the frames behind it.
    fn split_front(&mut self) -> bool {
        let must_go = |front: &&mut Entry| front.kind == Kind::Head || front.has_begun();
        let Some(front) = self.entries.front_mut().filter(must_go) else { return false };
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

    /// Drops everything but the answer to the handshake or the rest of a frame that is partly written, then queues the
    /// frame `last`, if there is one.
    pub fn finish_now(&mut self, last: Option<&[u8]>, now_ms: u64) {
        let begun = self.split_front();
        for entry in self.entries.drain(usize::from(begun)..) {
            if entry.kind == Kind::Shared {
                self.shared_bytes -= entry.len() as u32;
                self.shared_frames -= entry.frames;
                continue;
            }
            self.other_frames -= entry.frames;
            if entry.kind == Kind::Reply {
                self.reply_bytes -= entry.len() as u32;
            }
        }
        self.finish_after_queue(last, now_ms);
        self.entries.shrink_to_fit();
    }

    /// Queues the frame `last`, if there is one, behind everything else.
    pub fn finish_after_queue(&mut self, last: Option<&[u8]>, now_ms: u64) {
        if let Some(frame) = last {
            self.other_frames += 1;
            self.entries.push_back(whole(frame, now_ms, Kind::Control));
        }
    }

    /// Writes as much as the socket takes, up to `MAX_SLICES` entries with one system call. It is blocked as long as
    /// bytes that the sink has taken wait for the socket.
    pub fn flush(&mut self, sink: &Sink, counts: &mut WriteCounts) -> Flush {
        while !self.entries.is_empty() {
            self.encode_gaps();
            let (result, wanted) = self.write_once(sink);
            counts.writes += 1;
            match result {
                Ok(0) => return Flush::Gone,
                Ok(written) => {
                    counts.bytes += written as u64;
                    self.advance(written, counts);
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
        match sink.flush_tail() {
            Ok(true) => Flush::Empty,
            Ok(false) => Flush::Blocked,
            Err(_) => Flush::Gone,
        }
    }

    /// Makes one write of the first entries. Returns its result, and the number of bytes that it was to write.
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

    /// Removes the first `written` bytes, which the socket has taken, and adds the messages that they end to `counts`,
    /// in which the bytes are counted already.
    pub fn advance(&mut self, mut written: usize, counts: &mut WriteCounts) {
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
                counts.deliveries += u64::from(done);
            } else {
                self.other_frames -= done;
            }
            match front.kind {
                Kind::Reply => self.reply_bytes -= step,
                Kind::Head => counts.bytes -= u64::from(step),
                _ => {}
            }
            if whole {
                self.entries.pop_front();
            }
        }
    }
}

/// Returns the number of frames of a partly written entry that are not yet written to their ends. `before` is where the
/// entry started when `entry.frames` was right.
fn frames_left(entry: &Entry, before: u32) -> u32 {
    let frames = &entry.batch.frames;
    let passed = frames.partition_point(|frame| frame.end <= entry.start)
        - frames.partition_point(|frame| frame.end <= before);
    entry.frames - passed as u32
}

/// Makes an entry of one frame.
fn whole(frame: &[u8], at_ms: u64, kind: Kind) -> Entry {
    let batch = Batch::of(frame);
    Entry { start: 0, end: batch.bytes.len() as u32, frames: 1, batch: Rc::new(batch), at_ms, kind }
}

#[cfg(test)]
mod tests;
