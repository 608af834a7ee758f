//! Typing over nodes: a push on the room's channel that nobody stores, and the first thing to be left out.

use std::str;

use bytes::Bytes;

use super::super::batch::Incarnation;
use super::super::host::Host;
use super::super::link::Call;
use super::calls::{Purpose, Subject};
use super::pacing::Urgency;
use super::state::Engine;
use crate::names::{RoomName, UserId};

/// The kind and version of the payload: `t1 INCARNATION USER`.
const KIND: &[u8] = b"t1 ";
/// Rooms with more connections on this node show nobody typing on others.
const MAX_MEMBERS: usize = 1_000;

impl<L: Host> Engine<L> {
    /// Tells the other nodes that a user is typing.
    pub(super) fn push_typing(&mut self, name: &RoomName, user: &UserId) {
        let now = self.clock.now_ms();
        let local = self.broker.local();
        let Some(followed) = self.rooms.get_mut(name) else { return };
        let Some(room) = followed.room.as_ref().filter(|_| followed.typing.is_allowed(now)) else { return };
        if room.with(|state| local.members(&state.topic)) > MAX_MEMBERS {
            return;
        }
        let payload = format!("t1 {} {user}", self.by);
        let call = Call::command([Bytes::from("SPUBLISH"), followed.keys.channel(), payload.into()]);
        let subject = Subject::Room(name.clone(), Purpose::Unanswered);
        self.calls.send_for(&mut self.links, followed.link, subject, call, Urgency::Usual);
    }

    /// Shows a room's members that a user on another node is typing. Returns false when the payload is of another kind.
    pub(super) fn take_typing(&self, name: &RoomName, payload: &Bytes) -> bool {
        let Some(rest) = payload.strip_prefix(KIND) else { return false };
        let parts = str::from_utf8(rest).ok().and_then(|text| text.split_once(' '));
        let parsed = parts.and_then(|(by, user)| Some((by.parse::<Incarnation>().ok()?, user.parse().ok()?)));
        let Some((by, user)) = parsed else { return false };
        let room = self.rooms.get(name).and_then(|followed| followed.room.as_ref());
        if let Some(room) = room.filter(|_| by != self.by) {
            let local = self.broker.local();
            room.with(|state| {
                if local.members(&state.topic) <= MAX_MEMBERS {
                    local.show_typing(&state.topic, name, &user);
                }
            });
        }
        true
    }
}
