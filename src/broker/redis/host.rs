//! How the engine reaches the connections of its own node: to enter them, to end them, and to give them private
//! messages. Implemented where broker and registry are joined.

use bytes::Bytes;

use super::directory::Spent;
use super::directory::release::Missing;
use crate::broker::Local;
use crate::broker::room::SharedRoom;
use crate::chat::presence::{Change, LocalNews};
use crate::names::{ConnectionId, Position, RoomName, SessionId, UserId};
use crate::protocol::close::EndReason;
use crate::protocol::event::OwnedContent;
use crate::revocation::Revocation;

/// A connection of this node that holds a user id.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The user id.
    pub user: UserId,
    /// The connection.
    pub connection: ConnectionId,
    /// Its session secret, if it has one.
    pub session: Option<SessionId>,
}

/// A private message with its id, which is the same on all nodes.
#[derive(Debug, Clone)]
pub struct PrivateText {
    /// The sender.
    pub from: UserId,
    /// The text, and what the message carries besides.
    pub content: OwnedContent,
    /// The message's id.
    pub id: Position,
    /// When the message came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
}

/// The connections of the engine's own node. The engine's thread calls it, so nothing but
/// [`is_alive`](Host::is_alive), [`tell`](Host::tell) and [`revoke`](Host::revoke) may wait.
pub trait Host: Local<Topic: 'static, SenderCopy: 'static, Message: 'static> + 'static {
    /// Number of slices into which [`holders`](Host::holders) divides the connections.
    const SLICES: usize;

    /// Enters a connection as a holder of its user id, and takes out those that it has replaced.
    fn hold(&self, holder: Holder, replaced: &[ConnectionId]);

    /// Returns true when a connection holds the user id.
    fn holds(&self, user: &UserId, connection: ConnectionId) -> bool;

    /// Takes a connection out, which no longer holds the user id.
    fn release(&self, user: &UserId, connection: ConnectionId);

    /// Returns the connections of one slice.
    fn holders(&self, slice: usize) -> Vec<Holder>;

    /// Ends a connection and takes it out. Returns true when it held the user id.
    fn end(&self, user: &UserId, connection: ConnectionId, reason: EndReason) -> bool;

    /// Ends all connections that hold a user id, because the node begins anew.
    fn end_all(&self);

    /// Pings a connection on behalf of a newcomer from `address`, a hash. Returns false when no sign of life comes in
    /// time, or there is no such connection.
    fn is_alive(&self, connection: ConnectionId, address: u32) -> impl Future<Output = bool>;

    /// Answers a question of another node, with at most [`MAX_TEXT`](super::control::message::MAX_TEXT) bytes. Returns
    /// `None` for a question that this node does not understand.
    fn tell(&self, question: Bytes) -> impl Future<Output = Option<Bytes>>;

    /// Refuses tokens from now on. The future ends the connections with them, and returns the number of these. It waits
    /// for the workers, which do not run yet when the engine starts.
    fn revoke(&self, revocations: Vec<Revocation>) -> impl Future<Output = usize>;

    /// Delivers a private message to these connections, as far as their queues have space. Returns the number of those
    /// that get it.
    fn deliver_private(&self, to: &[ConnectionId], message: &PrivateText) -> usize;

    /// Returns the time after which a user without a connection is offline, in milliseconds; `None` when nobody is told
    /// who is online.
    fn offline_after_ms(&self) -> Option<u64> {
        None
    }

    /// Tells that a user is online, or offline.
    fn tell_user(&self, _user: &UserId, _is_online: bool) {}

    /// Begins to wait: the last connection of a user has ended on this node. When the time is over, the engine is asked
    /// whether the user is offline.
    fn user_left(&self, _user: &UserId) {}

    /// Returns the time after which a room without members is vacated, in milliseconds; `None` when nobody is told.
    fn vacated_after_ms(&self) -> Option<u64> {
        None
    }

    /// Tells that a room is occupied, or vacated.
    fn tell_room(&self, _room: &RoomName, _is_occupied: bool) {}

    /// Begins to wait: no node has members in a room any more. When the time is over, the engine is asked whether the
    /// room is vacated.
    fn room_left(&self, _room: &RoomName) {}

    /// Takes the users who have left and for whom this node waits.
    fn take_leavers(&self) -> Vec<UserId> {
        Vec::new()
    }

    /// Takes the rooms that were left and for which this node waits.
    fn take_left_rooms(&self) -> Vec<RoomName> {
        Vec::new()
    }

    /// Returns true when anything is told to webhooks.
    fn is_telling(&self) -> bool {
        false
    }

    /// Returns true when any connection of this node holds the user id.
    fn has_user(&self, user: &UserId) -> bool;

    /// Tells that a node has died, with the events that it had not told.
    fn node_lost(&self, _node: &str) {}

    /// Applies changes of the users on other nodes to a room, and announces them. Returns what the other nodes have to
    /// be told of the users on this node.
    fn apply_presence(&self, room: &SharedRoom<Self>, changes: Vec<Change>, now_ms: u64) -> Option<LocalNews>
    where
        Self: Sized;

    /// Returns what is missing in the user's rate bucket.
    fn missing(&self, user: &UserId) -> Missing;

    /// Takes from the user's rate bucket what was missing on another node.
    fn spend(&self, user: &UserId, spent: Spent);
}
