//! Claims a user id for a connection, and takes it over from another connection that is dead or belongs to the same
//! client.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::fanout::Fanout;
use super::reach::is_alive;
use super::shared::Node;
use crate::broker::redis::directory::Owner;
use crate::broker::redis::directory::claim::Policy;
use crate::broker::redis::{ClaimError, Claimant, Cluster};
use crate::config::Duplicate;
use crate::names::{ConnectionId, SessionId, UserId};
use crate::protocol::close::EndReason;

/// A connection's request for a user id, with what may entitle it to replace other connections of the same user.
#[derive(Debug, Default)]
pub struct ClaimRequest {
    /// True when a token has proved that the user id belongs to the new connection.
    pub is_owner: bool,
    /// The session secret of an earlier connection, as shown by the new one.
    pub shown_session: Option<SessionId>,
    /// The session secret that the new connection gets itself; only in `throng.v1`.
    pub own_session: Option<SessionId>,
    /// A hash of the new connection's address, which bounds how often it can have the incumbent pinged.
    pub address: u32,
}

impl Node {
    /// Claims `user` for a connection.
    ///
    /// A request that shows an incumbent's session secret replaces that incumbent. Otherwise `chat.duplicate` decides.
    /// With `"reject"` an incumbent is pinged and keeps the id if it answers within two seconds, unless a token has
    /// proved that the id belongs to the new connection. However many connections ask, an incumbent is pinged about
    /// once a second at most. With an engine, incumbents on other nodes count as those on this one.
    ///
    /// # Errors
    /// [`EndReason::UserIdInUse`] when a living incumbent keeps the id. With an engine, also [`EndReason::Replaced`]
    /// when yet another connection was faster to replace this one, and [`EndReason::Overloaded`] when the engine is
    /// not available.
    ///
    /// # Cancel safety
    /// Nothing is claimed unless the claim is returned.
    pub async fn claim(
        self: &Arc<Self>,
        user: &UserId,
        id: ConnectionId,
        request: ClaimRequest,
    ) -> Result<UserClaim, EndReason> {
        if let Some(cluster) = self.engine.cluster() {
            return self.claim_in_cluster(cluster, user, id, request).await;
        }
        let directory = &self.registry.directory;
        let ClaimRequest { is_owner, shown_session, own_session, address } = request;
        let known = shown_session.and_then(|shown| directory.replace_session(user, &shown, id, own_session));
        let mut is_beside_others = false;
        let replaced = match (known, self.config().chat.duplicate) {
            (Some(incumbent), _) => SmallVec::from_slice(&[incumbent]),
            (None, Duplicate::Allow) => {
                is_beside_others = !directory.add(user, id, own_session);
                SmallVec::new()
            }
            (None, Duplicate::Reject) if !is_owner => {
                self.claim_unless_alive(user, id, own_session, address).await?
            }
            (None, Duplicate::Reject | Duplicate::Replace) => directory.replace(user, id, own_session),
        };
        if replaced.is_empty() && !is_beside_others {
            self.webhooks.user_came(user);
        }
        let replaced = (!replaced.is_empty()).then(|| Box::new(Replaced::Here(replaced)));
        Ok(UserClaim { node: Arc::clone(self), user: user.clone(), id, replaced })
    }

    /// Claims a user id among the connections of all nodes. The engine's thread enters the connection in this node's
    /// directory.
    async fn claim_in_cluster(
        self: &Arc<Self>,
        cluster: &Cluster<Fanout>,
        user: &UserId,
        id: ConnectionId,
        request: ClaimRequest,
    ) -> Result<UserClaim, EndReason> {
        let policy = match self.config().chat.duplicate {
            Duplicate::Allow => Policy::Allow,
            Duplicate::Reject if !request.is_owner => Policy::Reject { dead: None },
            Duplicate::Reject | Duplicate::Replace => Policy::Replace,
        };
        let claimant = Claimant {
            user: user.clone(),
            connection: id,
            session: request.own_session,
            shown: request.shown_session,
            policy,
            address: request.address,
        };
        let (answer, answered) = oneshot::channel();
        cluster.claim(claimant, answer);
        let grant = answered.await.unwrap_or(Err(ClaimError::NoEngine)).map_err(|error| match error {
            ClaimError::InUse => EndReason::UserIdInUse,
            ClaimError::Replaced => EndReason::Replaced,
            ClaimError::Full | ClaimError::NoEngine => EndReason::Overloaded,
        })?;
        let replaced = grant.accept();
        let replaced = (!replaced.is_empty()).then(|| Box::new(Replaced::Anywhere(replaced)));
        Ok(UserClaim { node: Arc::clone(self), user: user.clone(), id, replaced })
    }

    async fn claim_unless_alive(
        &self,
        user: &UserId,
        id: ConnectionId,
        own_session: Option<SessionId>,
        address: u32,
    ) -> Result<SmallVec<[ConnectionId; 2]>, EndReason> {
        let directory = &self.registry.directory;
        match directory.claim(user, id, own_session) {
            Ok(()) => Ok(SmallVec::new()),
            Err(incumbent) if is_alive(&self.registry, incumbent, address).await => {
                Err(EndReason::UserIdInUse)
            }
            Err(incumbent) => match directory.replace_if(user, incumbent, id, own_session) {
                Ok(()) => Ok(SmallVec::from_slice(&[incumbent])),
                // The incumbent left by itself. If another connection was faster to claim the id, that one is alive.
                Err(_) => {
                    let claimed = directory.claim(user, id, own_session);
                    claimed.map(|()| SmallVec::new()).map_err(|_incumbent| EndReason::UserIdInUse)
                }
            },
        }
    }
}

/// Connections that a claim has replaced, and that are still to be ended.
#[derive(Debug)]
enum Replaced {
    /// Of this node, which is the only one.
    Here(SmallVec<[ConnectionId; 2]>),
    /// Of any node.
    Anywhere(Box<[Owner]>),
}

/// A user id that a connection holds. Dropping the claim releases the id, unless another connection has taken it over.
#[derive(Debug)]
pub struct UserClaim {
    node: Arc<Node>,
    user: UserId,
    id: ConnectionId,
    replaced: Option<Box<Replaced>>,
}

impl UserClaim {
    /// Returns the claimed user id.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Ends the connections that this claim has replaced. Called once the new connection is in its room, so that the
    /// room sees the user neither leave nor join.
    pub fn end_replaced(&mut self) {
        let Some(replaced) = self.replaced.take() else { return };
        match (*replaced, self.node.engine.cluster()) {
            (Replaced::Here(ids), _) => {
                ids.into_iter().for_each(|id| self.node.registry.end(id, EndReason::Replaced));
            }
            (Replaced::Anywhere(owners), Some(cluster)) => {
                cluster.end_replaced(&self.user, owners.into_vec())
            }
            (Replaced::Anywhere(_), None) => {}
        }
    }
}

impl Drop for UserClaim {
    fn drop(&mut self) {
        // If the new connection did not get as far as its room, the replaced connections are still open and no longer
        // in the directory: end them, or nobody could find them.
        self.end_replaced();
        let was_last = self.node.registry.directory.remove(&self.user, self.id);
        match self.node.engine.cluster() {
            Some(cluster) => cluster.release(self.user.clone(), self.id),
            None if was_last => self.node.webhooks.user_left(&self.user),
            None => {}
        }
    }
}
