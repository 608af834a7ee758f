//! Tells webhooks what happens on this node. Without webhooks each of these costs one check.

use crate::broker::Position;
use crate::config::WebhookEvent;
use crate::names::{RoomName, UserId};
use crate::protocol::close::EndReason;
use crate::webhooks::{Happening, Message, Webhooks};

/// A message that has its position.
#[derive(Clone, Copy)]
pub(super) struct PublishedMessage<'a> {
    pub(super) room: &'a RoomName,
    pub(super) user: &'a UserId,
    pub(super) text: &'a str,
    pub(super) at_unix_ms: u64,
}

/// Tells of a message. Called in the order of a room's offsets.
pub(super) fn message(webhooks: &Webhooks, message: PublishedMessage<'_>, position: Position) {
    if !webhooks.want(WebhookEvent::Message) {
        return;
    }
    let PublishedMessage { room, user, text, at_unix_ms } = message;
    let Position { epoch, offset } = position;
    let (epoch, id) = (epoch.to_string(), format!("{epoch}-{offset}"));
    let told = Message { room, user, epoch: &epoch, offset: offset.0, id: &id, at_unix_ms, text };
    webhooks.note(&Happening::Message(told));
}

/// Tells of a user's move into a room or out of it, from the number of members before and after it. A move between two
/// nodes or between two connections changes nothing. Called under the room's lock.
pub(super) fn moved(webhooks: &Webhooks, room: &RoomName, user: &UserId, members: Members) {
    let Members { before, after, names_up_to } = members;
    if before == after {
        return;
    }
    let has_names = before.max(after) <= names_up_to;
    if after > before {
        if before == 0 {
            webhooks.room_occupied(room);
        }
        if has_names {
            webhooks.note(&Happening::MemberJoined(room, user));
        }
    } else {
        if has_names {
            webhooks.note(&Happening::MemberLeft(room, user));
        }
        if after == 0 {
            webhooks.room_left(room);
        }
    }
}

/// The number of members of a room before and after a move.
#[derive(Debug, Clone, Copy)]
pub(super) struct Members {
    pub(super) before: usize,
    pub(super) after: usize,
    /// Most members of a room whose joins and leaves are told with names.
    pub(super) names_up_to: usize,
}

/// Tells that a connection of the chat has ended.
pub fn tell_ended(webhooks: &Webhooks, user: &UserId, reason: &EndReason) {
    if webhooks.want(WebhookEvent::Disconnected) {
        let (code, reason) = (reason.code(), &*reason.text());
        webhooks.note(&Happening::Disconnected { user, code, reason });
    }
}
