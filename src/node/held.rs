//! Users whose connection was taken over, in rooms that the new connection has yet to join: for the others they stay,
//! for a while.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::broker::room::Room;
use crate::clock::{Awake, Clock};
use crate::names::UserId;
use crate::registry::Topic;
use crate::shrink::ShrinkWhenSparse;

/// For how long, in milliseconds: a client that comes back joins its rooms one after the other, each in a round trip
/// and with what it missed there, and many may come back together.
const GRACE_MS: u64 = 20_000;
/// Held at once, all rooms together: beyond it users leave at once. Memory: some 40 bytes each, and their rooms.
const MAX_HELD: usize = 65_536;

/// A user who stays in a room under this number.
#[derive(Debug)]
pub(super) struct HeldUser {
    until_ms: u64,
    pub(super) room: Arc<Room<Topic>>,
    pub(super) user: UserId,
    pub(super) number: u32,
}

/// Everybody who is held.
#[derive(Debug)]
pub(super) struct HeldUsers(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    /// In the order of the times.
    users: VecDeque<HeldUser>,
    /// By this the times go: while we stand still, nobody can come back.
    awake: Awake,
}

impl HeldUsers {
    pub(super) fn new(clock: &Clock) -> Self {
        Self(Mutex::new(Waiting { users: VecDeque::new(), awake: Awake::new(clock) }))
    }

    /// True when one more can be held. Others may be faster, so that the bound may be passed by one for each thread.
    pub(super) fn have_space(&self) -> bool {
        self.0.lock().users.len() < MAX_HELD
    }

    /// Notes that a user stays in a room, from `now_ms` of the node's clock on.
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
