//! A shard's clients, in a table of slots. The fields that every delivery reads lie densely, apart from the rest and in
//! the order of slots. A sweep, which takes one batch to the members of a room, goes in that order too: over idle
//! clients it reads 32 bytes of each, forwards.

use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::rc::Rc;

use super::client::Client;
use super::sink::{ByteStream, Sink};
use super::slots::Slots;
use crate::names::ConnectionId;
use crate::prefetch::prefetch;

/// The fields of a client that every delivery reads.
#[derive(Debug)]
pub(super) struct Hot {
    pub(super) sink: Sink,
    pub(super) bytes_sent: u64,
    /// Generation of the client's id, which tells it from earlier clients of its slot.
    pub(super) generation: u32,
    /// A batch of its room may be written at once: the client is in exactly one room, nothing waits or is partly
    /// written, and the socket takes bytes.
    is_direct: bool,
}

/// The sink of an empty slot, and of a client whose handshake is not answered: every write to it fails.
#[derive(Debug)]
struct Nowhere;

impl ByteStream for Nowhere {
    fn write(&self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

/// The clients of a shard, by slot.
#[derive(Debug)]
pub(super) struct Clients {
    hot: Vec<Hot>,
    slots: Slots<Client>,
    nowhere: Rc<Nowhere>,
}

impl Default for Clients {
    fn default() -> Self {
        Self { hot: Vec::new(), slots: Slots::default(), nowhere: Rc::new(Nowhere) }
    }
}

impl Clients {
    /// Returns the number of clients.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds the client that `make` makes for the lowest free slot. Every write to it fails until it has a sink.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(usize) -> Client) -> &Client {
        let client = self.slots.insert_with(make);
        let sink = Sink::Stream(self.nowhere.clone());
        let hot = Hot { sink, bytes_sent: 0, generation: client.id.generation(), is_direct: false };
        match self.hot.get_mut(client.id.slot()) {
            Some(empty) => *empty = hot,
            None => self.hot.push(hot),
        }
        client
    }

    /// Returns the client of a slot, to be changed.
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<ClientMut<'_>> {
        let client = self.slots.get_mut(slot)?;
        Some(ClientMut { client, hot: &mut self.hot[slot] })
    }

    /// Returns the client of this id. `None` when its connection is gone, even if another client has the slot.
    pub(super) fn of(&mut self, id: ConnectionId) -> Option<ClientMut<'_>> {
        self.get_mut(id.slot()).filter(|client| client.id == id)
    }

    /// Returns the fields for a write to the client of a slot, if it is in exactly one room and a batch of that room
    /// may be written to it at once.
    pub(super) fn direct(&mut self, slot: usize) -> Option<&mut Hot> {
        self.hot.get_mut(slot).filter(|hot| hot.is_direct)
    }

    /// Prefetches the fields that deliveries to the clients of these slots will read.
    pub(super) fn prefetch(&self, slots: impl IntoIterator<Item = u32>) {
        slots.into_iter().filter_map(|slot| self.hot.get(slot as usize)).for_each(prefetch);
    }

    /// Removes the client of a slot and returns it.
    pub(super) fn remove(&mut self, slot: usize) -> Option<Client> {
        let client = self.slots.remove(slot)?;
        let sink = Sink::Stream(self.nowhere.clone());
        self.hot[slot] = Hot { sink, bytes_sent: 0, generation: 0, is_direct: false };
        if self.slots.end() < self.hot.len() {
            self.hot.truncate(self.slots.end());
            self.hot.shrink_to_fit();
        }
        Some(client)
    }

    /// Returns the clients of some slots to which a batch may not be written at once: those that are in several rooms
    /// or none, have something waiting, take nothing or are ending. `None` when all these slots are behind the last
    /// one.
    pub(super) fn indirect(&self, slots: Range<usize>) -> Option<impl Iterator<Item = &Client>> {
        let end = slots.end.min(self.hot.len());
        let hot = self.hot.get(slots.start..end).filter(|hot| !hot.is_empty())?;
        let slots = hot.iter().zip(slots).filter(|(hot, _)| !hot.is_direct).map(|(_, slot)| slot);
        Some(slots.filter_map(|slot| self.slots.get(slot)))
    }

    /// Returns the number of slots, including empty ones: all slots in use are below it.
    pub(super) fn end(&self) -> usize {
        self.slots.end()
    }

    /// Returns all clients, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter()
    }
}

/// A client that may be changed. Dropping this brings up to date whether a batch may be written to the client at once.
pub(super) struct ClientMut<'a> {
    pub(super) client: &'a mut Client,
    pub(super) hot: &'a mut Hot,
}

impl Deref for ClientMut<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl DerefMut for ClientMut<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client
    }
}

impl Drop for ClientMut<'_> {
    fn drop(&mut self) {
        self.hot.is_direct = self.client.topics().len() == 1 && self.client.is_idle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hot_fields_of_two_clients_share_a_cache_line() {
        assert_eq!(size_of::<Hot>(), 32);
    }
}
