//! The part of the loop that serves the tasks: it sends their calls, listens to the control channels, and lets all
//! rooms begin anew when the node has been taken for dead.

use super::super::batch::Incarnation;
use super::super::host::Host;
use super::super::topology::slot_of;
use super::calls::Subject;
use super::state::Engine;
use super::tasks::{Change, TaskCall};

impl<L: Host> Engine<L> {
    /// Does what the tasks have asked for since the last turn, and what is due.
    pub(super) fn attend_tasks(&mut self, now: u64) {
        self.tasks.set_up(self.links.is_common_up());
        if let Some(by) = self.tasks.take_new_incarnation() {
            self.begin_all_anew(by);
        }
        let links = &self.links;
        let place = |slot| {
            let link = links.of_slot(slot);
            (link, links.is_up(link))
        };
        for change in self.tasks.channels.borrow_mut().due(now, place) {
            match change {
                Change::Subscribe(link, channel) => links.subscribe(Some(link), channel),
                Change::Unsubscribe(link, channel) => links.unsubscribe(Some(link), channel),
            }
        }
        self.tasks.tick(now);
        for TaskCall { key, call, urgency, answer } in self.tasks.outbox.take() {
            let link = self.links.of_slot(slot_of(&key));
            self.calls.send_for(&mut self.links, link, Subject::Task(answer), call, urgency);
        }
    }

    /// Abandons all rooms, whose members are being ended, and goes on as another incarnation. Messages under way are
    /// not repeated: other nodes may have let the engine forget the calls of the old incarnation.
    fn begin_all_anew(&mut self, by: Incarnation) {
        self.by = by;
        self.calls.forget_rooms();
        self.unplaced.clear();
        for name in self.names_of(|_| true) {
            if let Some(followed) = self.rooms.get_mut(&name) {
                self.links.unsubscribe(followed.link, followed.keys.channel());
                if let Some(room) = followed.room.take() {
                    self.broker.abandon_room(&room);
                }
            }
            self.stop_sharing(&name);
            self.remove(&name);
        }
    }
}
