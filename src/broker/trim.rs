//! What a room no longer keeps, as the log on disk hears of it.

use crate::names::{Epoch, Offset, RoomName};

/// What a room no longer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// The messages before this one.
    Before(Offset),
    /// Everything: the room is no more, and its epoch never comes back.
    All,
    /// Nothing yet: the room begins in this epoch.
    Begins,
}

/// Hears what rooms no longer keep. Called under the broker's locks, mostly a room's: must not wait.
pub(super) type TrimSink = Box<dyn Fn(&RoomName, Epoch, Trim) + Send + Sync>;
