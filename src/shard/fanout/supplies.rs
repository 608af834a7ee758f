//! The supplies for gathering the batch of a lane: empty batches, and the compressor. A lane is the members of one room
//! on one shard that are sent its events in one form.

use std::rc::Rc;

use crate::shard::batch::Batch;
use crate::shard::lane::deflated::Compressor;

/// Most batches that are kept to be used again.
const SPARE_BATCHES: usize = 64;
/// Largest capacity of a buffer that is kept to be used again, in bytes.
pub(super) const SPARE_BYTES: usize = 128 * 1024;

/// Empty batches, and the compressor of a shard.
#[derive(Debug, Default)]
pub(in crate::shard) struct Supplies {
    /// Empty batches, kept for their buffers.
    spare: Vec<Rc<Batch>>,
    /// Compresses frames for the lanes whose members have negotiated that.
    pub(in crate::shard) compressor: Compressor,
}

impl Supplies {
    /// Returns an empty batch that nothing else holds.
    pub(in crate::shard) fn batch(&mut self) -> Rc<Batch> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps a batch to be used again, unless a queue holds it too, or its buffer is too large.
    pub(super) fn recycle(&mut self, mut shared: Rc<Batch>) {
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
