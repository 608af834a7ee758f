//! The position of a room that is gone, from which a room of that name continues.

use super::Position;
use super::eviction_order::Opener;
use crate::chat::keys::KeyExpiry;
use crate::names::{Epoch, Offset};

/// The position of a room, with what decides how long it is kept.
#[derive(Debug)]
pub(super) struct RetainedPosition {
    pub(super) position: Position,
    /// The user who opened the room first.
    pub(super) opener: Opener,
    pub(super) keys: KeyExpiry,
}

impl RetainedPosition {
    /// Returns the position of a room that begins a new life.
    pub(super) fn fresh(opener: Opener) -> Self {
        let position = Position { epoch: Epoch::random(), offset: Offset(0) };
        Self { position, opener, keys: KeyExpiry::default() }
    }
}
