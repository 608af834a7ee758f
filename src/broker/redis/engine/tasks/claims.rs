//! Claims user ids for connections of this node.

use std::rc::Rc;
use std::time::Duration;

use super::Tasks;
use super::backoff::Failed;
use super::control::Heard;
use crate::broker::redis::control::requests::PROBE_MS;
use crate::broker::redis::control::{Order, Outcome};
use crate::broker::redis::directory::claim::{self, Claim, ClaimReply, Policy};
use crate::broker::redis::directory::{Owner, SessionHash};
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::{Holder, Host};
use crate::broker::redis::users::{ClaimAnswer, ClaimError, Claimant, Grant};

/// Longest wait for the engine's answer to a claim, in milliseconds.
const CLAIM_MS: u64 = 5_000;
/// Pause before a node that hears nothing at present is asked again, in milliseconds.
pub(super) const AGAIN_MS: u64 = 500;

impl<L: Host> Tasks<L> {
    /// Claims a user id, and answers the worker. If nobody waits for the answer any more, the id is released.
    pub(super) async fn answer_claim(self: Rc<Self>, claimant: Claimant, answer: ClaimAnswer<L>) {
        let result = self.claim(&claimant).await;
        let is_granted = result.is_ok();
        // A grant that is not taken releases the user id when it is dropped.
        let _ = answer.send(result);
        if is_granted {
            self.tell_online(&claimant.user).await;
        }
    }

    async fn claim(self: &Rc<Self>, claimant: &Claimant) -> Result<Grant<L>, ClaimError> {
        let Claimant { user, connection, .. } = claimant;
        let (owner, until_ms) = (self.owner(*connection), self.clock.now_ms() + CLAIM_MS);
        let mut reply = self.ask(claimant, &owner, &claimant.policy, until_ms).await?;
        if let (ClaimReply::Held(holder), Policy::Reject { .. }) = (&reply, &claimant.policy) {
            let holder = holder.clone();
            if self.is_alive(&holder, claimant.address).await? {
                return Err(ClaimError::InUse);
            }
            let policy = Policy::Reject { dead: Some(holder) };
            reply = self.ask(claimant, &owner, &policy, self.clock.now_ms() + CLAIM_MS).await?;
        }
        let (spent, replaced) = match reply {
            ClaimReply::Claimed { spent, replaced } => (spent, replaced),
            // Another connection was faster to replace the dead one. That one is alive.
            ClaimReply::Held(_) => return Err(ClaimError::InUse),
            ClaimReply::Replaced => {
                self.release(user.clone(), *connection);
                return Err(ClaimError::Replaced);
            }
            ClaimReply::Full => return Err(ClaimError::Full),
        };
        if self.by() != owner.incarnation {
            // The node has begun anew meanwhile: the claim counts no more.
            return Err(ClaimError::NoEngine);
        }
        let ours = replaced.iter().filter(|replaced| replaced.incarnation == owner.incarnation);
        let ours: Vec<_> = ours.map(|replaced| replaced.connection).collect();
        let holder = Holder { user: user.clone(), connection: *connection, session: claimant.session };
        self.host().hold(holder, &ours);
        self.host().spend(user, spent);
        Ok(Grant::new(&self.requests, user, *connection, replaced))
    }

    /// Makes a claim until it is answered. If it may have been carried out without an answer, it is undone.
    async fn ask(
        self: &Rc<Self>,
        claimant: &Claimant,
        owner: &Owner,
        policy: &Policy,
        until_ms: u64,
    ) -> Result<ClaimReply, ClaimError> {
        let Claimant { user, connection, session, shown, .. } = claimant;
        let claim = Claim {
            user,
            owner,
            session: session.as_ref().map(SessionHash::new),
            shown: shown.as_ref().map(SessionHash::new),
            policy: policy.clone(),
        };
        let may_claim = || {
            let lease = self.lease.borrow();
            lease.incarnation() == owner.incarnation && lease.may_claim(self.clock.now_ms())
        };
        let call = || claim::call(&self.keys, &claim, self.nodes.borrow().live_list());
        match self.run_until(until_ms, Urgency::Urgent, may_claim, call, claim::reply).await {
            Ok(reply) => Ok(reply),
            Err(Failed::NotDone) => Err(ClaimError::NoEngine),
            Err(Failed::Unknown) => {
                self.release(user.clone(), *connection);
                Err(ClaimError::NoEngine)
            }
        }
    }

    /// Returns whether the holder of a user id is alive. A node that does not answer in time has lost it. `address`
    /// bounds how many probes a client can have sent.
    ///
    /// # Errors
    /// This node does not hear the others at present.
    pub(super) async fn is_alive(self: &Rc<Self>, holder: &Owner, address: u32) -> Result<bool, ClaimError> {
        let Owner { node, incarnation, connection } = holder.clone();
        if incarnation == self.by() {
            return Ok(self.host().is_alive(connection, address).await);
        }
        let until_ms = self.clock.now_ms() + PROBE_MS;
        loop {
            let hearing = self.channels.borrow().hearing();
            let order = Order::Probe { connection, address };
            let left_ms = until_ms.saturating_sub(self.clock.now_ms()).max(1);
            match Rc::clone(self).order(node.clone(), incarnation, order, left_ms).await {
                Heard::Outcome(Outcome::Alive(is_alive)) => return Ok(is_alive),
                // Silence says nothing about the other node while this one does not hear.
                _ if hearing.is_none() || hearing != self.channels.borrow().hearing() => {
                    return Err(ClaimError::NoEngine);
                }
                // The node may have lost its subscription a moment ago.
                Heard::NotSent if self.clock.now_ms() + AGAIN_MS < until_ms => {
                    tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
                }
                Heard::NotSent | Heard::Silent | Heard::Outcome(_) => return Ok(false),
            }
        }
    }
}
