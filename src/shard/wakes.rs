//! The line of clients whose connections have something to do although their sockets report nothing: something was
//! queued that the socket does not take, a deadline has come, or the connection is to end.

use std::cell::RefCell;
use std::task::Waker;

use super::client::Client;

/// The line. It holds each client once at most, so it is no longer than the table of clients.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    slots: RefCell<Vec<u32>>,
    /// The task that gives the connections their turns. Without one, as in a simulation, nobody waits in line.
    server: RefCell<Option<Waker>>,
}

impl Wakes {
    /// Puts a client into the line, unless it is there.
    pub(super) fn add(&self, client: &mut Client) {
        if client.is_woken {
            return;
        }
        let server = self.server.borrow();
        let Some(server) = &*server else { return };
        client.is_woken = true;
        let mut slots = self.slots.borrow_mut();
        if slots.is_empty() {
            server.wake_by_ref();
        }
        slots.push(client.id.slot() as u32);
    }

    /// Names the task that gives the connections their turns.
    pub(super) fn serve(&self, waker: &Waker) {
        match &mut *self.server.borrow_mut() {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Empties the line: calls `take` with each slot.
    pub(super) fn take(&self, take: impl FnMut(u32)) {
        self.slots.borrow_mut().drain(..).for_each(take);
    }
}
