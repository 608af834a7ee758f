//! Names the lanes of a room.

use crate::protocol::Dialect;
use crate::registry::topic::TopicId;

/// Names the lane of a room for one dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::shard) struct LaneId(u64);

impl LaneId {
    /// Returns the lane of a dialect. Topics are counted from 1, so 63 bits last for as long as the process lives.
    pub(in crate::shard) const fn new(topic: TopicId, dialect: Dialect) -> Self {
        Self(topic << 1 | dialect as u64)
    }

    /// Returns the room's lane of the other dialect.
    pub(in crate::shard) const fn other(self) -> Self {
        Self(self.0 ^ 1)
    }

    /// True for the lane of `throng.v1`.
    pub(in crate::shard) const fn is_v1(self) -> bool {
        self.0 & 1 == Dialect::V1 as u64
    }
}
