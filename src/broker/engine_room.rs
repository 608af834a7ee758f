//! The part of a room that only rooms of an engine have.

use crate::names::{Epoch, Offset, RoomName};

/// How long a room without members is followed, in milliseconds, so that a member who returns finds it.
pub const LINGER_MS: u64 = 30_000;

/// Earlier epochs of a room, each with the last offset that survived of it, newest first.
pub type EarlierEpochs = Box<[(Epoch, Offset)]>;

/// Learns that a room was closed on this node, so that the engine stops following it. Called under the broker's locks,
/// so it must not wait.
pub(super) type CloseSink = Box<dyn Fn(&RoomName) + Send + Sync>;

/// Whether the engine has messages of a room that this node has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Older {
    /// All that the engine keeps was read, as far as the room's bounds allow.
    Read,
    /// The engine may have older messages.
    Unread,
}
