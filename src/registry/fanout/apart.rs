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
use crate::registry::outbox::Kind;
use crate::registry::room::{Apart, Piece, Room};
use crate::registry::shard::Shard;
use crate::registry::share::Share;

impl Shard {
    /// Serves the next of those who have acks.
    pub(super) fn serve_apart(
        &self,
        room: &mut Room,
        clients: &mut Clients,
        dirty: &mut VecDeque<u32>,
        slice: &mut Slice,
    ) {
        slice.offers += 1;
        let Some(apart) = room.take_apart() else { return };
        let slot = apart.slot as usize;
        if let Some(hot) = clients.direct(slot) {
            let id = ConnectionId::new(self.index(), slot, hot.generation);
            self.write_apart(clients, id, &apart, slice);
        } else if let Some(mut client) = clients.get_mut(slot) {
            self.hand_apart(&mut client, &apart, u64::MAX);
            client.line_up(dirty);
        }
    }

    /// Writes a batch with its acks to a client for whom nothing waits: in one piece, for a copy of a batch that was
    /// just written costs less than a queue of its parts, and their vectored write.
    fn write_apart(&self, clients: &mut Clients, id: ConnectionId, apart: &Apart, slice: &mut Slice) {
        let mut scratch = std::mem::take(&mut slice.scratch);
        scratch.clear();
        let mut messages = 0;
        apart.pieces(id, u64::MAX, |piece| match piece {
            Piece::Messages(frames) => {
                messages += frames.len() as u32;
                let Range { start, end } = apart.batch.part(&frames);
                scratch.extend_from_slice(&apart.batch.bytes[start as usize..end as usize]);
            }
            Piece::Ack(frame) => scratch.extend_from_slice(frame),
        });
        if !scratch.is_empty() {
            self.write_direct(clients, id.slot(), &scratch, messages, slice, |outbox, now_ms| {
                apart.pieces(id, u64::MAX, |piece| match piece {
                    Piece::Messages(frames) => {
                        let Range { start, end } = apart.batch.part(&frames);
                        outbox.push_part(&apart.batch, start, end, frames.len() as u32, now_ms);
                    }
                    Piece::Ack(frame) => outbox.push(Kind::Own, frame, now_ms),
                });
            });
        }
        slice.scratch = scratch;
    }

    /// Queues a batch with its acks for one client, up to a place in the stream.
    fn hand_apart(&self, client: &mut ClientMut<'_>, apart: &Apart, until: u64) {
        apart.pieces(client.id, until, |piece| match piece {
            Piece::Messages(frames) => self.offer_frames(client, &apart.batch, frames),
            Piece::Ack(frame) => self.own(client, frame),
        });
    }

    fn offer_frames(&self, client: &mut ClientMut<'_>, batch: &Rc<Batch>, frames: Range<usize>) {
        if !frames.is_empty() {
            self.offer_part(client, batch, batch.part(&frames), frames.len() as u32);
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
            let ack = pending.aside.take_if(|aside| aside.to == client.id).and_then(|aside| aside.ack);
            let is_instead = ack.as_ref().is_some_and(|ack| ack.instead);
            if pending.seq > after && !is_instead {
                if self.settings.batch.is_full(&batch, &pending.frame) {
                    hand(client, &mut batch);
                }
                batch.push_message(pending.seq, pending.place, &pending.frame);
            }
            if let Some(ack) = ack {
                hand(client, &mut batch);
                self.own(client, &ack.frame);
            }
        }
        hand(client, &mut batch);
    }

    /// Queues a frame for one client, within the bounds of its queue.
    pub(in crate::registry) fn deliver_alone(&self, id: ConnectionId, frame: &Frame, share: Option<Share>) {
        self.inbox.done(frame.len());
        let state = &mut *self.state.borrow_mut();
        if let Some(mut client) = state.client(id) {
            let overload = self.settings.overload;
            let batch = Rc::new(Batch { overload, _share: share, ..Batch::of(frame) });
            self.offer_frames(&mut client, &batch, 0..1);
        }
        state.mark_dirty(id);
    }
}
