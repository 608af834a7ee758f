//! The settings of an exchange of a room's users, and its orders.

use super::operation::Operation;
use crate::chat::presence::Change;

/// The settings of a room's exchange.
#[derive(Debug, Clone, Copy)]
pub struct ExchangeSettings {
    /// Most users in a room whose names are exchanged: `presence.count_only_above`.
    pub lists_up_to: usize,
    /// Most users in a room whose moves are published at once: `presence.notice_limit`.
    pub notice_limit: usize,
    /// Time over which publications are merged in larger rooms, in milliseconds: `presence.interval`.
    pub interval_ms: u64,
    /// Time after which a room is read that nothing else has asked for, in milliseconds: a third of `redis.room_ttl`.
    pub read_every_ms: u64,
}

/// An order of an [`Exchange`](super::Exchange) to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Calling the engine. The reply goes to [`Exchange::answered`](super::Exchange::answered).
    Call {
        /// The number of the call.
        tag: u64,
        /// The call.
        operation: Operation,
    },
    /// Applying these changes, as one, to the room's [`Presence`](crate::chat::presence::Presence), and then giving the
    /// exchange what [`take_local`](crate::chat::presence::Presence::take_local) returns.
    Apply(Vec<Change>),
    /// Nothing: the users of other nodes are known for the first time, those of nodes that have just joined included.
    Ready,
    /// Telling webhooks, if no other node has, that somebody is in the room (true) or nobody is: what the engine knows
    /// of this node's users has become so.
    Occupied(bool),
    /// Dropping the exchange: the node has left the room.
    Closed,
}
