//! The steps that rooms have to take towards being occupied or vacated: one at a time for each room, in order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::broker::redis::keys::RoomKeys;
use crate::broker::redis::presence::occupied::Step;
use crate::names::RoomName;
use crate::shrink::ShrinkWhenSparse;

/// The steps of a room that are not done.
#[derive(Debug)]
enum Wish {
    /// The step waits for its turn.
    Waits(Step),
    /// A step is under way; another one may wait for it.
    UnderWay(Option<Step>),
}

/// The steps that rooms have to take: at most two for each, as a later one replaces one that waits.
#[derive(Debug, Default)]
pub(super) struct RoomSteps {
    wishes: RefCell<FxHashMap<RoomName, (RoomKeys, Wish)>>,
    /// The rooms whose step waits.
    pub(super) order: RefCell<VecDeque<RoomName>>,
    pub(super) workers: Cell<usize>,
}

impl RoomSteps {
    /// Adds a step. That a room is vacated is only asked when it has no other step to take.
    pub(super) fn add(&self, room: RoomName, keys: RoomKeys, step: Step) {
        let mut wishes = self.wishes.borrow_mut();
        match wishes.get_mut(&room) {
            None => {
                wishes.insert(room.clone(), (keys, Wish::Waits(step)));
                self.order.borrow_mut().push_back(room);
            }
            Some(_) if matches!(step, Step::Vacated(_)) => {}
            Some((_, Wish::Waits(waiting))) => *waiting = step,
            Some((_, Wish::UnderWay(next))) => *next = Some(step),
        }
    }

    /// Takes the next step.
    pub(super) fn begin(&self) -> Option<(RoomName, RoomKeys, Step)> {
        let room = self.order.borrow_mut().pop_front()?;
        let mut wishes = self.wishes.borrow_mut();
        let (keys, wish) = wishes.get_mut(&room)?;
        let Wish::Waits(step) = std::mem::replace(wish, Wish::UnderWay(None)) else { return None };
        Some((room, keys.clone(), step))
    }

    /// Notes that the step of a room is done.
    pub(super) fn end(&self, room: RoomName) {
        let mut wishes = self.wishes.borrow_mut();
        match wishes.get_mut(&room) {
            Some((_, wish @ Wish::UnderWay(Some(_)))) => {
                let Wish::UnderWay(Some(next)) = *wish else { return };
                *wish = Wish::Waits(next);
                self.order.borrow_mut().push_back(room);
            }
            _ => {
                wishes.remove(&room);
                wishes.shrink_when_sparse();
            }
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
        let add = |step| steps.add(room.clone(), Keys::new("p").room(&room), step);
        let begin = || steps.begin().map(|(_, _, step)| step);
        add(Step::Occupied);
        add(Step::Left);
        add(Step::Vacated(5));
        assert_eq!((begin(), begin()), (Some(Step::Left), None));
        add(Step::Vacated(5));
        add(Step::Occupied);
        assert_eq!(begin(), None, "the step before is under way");
        steps.end(room.clone());
        assert_eq!(begin(), Some(Step::Occupied));
        steps.end(room.clone());
        assert!(steps.wishes.borrow().is_empty() && begin().is_none());
        add(Step::Vacated(5));
        assert_eq!(begin(), Some(Step::Vacated(5)));
    }
}
