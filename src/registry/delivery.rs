//! What a publisher hands to a room: a frame, for whom it is, and what its sender alone gets with it.

use std::time::Instant;

use crate::names::{ConnectionId, Offset};
use crate::protocol::Dialect;
use crate::protocol::frame::Frame;

/// Those members of a room whom a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everybody.
    All,
    /// Who speaks the plain dialect.
    Plain,
    /// Who speaks `throng.v1`.
    V1,
}

impl Audience {
    /// The lanes of this audience in which there is anybody; `members` counts them by dialect.
    pub(super) fn lanes(self, members: [u32; 2]) -> Lanes {
        let asked = match self {
            Self::All => 0b11,
            Self::Plain => Lanes::bit(Dialect::Plain),
            Self::V1 => Lanes::bit(Dialect::V1),
        };
        let occupied = u8::from(members[0] > 0) | u8::from(members[1] > 0) << 1;
        Lanes(asked & occupied)
    }
}

/// The lanes of a room on one shard that a frame goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes(u8);

impl Lanes {
    const fn bit(dialect: Dialect) -> u8 {
        1 << dialect as u8
    }

    /// The lane of one dialect.
    #[must_use]
    pub const fn only(dialect: Dialect) -> Self {
        Self(Self::bit(dialect))
    }

    /// True when that dialect's is among them.
    #[must_use]
    pub const fn has(self, dialect: Dialect) -> bool {
        self.0 & Self::bit(dialect) != 0
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// What a queue that drops a frame has to say in its place: the offset of a message, the number of users of news about
/// presence, or nothing. Eight bytes, for each frame of each batch has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    /// Nobody misses it.
    pub const NONE: Self = Self(0);
    /// No offset is as large, and no room.
    const NEWS: u64 = 1 << 63;

    /// Of news about presence in a room of so many users.
    #[must_use]
    pub const fn news(members: usize) -> Self {
        Self(Self::NEWS | members as u64)
    }

    /// The offset of a message.
    #[must_use]
    pub const fn offset(self) -> Option<Offset> {
        if self.0 > 0 && self.0 < Self::NEWS { Some(Offset(self.0)) } else { None }
    }

    /// The number of users.
    #[must_use]
    pub const fn members(self) -> Option<usize> {
        if self.0 >= Self::NEWS { Some((self.0 & !Self::NEWS) as usize) } else { None }
    }
}

impl From<Offset> for Place {
    fn from(offset: Offset) -> Self {
        debug_assert!(offset.0 < Self::NEWS, "nobody counts as far");
        Self(offset.0)
    }
}

/// What the sender of a message has of its own: it gets the message before all others do, for it may wait for it to say
/// the next; and in `throng.v1` its `ack`.
#[derive(Debug, Clone)]
pub struct Aside {
    /// The sender.
    pub to: ConnectionId,
    /// Nothing in the plain dialect.
    pub ack: Option<Box<Ack>>,
}

/// What the sender of a message alone gets at the message's place in the room's stream.
#[derive(Debug, Clone)]
pub struct Ack {
    /// The frame; as an answer to the sender's own command it is never dropped.
    pub frame: Frame,
    /// It takes the message's place: the sender does not get the message itself.
    pub instead: bool,
}

/// A frame for the members of a room.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The encoded frame.
    pub frame: &'a Frame,
    /// Whom it is for.
    pub audience: Audience,
    /// What is said should it be dropped.
    pub place: Place,
    /// Its sender, if that is a client, and what it gets with it.
    pub aside: Option<Aside>,
    /// When it was published.
    pub at: Instant,
}

impl<'a> Delivery<'a> {
    /// A message to everybody.
    #[must_use]
    pub fn message(frame: &'a Frame, offset: Offset, at: Instant) -> Self {
        Self { frame, audience: Audience::All, place: offset.into(), aside: None, at }
    }

    /// A `presence_diff`, in a room of so many users.
    #[must_use]
    pub const fn news(frame: &'a Frame, members: usize, at: Instant) -> Self {
        Self { frame, audience: Audience::V1, place: Place::news(members), aside: None, at }
    }

    /// Something else that stands in the room's stream.
    #[must_use]
    pub const fn notice(frame: &'a Frame, audience: Audience, at: Instant) -> Self {
        Self { frame, audience, place: Place::NONE, aside: None, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_where_it_is_meant_for_and_where_somebody_is() {
        for (audience, members, plain, v1) in [
            (Audience::All, [1, 0], true, false),
            (Audience::All, [2, 3], true, true),
            (Audience::Plain, [2, 3], true, false),
            (Audience::V1, [2, 3], false, true),
            (Audience::V1, [2, 0], false, false),
        ] {
            let lanes = audience.lanes(members);
            assert_eq!((lanes.has(Dialect::Plain), lanes.has(Dialect::V1)), (plain, v1), "{audience:?}");
            assert_eq!(lanes.count(), usize::from(plain) + usize::from(v1));
        }
    }
}
