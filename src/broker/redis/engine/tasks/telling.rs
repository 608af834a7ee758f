//! Tells that users are online or offline, so that of all nodes one does. Without anybody who wants to know, nothing is
//! asked.

use std::rc::Rc;

use super::Tasks;
use crate::broker::redis::directory::told::{self, Step, Told};
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::names::UserId;

impl<L: Host> Tasks<L> {
    /// Tells that a user is online who has claimed the user id on this node, if that is news.
    pub(super) async fn tell_online(&self, user: &UserId) {
        if let Some(wait_ms) = self.host().offline_after_ms()
            && self.told(user, Step::Online, wait_ms).await
        {
            self.host().tell_user(user, true);
        }
    }

    /// Begins to wait when the last connection of a user has ended on this node. A node that stops does not wait.
    pub(super) async fn tell_left(&self, user: &UserId) {
        let Some(wait_ms) = self.host().offline_after_ms() else { return };
        if !self.told(user, Step::Left, wait_ms).await {
            return;
        }
        if !self.requests.is_stopping() {
            self.host().user_left(user);
        } else if self.told(user, Step::Offline, 0).await {
            self.host().tell_user(user, false);
        }
    }

    /// Tells that a user is offline who has left for `wait_ms`, unless the user has come back.
    pub(super) async fn tell_offline(self: Rc<Self>, user: UserId, wait_ms: u64) {
        if self.told(&user, Step::Offline, wait_ms).await {
            self.host().tell_user(&user, false);
        }
    }

    /// Takes a step, repeated until the engine has answered. Returns whether it has happened.
    async fn told(&self, user: &UserId, step: Step, wait_ms: u64) -> bool {
        let number = self.attempts.get() + 1;
        self.attempts.set(number);
        let told = Told { user, step, by: self.by(), number, wait_ms };
        let call = || told::call(&self.keys, &told, self.nodes.borrow().live_list());
        // The steps of an incarnation that is over are told by nobody: the node begins anew.
        let may_go_on = || self.by() == told.by;
        self.run_until(u64::MAX, Urgency::Usual, may_go_on, call, told::reply).await.unwrap_or(false)
    }
}
