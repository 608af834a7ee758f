//! A delivery: a frame for the members of a room, its audience, and the copy for its sender, the client that sent the
//! message. A lane is the members of one room on one shard that are sent its events in one form.

use std::time::Instant;

use crate::names::{ConnectionId, Offset};
use crate::protocol::frame::Frame;
use crate::protocol::{Deflate, Dialect};

/// The form in which a room's events are sent to the members of a lane: the dialect, and whether events are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LaneKind {
    /// The plain dialect.
    Plain,
    /// `throng.v1`.
    V1,
    /// Server-sent events.
    Sse,
    /// The plain dialect, compressed.
    DeflatedPlain,
    /// `throng.v1`, compressed.
    DeflatedV1,
}

impl LaneKind {
    /// Every kind, each at the place of its number.
    pub const ALL: [Self; 5] = [Self::Plain, Self::V1, Self::Sse, Self::DeflatedPlain, Self::DeflatedV1];
    /// The kinds whose members have a WebSocket.
    pub const WEBSOCKET: [Self; 4] = [Self::Plain, Self::V1, Self::DeflatedPlain, Self::DeflatedV1];
    /// The kinds whose members speak `throng.v1`.
    pub const OF_V1: [Self; 2] = [Self::V1, Self::DeflatedV1];

    /// Returns the kind for clients of a dialect and a use of compression.
    #[must_use]
    pub const fn new(dialect: Dialect, deflate: Deflate) -> Self {
        match (dialect, deflate) {
            (Dialect::Plain, Deflate::Both) => Self::DeflatedPlain,
            (Dialect::V1, Deflate::Both) => Self::DeflatedV1,
            (Dialect::Plain, _) => Self::Plain,
            (Dialect::V1, _) => Self::V1,
            (Dialect::Sse, _) => Self::Sse,
        }
    }

    /// True when events are compressed.
    #[must_use]
    pub const fn is_deflated(self) -> bool {
        matches!(self, Self::DeflatedPlain | Self::DeflatedV1)
    }
}

impl From<Dialect> for LaneKind {
    /// Returns the kind without compression.
    fn from(dialect: Dialect) -> Self {
        Self::new(dialect, Deflate::Off)
    }
}

/// Numbers of members, by kind of lane.
pub(super) type Members = [u32; LaneKind::ALL.len()];

/// The members of a room that a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Members with a WebSocket: those that speak the plain dialect or `throng.v1`.
    All,
    /// Members that speak the plain dialect.
    Plain,
    /// Members that speak `throng.v1`.
    V1,
    /// Members that get server-sent events.
    Sse,
    /// Members of all dialects. No frame is for all of them, because one of a WebSocket is no server-sent event.
    Any,
}

impl Audience {
    /// Returns the lanes of this audience that have members on a shard. `members` are the room's members on that shard,
    /// by kind of lane.
    pub(super) fn lanes(self, members: Members) -> Lanes {
        let asked = match self {
            Self::All => 0b1_1011,
            Self::Plain => 0b0_1001,
            Self::V1 => 0b1_0010,
            Self::Sse => 0b0_0100,
            Self::Any => 0b1_1111,
        };
        let [plain, v1, sse, deflated_plain, deflated_v1] = members.map(|count| u8::from(count > 0));
        let occupied = plain | v1 << 1 | sse << 2 | deflated_plain << 3 | deflated_v1 << 4;
        Lanes(asked & occupied)
    }
}

/// The set of a room's lanes on one shard that a frame goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes(u8);

impl Lanes {
    /// The lanes whose events are compressed.
    const DEFLATED: u8 = 0b1_1000;

    /// Returns the set of one lane.
    #[must_use]
    pub const fn only(kind: LaneKind) -> Self {
        Self(1 << kind as u8)
    }

    /// True when the lane of this kind is in the set.
    #[must_use]
    pub const fn has(self, kind: LaneKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// True when a lane whose events are compressed is in the set.
    #[must_use]
    pub const fn has_deflated(self) -> bool {
        self.0 & Self::DEFLATED != 0
    }

    /// Returns the number of lanes.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// The note for a client whose queue drops a frame: the offset of a message, the number of users after a change of
/// presence, or nothing. It is packed into eight bytes, because each frame of each batch has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossNote(u64);

impl LossNote {
    /// The empty note: a client does not learn that the frame was dropped.
    pub const NONE: Self = Self(0);
    /// The bit that marks a number of users. Neither offsets nor numbers of users grow so large.
    const PRESENCE: u64 = 1 << 63;

    /// Makes the note that tells the number of users after a change of presence.
    #[must_use]
    pub const fn presence(members: usize) -> Self {
        Self(Self::PRESENCE | members as u64)
    }

    /// Returns the offset of the message, if the frame was one.
    #[must_use]
    pub const fn offset(self) -> Option<Offset> {
        if self.0 > 0 && self.0 < Self::PRESENCE { Some(Offset(self.0)) } else { None }
    }

    /// Returns the number of users, if the frame was a presence event.
    #[must_use]
    pub const fn members(self) -> Option<usize> {
        if self.0 >= Self::PRESENCE { Some((self.0 & !Self::PRESENCE) as usize) } else { None }
    }
}

impl From<Offset> for LossNote {
    fn from(offset: Offset) -> Self {
        debug_assert!(offset.0 < Self::PRESENCE, "offsets never grow so large");
        Self(offset.0)
    }
}

/// The copy of a message for its sender, the client that sent it. The sender is served before the other members,
/// because it may wait for its message before it sends the next. In `throng.v1` it also gets an `ack`.
#[derive(Debug, Clone)]
pub struct SenderCopy {
    /// The sender's connection.
    pub to: ConnectionId,
    /// The ack; `None` in the plain dialect.
    pub ack: Option<Box<Ack>>,
}

/// The ack of a message, at the message's position in the room's stream.
#[derive(Debug, Clone)]
pub struct Ack {
    /// The encoded `ack`. It answers the sender's own command, so it is never dropped.
    pub frame: Frame,
    /// The ack replaces the message: the sender does not get the message itself.
    pub instead: bool,
}

/// A frame for the members of a room.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The encoded frame.
    pub frame: &'a Frame,
    /// The members that get it.
    pub audience: Audience,
    /// The note for a member whose queue drops the frame.
    pub loss: LossNote,
    /// The copy for the sender; `None` when no client sent the frame.
    pub sender: Option<SenderCopy>,
    /// Time when it was published.
    pub at: Instant,
}

impl<'a> Delivery<'a> {
    /// Makes the delivery of a message to all members.
    #[must_use]
    pub fn message(frame: &'a Frame, offset: Offset, at: Instant) -> Self {
        Self { frame, audience: Audience::All, loss: offset.into(), sender: None, at }
    }

    /// Makes the delivery of a `presence_diff` to the members that speak `throng.v1`. `members` is the number of users
    /// in the room after the change.
    #[must_use]
    pub const fn presence(frame: &'a Frame, members: usize, at: Instant) -> Self {
        Self { frame, audience: Audience::V1, loss: LossNote::presence(members), sender: None, at }
    }

    /// Makes the delivery of a notice: an event in the room's stream without an offset, which a client does not miss
    /// when its queue drops it.
    #[must_use]
    pub const fn notice(frame: &'a Frame, audience: Audience, at: Instant) -> Self {
        Self { frame, audience, loss: LossNote::NONE, sender: None, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_into_the_lanes_of_its_audience_that_have_members() {
        for (audience, members, plain, v1) in [
            (Audience::All, [1, 0, 1, 0, 0], true, false),
            (Audience::All, [2, 3, 0, 0, 0], true, true),
            (Audience::Plain, [2, 3, 0, 0, 0], true, false),
            (Audience::V1, [2, 3, 0, 0, 0], false, true),
            (Audience::V1, [2, 0, 1, 0, 0], false, false),
        ] {
            let lanes = audience.lanes(members);
            assert!(!lanes.has(LaneKind::Sse) && !lanes.has_deflated(), "{audience:?}");
            assert_eq!((lanes.has(LaneKind::Plain), lanes.has(LaneKind::V1)), (plain, v1), "{audience:?}");
            assert_eq!(lanes.count(), usize::from(plain) + usize::from(v1));
        }
        assert_eq!(Audience::Sse.lanes([1; 5]), Lanes::only(LaneKind::Sse));
        assert_eq!(Audience::Sse.lanes([1, 1, 0, 1, 1]).count(), 0);
        assert_eq!(Audience::Any.lanes([1, 0, 1, 0, 1]).count(), 3);
    }

    #[test]
    fn members_that_get_compressed_events_belong_to_the_audience_of_their_dialect() {
        let crowd = [0, 0, 0, 2, 1];
        assert_eq!(Audience::Plain.lanes(crowd), Lanes::only(LaneKind::DeflatedPlain));
        assert_eq!(Audience::V1.lanes(crowd), Lanes::only(LaneKind::DeflatedV1));
        assert_eq!((Audience::All.lanes(crowd).count(), Audience::Any.lanes([1; 5]).count()), (2, 5));
        assert!(
            Audience::All.lanes(crowd).has_deflated() && !Audience::All.lanes([1, 1, 1, 0, 0]).has_deflated()
        );
        for (index, kind) in LaneKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(kind.is_deflated(), Lanes::only(kind).has_deflated(), "{kind:?}");
        }
    }
}
