//! One slice of the fan-out: as much work as a shard does before other tasks get their turn. A slice continues the
//! sweeps of the lanes whose turn it is. A lane is the members of one room on one shard that are sent its events in one
//! form, and a sweep is one batch on its way through them.

use std::time::{Duration, Instant};

use super::run_queue::RunQueue;
use super::supplies::SPARE_BYTES;
use crate::clock;
use crate::registry::inbox::Inbox;
use crate::shard::clients::Clients;
use crate::shard::egress::Egress;
use crate::shard::lane::prefetch::upcoming;
use crate::shard::lane::{FinishedSweep, Lane, Offer, Progress};
use crate::shard::outbox::WriteCounts;
use crate::shard::state::Lanes;

/// Most writes of a slice.
pub(in crate::shard) const WRITES: usize = 1024;
/// Most offers of a batch to a member in a slice, including those to members that cannot be written to now.
const OFFERS: usize = 4096;
/// Longest that a slice runs before it yields to other tasks.
const TIME: Duration = Duration::from_millis(2);
/// Number of writes between two readings of the clock.
pub(in crate::shard) const WRITES_PER_LOOK: usize = 64;

/// A slice: what it works on, and what it has done so far.
pub(in crate::shard) struct Slice<'a> {
    pub(super) egress: &'a Egress,
    inbox: &'a Inbox,
    pub(super) clients: &'a mut Clients,
    pub(super) queue: &'a mut RunQueue,
    began: Instant,
    /// The last reading of the clock showed that the slice has run for longer than [`TIME`].
    is_late: bool,
    writes: usize,
    pub(super) offers: usize,
    pub(super) counts: WriteCounts,
    /// The buffer in which the pieces of what one client gets are joined.
    pub(super) scratch: Vec<u8>,
}

impl<'a> Slice<'a> {
    /// Begins a slice now.
    pub(in crate::shard) fn new(
        egress: &'a Egress,
        inbox: &'a Inbox,
        clients: &'a mut Clients,
        queue: &'a mut RunQueue,
    ) -> Self {
        let scratch = std::mem::take(&mut queue.scratch);
        Self {
            egress,
            inbox,
            clients,
            queue,
            began: clock::recent_instant(),
            is_late: false,
            writes: 0,
            offers: 0,
            counts: WriteCounts::default(),
            scratch,
        }
    }

    /// Does the work: writes the queues that the last slice left or, if there are none, takes the lanes' turns and then
    /// writes the queues that these have filled.
    pub(in crate::shard) fn run(mut self, lanes: &mut Lanes) {
        // Clients that the last slice did not come to are written to first, and no batches are offered until that is
        // done. Otherwise batches would pile up in the queues of fast clients.
        if self.queue.dirty.is_empty() {
            self.fill(lanes);
            // Even if the time is over, queued batches are written until the next reading of the clock.
            self.is_late = false;
        }
        self.write_dirty();
        self.egress.count(&self.counts);
        if self.scratch.capacity() <= SPARE_BYTES {
            self.queue.scratch = self.scratch;
        }
    }

    /// Counts a write, and reads the clock if it is time to.
    pub(super) fn count_write(&mut self) {
        self.writes += 1;
        self.is_late |= self.writes.is_multiple_of(WRITES_PER_LOOK) && self.began.elapsed() > TIME;
    }

    /// True when the slice has used up its writes or its time.
    pub(super) fn is_over(&self) -> bool {
        self.is_late || self.writes >= WRITES
    }

    /// True when nothing more is to be offered to any client: the slice is over, has made enough offers, or enough
    /// clients wait to be written to.
    pub(super) fn is_full(&self) -> bool {
        self.is_over() || self.offers >= OFFERS || self.queue.dirty.len() >= WRITES
    }

    /// Takes the turns of lanes, in the order of their line, until the slice is full or each has had one.
    fn fill(&mut self, lanes: &mut Lanes) {
        for turn in 0..self.queue.ready.len() {
            if self.is_full() {
                return;
            }
            upcoming(&self.queue.ready, lanes).for_each(|(turns, lane)| lane.prefetch(turns, self.clients));
            let Some(id) = self.queue.ready.pop_front() else { return };
            let Some(lane) = lanes.get_mut(&id) else { continue };
            lane.gather(&self.egress.settings.batch, &mut self.queue.supplies);
            self.inbox.done(lane.begin());
            lane.is_ready = false;
            let finished = self.serve(lane);
            // A turn that the slice cuts short goes on at the head of the line: at its end the lane's last members
            // would wait for another round. But the first lane of a slice has had a whole slice, and a typing event can
            // wait.
            let is_cut_short = finished.is_none() && turn > 0 && !lane.is_typing();
            if let Some(finished) = finished {
                lane.swept_ms = self.egress.time.now_ms();
                self.queue.finished.push(finished);
            }
            if is_cut_short {
                self.queue.ready_first(id, lane);
            } else {
                self.queue.ready(id, lane);
            }
            if lane.has_pending() {
                self.queue.serve_senders_of(id, lane);
            }
            self.serve_senders(lanes);
        }
    }

    /// Continues the sweep of a lane until it has finished or the slice is full. Returns the sweep if it has finished
    /// and was not that of a typing event. A member of this room only is written to at once. A member of several rooms
    /// gets what all of them have for it in one write, later in the slice.
    pub(super) fn serve(&mut self, lane: &mut Lane) -> Option<FinishedSweep> {
        if lane.is_typing() {
            self.sweep_typing(lane);
            return None;
        }
        loop {
            let progress = lane.sweep(|offer| self.offer(&offer));
            match progress {
                Progress::Finished(sweep) => return Some(sweep),
                Progress::Paused => return None,
                Progress::NextHasAck => self.serve_sender(lane),
            }
            if self.is_full() {
                return None;
            }
        }
    }

    /// Writes what a member gets, or queues it if it may not be written at once. Returns false when the slice is full.
    #[inline]
    fn offer(&mut self, offer: &Offer<'_>) -> bool {
        let &Offer { batch, slot, start, frames, next } = offer;
        self.clients.prefetch(next.iter().map(|member| member.slot));
        self.offers += 1;
        let bytes = &batch.bytes[start as usize..];
        let is_direct = self.write_direct(slot as usize, bytes, frames, |outbox, now_ms| {
            outbox.push_shared(batch, start, frames, now_ms);
        });
        if !is_direct {
            self.queue_offer(offer);
        }
        !self.is_full()
    }

    /// Queues what a member gets, and puts the member into the line of clients to be written to.
    pub(super) fn queue_offer(&mut self, offer: &Offer<'_>) {
        let &Offer { batch, slot, start, frames, .. } = offer;
        if let Some(mut client) = self.clients.get_mut(slot as usize) {
            self.egress.offer(&mut client, batch, start..batch.bytes.len() as u32, frames);
            client.line_up(&mut self.queue.dirty);
        }
    }
}
