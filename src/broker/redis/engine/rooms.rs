//! Gives the state machines of rooms their inputs.

use super::super::host::Host;
use super::super::room::Commands;
use super::followed::{Draft, Followed};
use super::state::Engine;
use crate::names::RoomName;

impl<L: Host> Engine<L> {
    /// Gives a room's state machine an input, and carries out what it says.
    pub(super) fn with(
        &mut self,
        name: &RoomName,
        input: impl FnOnce(&mut Followed<L>) -> Commands<Draft<L>>,
    ) {
        if let Some(followed) = self.rooms.get_mut(name) {
            let commands = input(followed);
            self.carry_out(name, commands);
        }
    }

    /// Returns the names of the rooms that fulfil a condition.
    pub(super) fn names_of(&self, is_wanted: impl Fn(&Followed<L>) -> bool) -> Vec<RoomName> {
        let rooms = self.rooms.iter().filter(|(_, followed)| is_wanted(followed));
        rooms.map(|(name, _)| name.clone()).collect()
    }

    /// Tells a room that its link has come up. The room's exchange waits for the subscription normally; a room that is
    /// being left has none any more.
    pub(super) fn link_up(&mut self, name: &RoomName, now: u64) {
        self.with(name, |followed| followed.machine.link_up(now));
        if self.rooms.get(name).is_some_and(|followed| followed.machine.is_closed()) {
            self.with_exchange(name, |exchange, _| exchange.link_up(now));
        }
    }

    /// Does what every input of a room can make possible: lets in connections that waited for it, and lists the room
    /// under the time at which it has something to do next.
    pub(super) fn settle(&mut self, name: &RoomName) {
        let Some(followed) = self.rooms.get(name) else { return };
        if !followed.waiters.is_empty() || !followed.behind.is_empty() {
            self.let_in_waiting(name);
            self.let_in_checked(name);
        }
        self.plan(name);
    }

    /// Lists the room under the time at which it has something to do next, or leaves it under an earlier one: each
    /// message sets a deadline that is over at once, and to look at the room once too often costs less than to list it
    /// anew for each.
    fn plan(&mut self, name: &RoomName) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        let behind = followed.behind.iter().map(|(_, until, _)| *until).min();
        let sharing = followed.sharing.as_ref().and_then(|sharing| sharing.due());
        let due = followed.machine.due().into_iter().chain(behind).chain(sharing).min();
        let Some(at) = due.filter(|at| followed.due.is_none_or(|listed| *at < listed)) else { return };
        if let Some(listed) = followed.due.replace(at) {
            self.due.remove(&(listed, name.clone()));
        }
        self.due.insert((at, name.clone()));
    }
}
