//! The rooms that we want to be in, and where we are in each.

use super::command::Reply;
use super::event::Joined;
use throng_names::{Offset, Position, RoomName};

/// How far we are with being in a room, on the present connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Out,
    Asked,
    In,
}

/// A room that we want to be in.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: RoomName,
    /// Tells it from a room of the same name that was left: an answer may be for that one.
    pub(super) serial: u64,
    /// The last message that was seen.
    pub(super) position: Option<Position>,
    pub(super) stage: Stage,
    /// Whether we were in it before, so that messages can be missed.
    pub(super) was_in: bool,
    pub(super) waiters: Vec<Reply<Joined>>,
}

/// What a message, or a gap, means for a room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Of a room that was left, or known already.
    Nothing,
    New {
        /// Offsets before it that will not come.
        gap: Option<(u64, u64)>,
    },
}

/// The rooms in the order in which they were wanted; the first one is entered with the handshake.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    list: Vec<Room>,
    last_serial: u64,
}

impl Rooms {
    pub(super) fn entry(&self) -> Option<&Room> {
        self.list.first()
    }

    pub(super) fn get(&self, name: &RoomName) -> Option<&Room> {
        self.list.iter().find(|room| room.name == *name)
    }

    pub(super) fn get_mut(&mut self, name: &RoomName) -> Option<&mut Room> {
        self.list.iter_mut().find(|room| room.name == *name)
    }

    pub(super) fn by_serial(&mut self, serial: u64) -> Option<&mut Room> {
        self.list.iter_mut().find(|room| room.serial == serial)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Room> {
        self.list.iter_mut()
    }

    /// Commands that wait for being in a room.
    pub(super) fn waiting(&self) -> usize {
        self.list.iter().map(|room| room.waiters.len()).sum()
    }

    /// The room of that name, wanted from now on if it was not.
    pub(super) fn want(&mut self, name: &RoomName) -> &mut Room {
        let place = self.list.iter().position(|room| room.name == *name).unwrap_or_else(|| {
            self.last_serial += 1;
            let (name, serial) = (name.clone(), self.last_serial);
            let (position, stage, was_in, waiters) = (None, Stage::Out, false, Vec::new());
            self.list.push(Room { name, serial, position, stage, was_in, waiters });
            self.list.len() - 1
        });
        &mut self.list[place]
    }

    pub(super) fn remove(&mut self, name: &RoomName) -> Option<Room> {
        let place = self.list.iter().position(|room| room.name == *name)?;
        Some(self.list.remove(place))
    }

    /// The next room to join on this connection that `may_join` allows; none while an answer is awaited.
    ///
    /// One at a time: when the server finds us too fast, one refusal is all, however many rooms we want.
    pub(super) fn next_to_join(&mut self, may_join: impl Fn(&RoomName) -> bool) -> Option<&mut Room> {
        if self.list.iter().any(|room| room.stage == Stage::Asked) {
            return None;
        }
        self.list.iter_mut().find(|room| room.stage == Stage::Out && may_join(&room.name))
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self) {
        self.list.iter_mut().for_each(|room| room.stage = Stage::Out);
    }

    /// What we know of the offsets means nothing any more.
    pub(super) fn forget_positions(&mut self) {
        self.list.iter_mut().for_each(|room| room.position = None);
    }

    /// Everything up to `to` has come, or will not: `is_message` tells whether `to` itself is there.
    pub(super) fn see(&mut self, name: &RoomName, to: u64, is_message: bool) -> Seen {
        let room = self.get_mut(name).filter(|room| room.stage == Stage::In);
        let Some(Position { offset: Offset(offset), .. }) = room.and_then(|room| room.position.as_mut())
        else {
            return Seen::Nothing;
        };
        if to <= *offset {
            return Seen::Nothing;
        }
        // `to` is greater: neither can overflow.
        let (first, last) = (*offset + 1, to - u64::from(is_message));
        *offset = to;
        Seen::New { gap: (first <= last).then_some((first, last)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RoomName {
        text.parse().unwrap()
    }

    fn inside(offset: u64) -> Rooms {
        let mut rooms = Rooms::default();
        let room = rooms.want(&name("r"));
        room.stage = Stage::In;
        room.position = Some(Position { epoch: "000000000000a".parse().unwrap(), offset: Offset(offset) });
        rooms
    }

    #[test]
    fn each_message_is_new_once_and_what_lies_between_is_a_gap() {
        let mut rooms = inside(5);
        let new = |gap| Seen::New { gap };
        assert_eq!(rooms.see(&name("r"), 6, true), new(None));
        assert_eq!(rooms.see(&name("r"), 6, true), Seen::Nothing, "a duplicate");
        assert_eq!(rooms.see(&name("r"), 9, true), new(Some((7, 8))), "which the server should have told");
        assert_eq!(rooms.see(&name("r"), 12, false), new(Some((10, 12))), "which it did");
        assert_eq!(rooms.see(&name("r"), 12, false), Seen::Nothing);
        assert_eq!(rooms.see(&name("other"), 13, true), Seen::Nothing);
        assert_eq!(rooms.see(&name("r"), u64::MAX, true), new(Some((13, u64::MAX - 1))));
        assert_eq!(rooms.see(&name("r"), u64::MAX, true), Seen::Nothing);
    }

    #[test]
    fn a_room_that_is_wanted_again_is_another_one() {
        let mut rooms = inside(5);
        let old = rooms.remove(&name("r")).unwrap();
        let new = rooms.want(&name("r")).serial;
        assert!(old.serial != new && rooms.by_serial(old.serial).is_none());
        assert_eq!(rooms.see(&name("r"), 6, true), Seen::Nothing, "not in it yet");
    }
}
