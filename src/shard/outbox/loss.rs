//! Drops frames from a client's queue, and queues an event in their stead: a `gap` for messages, and for presence
//! events the number of users. The number comes without names, so a client that keeps a list of users must ask for it
//! again.
//!
//! A waiting gap is only a pair of offsets, because the next dropped message may extend it. It is encoded when it is
//! about to be written.

use std::rc::Rc;

use super::{Entry, Kind, MAX_SLICES, Outbox};
use crate::protocol::event::v1;
use crate::shard::batch::{Batch, Gap, Missing};
use crate::shard::bounds::{Bounds, Overload};

impl Missing {
    /// Joins this loss with the one behind it. Returns `None` when one `gap` event cannot name the messages of both.
    fn join(self, behind: Self) -> Option<Self> {
        let messages = match (self.messages, behind.messages) {
            (Some(one), Some(two)) if one.to.next() != two.from => return None,
            (Some(one), Some(two)) => Some(Gap { from: one.from, to: two.to }),
            (one, two) => one.or(two),
        };
        Some(Self { messages, members: behind.members.or(self.members) })
    }
}

impl Batch {
    /// Returns the loss to report to the client when the bytes from `start` to `end` are dropped. `None` when none of
    /// the frames leaves a note, or the batch has no room name to report with.
    fn missing(&self, start: u32, end: u32) -> Option<Missing> {
        self.room.as_ref()?;
        let first = self.frames.partition_point(|frame| frame.end <= start);
        let behind = self.frames.partition_point(|frame| frame.end <= end);
        let frames = self.frames.get(first..behind)?;
        let mut offsets = frames.iter().filter_map(|frame| frame.loss.offset());
        let messages = offsets.next().map(|from| Gap { from, to: offsets.next_back().unwrap_or(from) });
        let members = frames.iter().rev().find_map(|frame| frame.loss.members());
        (messages.is_some() || members.is_some()).then_some(Missing { messages, members })
    }
}

impl Outbox {
    /// Returns the time when the oldest fan-out entry with the policy `disconnect` was queued, in the shard's
    /// milliseconds. Its age can end the connection.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let mut shared = self.entries.iter().filter(|entry| entry.kind == Kind::Shared);
        shared.find(|entry| entry.batch.overload == Overload::Disconnect).map(|entry| entry.at_ms)
    }

    /// Drops the oldest fan-out entries of rooms with the policy `drop_oldest`, unless they are partly written, until
    /// `bytes` and `frames` fit and none is too old. Returns the number of messages dropped.
    pub fn drop_oldest(&mut self, bytes: usize, frames: usize, bounds: &Bounds, now_ms: u64) -> u64 {
        let mut dropped = 0;
        let mut index = usize::from(self.split_front());
        while let Some(entry) = self.entries.get(index) {
            let is_too_many = self.shared_frames() + frames > bounds.messages
                || self.shared_bytes() + bytes > bounds.bytes
                || now_ms.saturating_sub(entry.at_ms) > bounds.age_ms;
            if entry.kind != Kind::Shared || entry.batch.overload != Overload::DropOldest {
                index += 1;
                continue;
            }
            if !is_too_many {
                break;
            }
            if let Some(entry) = self.entries.remove(index) {
                self.shared_bytes -= entry.len() as u32;
                self.shared_frames -= entry.frames;
                dropped += u64::from(entry.frames);
                index += self.note_loss_at(index, &entry.batch, entry.start, entry.end, now_ms);
            }
        }
        dropped
    }

    /// True when `bytes` and `frames` do not fit behind what [`Outbox::drop_oldest`] had to leave.
    #[must_use]
    pub fn is_full(&self, bytes: usize, frames: usize, bounds: &Bounds) -> bool {
        let is_over =
            self.shared_frames() + frames > bounds.messages || self.shared_bytes() + bytes > bounds.bytes;
        is_over && self.entries.iter().any(|entry| entry.kind == Kind::Shared && !entry.has_begun())
    }

    /// Notes at the end of the queue that the bytes from `start` to `end` of a batch were dropped instead of queued.
    pub(in crate::shard) fn note_loss(&mut self, batch: &Batch, start: u32, end: u32, now_ms: u64) {
        self.note_loss_at(self.entries.len(), batch, start, end, now_ms);
    }

    /// Notes that the bytes from `start` to `end` of a batch, which stood before the entry `at`, were dropped. Returns
    /// the number of entries inserted at `at`: 0 when an earlier gap was extended or there is nothing to report.
    fn note_loss_at(&mut self, at: usize, batch: &Batch, start: u32, end: u32, now_ms: u64) -> usize {
        let Some(missing) = batch.missing(start, end) else { return 0 };
        // Rooms have no order among each other, so a gap of this room may move before gaps of other rooms, but before
        // no other entry.
        let mut gaps = self.entries.range_mut(..at).rev().take_while(|entry| entry.kind == Kind::Gap);
        if gaps.any(|entry| entry.extend(batch, missing)) {
            return 0;
        }
        let (room, missing) = (batch.room.clone(), Some(missing));
        let batch = Rc::new(Batch { room, missing, ..Batch::default() });
        self.other_frames += 1;
        self.entries.insert(at, Entry { batch, start: 0, end: 0, frames: 1, at_ms: now_ms, kind: Kind::Gap });
        1
    }

    /// Encodes the gaps among the entries that the next write takes.
    pub(super) fn encode_gaps(&mut self) {
        for entry in self.entries.iter_mut().take(MAX_SLICES).filter(|entry| entry.kind == Kind::Gap) {
            if entry.end == 0
                && let Some(batch) = Rc::get_mut(&mut entry.batch)
                && let (Some(room), Some(Missing { messages, members })) = (batch.room.clone(), batch.missing)
            {
                let gap = messages.map(|gap| v1::gap(&room, gap.from, gap.to));
                let count = members.map(|members| v1::presence_diff(&room, None, members));
                // Both events are one entry, so that nothing can be queued between them.
                batch.push(0, &[gap.unwrap_or_default(), count.unwrap_or_default()].concat());
                entry.end = batch.bytes.len() as u32;
            }
        }
    }
}

impl Entry {
    /// Extends a gap by a later loss of the same room. Returns false, and changes nothing, when the rooms differ, the
    /// gap is partly written, or one event cannot name both.
    fn extend(&mut self, of: &Batch, by: Missing) -> bool {
        let is_same_room = self.batch.room.as_deref() == of.room.as_deref();
        if !is_same_room || self.start > 0 {
            return false;
        }
        let Some(batch) = Rc::get_mut(&mut self.batch) else { return false };
        let Some(both) = batch.missing.and_then(|missing| missing.join(by)) else { return false };
        batch.missing = Some(both);
        batch.bytes.clear();
        batch.frames.clear();
        self.end = 0;
        true
    }
}
