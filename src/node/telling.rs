//! Tells webhooks what happens on this node. Without webhooks each of these costs one check.

use crate::broker::Position;
use crate::broker::room::RoomState;
use crate::chat::presence::{Presence, PresenceRules};
use crate::config::WebhookEvent;
use crate::names::{RoomName, UserId};
use crate::protocol::close::EndReason;
use crate::protocol::event::Content;
use crate::webhooks::{Happening, Message, Webhooks};

/// A message that has its position.
#[derive(Clone, Copy)]
pub(super) struct PublishedMessage<'a> {
    pub(super) room: &'a RoomName,
    pub(super) user: &'a UserId,
    pub(super) content: Content<'a>,
    pub(super) at_unix_ms: u64,
}

/// Tells of a message. Called in the order of a room's offsets.
pub(super) fn message(webhooks: &Webhooks, message: PublishedMessage<'_>, position: Position) {
    if !webhooks.want(WebhookEvent::Message) {
        return;
    }
    let PublishedMessage { room, user, content: Content { text, data, name }, at_unix_ms } = message;
    let Position { epoch, offset } = position;
    let (epoch, id) = (epoch.to_string(), format!("{epoch}-{offset}"));
    let told = Message { room, user, epoch: &epoch, offset: offset.0, id: &id, at_unix_ms, text, name, data };
    webhooks.note(&Happening::Message(told));
}

/// Makes a change that may move a user into a room or out of it, and tells of that, from the number of members before
/// and after it. A move between two nodes or between two connections changes nothing. Called under the room's lock.
pub(super) fn moving<T, R>(
    webhooks: &Webhooks,
    state: &mut RoomState<T>,
    room: &RoomName,
    user: &UserId,
    change: impl FnOnce(&mut Presence, &PresenceRules) -> R,
) -> R {
    let rules = state.settings().presence;
    let before = state.presence.members();
    let result = change(&mut state.presence, &rules);
    let after = state.presence.members();
    if before != after {
        moved(webhooks, room, user, before, after, before.max(after) <= rules.count_only_above);
    }
    result
}

fn moved(webhooks: &Webhooks, room: &RoomName, user: &UserId, before: usize, after: usize, has_names: bool) {
    // With several nodes, the one that the engine chooses tells.
    let knows_rooms = webhooks.is_alone();
    if after > before {
        if before == 0 && knows_rooms {
            webhooks.room_occupied(room);
        }
        if has_names {
            webhooks.note(&Happening::MemberJoined(room, user));
        }
    } else {
        if has_names {
            webhooks.note(&Happening::MemberLeft(room, user));
        }
        if after == 0 && knows_rooms {
            webhooks.room_left(room);
        }
    }
}

/// Tells that a connection of the chat has ended.
pub fn tell_ended(webhooks: &Webhooks, user: &UserId, reason: &EndReason) {
    if webhooks.want(WebhookEvent::Disconnected) {
        let (code, reason) = (reason.code(), &*reason.text());
        webhooks.note(&Happening::Disconnected { user, code, reason });
    }
}
