//! A sweep that shows only that a user is typing. It has no position in the room's stream.

use std::rc::Rc;
use std::time::Instant;

use smallvec::SmallVec;

use super::member::GONE;
use super::{Lane, Sweep};
use crate::names::ConnectionId;
use crate::protocol::frame::Frame;
use crate::shard::batch::Batch;

/// Behind every position in the stream, but not behind that of members that have left.
const TYPING: u64 = GONE - 1;

impl Lane {
    /// Starts a sweep that shows only that a user is typing. Nothing else may be under way.
    pub(in crate::shard) fn start_typing(&mut self, typist: ConnectionId, frame: &Frame) {
        debug_assert!(!self.has_work(), "a typing event is not shown while anything else is to be done");
        let mut batch = Batch::default();
        self.label(&mut batch);
        batch.push(TYPING, frame);
        let (batch, typist) = (Rc::new(batch), Some(typist));
        let (copies, since) = (SmallVec::new(), Instant::now());
        self.sweep = Some(Sweep { batch, cursor: 0, copies, has_begun: true, typist, since });
    }

    /// True while a sweep shows that a user is typing.
    pub(in crate::shard) fn is_typing(&self) -> bool {
        self.typist().is_some()
    }

    /// Returns the connection of the user who is typing, while a sweep shows it.
    pub(in crate::shard) fn typist(&self) -> Option<ConnectionId> {
        self.sweep.as_ref().and_then(|sweep| sweep.typist)
    }
}
