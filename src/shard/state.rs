//! The state of a shard, which belongs to its one thread: the clients, the lanes of their rooms, and the work to do. A
//! lane is the members of one room on one shard who get its events in one form.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::clients::{ClientMut, Clients};
use super::fanout::run_queue::RunQueue;
use super::lane::Lane;
use super::lane::id::LaneId;
use super::tokens::Tokens;
use super::wheel::Wheel;
use crate::names::ConnectionId;
use crate::registry::inquiry::Departure;

/// A shard's lanes by id; each has a member. They are boxed, so that the table is small enough to stay in the cache and
/// a lane can be prefetched before its turn.
pub(super) type Lanes = FxHashMap<LaneId, Box<Lane>>;

/// A shard's clients, lanes, run queue and timers.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) clients: Clients,
    pub(super) lanes: Lanes,
    /// The lanes and clients that have something to do, in the order of their turns.
    pub(super) queue: RunQueue,
    /// The clients whose connections are to be woken at a certain time.
    pub(super) wheel: Wheel,
    /// The rooms that clients have to leave because an operator wants it, until their connections take the orders.
    pub(super) departures: FxHashMap<ConnectionId, SmallVec<[Departure; 1]>>,
    /// The tokens of the clients.
    pub(super) tokens: Tokens,
    /// Generation of the newest client.
    generation: u32,
}

impl State {
    /// Returns the client of this id. `None` when its connection is gone, even if another client has the slot.
    pub(super) fn client(&mut self, id: ConnectionId) -> Option<ClientMut<'_>> {
        self.clients.of(id)
    }

    /// Puts a client into the line of those to be written to, if it still exists and its socket takes bytes.
    pub(super) fn mark_dirty(&mut self, id: ConnectionId) {
        if let Some(mut client) = self.clients.of(id) {
            client.line_up(&mut self.queue.dirty);
        }
    }

    /// Returns the generation for a new client, a number that tells it from earlier clients of its slot.
    pub(super) fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }
}
