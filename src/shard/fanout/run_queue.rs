//! The run queue of a shard: the lanes and clients that have something to do, in the order of their turns. A lane is
//! the members of one room on one shard that are sent its events in one form.

use std::collections::VecDeque;
use std::time::Instant;

use super::supplies::Supplies;
use crate::metrics::ShardMetrics;
use crate::shard::lane::id::LaneId;
use crate::shard::lane::{FinishedSweep, Lane};

/// The work of a shard's fan-out, and buffers that it uses again.
#[derive(Debug, Default)]
pub(in crate::shard) struct RunQueue {
    /// Lanes with frames to fan out, in the order of their turns.
    pub(super) ready: VecDeque<LaneId>,
    /// Lanes with senders (clients that sent a message) to serve before the lane's turn. A lane may be here although
    /// its senders have been served in its turn meanwhile.
    pub(super) with_senders: VecDeque<LaneId>,
    /// Slots of the clients whose queues are to be written, in the order of their turns.
    pub(in crate::shard) dirty: VecDeque<u32>,
    /// Sweeps that have offered their batch to every member. Clients' queues may still hold the batches.
    pub(in crate::shard) finished: Vec<FinishedSweep>,
    /// Empty batches and the compressor, for gathering.
    pub(super) supplies: Supplies,
    /// The buffer in which a slice joins the pieces of what one client gets, kept between two slices.
    pub(super) scratch: Vec<u8>,
    /// Number of writes that the newest frames need, one for each frame and member. [`run`](super::run) takes the
    /// number and begins again at 0.
    pub(in crate::shard) expected: usize,
}

impl RunQueue {
    /// Puts a lane at the end of the line of those with frames to fan out, if it has any and is not in the line.
    pub(in crate::shard) fn ready(&mut self, id: LaneId, lane: &mut Lane) {
        if lane.has_work() && !std::mem::replace(&mut lane.is_ready, true) {
            self.ready.push_back(id);
        }
    }

    /// Puts a lane at the head of the line of those with frames to fan out, because its turn is not over, if it has any
    /// and is not in the line.
    pub(super) fn ready_first(&mut self, id: LaneId, lane: &mut Lane) {
        if lane.has_work() && !std::mem::replace(&mut lane.is_ready, true) {
            self.ready.push_front(id);
        }
    }

    /// Puts a lane at the end of the line of those with senders to serve, if it is not in that line.
    pub(in crate::shard) fn serve_senders_of(&mut self, id: LaneId, lane: &mut Lane) {
        if !std::mem::replace(&mut lane.has_senders, true) {
            self.with_senders.push_back(id);
        }
    }

    /// True when nothing is left to do. Senders that wait need no look: their lanes have frames to fan out, too.
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.dirty.is_empty()
    }

    /// Measures the finished sweeps and takes back their batches, once no client is left to be written to. A batch that
    /// the queue of a slow client still holds is left to that queue.
    pub(super) fn recycle(&mut self, metrics: &ShardMetrics) {
        if !self.dirty.is_empty() || self.finished.is_empty() {
            return;
        }
        let now = Instant::now();
        for FinishedSweep { batch, since } in self.finished.drain(..) {
            metrics.count_fanout(now - since);
            self.supplies.recycle(batch);
        }
        self.supplies.compressor.count(metrics);
    }
}
