//! The position of a message in its room.

use std::fmt;

use super::epoch::Epoch;

/// The number of a message within an epoch of its room. Offsets count from 1 without a hole; 0 means "before the first
/// message".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// Returns the offset of the message after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in a room's stream of messages: an offset and the epoch within which it counts. A server that restarts
/// without the room's history begins a new epoch, whose offsets start at 1 again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The epoch within which the offset counts.
    pub epoch: Epoch,
    /// The number of the message within the epoch.
    pub offset: Offset,
}
