//! The id of a connection.

use std::fmt;
use std::num::NonZeroU64;

/// The id of a connection, unique within the process: the shard that owns the connection, its slot in that shard, and
/// the generation of the slot. The generation keeps the id of a closed connection from naming the slot's next owner.
///
/// 8 bits hold the shard, 24 the slot, 32 the generation. They are stored inverted, so that no id that occurs is zero
/// and an `Option` of one takes no more memory: every connection is in several tables.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(NonZeroU64);

impl ConnectionId {
    /// Number of shards that an id can tell apart.
    pub const MAX_SHARDS: usize = 1 << 8;
    /// Number of slots of one shard that an id can tell apart.
    pub const MAX_SLOTS: usize = 1 << 24;

    /// Creates an id from its three parts.
    ///
    /// # Panics
    /// When `shard` is not below [`Self::MAX_SHARDS`] or `slot` is not below [`Self::MAX_SLOTS`].
    #[must_use]
    pub fn new(shard: usize, slot: usize, generation: u32) -> Self {
        assert!(shard < Self::MAX_SHARDS && slot < Self::MAX_SLOTS, "connection id out of range");
        let bits = (shard as u64) << 56 | (slot as u64) << 32 | u64::from(generation);
        // The last generation of the last slot of the last shard would share its id with the one before.
        Self(NonZeroU64::new(!bits).unwrap_or(NonZeroU64::MIN))
    }

    const fn bits(self) -> u64 {
        !self.0.get()
    }

    /// Returns the shard that owns the connection.
    #[must_use]
    pub const fn shard(self) -> usize {
        (self.bits() >> 56) as usize
    }

    /// Returns the generation of the slot, which tells the connection from earlier ones in the same slot.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.bits() as u32
    }

    /// Returns the slot of the connection in its shard.
    #[must_use]
    pub const fn slot(self) -> usize {
        (self.bits() >> 32) as usize & (Self::MAX_SLOTS - 1)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.shard(), self.slot(), self.generation())
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_id_keeps_its_parts() {
        let id = ConnectionId::new(255, ConnectionId::MAX_SLOTS - 1, u32::MAX);
        assert_eq!((id.shard(), id.slot()), (255, ConnectionId::MAX_SLOTS - 1));
        assert_ne!(ConnectionId::new(1, 2, 3), ConnectionId::new(1, 2, 4));
    }
}
