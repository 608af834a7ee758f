//! The id of a lane. A lane is the members of one room on one shard that are sent its events in one form.

use crate::registry::delivery::LaneKind;
use crate::registry::topic::TopicId;

/// The id of a lane on a shard: the id of its room and the kind of lane, in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::shard) struct LaneId(u64);

impl LaneId {
    /// Makes the id of a room's lane of one kind. Rooms are numbered from 1, so 61 bits last for as long as the process
    /// lives.
    pub(in crate::shard) const fn new(topic: TopicId, kind: LaneKind) -> Self {
        Self(topic << 3 | kind as u64)
    }

    /// Returns the ids of a room's lanes, one of each kind.
    pub(in crate::shard) fn of(topic: TopicId) -> [Self; LaneKind::ALL.len()] {
        LaneKind::ALL.map(|kind| Self::new(topic, kind))
    }

    /// Returns the ids of the lanes of the same room whose kinds have smaller numbers.
    pub(in crate::shard) fn before(self) -> impl Iterator<Item = Self> {
        let room = self.0 & !0b111;
        (room..self.0).map(Self)
    }
}
