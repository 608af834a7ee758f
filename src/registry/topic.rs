//! A room as all shards see it together.

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
    /// Members on each shard, by dialect.
    members: Box<[[u32; 2]]>,
}

impl Topic {
    /// Makes a room without members, on so many shards.
    pub(super) fn new(id: TopicId, shards: usize) -> Self {
        Self { id, seq: 0, members: vec![[0; 2]; shards].into_boxed_slice() }
    }

    /// Names the room on the shards.
    #[must_use]
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Counts a member in. Returns the position in the stream after which the member is served.
    pub fn join(&mut self, shard: usize, dialect: Dialect) -> u64 {
        self.members[shard][dialect as usize] += 1;
        self.seq
    }

    /// Counts a member out. Returns the position in the stream up to which the member is served.
    pub fn leave(&mut self, shard: usize, dialect: Dialect) -> u64 {
        let members = &mut self.members[shard][dialect as usize];
        debug_assert!(*members > 0, "a member leaves once");
        *members = members.saturating_sub(1);
        self.seq
    }

    /// True when the audience has a member in the room.
    #[must_use]
    pub fn has(&self, audience: Audience) -> bool {
        self.members.iter().any(|&members| audience.lanes(members).count() > 0)
    }

    /// Returns the number of connections in the room.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.members.iter().flatten().map(|&count| count as usize).sum()
    }

    /// Takes the next position of the stream.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Returns the members on each shard, by dialect.
    pub(super) fn members(&self) -> impl Iterator<Item = [u32; 2]> {
        self.members.iter().copied()
    }
}
