//! Tells that users are online or offline, so that of all nodes one does. Without anybody who wants to know, nothing is
//! asked. The users of whom this node tells are in its list, so that another node tells of them when this one dies.

use std::rc::Rc;

use super::Tasks;
use crate::broker::redis::directory::told::{self, Step, Told};
use crate::broker::redis::directory::told_users;
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::broker::redis::nodes::Outcome;
use crate::names::UserId;

impl<L: Host> Tasks<L> {
    /// Tells that a user is online who has claimed the user id on this node, if that is news.
    pub(super) async fn tell_online(&self, user: &UserId) {
        let Some(wait_ms) = self.host().offline_after_ms() else { return };
        // Before anybody is told: there is always a node that tells the end.
        if !self.enter(Some(user)).await {
            return;
        }
        if self.told(user, Step::Online, wait_ms).await == Outcome::Yes {
            self.host().tell_user(user, true);
        }
        if !self.host().has_user(user) {
            // The connection has ended meanwhile, and its release has removed the user from the list before this.
            self.tell_left(user).await;
        }
    }

    /// Begins to wait when the last connection of a user has ended on this node. A node that stops does not wait.
    pub(super) async fn tell_left(&self, user: &UserId) {
        let Some(wait_ms) = self.host().offline_after_ms() else { return };
        if self.told(user, Step::Left, wait_ms).await != Outcome::Yes {
            return self.forget(user).await;
        }
        if !self.requests.is_stopping() {
            return self.host().user_left(user);
        }
        self.offline(user, 0).await;
    }

    /// Tells that a user is offline who has left for `wait_ms`, unless the user has come back.
    pub(super) async fn tell_offline(self: Rc<Self>, user: UserId, wait_ms: u64) {
        self.offline(&user, wait_ms).await;
    }

    async fn offline(&self, user: &UserId, wait_ms: u64) {
        match self.told(user, Step::Offline, wait_ms).await {
            Outcome::Yes => self.host().tell_user(user, false),
            // The configured time has become longer, or the user was there in between: this node waits once more.
            Outcome::TooEarly if !self.requests.is_stopping() => return self.host().user_left(user),
            // Another node takes over the list with this user.
            Outcome::TooEarly => return,
            Outcome::No => {}
        }
        self.forget(user).await;
    }

    /// Takes a step, repeated until the engine has answered.
    async fn told(&self, user: &UserId, step: Step, wait_ms: u64) -> Outcome {
        let number = self.next_attempt();
        let told = Told { user, step, by: self.by(), number, wait_ms };
        let call = || told::call(&self.keys, &told, self.nodes.borrow().live_list());
        // The steps of an incarnation that is over are told by nobody: the node begins anew.
        let may_go_on = || self.by() == told.by;
        self.run_until(u64::MAX, Urgency::Usual, may_go_on, call, told::reply).await.unwrap_or(Outcome::No)
    }

    /// Enters this node among those that tell webhooks, and a user in its list. Returns false when the incarnation is
    /// over.
    pub(super) async fn enter(&self, user: Option<&UserId>) -> bool {
        let by = self.by();
        let call = || told_users::call(&self.keys, by, &told_users::Step::Enter(&self.node, user));
        let may_go_on = || self.by() == by;
        self.run_until(u64::MAX, Urgency::Usual, may_go_on, call, told_users::reply).await.is_ok()
    }

    /// Takes a user out of this node's list, unless the user is here.
    pub(super) async fn forget(&self, user: &UserId) {
        let by = self.by();
        let call = || told_users::call(&self.keys, by, &told_users::Step::Forget(user));
        let may_go_on = || self.by() == by && !self.host().has_user(user);
        let _ = self.run_until(u64::MAX, Urgency::Usual, may_go_on, call, told_users::reply).await;
        // A repeated call may reach the engine behind that which has entered the user again.
        if self.host().has_user(user) {
            self.enter(Some(user)).await;
        }
    }
}
