//! The id of a lane. A lane is the members of one room on one shard that speak one dialect.

use crate::protocol::Dialect;
use crate::registry::topic::TopicId;

/// The id of a lane on a shard: the id of its room and the dialect, in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::shard) struct LaneId(u64);

impl LaneId {
    /// Makes the id of a room's lane for one dialect. Rooms are numbered from 1, so 62 bits last for as long as the
    /// process lives.
    pub(in crate::shard) const fn new(topic: TopicId, dialect: Dialect) -> Self {
        Self(topic << 2 | dialect as u64)
    }

    /// Returns the ids of a room's lanes, one for each dialect.
    pub(in crate::shard) fn of(topic: TopicId) -> [Self; Dialect::ALL.len()] {
        Dialect::ALL.map(|dialect| Self::new(topic, dialect))
    }

    /// Returns the ids of the lanes of the same room whose dialects have smaller numbers.
    pub(in crate::shard) fn before(self) -> impl Iterator<Item = Self> {
        let room = self.0 & !0b11;
        (room..self.0).map(Self)
    }
}
