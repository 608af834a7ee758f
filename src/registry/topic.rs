//! A room as seen from outside its shards: the number of its members on each, and the last position of its stream.

use super::delivery::Audience;
use crate::protocol::Dialect;

/// Names a room on every shard. An id is never used again.
pub type TopicId = u64;

/// Counts a room's members on each shard and numbers the frames of its stream. The room's lock protects it.
#[derive(Debug)]
pub struct Topic {
    id: TopicId,
    /// Position of the last message or notice in the room's stream.
    seq: u64,
    /// Number of members on each shard, by dialect.
    members: Box<[[u32; 2]]>,
}

impl Topic {
    /// Makes a room without members, for a node with `shards` shards.
    pub(super) fn new(id: TopicId, shards: usize) -> Self {
        Self { id, seq: 0, members: vec![[0; 2]; shards].into_boxed_slice() }
    }

    /// Returns the id that names the room on every shard.
    #[must_use]
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Counts a new member. Returns the position in the room's stream behind which the member gets frames.
    pub fn join(&mut self, shard: usize, dialect: Dialect) -> u64 {
        self.members[shard][dialect as usize] += 1;
        self.seq
    }

    /// Counts a member that leaves. Returns the position in the room's stream up to which the member gets frames.
    pub fn leave(&mut self, shard: usize, dialect: Dialect) -> u64 {
        let members = &mut self.members[shard][dialect as usize];
        debug_assert!(*members > 0, "a member leaves once");
        *members = members.saturating_sub(1);
        self.seq
    }

    /// True when the room has a member that belongs to the audience.
    #[must_use]
    pub fn has(&self, audience: Audience) -> bool {
        self.members.iter().any(|&members| audience.lanes(members).count() > 0)
    }

    /// Returns the number of connections in the room.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.members.iter().flatten().map(|&count| count as usize).sum()
    }

    /// Takes the next position of the room's stream, for one frame.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Returns the number of members on each shard, by dialect.
    pub(super) fn members(&self) -> impl Iterator<Item = [u32; 2]> {
        self.members.iter().copied()
    }
}
