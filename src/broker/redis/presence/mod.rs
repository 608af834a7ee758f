//! Presence over nodes: which users other nodes have in a room, and telling them of this node's.
//!
//! Each node owns its set of users in a room. It writes the set to the engine, and pushes numbered differences on the
//! room's channel. A node that misses a number, opens the room or had its link broken reads what is stored. The
//! [`Exchange`] of a room decides all this; it is pure, the time is an argument. Its [`Change`]s go into the room's
//! [`Presence`](crate::chat::presence::Presence), which decides what members are told.

mod command;
mod exchange;
pub mod occupied;
mod operation;
mod own;
mod payload;
mod peers;
mod pieces;
mod rules;
mod snapshot;
mod waiting;

pub use command::{Command, ExchangeSettings};
pub use exchange::Exchange;
pub use operation::{Answer, Operation, PUBLISH, Publication, READ, REMOVE};
pub use payload::{BadPresence, Contents, MAX_PAYLOAD, Payload};
pub use snapshot::{Entry, MAX_ENTRIES, Snapshot};

use crate::broker::redis::batch::Incarnation;
pub use crate::chat::presence::Change;

/// The state of an incarnation by the table of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is in the table and live.
    Live,
    /// It is known to be dead.
    Dead,
    /// It is not in the table: it is new, or was removed long ago.
    Unknown,
}

/// The table of nodes, as presence needs it.
pub trait NodeTable {
    /// Returns the state of an incarnation.
    fn standing(&self, node: Incarnation) -> Standing;

    /// Returns a number that grows by one with each table that was read from the engine.
    fn version(&self) -> u64;
}

#[cfg(test)]
mod tests;
