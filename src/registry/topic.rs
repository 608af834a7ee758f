//! A room as seen from outside its shards: the number of its members on each, and the last position of its stream.

use super::delivery::{Audience, LaneKind, Members};

/// Names a room on every shard. An id is never used again.
pub type TopicId = u64;

/// Counts a room's members on each shard and numbers the frames of its stream. The room's lock protects it.
#[derive(Debug)]
pub struct Topic {
    id: TopicId,
    /// Position of the last message or notice in the room's stream.
    seq: u64,
    /// Number of members on each shard, by kind of lane.
    members: Box<[Members]>,
    /// Number of connections that still read what they missed, and are no members yet.
    reading: usize,
}

impl Topic {
    /// Makes a room without members, for a node with `shards` shards.
    pub(super) fn new(id: TopicId, shards: usize) -> Self {
        Self { id, seq: 0, members: vec![Members::default(); shards].into_boxed_slice(), reading: 0 }
    }

    /// Returns the id that names the room on every shard.
    #[must_use]
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Counts a new member. Returns the position in the room's stream behind which the member gets frames.
    pub fn join(&mut self, shard: usize, kind: impl Into<LaneKind>) -> u64 {
        self.members[shard][kind.into() as usize] += 1;
        self.seq
    }

    /// Counts a member that leaves. Returns the position in the room's stream up to which the member gets frames.
    pub fn leave(&mut self, shard: usize, kind: impl Into<LaneKind>) -> u64 {
        let members = &mut self.members[shard][kind.into() as usize];
        debug_assert!(*members > 0, "a member leaves once");
        *members = members.saturating_sub(1);
        self.seq
    }

    /// Counts a connection without a user that reads what it missed, so that the room stays until it is a member.
    pub fn begin_reading(&mut self) {
        self.reading += 1;
    }

    /// Counts such a connection no more, because it becomes a member or goes.
    pub fn end_reading(&mut self) {
        debug_assert!(self.reading > 0, "it has begun");
        self.reading = self.reading.saturating_sub(1);
    }

    /// True when the room has a member that belongs to the audience.
    #[must_use]
    pub fn has(&self, audience: Audience) -> bool {
        self.members.iter().any(|&members| audience.lanes(members).count() > 0)
    }

    /// Returns the number of connections in the room.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.members.iter().flatten().map(|&count| count as usize).sum::<usize>() + self.reading
    }

    /// Takes the next position of the room's stream, for one frame.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Returns the number of members on each shard, by kind of lane.
    pub(super) fn members(&self) -> impl Iterator<Item = Members> {
        self.members.iter().copied()
    }
}
