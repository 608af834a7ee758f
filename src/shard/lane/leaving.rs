//! Queues for a member that leaves a room what it has still to get of the room's stream, and returns the acks of a lane
//! that ends. A lane is the members of one room on one shard that are sent its events in one form; a sweep is one batch
//! on its way through them.

use std::rc::Rc;

use smallvec::SmallVec;

use super::Lane;
use super::member::{GONE, Member};
use super::personal::PersonalBatch;
use crate::names::ConnectionId;
use crate::registry::delivery::{Ack, SenderCopy};
use crate::shard::batch::Batch;
use crate::shard::clients::ClientMut;
use crate::shard::egress::Egress;

impl Lane {
    /// Queues for a member what it has not got yet of the room's stream, up to the position `until`, with the acks of
    /// its own messages, in the order in which sweeps would have brought it. May write to the socket, so it must not be
    /// called under a lock.
    pub(in crate::shard) fn catch_up(&mut self, egress: &Egress, client: &mut ClientMut<'_>, until: u64) {
        let Some(after) = self.position(client.id.slot() as u32) else { return };
        if let Some(rest) = self.rest_of_sweep(client.id) {
            rest.queue(egress, client, until);
        }
        let mut batch = Batch::default();
        self.label(&mut batch);
        let queue = |client: &mut ClientMut<'_>, batch: &mut Batch| {
            let next = Batch { overload: batch.overload, room: batch.room.clone(), ..Batch::default() };
            let whole = Rc::new(std::mem::replace(batch, next));
            egress.offer_frames(client, &whole, 0..whole.frames.len());
        };
        for pending in self.pending.iter_mut().take_while(|pending| pending.seq <= until) {
            let ack = pending.sender.take_if(|copy| copy.to == client.id).and_then(|copy| copy.ack);
            let is_instead = ack.as_ref().is_some_and(|ack| ack.instead);
            if pending.seq > after && !is_instead {
                if egress.settings.batch.is_full(&batch, &pending.frame) {
                    queue(client, &mut batch);
                }
                batch.push_message(pending.seq, pending.loss, &pending.frame);
            }
            if let Some(ack) = ack {
                queue(client, &mut batch);
                egress.queue_reply(client, &ack.frame);
            }
        }
        queue(client, &mut batch);
    }

    /// Returns what the current sweep, begun or not, has still to bring to a member, and takes the member's copies out
    /// of it. `None` when that is nothing, or only a typing event.
    fn rest_of_sweep(&mut self, id: ConnectionId) -> Option<PersonalBatch> {
        let slot = id.slot() as u32;
        let sweep = self.sweep.as_mut().filter(|sweep| sweep.typist.is_none())?;
        let at = Member::find(&self.members, slot).ok()?;
        if at < sweep.cursor {
            return None;
        }
        let all = std::mem::take(&mut sweep.copies).into_iter();
        let (mut copies, rest): (SmallVec<_>, _) = all.partition(|indexed| indexed.copy.to == id);
        copies.reverse();
        sweep.copies = rest;
        Some(PersonalBatch { batch: Rc::clone(&sweep.batch), slot, after: self.members[at].after, copies })
    }

    /// Returns the position in the room's stream behind which the client of a slot gets frames; `None` when it is no
    /// member.
    fn position(&self, slot: u32) -> Option<u64> {
        let at = Member::find(&self.members, slot).ok()?;
        Some(self.members[at].after).filter(|&after| after != GONE)
    }

    /// Returns the acks that the lane still holds, with their clients, in the order of their messages for each client.
    /// For a lane without members: no sweep will bring these acks any more.
    pub(in crate::shard) fn into_acks(self) -> impl Iterator<Item = (ConnectionId, Box<Ack>)> {
        let swept = self.sweep.into_iter().flat_map(|sweep| sweep.copies.into_iter().rev());
        let pending = self.pending.into_iter().filter_map(|pending| pending.sender);
        let copies = swept.map(|indexed| indexed.copy).chain(pending);
        copies.filter_map(|SenderCopy { to, ack }| Some((to, ack?)))
    }
}
