//! Announces joins and leaves in a room, to each dialect in its own form.
//!
//! [`chat::presence`](crate::chat::presence) decides what there is to announce.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::broker::room::{Room, RoomState};
use crate::chat::announcement::Announcement;
use crate::chat::presence::{Change, LocalNews, Outcome, Presence};
use crate::clock::Clock;
use crate::names::{DisplayName, RoomName, UserId};
use crate::protocol::event::{self, v1};
use crate::registry::Registry;
use crate::registry::delivery::{Audience, Delivery};
use crate::registry::topic::Topic;

/// Most bytes of names in one list of changes. A storm of joins must not cost each member much more than the ids of
/// those who join; the other names are learnt from the list of users, or from messages.
const NAMES_BYTES: usize = 16 * 1024;

/// Returns the names of those users who have one, as many as fit into [`NAMES_BYTES`].
fn shown_names(presence: &Presence, users: &[UserId]) -> Vec<(UserId, DisplayName)> {
    let mut bytes = 0;
    let fits = |(user, name): &(&UserId, &DisplayName)| {
        bytes += user.as_str().len() + name.as_str().len();
        bytes <= NAMES_BYTES
    };
    let named = presence.names_of(users).take_while(fits);
    named.map(|(user, name)| (user.clone(), name.clone())).collect()
}

/// Announces joins and leaves in the rooms of a node.
#[derive(Debug)]
pub(super) struct Announcer {
    registry: Arc<Registry>,
    clock: Clock,
    /// Rooms with a merged announcement to make, each with the time when it is due. A room stands here once at most.
    due: Mutex<Vec<(u64, Arc<Room<Topic>>)>>,
}

impl Announcer {
    pub(super) fn new(registry: Arc<Registry>, clock: Clock) -> Self {
        Self { registry, clock, due: Mutex::default() }
    }

    /// Applies changes of the users on other nodes. Returns what those have to be told of the users on this node.
    pub(super) fn apply(
        &self,
        room: &Arc<Room<Topic>>,
        changes: Vec<Change>,
        now_ms: u64,
    ) -> Option<LocalNews> {
        let (due, moves) = room.with(|state| {
            let rules = state.settings().presence;
            let outcome = state.presence.apply(changes, now_ms, &rules);
            (self.announce_outcome(state, room.name(), outcome), state.presence.take_local())
        });
        self.note_due(due, room);
        moves
    }

    /// Announces what a join or leave calls for. Returns the time at which a merged announcement is due, if one is.
    /// Called under the room's lock.
    pub(super) fn announce_outcome(
        &self,
        state: &mut RoomState<Topic>,
        room: &RoomName,
        outcome: Outcome,
    ) -> Option<u64> {
        match outcome {
            Outcome::Quiet => None,
            Outcome::Due(at_ms) => Some(at_ms),
            Outcome::Announce(announcement) => {
                self.announce(state, room, &announcement);
                None
            }
        }
    }

    /// Announces joins and leaves to each dialect that has members in the room.
    fn announce(&self, state: &mut RoomState<Topic>, room: &RoomName, announcement: &Announcement) {
        let at = Instant::now();
        if state.topic.has(Audience::Plain) && !announcement.notice.is_empty() {
            let frame =
                event::system(&announcement.notice, room, state.presence.members(), self.clock.unix_ms());
            self.registry.publish(&mut state.topic, Delivery::notice(&frame, Audience::Plain, at));
        }
        if let Some(diff) = announcement.diff.as_ref().filter(|_| state.topic.has(Audience::V1)) {
            let names = diff.names.as_ref();
            let shown = names.map_or_else(Vec::new, |names| shown_names(&state.presence, &names.joined));
            let changes =
                names.map(|names| v1::Changes { joined: &names.joined, left: &names.left, names: &shown });
            let frame = v1::presence_diff(room, changes, diff.members);
            self.registry.publish(&mut state.topic, Delivery::presence(&frame, diff.members, at));
        }
    }

    /// Notes when a merged announcement is due in a room. Called without the room's lock.
    pub(super) fn note_due(&self, due: Option<u64>, room: &Arc<Room<Topic>>) {
        if let Some(at_ms) = due {
            self.due.lock().push((at_ms, Arc::clone(room)));
        }
    }

    /// Announces what was merged, in all rooms where it is due by `now_ms`.
    pub(super) fn announce_due(&self, now_ms: u64) {
        let due: SmallVec<[_; 4]> = {
            let mut waiting = self.due.lock();
            waiting.extract_if(.., |(at_ms, _)| *at_ms <= now_ms).collect()
        };
        for (_, room) in due {
            room.with(|state| {
                let rules = state.settings().presence;
                if let Some(announcement) = state.presence.merged(&rules) {
                    self.announce(state, room.name(), &announcement);
                }
            });
        }
    }
}
