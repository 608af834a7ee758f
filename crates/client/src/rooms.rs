//! The rooms that the program wants to be in, with the membership and the position in each.

use super::command::Reply;
use super::event::Joined;
use throng_names::{Epoch, Offset, Position, RoomName};

/// The client's membership in a room on the present connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    Outside,
    /// A `join` was sent and is not answered yet.
    Joining,
    Inside,
}

/// A room that the program wants to be in.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: RoomName,
    /// Tells the room from one of the same name that was left before: a late answer may be for that one.
    pub(super) serial: u64,
    /// The position of the last message that was received.
    pub(super) position: Option<Position>,
    pub(super) membership: Membership,
    /// True once the client was in the room, so that it can have missed messages.
    pub(super) was_inside: bool,
    /// The callers of `join` that wait for their answer.
    pub(super) waiters: Vec<Reply<Joined>>,
}

/// The effect of an offset from the server on the position in a room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing: the offset was known already, or the client is not in the room.
    Known,
    /// The offset is new.
    New {
        /// The first and the last offset before it that were left out.
        gap: Option<(u64, u64)>,
    },
}

/// The rooms in the order in which they were wanted. The handshake enters the first one, the entry room.
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

    /// Returns how many calls of `join` wait for their answer.
    pub(super) fn waiting(&self) -> usize {
        self.list.iter().map(|room| room.waiters.len()).sum()
    }

    /// Returns the room of that name, which is added if it was not wanted before.
    pub(super) fn get_or_add(&mut self, name: &RoomName) -> &mut Room {
        let index = self.list.iter().position(|room| room.name == *name).unwrap_or_else(|| {
            self.last_serial += 1;
            let (name, serial) = (name.clone(), self.last_serial);
            let (position, membership, was_inside, waiters) = (None, Membership::Outside, false, Vec::new());
            self.list.push(Room { name, serial, position, membership, was_inside, waiters });
            self.list.len() - 1
        });
        &mut self.list[index]
    }

    pub(super) fn remove(&mut self, name: &RoomName) -> Option<Room> {
        let index = self.list.iter().position(|room| room.name == *name)?;
        Some(self.list.remove(index))
    }

    /// Returns the next room to join that `may_join` allows, or `None` while another join waits for its answer.
    ///
    /// Rooms are joined one at a time: a server that finds the client too fast then refuses one join, not all of them.
    pub(super) fn next_to_join(&mut self, may_join: impl Fn(&RoomName) -> bool) -> Option<&mut Room> {
        if self.list.iter().any(|room| room.membership == Membership::Joining) {
            return None;
        }
        self.list.iter_mut().find(|room| room.membership == Membership::Outside && may_join(&room.name))
    }

    /// Notes that the connection has ended, and with it every membership.
    pub(super) fn disconnected(&mut self) {
        self.list.iter_mut().for_each(|room| room.membership = Membership::Outside);
    }

    /// Moves the position in a room up to the offset `to` and reports offsets that were left out. `is_message` says
    /// that the message at `to` itself is here; otherwise `to` is the last offset of a gap.
    pub(super) fn advance(&mut self, name: &RoomName, to: u64, is_message: bool) -> Progress {
        let room = self.get_mut(name).filter(|room| room.membership == Membership::Inside);
        let Some(Position { offset: Offset(offset), .. }) = room.and_then(|room| room.position.as_mut())
        else {
            return Progress::Known;
        };
        if to <= *offset {
            return Progress::Known;
        }
        // `to` is greater than the offset, so that neither operation can overflow.
        let (first, last) = (*offset + 1, to - u64::from(is_message));
        *offset = to;
        Progress::New { gap: (first <= last).then_some((first, last)) }
    }

    /// Takes over the new epoch of a room that goes on behind the offset `last`. The client keeps its own offset, so
    /// that nothing between the two is left out by a later resume. An epoch that goes on below that offset has lost
    /// what this client was shown: the old one is kept, with which the server refuses to resume.
    pub(super) fn change_epoch(&mut self, name: &RoomName, epoch: Epoch, last: Offset) {
        let room = self.get_mut(name).filter(|room| room.membership == Membership::Inside);
        let position = room.and_then(|room| room.position.as_mut());
        if let Some(position) = position.filter(|position| position.offset <= last) {
            position.epoch = epoch;
        }
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
        let room = rooms.get_or_add(&name("r"));
        room.membership = Membership::Inside;
        room.position = Some(Position { epoch: "000000000000a".parse().unwrap(), offset: Offset(offset) });
        rooms
    }

    #[test]
    fn each_message_is_new_once_and_offsets_between_are_a_gap() {
        let mut rooms = inside(5);
        let new = |gap| Progress::New { gap };
        assert_eq!(rooms.advance(&name("r"), 6, true), new(None));
        assert_eq!(rooms.advance(&name("r"), 6, true), Progress::Known, "a duplicate");
        assert_eq!(
            rooms.advance(&name("r"), 9, true),
            new(Some((7, 8))),
            "a gap that the server did not announce"
        );
        assert_eq!(rooms.advance(&name("r"), 12, false), new(Some((10, 12))), "a gap that it announced");
        assert_eq!(rooms.advance(&name("r"), 12, false), Progress::Known);
        assert_eq!(rooms.advance(&name("other"), 13, true), Progress::Known);
        assert_eq!(rooms.advance(&name("r"), u64::MAX, true), new(Some((13, u64::MAX - 1))));
        assert_eq!(rooms.advance(&name("r"), u64::MAX, true), Progress::Known);
    }

    #[test]
    fn an_epoch_is_taken_over_unless_it_goes_on_below_the_position() {
        let (old, new): (Epoch, Epoch) = ("000000000000a".parse().unwrap(), "000000000000b".parse().unwrap());
        for (last, expected) in [(4, old), (5, new), (9, new)] {
            let mut rooms = inside(5);
            rooms.change_epoch(&name("other"), new, Offset(last));
            assert_eq!(rooms.get(&name("r")).unwrap().position.unwrap().epoch, old);
            rooms.change_epoch(&name("r"), new, Offset(last));
            let position = Position { epoch: expected, offset: Offset(5) };
            assert_eq!(rooms.get(&name("r")).unwrap().position, Some(position), "{last}");
        }
        let mut rooms = inside(5);
        rooms.disconnected();
        rooms.change_epoch(&name("r"), new, Offset(5));
        assert_eq!(rooms.get(&name("r")).unwrap().position.unwrap().epoch, old, "it is not inside");
    }

    #[test]
    fn a_room_that_is_wanted_again_has_another_serial() {
        let mut rooms = inside(5);
        let old = rooms.remove(&name("r")).unwrap();
        let new = rooms.get_or_add(&name("r")).serial;
        assert!(old.serial != new && rooms.by_serial(old.serial).is_none());
        assert_eq!(rooms.advance(&name("r"), 6, true), Progress::Known, "it is not joined yet");
    }
}
