//! The requests of a node about users: to claim and to release user ids, and to deliver private messages.

use std::fmt;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::directory::Owner;
use super::directory::claim::Policy;
use super::host::PrivateText;
use super::nodes::NodeName;
use super::requests::Requests;
use crate::broker::Local;
use crate::names::{ConnectionId, Key, RoomName, SessionId, UserId};
use crate::protocol::event::CommandError;
use crate::revocation::Revocation;

/// A connection that claims a user id.
#[derive(Debug)]
pub struct Claimant {
    /// The user id.
    pub user: UserId,
    /// The connection.
    pub connection: ConnectionId,
    /// The connection's own session secret.
    pub session: Option<SessionId>,
    /// The secret of an earlier connection, which the client has shown: that connection is replaced.
    pub shown: Option<SessionId>,
    /// The fate of other holders.
    pub policy: Policy,
    /// A hash of the client's address, which bounds how often it can have others pinged.
    pub address: u32,
}

/// Why a user id was not claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimError {
    /// Another living connection keeps the user id.
    InUse,
    /// Yet another connection has replaced the new one already.
    Replaced,
    /// The user has too many connections.
    Full,
    /// The engine is not available.
    NoEngine,
}

/// Takes the answer to a claim.
pub type ClaimAnswer<L> = oneshot::Sender<Result<Grant<L>, ClaimError>>;

/// A user id that the engine has granted to a connection. Dropping it releases the id, unless it was accepted.
pub struct Grant<L: Local> {
    requests: Arc<Requests<L>>,
    user: UserId,
    connection: ConnectionId,
    replaced: Vec<Owner>,
    is_accepted: bool,
}

impl<L: Local> Grant<L> {
    pub(super) fn new(
        requests: &Arc<Requests<L>>,
        user: &UserId,
        connection: ConnectionId,
        replaced: Vec<Owner>,
    ) -> Self {
        let (requests, user) = (Arc::clone(requests), user.clone());
        Self { requests, user, connection, replaced, is_accepted: false }
    }

    /// Returns the connections of any node that were replaced. From now on the caller ends them, and releases the id.
    #[must_use]
    pub fn accept(mut self) -> Box<[Owner]> {
        self.is_accepted = true;
        mem::take(&mut self.replaced).into_boxed_slice()
    }
}

impl<L: Local> Drop for Grant<L> {
    fn drop(&mut self) {
        if !self.is_accepted {
            self.requests.end_replaced(&self.user, mem::take(&mut self.replaced));
            self.requests.release(self.user.clone(), self.connection);
        }
    }
}

impl<L: Local> fmt::Debug for Grant<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("user", &self.user)
            .field("replaced", &self.replaced)
            .finish_non_exhaustive()
    }
}

/// A private message on its way to all connections of a user.
#[derive(Debug)]
pub struct PrivateMessage {
    /// The recipient.
    pub to: UserId,
    /// The message.
    pub text: PrivateText,
    /// Its idempotency key.
    pub key: Option<Key>,
}

/// Takes the answer to a private message: the number of connections that get it. Called by the engine's thread, so it
/// must not wait.
pub type PrivateAnswer = Box<dyn FnOnce(Result<usize, CommandError>) + Send>;

/// The answer of another node to a question.
#[derive(Debug)]
pub struct Told {
    /// The node.
    pub node: NodeName,
    /// Its answer; `None` where it gave none in time.
    pub answer: Option<Bytes>,
}

/// The engine is not available, so that nobody was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskError;

/// Takes the answers of all other live nodes to a question. Called by the engine's thread, so it must not wait.
pub type AskAnswer = Box<dyn FnOnce(Result<Vec<Told>, AskError>) + Send>;

/// Takes the answer to a request to forget a room: whether the engine had something of it. Called by the engine's
/// thread, so it must not wait.
pub type EraseAnswer = Box<dyn FnOnce(Result<bool, AskError>) + Send>;

/// Why tokens were not revoked, or not for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeFailure {
    /// There are as many revocations as can be stored.
    Full,
    /// The engine is not available. Nothing was revoked.
    NoEngine,
    /// The engine did not answer.
    Unknown,
}

/// Takes the answer to a revocation: the number of connections that end. Called by the engine's thread, so it must not
/// wait.
pub type RevokeAnswer = Box<dyn FnOnce(Result<usize, RevokeFailure>) + Send>;

/// A request about users, or of an operator.
pub(super) enum UserRequest<L: Local> {
    Claim(Claimant, ClaimAnswer<L>),
    /// To end connections that have lost the user id.
    EndReplaced(UserId, Vec<Owner>),
    /// To release the user id that a connection holds.
    Release(UserId, ConnectionId),
    Deliver(PrivateMessage, PrivateAnswer),
    /// To ask all other nodes.
    Ask(Bytes, AskAnswer),
    /// To forget the history and the position of a room.
    Erase(RoomName, EraseAnswer),
    /// To tell that a user is offline who had left for this many milliseconds, unless the user is back.
    Offline(UserId, u64),
    /// To tell that a room is vacated which had no member for this many milliseconds, unless somebody has come.
    Vacated(RoomName, u64),
    /// To revoke tokens, in place of a weaker revocation of the same ones.
    Revoke(Revocation, Option<Revocation>, RevokeAnswer),
}

impl<L: Local> UserRequest<L> {
    /// Answers a request that cannot be carried out.
    pub(super) fn refuse(self) {
        match self {
            Self::Claim(_, answer) => {
                // The connection may have given up.
                let _ = answer.send(Err(ClaimError::NoEngine));
            }
            Self::Deliver(_, answer) => answer(Err(CommandError::Unavailable)),
            Self::Ask(_, answer) => answer(Err(AskError)),
            Self::Erase(_, answer) => answer(Err(AskError)),
            Self::Revoke(_, _, answer) => answer(Err(RevokeFailure::NoEngine)),
            Self::EndReplaced(..) | Self::Release(..) | Self::Offline(..) | Self::Vacated(..) => {}
        }
    }
}
