//! The state of a `throng.v1` connection besides its rooms.

use super::pending::Pending;
use crate::names::{self, RoomName};
use crate::node::TypingPause;

/// The state of a `throng.v1` connection besides its rooms.
#[derive(Debug)]
pub(super) struct Session {
    /// The room that the connection entered first, for commands that name none.
    pub(super) entry: RoomName,
    /// A hash of the client's address, with a key of this process.
    pub(super) address: u32,
    /// Patterns of the rooms that the token allows; `None` allows all. Boxed twice, because most connections have none.
    pub(super) allowed: Option<Box<Box<[String]>>>,
    /// The command that has to be finished before the next one is taken.
    pub(super) pending: Option<Box<Pending>>,
    /// Limits how often the connection's `typing` commands are shown to others.
    pub(super) typing: TypingPause,
}

impl Session {
    pub(super) fn new(entry: RoomName, address: u32, allowed: Option<Box<[String]>>) -> Self {
        Self { entry, address, allowed: allowed.map(Box::new), pending: None, typing: TypingPause::default() }
    }

    pub(super) fn allows(&self, room: &str) -> bool {
        let patterns = self.allowed.as_ref();
        patterns.is_none_or(|patterns| patterns.iter().any(|pattern| names::matches_pattern(pattern, room)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small_because_there_are_many() {
        assert!(size_of::<Session>() <= 32, "{}", size_of::<Session>());
    }
}
