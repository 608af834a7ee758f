//! Tells, in place of a node that has died, that its users are offline.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Tasks;
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::directory::REPEAT_MS;
use crate::broker::redis::directory::told_users::{self, Step};
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::broker::redis::nodes::NodeName;
use crate::broker::redis::users::UserRequest;
use crate::names::UserId;

/// Most users of a dead node who are looked up at once.
const AT_ONCE: usize = 32;

impl<L: Host> Tasks<L> {
    /// Looks for lists of nodes that have died, if that is not under way. Called after each new table of nodes.
    pub(super) fn look_for_lost(self: &Rc<Self>) {
        if self.host().is_telling() && !self.lost.is_looking.replace(true) {
            let tasks = Rc::clone(self);
            self.spawn(async move {
                tasks.find_lost().await;
                tasks.lost.is_looking.set(false);
            });
        }
    }

    async fn find_lost(self: &Rc<Self>) {
        let (by, now) = (self.by(), self.clock.now_ms());
        let is_entered = |(entered, at): (Incarnation, u64)| entered == by && now < at + REPEAT_MS;
        // The engine forgets the entry in the end, and may lose it.
        if !self.lost.entered.get().is_some_and(is_entered) && self.enter(None).await {
            self.lost.entered.set(Some((by, now)));
        }
        if !self.nodes.borrow().is_oldest(by) {
            return;
        }
        let call = told_users::tellers(&self.keys);
        // A call that fails is repeated with the next table.
        let Ok(tellers) = self.run(call, Urgency::Usual, told_users::tellers_of).await else { return };
        let is_live = |incarnation: &Incarnation| self.nodes.borrow().get(*incarnation).is_some();
        let gone = tellers.into_iter().filter(|(incarnation, _)| !is_live(incarnation));
        let gone: Vec<_> = gone.collect();
        let now = gone.iter().map(|(incarnation, _)| *incarnation).collect();
        let before = self.lost.suspects.replace(now);
        for (incarnation, node) in gone {
            if before.contains(&incarnation) && self.lost.under_way.borrow_mut().insert(incarnation) {
                self.spawn(Rc::clone(self).take_over(incarnation, node));
            }
        }
    }

    /// Takes over the users of an incarnation that is over, until none is left or this one is over as well.
    async fn take_over(self: Rc<Self>, lost: Incarnation, node: NodeName) {
        tracing::info!(%node, incarnation = %lost, "a node is gone: webhooks are told which of its users are offline");
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(users) = self.told_users_step(&Step::Take(lost)).await {
            if users.is_empty() {
                // Before the list is ended: it is told at least once.
                self.host().node_lost(node.as_str());
                self.told_users_step(&Step::End(lost)).await;
                break;
            }
            for user in users.clone() {
                // The semaphore is never closed.
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let tasks = Rc::clone(&self);
                self.spawn(async move {
                    tasks.tell_left(&user).await;
                    drop(permit);
                });
            }
            let Ok(all) = permits.acquire_many(AT_ONCE as u32).await else { return };
            drop(all);
            if self.told_users_step(&Step::Drop(lost, &users)).await.is_none() {
                break;
            }
        }
        self.lost.under_way.borrow_mut().remove(&lost);
    }

    /// Takes a step, repeated until the engine has answered; `None` when this node's incarnation is over.
    async fn told_users_step(&self, step: &Step<'_>) -> Option<Vec<UserId>> {
        let by = self.by();
        let call = || told_users::call(&self.keys, by, step);
        let may_go_on = || self.by() == by && !self.requests.is_stopping();
        self.run_until(u64::MAX, Urgency::Usual, may_go_on, call, told_users::reply).await.ok()
    }

    /// Asks about the users and rooms for which this node waits: it stops.
    pub(in crate::broker::redis::engine) fn wait_no_longer(self: &Rc<Self>) {
        for user in self.host().take_leavers() {
            self.request(UserRequest::Offline(user, 0));
        }
        for room in self.host().take_left_rooms() {
            self.request(UserRequest::Vacated(room, 0));
        }
    }

    /// Leaves those that tell, when nothing is left to tell.
    pub(super) async fn stop_telling(&self) {
        if self.lost.entered.get().is_some() {
            let call = told_users::call(&self.keys, self.by(), &Step::Leave);
            if self.run(call, Urgency::Usual, told_users::reply).await.is_err() {
                tracing::warn!(
                    "the engine did not hear that this node tells no more: another one looks for its users"
                );
            }
        }
    }
}
