//! Frames that are sent together.

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
    /// Where each frame ends, ascending, with its position in the room's stream.
    pub frames: Vec<FrameEnd>,
    /// The policy for a client whose queue has no space for it.
    pub overload: Overload,
    /// Name of the room, in the dialect that tells clients what was dropped.
    pub room: Option<Rc<RoomName>>,
    /// The dropped frames, in the batch of a gap. Its event is encoded when it is about to be written.
    pub(super) missing: Option<Missing>,
    /// The part of its sender's share that a private message takes until it has left.
    pub(super) _share: Option<Share>,
}

/// How long a batch may be.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Bytes; a single frame may be longer.
    pub bytes: usize,
    /// Messages.
    pub frames: usize,
}

impl BatchLimits {
    /// True when the batch has no space for this frame.
    pub(super) fn is_full(&self, batch: &Batch, frame: &Frame) -> bool {
        let is_full = batch.frames.len() >= self.frames || batch.bytes.len() + frame.len() > self.bytes;
        is_full && !batch.frames.is_empty()
    }
}

/// Where one frame of a batch ends.
#[derive(Debug, Clone, Copy)]
pub struct FrameEnd {
    /// Position in the room's stream of messages and notices.
    pub seq: u64,
    /// The note for the client when its queue drops the frame.
    pub loss: LossNote,
    /// Index behind its last byte.
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
    pub(super) messages: Option<Gap>,
    /// The number of users in the last news about presence that was dropped.
    pub(super) members: Option<usize>,
}

impl Batch {
    /// Makes a batch of one frame, or of several that are always sent together.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut batch = Self::default();
        batch.push(0, bytes);
        batch
    }

    /// Appends a frame that no client misses when it is dropped.
    ///
    /// # Panics
    /// When the batch would exceed 4 GiB.
    pub fn push(&mut self, seq: u64, frame: &[u8]) {
        self.push_message(seq, LossNote::NONE, frame);
    }

    /// Appends a frame.
    ///
    /// # Panics
    /// When the batch would exceed 4 GiB.
    pub fn push_message(&mut self, seq: u64, loss: LossNote, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        let end = u32::try_from(self.bytes.len()).expect("a batch is far smaller than 4 GiB");
        self.frames.push(FrameEnd { seq, loss, end });
    }

    /// Returns the part of the batch behind the position `after`: the start of its bytes and its number of frames.
    /// `None` when there is none.
    #[must_use]
    pub fn behind(&self, after: u64) -> Option<(u32, u32)> {
        let skip = self.frames.partition_point(|frame| frame.seq <= after);
        let left = u32::try_from(self.frames.len() - skip).ok().filter(|&left| left > 0)?;
        Some((if skip == 0 { 0 } else { self.frames[skip - 1].end }, left))
    }

    /// Returns the range of the bytes of these frames.
    pub(super) fn part(&self, frames: &Range<usize>) -> Range<u32> {
        let start_of = |index: usize| index.checked_sub(1).map_or(0, |before| self.frames[before].end);
        start_of(frames.start)..start_of(frames.end)
    }

    /// True when no frame crosses `position`.
    pub(super) fn is_boundary(&self, position: u32) -> bool {
        position == 0 || self.frames.binary_search_by_key(&position, |frame| frame.end).is_ok()
    }

    /// Returns the end of the frame that `position` lies in.
    pub(super) fn frame_end(&self, position: u32) -> u32 {
        let index = self.frames.partition_point(|frame| frame.end <= position);
        self.frames.get(index).map_or(position, |frame| frame.end)
    }
}
