//! An entry in the member list of a lane. A lane is the members of one room on one shard that are sent its events in
//! one form.

/// The position of a member that has left: no frame is behind it.
pub(in crate::shard) const GONE: u64 = u64::MAX;

/// A client in a lane, in 16 bytes. A lane lists its members in the order of their slots, so that a sweep, which takes
/// one batch to all of them, walks memory forwards.
#[derive(Debug, Clone, Copy)]
pub(in crate::shard) struct Member {
    /// The client's slot on this shard.
    pub(in crate::shard) slot: u32,
    /// The member gets only frames behind this position in the room's stream; [`GONE`] when it has left.
    pub(in crate::shard) after: u64,
}

impl Member {
    /// Finds the index of a slot's member in a list that is sorted by slots.
    ///
    /// # Errors
    /// The index at which such a member would have to be inserted.
    pub(super) fn find(members: &[Self], slot: u32) -> Result<usize, usize> {
        members.binary_search_by_key(&slot, |member| member.slot)
    }
}
