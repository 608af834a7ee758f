//! A message's place in its room, and since when places are counted.

use std::fmt;

use super::Epoch;

/// A message's place in its room: counts from 1 without a hole; 0 is "before the first message".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset of the message after this one.
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

/// A message's place in its room, and the life of the count: after a restart without the room's history it begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the count.
    pub epoch: Epoch,
    /// The count.
    pub offset: Offset,
}
