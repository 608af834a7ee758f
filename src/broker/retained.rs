//! What is left of a room that is no more.

use super::Position;
use super::shares::Opener;
use crate::chat::keys::KeyExpiry;
use crate::names::{Epoch, Offset};

/// What a room leaves behind, or begins with.
#[derive(Debug)]
pub(super) struct RetainedPosition {
    pub(super) position: Position,
    /// Who opened it first.
    pub(super) opener: Opener,
    pub(super) keys: KeyExpiry,
}

impl RetainedPosition {
    /// A new life.
    pub(super) fn fresh(opener: Opener) -> Self {
        let position = Position { epoch: Epoch::random(), offset: Offset(0) };
        Self { position, opener, keys: KeyExpiry::default() }
    }
}
