//! Ending the connections of a user, because an operator wants it.

use super::shared::Node;
use super::waiter::{Awaited, await_answer};
use crate::broker::redis::KickError;
use crate::names::UserId;
use crate::protocol::close::EndReason;

/// The wait for the answer of all nodes with connections of a user: the number of connections that end.
pub type Kicked = Awaited<usize, KickError>;

impl Node {
    /// Ends all connections of a user on all nodes. Returns `None`, and does nothing, when there is no engine.
    #[must_use]
    pub fn kick_everywhere(&self, user: &UserId) -> Option<Kicked> {
        let cluster = self.engine.cluster()?;
        let (waiter, kicked) = await_answer(&self.registry, None, KickError::NoEngine);
        cluster.kick(user.clone(), Box::new(move |result| waiter.answer(result)));
        Some(kicked)
    }

    /// Ends all connections of a user on this node, and returns how many there were.
    #[must_use]
    pub fn kick(&self, user: &UserId) -> usize {
        let connections = self.registry.directory.find(user);
        connections.iter().for_each(|id| self.registry.end(*id, EndReason::Kicked));
        connections.len()
    }
}
