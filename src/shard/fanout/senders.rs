//! Gives the senders of messages their copies and acks before the turn of their lane comes. A lane is the members of
//! one room on one shard that are sent its events in one form.
//!
//! A sender may wait for its own message before it sends the next. If it is served early, its next message comes in
//! time for the same batch, and costs the other members no write of its own.

use std::ops::Range;

use super::slice::Slice;
use crate::names::ConnectionId;
use crate::shard::lane::Lane;
use crate::shard::lane::personal::{PersonalBatch, Piece};
use crate::shard::lane::prefetch::upcoming;
use crate::shard::outbox::Kind;
use crate::shard::state::Lanes;

/// Number of lanes whose senders are served after each turn of a lane. With more of them the batches grow and the CPU
/// time per delivery falls, but each turn comes later: beyond two the 99th percentile of the latency rises.
const LANES_PER_TURN: usize = 2;

impl Slice<'_> {
    /// Serves the senders of the lanes that are next in the line of lanes with senders, until the slice is full.
    pub(super) fn serve_senders(&mut self, lanes: &mut Lanes) {
        for _ in 0..LANES_PER_TURN {
            if self.is_full() {
                return;
            }
            upcoming(&self.queue.with_senders, lanes)
                .for_each(|(turns, lane)| lane.prefetch_sender(turns, self.clients));
            let Some(id) = self.queue.with_senders.pop_front() else { return };
            let Some(lane) = lanes.get_mut(&id) else { continue };
            lane.has_senders = false;
            // A lane whose turn is next, or whose sweep is under way, serves its senders in its own turn.
            let is_next = self.queue.ready.front() == Some(&id);
            if !is_next && !lane.is_sweeping() {
                lane.gather(&self.egress.settings.batch, &mut self.queue.supplies);
                self.serve(lane);
            }
        }
    }

    /// Writes or queues what the lane's next sender gets: its part of the batch and the acks of its messages.
    pub(super) fn serve_sender(&mut self, lane: &mut Lane) {
        self.offers += 1;
        let Some(personal) = lane.next_sender() else { return };
        let slot = personal.slot as usize;
        if let Some(hot) = self.clients.direct(slot) {
            let id = ConnectionId::new(self.egress.index, slot, hot.generation);
            self.write_personal(id, &personal);
        } else if let Some(mut client) = self.clients.get_mut(slot) {
            personal.queue(self.egress, &mut client, u64::MAX);
            client.line_up(&mut self.queue.dirty);
        }
    }

    /// Writes a sender's part of a batch, with its acks, to its socket at once, which must be allowed. The pieces are
    /// joined in a buffer: copying a batch that is still in the cache costs less than queueing its pieces and a
    /// vectored write of them.
    fn write_personal(&mut self, id: ConnectionId, personal: &PersonalBatch) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let mut messages = 0;
        personal.pieces(id, u64::MAX, |piece| match piece {
            Piece::Messages(frames) => {
                messages += frames.len() as u32;
                let Range { start, end } = personal.batch.part(&frames);
                scratch.extend_from_slice(&personal.batch.bytes[start as usize..end as usize]);
            }
            Piece::Ack(frame) => scratch.extend_from_slice(frame),
        });
        if !scratch.is_empty() {
            self.write_direct(id.slot(), &scratch, messages, |outbox, now_ms| {
                personal.pieces(id, u64::MAX, |piece| match piece {
                    Piece::Messages(frames) => {
                        let Range { start, end } = personal.batch.part(&frames);
                        outbox.push_part(&personal.batch, start, end, frames.len() as u32, now_ms);
                    }
                    Piece::Ack(frame) => outbox.push(Kind::Reply, frame, now_ms),
                });
            });
        }
        self.scratch = scratch;
    }
}
