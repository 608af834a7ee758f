//! Trims: reports of rooms to the log on disk that they no longer keep something.

use crate::names::{Epoch, Offset, RoomName};

/// A change in what a room keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// The messages before this offset are no longer kept.
    Before(Offset),
    /// Nothing is kept any more: the room is gone, and its epoch never returns.
    All,
    /// Nothing is dropped: the room begins in this epoch.
    Begins,
}

/// Takes the reports of rooms. Called under the broker's locks, mostly a room's, so it must not wait.
pub(super) type TrimSink = Box<dyn Fn(&RoomName, Epoch, Trim) + Send + Sync>;
