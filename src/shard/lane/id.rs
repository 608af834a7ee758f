//! The id of a lane. A lane is the members of one room on one shard that speak one dialect.

use crate::protocol::Dialect;
use crate::registry::topic::TopicId;

/// The id of a lane on a shard: the id of its room and the dialect, in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::shard) struct LaneId(u64);

impl LaneId {
    /// Makes the id of a room's lane for one dialect. Rooms are numbered from 1, so 63 bits last for as long as the
    /// process lives.
    pub(in crate::shard) const fn new(topic: TopicId, dialect: Dialect) -> Self {
        Self(topic << 1 | dialect as u64)
    }

    /// Returns the ids of a room's lanes, one for each dialect.
    pub(in crate::shard) const fn of(topic: TopicId) -> [Self; 2] {
        [Self::new(topic, Dialect::Plain), Self::new(topic, Dialect::V1)]
    }

    /// Returns the id of the same room's lane for the other dialect.
    pub(in crate::shard) const fn other(self) -> Self {
        Self(self.0 ^ 1)
    }

    /// True for a lane of the dialect `throng.v1`.
    pub(in crate::shard) const fn is_v1(self) -> bool {
        self.0 & 1 == Dialect::V1 as u64
    }
}
