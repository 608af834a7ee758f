//! Claims a user id for a connection, and takes it over from another connection that is dead or belongs to the same
//! client.

use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::timeout;

use super::shared::Node;
use crate::config::Duplicate;
use crate::names::{ConnectionId, SessionId, UserId};
use crate::protocol::close::EndReason;
use crate::registry::probe::PROBE_MS;

/// Longest wait for the incumbent's answer to a ping, in steps. If this process stands still, one step runs out at
/// most, and the incumbent has the others to answer in.
const PROBE_PATIENCE: [Duration; 12] = [Duration::from_millis((PROBE_MS + 1_000) / 12); 12];

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
    /// once a second at most.
    ///
    /// # Errors
    /// [`EndReason::UserIdInUse`] when a living incumbent keeps the id.
    ///
    /// # Cancel safety
    /// Nothing is claimed unless the claim is returned.
    pub async fn claim(
        self: &Arc<Self>,
        user: &UserId,
        id: ConnectionId,
        request: ClaimRequest,
    ) -> Result<UserClaim, EndReason> {
        let directory = &self.registry.directory;
        let ClaimRequest { is_owner, shown_session, own_session, address } = request;
        let known = shown_session.and_then(|shown| directory.replace_session(user, &shown, id, own_session));
        let replaced = match (known, self.config.chat.duplicate) {
            (Some(incumbent), _) => SmallVec::from_slice(&[incumbent]),
            (None, Duplicate::Allow) => {
                directory.add(user, id, own_session);
                SmallVec::new()
            }
            (None, Duplicate::Reject) if !is_owner => {
                self.claim_unless_alive(user, id, own_session, address).await?
            }
            (None, Duplicate::Reject | Duplicate::Replace) => directory.replace(user, id, own_session),
        };
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
            Err(incumbent) if !self.is_dead(incumbent, address).await => Err(EndReason::UserIdInUse),
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

    /// Pings the incumbent on behalf of a new connection from `address`. Returns true when no answer comes in time.
    async fn is_dead(&self, incumbent: ConnectionId, address: u32) -> bool {
        let mut answer = pin!(self.registry.is_alive(incumbent, address));
        for step in PROBE_PATIENCE {
            let answered = timeout(step, answer.as_mut()).await.ok();
            if let Some(is_alive) = answered {
                return !is_alive;
            }
        }
        // The incumbent's shard keeps the time and no longer answers: the node is stopping.
        false
    }
}

/// A user id that a connection holds. Dropping the claim releases the id, unless another connection has taken it over.
#[derive(Debug)]
pub struct UserClaim {
    node: Arc<Node>,
    user: UserId,
    id: ConnectionId,
    replaced: SmallVec<[ConnectionId; 2]>,
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
        for id in mem::take(&mut self.replaced) {
            self.node.registry.end(id, EndReason::Replaced);
        }
    }
}

impl Drop for UserClaim {
    fn drop(&mut self) {
        // If the new connection did not get as far as its room, the replaced connections are still open and no longer
        // in the directory: end them, or nobody could find them.
        self.end_replaced();
        self.node.registry.directory.remove(&self.user, self.id);
    }
}
