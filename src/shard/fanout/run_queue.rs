//! The lanes and clients that have something to do, in the order of their turns.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use crate::metrics::ShardMetrics;
use crate::shard::batch::Batch;
use crate::shard::lane::id::LaneId;
use crate::shard::lane::{FinishedSweep, Lane};

/// Batches kept for their memory.
const SPARE_BATCHES: usize = 64;
/// Largest memory of a buffer that is kept, in bytes.
pub(super) const SPARE_BYTES: usize = 128 * 1024;

/// The work of a shard.
#[derive(Debug, Default)]
pub(in crate::shard) struct RunQueue {
    pub(super) ready: VecDeque<LaneId>,
    /// Lanes with senders that are served before the lane's turn. One of them may have been served by then.
    pub(super) with_senders: VecDeque<LaneId>,
    /// Slots of the clients to be written to.
    pub(in crate::shard) dirty: VecDeque<u32>,
    /// Sweeps that are over, with batches that queues may still hold.
    pub(in crate::shard) finished: Vec<FinishedSweep>,
    /// Batches that no queue holds, kept for their memory.
    spare: Vec<Rc<Batch>>,
    /// Joins the pieces of what one client gets; kept for its memory.
    pub(super) scratch: Vec<u8>,
    /// Writes that it takes to fan out what has come since [`run`](super::run) last asked.
    pub(in crate::shard) expected: usize,
}

impl RunQueue {
    /// Puts a lane that has something to do at the end of the line, once.
    pub(in crate::shard) fn ready(&mut self, id: LaneId, lane: &mut Lane) {
        if lane.has_work() && !std::mem::replace(&mut lane.is_ready, true) {
            self.ready.push_back(id);
        }
    }

    /// Puts a lane that has something to do at the head of the line, because its turn is not over.
    pub(super) fn ready_first(&mut self, id: LaneId, lane: &mut Lane) {
        if lane.has_work() && !std::mem::replace(&mut lane.is_ready, true) {
            self.ready.push_front(id);
        }
    }

    /// Puts a lane with senders at the end of the line of such lanes, once.
    pub(in crate::shard) fn serve_senders_of(&mut self, id: LaneId, lane: &mut Lane) {
        if !std::mem::replace(&mut lane.has_senders, true) {
            self.with_senders.push_back(id);
        }
    }

    /// True when nothing is left to do.
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.dirty.is_empty()
    }

    /// Returns an empty batch.
    pub(super) fn batch(&mut self) -> Rc<Batch> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes back the batches that have been written to every member. A batch that a slow client still holds is left to
    /// that client.
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
