//! Repeats the claims of open connections. So their entries in the engine live on and are restored where the engine
//! has lost them, and connections that were replaced without hearing of it are found.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Tasks;
use super::claims::AGAIN_MS;
use crate::broker::redis::directory::claim::{self, Claim, ClaimReply, Policy};
use crate::broker::redis::directory::{REPEAT_MS, SessionHash};
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::{Holder, Host};
use crate::protocol::close::EndReason;

/// Most claims that are repeated at once: a server needs some milliseconds for them.
const MAX_UNDER_WAY: usize = 64;
/// Longest attempt to repeat one, in milliseconds. The next repetition makes up for it.
const REPEATED_MS: u64 = 60_000;

impl<L: Host> Tasks<L> {
    /// Repeats the claims of all connections for as long as the node runs: slice by slice, and all of them at once when
    /// the engine may have lost or replaced some.
    pub(super) async fn keep_claims(self: Rc<Self>) {
        let pause = Duration::from_millis(REPEAT_MS) / L::SLICES as u32;
        let permits = Arc::new(Semaphore::new(MAX_UNDER_WAY));
        for slice in (0..L::SLICES).cycle() {
            let is_doubtful = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                () = self.doubt.notified() => true,
            };
            let count = if is_doubtful { L::SLICES } else { 1 };
            for slice in (0..L::SLICES).cycle().skip(slice).take(count) {
                for holder in self.host().holders(slice) {
                    let permit = Arc::clone(&permits).acquire_owned().await;
                    // The semaphore is never closed.
                    let Ok(permit) = permit else { return };
                    self.spawn(Rc::clone(&self).repeat_claim(holder, permit));
                }
            }
        }
    }

    async fn repeat_claim(self: Rc<Self>, holder: Holder, _permit: OwnedSemaphorePermit) {
        let Holder { user, connection, .. } = &holder;
        // A connection that has ended is taken out before its release is queued on this thread.
        if !self.host().holds(user, *connection) || !self.begin_repeat(*connection) {
            return;
        }
        let reply = self.claim_again(&holder).await;
        self.end_repeat(*connection);
        match reply {
            Some(ClaimReply::Claimed { replaced, .. }) => {
                self.end_replaced(user, replaced);
                self.tell_online(user).await;
            }
            Some(ClaimReply::Held(_) | ClaimReply::Replaced) => {
                self.host().end(user, *connection, EndReason::Replaced);
            }
            // The next repetition tries again.
            Some(ClaimReply::Full) | None => {}
        }
    }

    /// Claims a user id again for the connection that has it. If the engine names another holder, this asks whether
    /// that one is alive: the engine may have lost that the holder has left.
    async fn claim_again(self: &Rc<Self>, holder: &Holder) -> Option<ClaimReply> {
        let Holder { user, connection, session } = holder;
        let owner = self.owner(*connection);
        let session = session.as_ref().map(SessionHash::new);
        let until_ms = self.clock.now_ms() + REPEATED_MS;
        let may_go_on = || self.by() == owner.incarnation && self.host().holds(user, *connection);
        let mut policy = self.policy.clone();
        while self.clock.now_ms() < until_ms {
            let (session, shown) = (session.clone(), None);
            let claim = Claim { user, owner: &owner, session, shown, policy: policy.clone() };
            let call = || claim::call(&self.keys, &claim, self.nodes.borrow().live_list());
            let reply = self.run_until(until_ms, Urgency::Usual, may_go_on, call, claim::reply).await.ok()?;
            let ClaimReply::Held(other) = reply else { return Some(reply) };
            // The number bounds how many probes one address can ask for. This one is asked for by no client.
            match self.is_alive(&other, fastrand::u32(..)).await {
                Ok(true) => return Some(ClaimReply::Held(other)),
                Ok(false) => policy = Policy::Reject { dead: Some(other) },
                // This node does not hear the others at present.
                Err(_) => tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await,
            }
        }
        None
    }
}
