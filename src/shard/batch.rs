//! A batch: frames that are sent together, encoded once and shared by the queues of all clients that get them.

use std::ops::Range;
use std::rc::Rc;

use super::bounds::Overload;
use crate::names::{Offset, RoomName};
use crate::protocol::frame::Frame;
use crate::registry::delivery::LossNote;
use crate::registry::share::Share;

/// Encoded frames, one behind the other, shared by every queue that holds a part of them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The frames' bytes.
    pub bytes: Vec<u8>,
    /// The end of each frame, ascending, with the frame's position in the room's stream.
    pub frames: Vec<FrameEnd>,
    /// The policy for a client whose queue has no space for the batch.
    pub overload: Overload,
    /// Name of the room, for the events that tell a client what was dropped. `None` in the plain dialect, which has no
    /// such events, and for frames of no room.
    pub room: Option<Rc<RoomName>>,
    /// The dropped frames, if the batch is for the event that tells a client about them. The event is encoded into the
    /// batch just before it is written.
    pub(super) missing: Option<Missing>,
    /// Counts a private message against what its author may have unsent in one client's queue. Dropping the batch gives
    /// that back.
    pub(super) _share: Option<Share>,
}

/// The limits of a batch of several frames.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Most bytes; a single frame may be longer.
    pub bytes: usize,
    /// Most frames.
    pub frames: usize,
}

impl BatchLimits {
    /// True when the batch has no space for this frame. An empty batch has space for any.
    pub(super) fn is_full(&self, batch: &Batch, frame: &Frame) -> bool {
        let is_full = batch.frames.len() >= self.frames || batch.bytes.len() + frame.len() > self.bytes;
        is_full && !batch.frames.is_empty()
    }
}

/// The end of one frame in a batch, with the frame's position and loss note.
#[derive(Debug, Clone, Copy)]
pub struct FrameEnd {
    /// Position in the room's stream of messages and notices.
    pub seq: u64,
    /// The note for the client when its queue drops the frame.
    pub loss: LossNote,
    /// Index in the batch of the byte behind the frame's last one.
    pub end: u32,
}

/// Messages of one room that were dropped in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// Offset of the first.
    pub(super) from: Offset,
    /// Offset of the last.
    pub(super) to: Offset,
}

/// The dropped frames of a room: messages, presence events, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    /// The dropped messages.
    pub(super) messages: Option<Gap>,
    /// The number of users in the room, from the last presence event that was dropped.
    pub(super) members: Option<usize>,
}

impl Batch {
    /// Makes a batch of one frame, or of several that count as one because nothing may come between them.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut batch = Self::default();
        batch.push(0, bytes);
        batch
    }

    /// Appends a frame that leaves no note to the client when its queue drops it.
    ///
    /// # Panics
    /// When the batch would exceed 4 GiB.
    pub fn push(&mut self, seq: u64, frame: &[u8]) {
        self.push_message(seq, LossNote::NONE, frame);
    }

    /// Appends a frame at the position `seq` of the room's stream, with the note `loss` for a client whose queue drops
    /// it.
    ///
    /// # Panics
    /// When the batch would exceed 4 GiB.
    pub fn push_message(&mut self, seq: u64, loss: LossNote, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        let end = u32::try_from(self.bytes.len()).expect("a batch is far smaller than 4 GiB");
        self.frames.push(FrameEnd { seq, loss, end });
    }

    /// Returns the part of the batch behind the position `after` of the room's stream: the index of its first byte and
    /// its number of frames. `None` when no frame is behind `after`.
    #[must_use]
    pub fn behind(&self, after: u64) -> Option<(u32, u32)> {
        let skip = self.frames.partition_point(|frame| frame.seq <= after);
        let left = u32::try_from(self.frames.len() - skip).ok().filter(|&left| left > 0)?;
        Some((if skip == 0 { 0 } else { self.frames[skip - 1].end }, left))
    }

    /// Returns the range of bytes of the frames with these indices.
    pub(super) fn part(&self, frames: &Range<usize>) -> Range<u32> {
        let start_of = |index: usize| index.checked_sub(1).map_or(0, |before| self.frames[before].end);
        start_of(frames.start)..start_of(frames.end)
    }

    /// True when a frame begins or ends at the byte `at` of the batch.
    pub(super) fn is_boundary(&self, at: u32) -> bool {
        at == 0 || self.frames.binary_search_by_key(&at, |frame| frame.end).is_ok()
    }

    /// Returns the end of the frame that the byte `at` of the batch belongs to; `at` itself behind the last frame.
    pub(super) fn frame_end(&self, at: u32) -> u32 {
        let index = self.frames.partition_point(|frame| frame.end <= at);
        self.frames.get(index).map_or(at, |frame| frame.end)
    }
}
