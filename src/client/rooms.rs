//! Where we are in each room.

use crate::names::Epoch;

/// The last message of a room that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
}
