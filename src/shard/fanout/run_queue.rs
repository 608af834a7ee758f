//! The order in which a shard (the clients of one worker thread) does its fan-out.
//!
//! A lane has the members of one room on the shard that speak one dialect, and the messages for them. When its turn
//! comes, the messages that wait become one batch, and a sweep delivers the batch to each member.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use crate::metrics::ShardMetrics;
use crate::shard::batch::Batch;
use crate::shard::lane::id::LaneId;
use crate::shard::lane::{FinishedSweep, Lane};

/// Most batches that are kept to reuse their memory.
const SPARE_BATCHES: usize = 64;
/// Largest capacity of a buffer that is kept to be reused, in bytes.
pub(super) const SPARE_BYTES: usize = 128 * 1024;

/// The lanes whose messages a shard has to deliver, and the clients that it has to write to.
#[derive(Debug, Default)]
pub(in crate::shard) struct RunQueue {
    /// Lanes with work, in the order of their turns.
    pub(super) ready: VecDeque<LaneId>,
    /// Lanes in which messages wait whose senders may be clients of this shard. Senders get their messages before the
    /// lane's turn, between the turns of other lanes. A lane may have had its turn since it was added here; then
    /// nothing is left to do for its senders.
    pub(super) with_senders: VecDeque<LaneId>,
    /// Slots, in the shard's table of clients, of the clients whose queues are to be written.
    pub(in crate::shard) dirty: VecDeque<u32>,
    /// Sweeps that have reached every member. The queues of clients may still hold their batches.
    pub(in crate::shard) finished: Vec<FinishedSweep>,
    /// Empty batches that no queue holds, kept to reuse their memory.
    spare: Vec<Rc<Batch>>,
    /// A buffer to join the pieces that one client gets, kept to reuse its memory.
    pub(super) scratch: Vec<u8>,
    /// Number of writes that the publications of the inbox will cost, one for each member of each lane.
    /// [`run`](super::run) resets it whenever it has emptied the inbox.
    pub(in crate::shard) expected: usize,
}

impl RunQueue {
    /// Adds a lane at the end of those with work, if it has work and is not among them.
    pub(in crate::shard) fn ready(&mut self, id: LaneId, lane: &mut Lane) {
        if lane.has_work() && !std::mem::replace(&mut lane.is_ready, true) {
            self.ready.push_back(id);
        }
    }

    /// Adds a lane at the head of those with work, if it has work and is not among them: its turn was interrupted.
    pub(super) fn ready_first(&mut self, id: LaneId, lane: &mut Lane) {
        if lane.has_work() && !std::mem::replace(&mut lane.is_ready, true) {
            self.ready.push_front(id);
        }
    }

    /// Adds a lane at the end of those whose senders are served before its turn, unless it is among them.
    pub(in crate::shard) fn serve_senders_of(&mut self, id: LaneId, lane: &mut Lane) {
        if !std::mem::replace(&mut lane.has_senders, true) {
            self.with_senders.push_back(id);
        }
    }

    /// Returns true when no lane has work and no client is to be written to.
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.dirty.is_empty()
    }

    /// Returns an empty batch, with memory that is reused if there is any.
    pub(super) fn batch(&mut self) -> Rc<Batch> {
        self.spare.pop().unwrap_or_default()
    }

    /// Ends the finished sweeps once no client is left to be written to: records how long each fan-out took since its
    /// first message was published, and takes the batches back to reuse their memory. A batch that the queue of a slow
    /// client still holds is freed with that queue's entry.
    pub(super) fn recycle(&mut self, metrics: &ShardMetrics) {
        if !self.dirty.is_empty() || self.finished.is_empty() {
            return;
        }
        let now = Instant::now();
        for FinishedSweep { batch: mut shared, since } in self.finished.drain(..) {
            metrics.count_fanout(now - since);
            if self.spare.len() < SPARE_BATCHES
                && let Some(batch) = Rc::get_mut(&mut shared)
                && batch.bytes.capacity() <= SPARE_BYTES
            {
                batch.bytes.clear();
                batch.frames.clear();
                self.spare.push(shared);
            }
        }
    }
}
