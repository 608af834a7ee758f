//! A sweep that says only that somebody types, and has no place in the room's stream.

use std::rc::Rc;
use std::time::Instant;

use smallvec::SmallVec;

use super::{GONE, Room, Sweep};
use crate::names::ConnectionId;
use crate::protocol::frame::Frame;
use crate::registry::batch::Batch;

/// Behind every place in the stream, but not behind those who have left.
const TYPING: u64 = GONE - 1;

impl Room {
    /// Starts a sweep that says only that somebody types; nothing else may be under way.
    pub(in crate::registry) fn start_typing(&mut self, typist: ConnectionId, frame: &Frame) {
        debug_assert!(!self.has_work(), "whoever types waits for everything else, by not being shown");
        let mut batch = Batch::default();
        self.label(&mut batch);
        batch.push(TYPING, frame);
        let (batch, typist) = (Rc::new(batch), Some(typist));
        let (asides, since) = (SmallVec::new(), Instant::now());
        self.sweep = Some(Sweep { batch, cursor: 0, asides, has_begun: true, typist, since });
    }

    /// True while a sweep says that somebody types.
    pub(in crate::registry) fn is_typing(&self) -> bool {
        self.typist().is_some()
    }

    /// Who types, while a sweep says so.
    pub(in crate::registry) fn typist(&self) -> Option<ConnectionId> {
        self.sweep.as_ref().and_then(|sweep| sweep.typist)
    }
}
