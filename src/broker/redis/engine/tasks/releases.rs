//! Releases the user ids of connections that have ended. Each release is repeated until the engine has answered, and
//! made again when the engine may have lost it.

use std::rc::Rc;

use super::Tasks;
use super::waiting::Release;
use crate::broker::redis::directory::Owner;
use crate::broker::redis::directory::release;
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::names::{ConnectionId, UserId};
use crate::shrink::ShrinkWhenSparse;

/// Most releases under way at once: enough to keep a server busy, and few enough to leave space for claims.
const MAX_UNDER_WAY: usize = 128;

impl<L: Host> Tasks<L> {
    /// Releases the user id of a connection of this incarnation.
    pub(super) fn release(self: &Rc<Self>, user: UserId, connection: ConnectionId) {
        let release = Release { user, connection, by: self.by() };
        if let Some(waiting) = self.releases.claiming.borrow_mut().get_mut(&connection) {
            // A claim that is carried out behind the release would stay for ever.
            *waiting = Some(release);
            return;
        }
        self.queue_release(release);
    }

    fn queue_release(self: &Rc<Self>, release: Release) {
        self.releases.waiting.borrow_mut().push_back(release);
        let under_way = &self.releases.under_way;
        if under_way.get() < MAX_UNDER_WAY {
            under_way.set(under_way.get() + 1);
            self.spawn(Rc::clone(self).work_off_releases());
        }
    }

    async fn work_off_releases(self: Rc<Self>) {
        loop {
            let next = self.releases.waiting.borrow_mut().pop_front();
            let Some(release) = next else { break };
            let Release { user, connection, by } = &release;
            let owner = Owner { node: self.node.clone(), incarnation: *by, connection: *connection };
            let missing = self.host().missing(user);
            let call = || release::call(&self.keys, user, &owner, missing);
            // An incarnation that is over has no entries.
            let may_go_on = || self.by() == *by;
            if self.run_until(u64::MAX, Urgency::Usual, may_go_on, call, release::reply).await.is_ok() {
                self.tell_left(&release.user).await;
                self.releases.remember(release, self.clock.now_ms());
            }
        }
        self.releases.waiting.borrow_mut().shrink_when_sparse();
        let under_way = &self.releases.under_way;
        under_way.set(under_way.get() - 1);
    }

    /// Notes that a server has other data than before, so that it may lack what it was told last: the claims of all
    /// open connections are repeated, and so are the last releases.
    pub(in crate::broker::redis::engine) fn data_changed(self: &Rc<Self>) {
        self.doubt.notify_one();
        self.lost.entered.set(None);
        let doubtful = self.releases.take_doubtful(self.clock.now_ms());
        doubtful.for_each(|release| self.queue_release(release));
    }

    /// Notes that the claim of a connection is being repeated, so that its release waits. Returns false when that is
    /// noted already.
    pub(super) fn begin_repeat(&self, connection: ConnectionId) -> bool {
        let mut claiming = self.releases.claiming.borrow_mut();
        let is_new = !claiming.contains_key(&connection);
        claiming.entry(connection).or_default();
        is_new
    }

    /// Notes that the repeated claim of a connection is answered.
    pub(super) fn end_repeat(self: &Rc<Self>, connection: ConnectionId) {
        let release = self.releases.claiming.borrow_mut().remove(&connection).flatten();
        if let Some(release) = release {
            self.queue_release(release);
        }
    }
}
