//! What one client gets apart from the others: its acks, each at the place of its message, and, when it leaves a room,
//! all that lies before that.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::Slice;
use crate::names::ConnectionId;
use crate::protocol::frame::Frame;
use crate::registry::batch::Batch;
use crate::registry::clients::{ClientMut, Clients};
use crate::registry::room::{Apart, Room};
use crate::registry::shard::Shard;

impl Shard {
    /// Serves the client whose asides come next in a sweep, in its turn among the others: whoever publishes would else
    /// go on only after the last of them, and the batches would be half as large.
    pub(super) fn serve_apart(
        &self,
        room: &mut Room,
        clients: &mut Clients,
        dirty: &mut VecDeque<u32>,
        slice: &mut Slice,
    ) {
        slice.offers += 1;
        let Some(apart) = room.take_apart() else { return };
        let is_direct = clients.direct(apart.slot as usize).is_some();
        let Some(mut client) = clients.get_mut(apart.slot as usize) else { return };
        self.hand_apart(&mut client, &apart, u64::MAX);
        if is_direct {
            slice.count_write();
            self.relieve(&mut client);
        } else {
            client.line_up(dirty);
        }
    }

    /// Queues a batch with its asides for one client, up to a place in the stream.
    fn hand_apart(&self, client: &mut ClientMut<'_>, apart: &Apart, until: u64) {
        let Apart { batch, after, asides, .. } = apart;
        let mut next = batch.frames.partition_point(|frame| frame.seq <= *after);
        let end = batch.frames.partition_point(|frame| frame.seq <= until);
        // The slot may have got somebody else, who is a member as well: what was meant for the other is for nobody.
        let id = client.id;
        for placed in asides.iter().filter(|placed| placed.aside.to == id) {
            if placed.index >= next {
                let stop = placed.index + usize::from(!placed.aside.instead);
                self.offer_frames(client, batch, next..stop);
                next = placed.index + 1;
            }
            self.own(client, &placed.aside.frame);
        }
        self.offer_frames(client, batch, next..end);
    }

    fn offer_frames(&self, client: &mut ClientMut<'_>, batch: &Rc<Batch>, frames: Range<usize>) {
        if !frames.is_empty() {
            let part = batch.start_of(frames.start)..batch.start_of(frames.end);
            self.offer_part(client, batch, part, frames.len() as u32);
        }
    }

    /// Gives a member what it has not got yet of the stream up to a place, as if the sweeps had brought it. Writes: not
    /// to be called under a lock.
    pub(in crate::registry) fn catch_up(&self, client: &mut ClientMut<'_>, room: &mut Room, until: u64) {
        let Some(after) = room.position(client.id.slot() as u32) else { return };
        if let Some(apart) = room.rest_of_sweep(client.id) {
            self.hand_apart(client, &apart, until);
        }
        let mut batch = Batch::default();
        room.label(&mut batch);
        let hand = |client: &mut ClientMut<'_>, batch: &mut Batch| {
            let next = Batch { overload: batch.overload, room: batch.room.clone(), ..Batch::default() };
            let whole = Rc::new(std::mem::replace(batch, next));
            self.offer_frames(client, &whole, 0..whole.frames.len());
        };
        for pending in room.rest_of_pending(until) {
            let aside = pending.aside.take_if(|aside| aside.to == client.id);
            let is_instead = aside.as_ref().is_some_and(|aside| aside.instead);
            if pending.seq > after && !is_instead {
                if self.settings.batch.is_full(&batch, &pending.frame) {
                    hand(client, &mut batch);
                }
                batch.push_message(pending.seq, pending.place, &pending.frame);
            }
            if let Some(aside) = aside {
                hand(client, &mut batch);
                self.own(client, &aside.frame);
            }
        }
        hand(client, &mut batch);
    }

    /// Queues a frame for one client, within the bounds of its queue.
    pub(in crate::registry) fn deliver_alone(&self, id: ConnectionId, frame: &Frame) {
        self.inbox.done(frame.len());
        let state = &mut *self.state.borrow_mut();
        if let Some(mut client) = state.client(id) {
            let overload = self.settings.overload;
            let batch = Rc::new(Batch { overload, ..Batch::of(frame) });
            self.offer_frames(&mut client, &batch, 0..1);
        }
        state.mark_dirty(id);
    }
}
