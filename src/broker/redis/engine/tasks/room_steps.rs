//! The steps that rooms have to take towards being occupied or vacated: one at a time for each room, in order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::RoomKeys;
use crate::broker::redis::presence::occupied::Step;
use crate::names::RoomName;
use crate::shrink::ShrinkWhenSparse;

/// A step whose turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) step: Step,
    /// The number of the step; 0 before the first attempt.
    pub(super) number: u64,
    /// The incarnation that takes it.
    pub(super) by: Incarnation,
}

/// The steps of a room that are not done.
#[derive(Debug)]
struct Steps {
    keys: RoomKeys,
    turn: Turn,
    is_under_way: bool,
    /// The step behind it.
    next: Option<Turn>,
}

/// The steps that rooms have to take: at most two for each, as a later one replaces one that was not tried yet.
#[derive(Debug, Default)]
pub(super) struct RoomSteps {
    rooms: RefCell<FxHashMap<RoomName, Steps>>,
    /// The rooms whose step waits.
    pub(super) order: RefCell<VecDeque<RoomName>>,
    pub(super) workers: Cell<usize>,
}

impl RoomSteps {
    /// Adds a step. That a room is vacated is only asked when it has no other step to take.
    pub(super) fn add(&self, room: RoomName, keys: RoomKeys, step: Step, by: Incarnation) {
        let mut rooms = self.rooms.borrow_mut();
        let turn = Turn { step, number: 0, by };
        match rooms.get_mut(&room) {
            None => {
                rooms.insert(room.clone(), Steps { keys, turn, is_under_way: false, next: None });
                self.order.borrow_mut().push_back(room);
            }
            Some(_) if matches!(step, Step::Vacated(_)) => {}
            Some(steps) if steps.turn.number == 0 && !steps.is_under_way => steps.turn = turn,
            Some(steps) => steps.next = Some(turn),
        }
    }

    /// Takes the next step.
    pub(super) fn begin(&self) -> Option<(RoomName, RoomKeys, Turn)> {
        let room = self.order.borrow_mut().pop_front()?;
        let mut rooms = self.rooms.borrow_mut();
        let steps = rooms.get_mut(&room)?;
        steps.is_under_way = true;
        Some((room, steps.keys.clone(), steps.turn))
    }

    /// Notes that the step of a room is done.
    pub(super) fn end(&self, room: RoomName) {
        let mut rooms = self.rooms.borrow_mut();
        let Some(steps) = rooms.get_mut(&room) else { return };
        match steps.next.take() {
            Some(next) => {
                (steps.turn, steps.is_under_way) = (next, false);
                self.order.borrow_mut().push_back(room);
            }
            None => {
                rooms.remove(&room);
                rooms.shrink_when_sparse();
            }
        }
    }

    /// Notes that the step of a room has failed: it is taken again, behind those of other rooms, with its number.
    pub(super) fn again(&self, room: RoomName, number: u64) {
        if let Some(steps) = self.rooms.borrow_mut().get_mut(&room) {
            (steps.turn.number, steps.is_under_way) = (number, false);
            self.order.borrow_mut().push_back(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::redis::keys::Keys;

    #[test]
    fn a_room_takes_one_step_at_a_time_and_the_last_one_counts() {
        let steps = RoomSteps::default();
        let room: RoomName = "lobby".parse().unwrap();
        let add = |step| steps.add(room.clone(), Keys::new("p").room(&room), step, Incarnation(1));
        let begin = || steps.begin().map(|(_, _, turn)| (turn.step, turn.number));
        add(Step::Occupied);
        add(Step::Left);
        add(Step::Vacated(5));
        assert_eq!((begin(), begin()), (Some((Step::Left, 0)), None));
        add(Step::Vacated(5));
        add(Step::Occupied);
        assert_eq!(begin(), None, "the step before is under way");
        steps.again(room.clone(), 7);
        assert_eq!(begin(), Some((Step::Left, 7)), "it may have been carried out");
        steps.again(room.clone(), 7);
        add(Step::Left);
        assert_eq!((begin(), begin()), (Some((Step::Left, 7)), None));
        steps.end(room.clone());
        assert_eq!(begin(), Some((Step::Left, 0)));
        steps.end(room.clone());
        assert!(steps.rooms.borrow().is_empty() && begin().is_none());
        add(Step::Vacated(5));
        assert_eq!(begin(), Some((Step::Vacated(5), 0)));
    }
}
