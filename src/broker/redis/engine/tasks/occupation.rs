//! Tells that rooms are occupied or vacated, so that of all nodes one does. Each room takes one step at a time, in
//! order, and only so many rooms take one at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::Tasks;
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::broker::redis::keys::RoomKeys;
use crate::broker::redis::presence::occupied::{self, Occupation, Step};
use crate::names::RoomName;
use crate::shrink::ShrinkWhenSparse;

/// Most steps under way at once: enough to keep a server busy, and few enough to leave space for other calls.
const MAX_UNDER_WAY: usize = 64;

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
    order: RefCell<VecDeque<RoomName>>,
    workers: Cell<usize>,
}

impl RoomSteps {
    /// Adds a step. That a room is vacated is only asked when it has no other step to take.
    fn add(&self, room: RoomName, keys: RoomKeys, step: Step) {
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
    fn begin(&self) -> Option<(RoomName, RoomKeys, Step)> {
        let room = self.order.borrow_mut().pop_front()?;
        let mut wishes = self.wishes.borrow_mut();
        let (keys, wish) = wishes.get_mut(&room)?;
        let Wish::Waits(step) = std::mem::replace(wish, Wish::UnderWay(None)) else { return None };
        Some((room, keys.clone(), step))
    }

    /// Notes that the step of a room is done.
    fn end(&self, room: RoomName) {
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

impl<L: Host> Tasks<L> {
    /// Lets a room take a step, if webhooks are told of that.
    pub(in crate::broker::redis::engine) fn tell_room(
        self: &Rc<Self>,
        room: RoomName,
        keys: RoomKeys,
        step: Step,
    ) {
        if self.host().vacated_after_ms().is_none() {
            return;
        }
        self.rooms.add(room, keys, step);
        let workers = &self.rooms.workers;
        if workers.get() < MAX_UNDER_WAY {
            workers.set(workers.get() + 1);
            self.spawn(Rc::clone(self).take_room_steps());
        }
    }

    async fn take_room_steps(self: Rc<Self>) {
        while let Some((room, keys, step)) = self.rooms.begin() {
            self.take_room_step(&room, &keys, step).await;
            self.rooms.end(room);
        }
        self.rooms.order.borrow_mut().shrink_when_sparse();
        self.rooms.workers.set(self.rooms.workers.get() - 1);
    }

    async fn take_room_step(&self, room: &RoomName, keys: &RoomKeys, step: Step) {
        if !self.is_room_told(keys, step).await {
            return;
        }
        match step {
            Step::Occupied => self.host().tell_room(room, true),
            Step::Vacated(_) => self.host().tell_room(room, false),
            Step::Left if !self.requests.is_stopping() => self.host().room_left(room),
            // A node that stops does not wait.
            Step::Left => {
                if self.is_room_told(keys, Step::Vacated(0)).await {
                    self.host().tell_room(room, false);
                }
            }
        }
    }

    /// Takes a step, repeated until the engine has answered. Returns whether it has happened.
    async fn is_room_told(&self, keys: &RoomKeys, step: Step) -> bool {
        let Some(wait_ms) = self.host().vacated_after_ms() else { return false };
        let (by, number, life_ms) = (self.by(), self.next_attempt(), self.room_ttl_ms);
        let occupation = Occupation { step, by, number, wait_ms, life_ms };
        let call = || occupation.call(keys, self.nodes.borrow().live_list());
        // The steps of an incarnation that is over are told by nobody: the node begins anew.
        let may_go_on = || self.by() == by;
        let told = self.run_until(u64::MAX, Urgency::Usual, may_go_on, call, occupied::reply);
        told.await.unwrap_or(false)
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
