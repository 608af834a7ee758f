//! A member of a lane.

/// The position of a member that has left: no frame is behind it.
pub(in crate::shard) const GONE: u64 = u64::MAX;

/// A client in a lane: 16 bytes, in the order of the slots, so that a sweep walks memory forwards.
#[derive(Debug, Clone, Copy)]
pub(in crate::shard) struct Member {
    /// The client's slot on this shard.
    pub(in crate::shard) slot: u32,
    /// The member gets only what is behind this position in the room's stream.
    pub(in crate::shard) after: u64,
}

impl Member {
    /// Finds the member of a slot in a list that is sorted by slots.
    ///
    /// # Errors
    /// The index at which it would be inserted.
    pub(super) fn find(members: &[Self], slot: u32) -> Result<usize, usize> {
        members.binary_search_by_key(&slot, |member| member.slot)
    }
}
