//! Gives the state machines of rooms their inputs.

use super::super::host::Host;
use super::super::link::LinkId;
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

    /// Gives the state machine of every room of a link an input.
    pub(super) fn with_all_of(
        &mut self,
        link: LinkId,
        mut input: impl FnMut(&mut Followed<L>) -> Commands<Draft<L>>,
    ) {
        let rooms = self.rooms.iter().filter(|(_, followed)| followed.link == Some(link));
        let names: Vec<RoomName> = rooms.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.with(&name, &mut input);
        }
    }

    /// Lists the room under the time at which it has something to do next, or leaves it under an earlier one: each
    /// message sets a deadline that is over at once, and to look at the room once too often costs less than to list it
    /// anew for each.
    pub(super) fn plan(&mut self, name: &RoomName) {
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
