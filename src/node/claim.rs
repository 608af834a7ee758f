//! Holding a user id, and taking it over from a connection that is dead or one's own.

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
use crate::registry::client::PROBE_MS;

/// The longest that a newcomer waits to hear whether the incumbent lives, in steps: should we stand still meanwhile,
/// that is one of them, and the incumbent has the others to answer in.
const PROBE_PATIENCE: [Duration; 12] = [Duration::from_millis((PROBE_MS + 1_000) / 12); 12];

/// By what a newcomer may take the place of another connection of the same user.
#[derive(Debug, Default)]
pub struct ClaimRequest {
    /// A token has proved who the newcomer is.
    pub is_owner: bool,
    /// The secret of an earlier connection, as the newcomer shows it.
    pub shown_session: Option<SessionId>,
    /// The secret that the newcomer will be told itself.
    pub own_session: Option<SessionId>,
    /// Stands for the address that the newcomer comes from.
    pub address: u32,
}

impl Node {
    /// Enters a connection as `user`. Whoever shows an incumbent's secret takes its place. Otherwise, with
    /// `chat.duplicate = "reject"`, an incumbent is pinged and keeps the id if it answers within two seconds, unless a
    /// token has proved who the newcomer is. However many ask, it is pinged hardly more than once a second.
    ///
    /// # Errors
    /// [`EndReason::UserIdInUse`].
    ///
    /// # Cancel safety
    /// Nothing is entered unless the claim is returned.
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
                self.claim_from_the_dead(user, id, own_session, address).await?
            }
            (None, Duplicate::Reject | Duplicate::Replace) => directory.replace(user, id, own_session),
        };
        Ok(UserClaim { node: Arc::clone(self), user: user.clone(), id, replaced })
    }

    async fn claim_from_the_dead(
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
                // It went by itself, and perhaps somebody was faster: they are alive.
                Err(_) => {
                    let claimed = directory.claim(user, id, own_session);
                    claimed.map(|()| SmallVec::new()).map_err(|_| EndReason::UserIdInUse)
                }
            },
        }
    }

    /// True when a connection that is asked whether it lives, for a newcomer `from` an address, does not answer in
    /// time.
    async fn is_dead(&self, incumbent: ConnectionId, address: u32) -> bool {
        let mut answer = pin!(self.registry.is_alive(incumbent, address));
        for step in PROBE_PATIENCE {
            let answered = timeout(step, answer.as_mut()).await.ok();
            if let Some(is_alive) = answered {
                return !is_alive;
            }
        }
        // Its shard, which sees to the time, is no more.
        false
    }
}

/// A user id that a connection holds; dropping it gives it up, unless somebody has taken over.
#[derive(Debug)]
pub struct UserClaim {
    node: Arc<Node>,
    user: UserId,
    id: ConnectionId,
    replaced: SmallVec<[ConnectionId; 2]>,
}

impl UserClaim {
    /// The user.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Ends those whose place was taken. Called once the newcomer is in its room, so that the room sees the user
    /// neither leave nor join.
    pub fn settle(&mut self) {
        for id in mem::take(&mut self.replaced) {
            self.node.registry.end(id, EndReason::Replaced);
        }
    }
}

impl Drop for UserClaim {
    fn drop(&mut self) {
        // A newcomer that did not get as far as its room leaves no incumbent behind that nobody can find.
        self.settle();
        self.node.registry.directory.remove(&self.user, self.id);
    }
}
