//! Shows the members of a room that a user is typing.
//!
//! A sweep delivers one batch of frames to each member of a lane: the members of one room on one shard that speak one
//! dialect. A typing event gets a sweep of its own, because it has no position in the room's stream of messages and
//! notices.

use std::rc::Rc;
use std::time::Instant;

use smallvec::SmallVec;

use super::member::GONE;
use super::{Lane, Sweep};
use crate::names::ConnectionId;
use crate::protocol::frame::Frame;
use crate::shard::batch::Batch;

/// The position that a typing event has in its batch: behind every position in the room's stream, so that it is
/// offered to each member, but before [`GONE`], the position of members that have left, so that it is not offered to
/// them.
const TYPING: u64 = GONE - 1;

impl Lane {
    /// Starts the sweep of a typing event. The lane must have no other sweep, and no message may wait in it. `typist`
    /// is the connection of the user who is typing.
    pub(in crate::shard) fn start_typing(&mut self, typist: ConnectionId, frame: &Frame) {
        debug_assert!(!self.has_work(), "a typing event is not shown while anything else is to be done");
        let mut batch = Batch::default();
        self.label(&mut batch);
        batch.push(TYPING, frame);
        let (batch, typist) = (Rc::new(batch), Some(typist));
        let (copies, since) = (SmallVec::new(), Instant::now());
        self.sweep = Some(Sweep { batch, cursor: 0, copies, has_begun: true, typist, since });
    }

    /// Returns true while the lane's sweep is that of a typing event.
    pub(in crate::shard) fn is_typing(&self) -> bool {
        self.typist().is_some()
    }

    /// Returns the connection of the user who is typing, while the lane's sweep is that of a typing event. This
    /// connection does not get the event.
    pub(in crate::shard) fn typist(&self) -> Option<ConnectionId> {
        self.sweep.as_ref().and_then(|sweep| sweep.typist)
    }
}
