//! Tells that rooms are occupied or vacated, so that of all nodes one does. Only so many rooms take a step at once.

use std::rc::Rc;
use std::time::Duration;

use super::Tasks;
use super::backoff::Failed;
use super::room_steps::Turn;
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::broker::redis::keys::RoomKeys;
use crate::broker::redis::nodes::Outcome;
use crate::broker::redis::presence::occupied::{self, Occupation, Step};
use crate::names::RoomName;
use crate::shrink::ShrinkWhenSparse;

/// Most steps under way at once: enough to keep a server busy, and few enough to leave space for other calls.
const MAX_UNDER_WAY: usize = 64;
/// Pause after a call that failed.
const PAUSE: Duration = Duration::from_millis(100);

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
        self.rooms.add(room, keys, step, self.by());
        let workers = &self.rooms.workers;
        if workers.get() < MAX_UNDER_WAY {
            workers.set(workers.get() + 1);
            self.spawn(Rc::clone(self).take_room_steps());
        }
    }

    async fn take_room_steps(self: Rc<Self>) {
        while let Some((room, keys, mut turn)) = self.rooms.begin() {
            if turn.number == 0 {
                turn.number = self.next_attempt();
            }
            match self.is_room_told(&keys, &turn).await {
                Ok(outcome) => {
                    self.take_outcome(&room, &keys, turn.step, outcome).await;
                    self.rooms.end(room);
                }
                Err(_) if self.by() == turn.by => {
                    // The rooms of other servers go on meanwhile.
                    self.rooms.again(room, turn.number);
                    tokio::time::sleep(PAUSE).await;
                }
                // The steps of an incarnation that is over are told by nobody: the node begins anew.
                Err(_) => self.rooms.end(room),
            }
        }
        self.rooms.order.borrow_mut().shrink_when_sparse();
        self.rooms.workers.set(self.rooms.workers.get() - 1);
    }

    async fn take_outcome(&self, room: &RoomName, keys: &RoomKeys, step: Step, outcome: Outcome) {
        match (step, outcome) {
            (_, Outcome::No) => {}
            (Step::Occupied, _) => self.host().tell_room(room, true),
            (Step::Vacated(_), Outcome::Yes) => self.host().tell_room(room, false),
            // A node that stops does not wait.
            (Step::Left | Step::Vacated(_), _) if self.requests.is_stopping() => {
                self.vacated(room, keys).await
            }
            // The configured time has become longer, or somebody was there in between: this node waits once more.
            (Step::Left | Step::Vacated(_), _) => self.host().room_left(room),
        }
    }

    /// Tells that a room is vacated, unless somebody is there. It is asked once: the node stops.
    async fn vacated(&self, room: &RoomName, keys: &RoomKeys) {
        let turn = Turn { step: Step::Vacated(0), number: self.next_attempt(), by: self.by() };
        if let Ok(Outcome::Yes) = self.is_room_told(keys, &turn).await {
            self.host().tell_room(room, false);
        }
    }

    /// Lets a room take a step.
    async fn is_room_told(&self, keys: &RoomKeys, turn: &Turn) -> Result<Outcome, Failed> {
        let Turn { step, number, by } = *turn;
        let wait_ms = self.host().vacated_after_ms().unwrap_or(0);
        let occupation = Occupation { step, by, number, wait_ms, room_ttl_ms: self.room_ttl_ms };
        let call = occupation.call(keys, self.nodes.borrow().live_list());
        self.run(call, Urgency::Usual, occupied::reply).await
    }
}
