//! Users whose connection was taken over, and who stay in its rooms for a while until the new connection has joined
//! them. The other members see them neither leave nor join.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::broker::room::Room;
use crate::clock::{Awake, Clock};
use crate::names::UserId;
use crate::registry::topic::Topic;
use crate::shrink::ShrinkWhenSparse;

/// How long a user is held, in milliseconds. A returning client joins its rooms one after the other, each in a round
/// trip and with the messages it missed there, and many clients may return at once.
const GRACE_MS: u64 = 20_000;
/// Most users held at once, over all rooms; beyond it users leave at once. Memory: some 40 bytes each, and their rooms.
const MAX_HELD: usize = 65_536;

/// A user who is held in a room.
#[derive(Debug)]
pub(super) struct HeldUser {
    until_ms: u64,
    pub(super) room: Arc<Room<Topic>>,
    pub(super) user: UserId,
    pub(super) number: u32,
}

/// All users who are held on this node.
#[derive(Debug)]
pub(super) struct HeldUsers(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    /// Ordered by `until_ms`.
    users: VecDeque<HeldUser>,
    /// The clock of `until_ms`, which does not count the time that the process stood still: nobody could return then.
    awake: Awake,
}

impl HeldUsers {
    pub(super) fn new(clock: &Clock) -> Self {
        Self(Mutex::new(Waiting { users: VecDeque::new(), awake: Awake::new(clock) }))
    }

    /// Returns true when one more user can be held. Several threads may see the last slot at once, so the bound may be
    /// passed by one for each thread.
    pub(super) fn have_space(&self) -> bool {
        self.0.lock().users.len() < MAX_HELD
    }

    /// Holds a user in a room from `now_ms` on, by the node's clock. `number` is what
    /// [`Presence::hold`](crate::chat::presence::Presence::hold) returned.
    pub(super) fn add(&self, room: &Arc<Room<Topic>>, user: &UserId, number: u32, now_ms: u64) {
        let (room, user) = (Arc::clone(room), user.clone());
        let mut all = self.0.lock();
        let until_ms = all.awake.at(now_ms) + GRACE_MS;
        all.users.push_back(HeldUser { until_ms, room, user, number });
    }

    pub(super) fn take_due(&self, now_ms: u64) -> Option<HeldUser> {
        let mut all = self.0.lock();
        let now_ms = all.awake.at(now_ms);
        let due = all.users.pop_front_if(|held| held.until_ms <= now_ms);
        all.users.shrink_when_sparse();
        due
    }
}
