//! Frames that are sent together, and where each of them ends.

use std::ops::Range;
use std::rc::Rc;

use super::bounds::Overload;
use super::delivery::Place;
use super::outbox::gap::Missing;
use super::share::Share;
use crate::names::RoomName;

/// Encoded frames, one behind the other, shared by every queue that holds a part of them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The frames' bytes.
    pub bytes: Vec<u8>,
    /// Where each frame ends, ascending, with its place in the room's stream.
    pub frames: Vec<FrameEnd>,
    /// What happens to whoever has no space for it.
    pub overload: Overload,
    /// The room, where it is told what was dropped.
    pub room: Option<Rc<RoomName>>,
    /// Of a gap: what is missing. What is said of it is encoded when it is about to be written.
    pub(super) missing: Option<Missing>,
    /// Of a private message: what it takes of its sender's share, until it has left.
    pub(super) _share: Option<Share>,
}

/// Where one frame of a batch ends.
#[derive(Debug, Clone, Copy)]
pub struct FrameEnd {
    /// Place in the room's stream of messages and notices.
    pub seq: u64,
    /// What is said should it be dropped.
    pub place: Place,
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

    /// Appends a frame that nobody misses.
    ///
    /// # Panics
    /// When the batch would exceed 4 GiB.
    pub fn push(&mut self, seq: u64, frame: &[u8]) {
        self.push_message(seq, Place::NONE, frame);
    }

    /// Appends a frame.
    ///
    /// # Panics
    /// When the batch would exceed 4 GiB.
    pub fn push_message(&mut self, seq: u64, place: Place, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        let end = u32::try_from(self.bytes.len()).expect("a batch is far smaller than 4 GiB");
        self.frames.push(FrameEnd { seq, place, end });
    }

    /// The part of the batch behind `after`: start of its bytes and number of frames; `None` when nothing is.
    #[must_use]
    pub fn behind(&self, after: u64) -> Option<(u32, u32)> {
        let skip = self.frames.partition_point(|frame| frame.seq <= after);
        let left = u32::try_from(self.frames.len() - skip).ok().filter(|&left| left > 0)?;
        Some((if skip == 0 { 0 } else { self.frames[skip - 1].end }, left))
    }

    /// Where the bytes of some frames are.
    pub(super) fn part(&self, frames: &Range<usize>) -> Range<u32> {
        let start_of = |index: usize| index.checked_sub(1).map_or(0, |before| self.frames[before].end);
        start_of(frames.start)..start_of(frames.end)
    }

    /// True when no frame crosses `position`.
    pub(super) fn is_boundary(&self, position: u32) -> bool {
        position == 0 || self.frames.binary_search_by_key(&position, |frame| frame.end).is_ok()
    }

    /// The end of the frame that `position` lies in.
    pub(super) fn frame_end(&self, position: u32) -> u32 {
        let index = self.frames.partition_point(|frame| frame.end <= position);
        self.frames.get(index).map_or(position, |frame| frame.end)
    }
}
