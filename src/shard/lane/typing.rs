//! The sweep of a typing event: it shows the members of a lane (one room, shard and form) that a user is typing. The
//! event has no position in the room's stream.

use std::rc::Rc;
use std::time::Instant;

use smallvec::SmallVec;

use super::member::GONE;
use super::{Lane, Sweep};
use crate::protocol::frame::Frame;
use crate::registry::inbox::Typist;
use crate::shard::batch::Batch;

/// The position given to a typing event: behind the position of every member, so that each is offered it, but not
/// behind [`GONE`], the position of members that have left.
const TYPING: u64 = GONE - 1;

impl Lane {
    /// Starts a sweep that shows that `typist` is typing. The lane must have no other work.
    pub(in crate::shard) fn start_typing(&mut self, typist: Typist, frame: &Frame) {
        debug_assert!(!self.has_work(), "a typing event is not shown while anything else is to be done");
        let mut batch = Batch::default();
        self.label(&mut batch);
        batch.push(TYPING, frame);
        let (batch, typist) = (Rc::new(batch), Some(typist));
        let (copies, since) = (SmallVec::new(), Instant::now());
        self.sweep = Some(Sweep { batch, cursor: 0, copies, has_begun: true, typist, since, saved: 0 });
    }

    /// True while the current sweep is that of a typing event.
    pub(in crate::shard) fn is_typing(&self) -> bool {
        self.typist().is_some()
    }

    /// Returns the user who is typing, while the current sweep is that of a typing event.
    pub(in crate::shard) fn typist(&self) -> Option<Typist> {
        self.sweep.as_ref().and_then(|sweep| sweep.typist)
    }
}
