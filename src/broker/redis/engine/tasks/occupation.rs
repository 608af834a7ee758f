//! Tells that rooms are occupied or vacated, so that of all nodes one does. Only so many rooms take a step at once.

use std::rc::Rc;

use super::Tasks;
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::broker::redis::keys::RoomKeys;
use crate::broker::redis::presence::occupied::{self, Occupation, Step};
use crate::names::RoomName;
use crate::shrink::ShrinkWhenSparse;

/// Most steps under way at once: enough to keep a server busy, and few enough to leave space for other calls.
const MAX_UNDER_WAY: usize = 64;

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
