//! What the client decides.

use super::Backoff;
use crate::names::{RoomName, UserId};

pub(super) struct Settings {
    pub(super) user: UserId,
    pub(super) queue: usize,
    pub(super) has_token: bool,
}

pub(super) struct Core;

impl Core {
    pub(super) fn new(_: Settings, _: Option<RoomName>, _: Backoff, _: fastrand::Rng) -> Self {
        Self
    }
}
