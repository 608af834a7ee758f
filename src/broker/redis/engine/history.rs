//! Reads the history of a room from the server, once, when a connection asks for messages that this node has not seen.

use std::mem;

use super::super::batch::Batch;
use super::super::host::Host;
use super::super::room::Failure;
use super::super::script::page;
use super::calls::Purpose;
use super::positioned::PAGE;
use super::reading::Reading;
use super::state::Engine;
use crate::broker::BrokerError;
use crate::names::{Offset, RoomName};

impl<L: Host> Engine<L> {
    /// Begins to read a room's history if connections wait for it and it is not being read.
    pub(super) fn read_on(&mut self, name: &RoomName) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        let Some(room) = followed.room.clone().filter(|_| !followed.readers.is_empty()) else { return };
        if followed.reading.is_none() {
            // At least 1: a room without messages has no older ones.
            let before = room.with(|state| state.floor().next());
            followed.reading = Some(Box::new(Reading { room, before, messages: Vec::new(), bytes: 0 }));
            let call = page::to(&followed.keys, Offset(before.0 - 1), PAGE);
            self.calls.send(&mut self.links, followed.link, name, Purpose::Read, call);
        }
    }

    /// Takes a page of a room's history: asks for the next one, or ends the reading.
    pub(super) fn take_page(&mut self, name: &RoomName, page: Result<Vec<Batch>, Failure>) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        let Some(mut reading) = followed.reading.take() else { return };
        let answer = match page {
            Ok(page) if followed.is(&reading.room) => {
                if reading.take(name, &page) {
                    let call = page::to(&followed.keys, Offset(reading.before.0 - 1), PAGE);
                    followed.reading = Some(reading);
                    return self.calls.send(&mut self.links, followed.link, name, Purpose::Read, call);
                }
                let Reading { room, messages, .. } = *reading;
                self.broker.prepend(&room, self.clock.unix_ms(), messages);
                Ok(())
            }
            Ok(_) | Err(_) => Err(BrokerError::NoEngine),
        };
        for reader in mem::take(&mut followed.readers) {
            reader(answer);
        }
    }
}
