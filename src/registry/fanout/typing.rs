//! That somebody types: worth showing when nothing else is going on, and dropped before anything else has to wait.
//! It has no place in the room's stream, is offered only to whoever has nothing queued, and a message that comes while
//! it goes round ends it.

use std::collections::VecDeque;

use super::Slice;
use crate::names::ConnectionId;
use crate::protocol::Dialect;
use crate::protocol::frame::Frame;
use crate::registry::clients::Clients;
use crate::registry::inbox::TopicId;
use crate::registry::lane::LaneId;
use crate::registry::room::{Offer, Room};
use crate::registry::shard::{Shard, State};
use crate::registry::{Registry, Topic};

/// Somebody types in a room.
#[derive(Debug)]
pub struct Typing {
    /// The room.
    pub topic: TopicId,
    /// The encoded event.
    pub frame: Frame,
    /// Who types, and does not get it.
    pub except: ConnectionId,
}

impl Registry {
    /// Shows the others in the room, those who speak `throng.v1`, that `except` types; or not, when a shard has more
    /// important things to do. Call it with or without the room's lock: it has no place in the stream.
    pub fn typing(&self, topic: &Topic, frame: &Frame, except: ConnectionId) {
        for (index, (members, inbox)) in topic.members.iter().zip(&self.inboxes).enumerate() {
            let alone = u32::from(index == except.shard());
            if members[Dialect::V1 as usize] > alone {
                inbox.typing(Typing { topic: topic.id(), frame: frame.clone(), except });
            }
        }
    }
}

impl Shard {
    /// Begins to show it, unless the room has anything else to do.
    pub(in crate::registry) fn show_typing(&self, typing: &Typing) {
        self.inbox.done(typing.frame.len());
        let State { rooms, work, .. } = &mut *self.state.borrow_mut();
        let lane = LaneId::new(typing.topic, Dialect::V1);
        if let Some(room) = rooms.get_mut(&lane).filter(|room| !room.has_work()) {
            room.start_typing(typing.except, &typing.frame);
            work.ready(lane, room);
        }
    }

    /// Shows it to more of the members, until the slice is full.
    pub(super) fn sweep_typing(
        &self,
        room: &mut Room,
        clients: &mut Clients,
        dirty: &mut VecDeque<u32>,
        slice: &mut Slice,
    ) {
        let typist = room.typist();
        // What comes back at the end is not worth keeping, nor its time worth counting.
        let _ = room.sweep(|Offer { batch, slot, start, frames, .. }| {
            slice.offers += 1;
            if let Some(mut client) = clients.get_mut(slot as usize)
                && client.is_idle()
                && Some(client.id) != typist
            {
                self.offer(&mut client, batch, start, frames);
                client.line_up(dirty);
            }
            !slice.is_full(dirty.len())
        });
    }
}
