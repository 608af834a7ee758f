//! The fan-out task of a shard: takes the inbox, batches per room, queues the batch for each member and writes to
//! each of them once.
//!
//! A slice is about 1,024 writes or two milliseconds, whichever is first. A room's turn is what it needs, at most the
//! rest of one slice and all of the next, so that a room of 100,000 cannot starve a room of two. What comes before a
//! room's turn, or while its sweep goes round, is batched for the next sweep: the busier the server, the larger the
//! batches. Whoever said something is served between two turns, as long as no queue holds what its room has gathered.

mod apart;
mod speakers;
mod typing;
mod write;

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub use self::typing::Typing;
use super::batch::Batch;
use super::bounds::Overload;
use super::client::Client;
use super::clients::{ClientMut, Clients};
use super::lane::LaneId;
use super::outbox::Tally;
use super::room::{Offer, Progress, Room, Swept, ahead};
use super::shard::{Shard, State};
use crate::clock;
use crate::metrics::ShardMetrics;
use crate::protocol::close::EndReason;

/// Clients written to before other tasks get their turn.
const SLICE_WRITES: usize = 1024;
/// Members looked at before that, those included who cannot be written to now.
const SLICE_OFFERS: usize = 4096;
/// Time after which they get it in any case.
const SLICE_TIME: Duration = Duration::from_millis(2);
/// Connections ended at once because the node's queues are too long.
const EVICTIONS: usize = 8;
/// What has come is fanned out after one more look at the sockets, if that takes so many writes: messages come in
/// bursts, a look costs about a third of a write, and what it finds needs none of its own.
const WRITES_WORTH_A_LOOK: usize = 64;
/// Looks, one after the other, each of which has found as much.
const LOOKS_IN_A_ROW: usize = 16;
/// Slices after which other tasks get their turn although nothing is left, should more have come each time.
const SLICES_IN_A_ROW: usize = 16;
/// Writes between two looks at the clock.
const WRITES_PER_LOOK: usize = 64;
/// Batches kept for their memory.
const SPARE_BATCHES: usize = 64;
/// A spare batch keeps no more room than this.
const SPARE_BYTES: usize = 128 * 1024;

/// The rooms and clients that have something to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    ready: VecDeque<LaneId>,
    /// Where somebody has said something, and is served before the turn of the room; or was, by then.
    speaking: VecDeque<LaneId>,
    pub(super) dirty: VecDeque<u32>,
    /// Batches whose sweep is over, but which queues may still hold.
    finished: Vec<Swept>,
    /// Batches that nobody holds, kept for their memory.
    spare: Vec<Rc<Batch>>,
    /// What one client gets is put together in it; kept for its memory.
    scratch: Vec<u8>,
    /// Writes that it takes to fan out what has come since [`run`] asked last.
    pub(super) expected: usize,
}

impl Work {
    /// Puts a room that has something to do at the end of the line, once.
    pub(super) fn ready(&mut self, lane: LaneId, room: &mut Room) {
        if room.has_work() && !std::mem::replace(&mut room.is_ready, true) {
            self.ready.push_back(lane);
        }
    }

    /// Puts a room where somebody has said something at the end of the line of those, once.
    pub(super) fn speaking(&mut self, lane: LaneId, room: &mut Room) {
        if !std::mem::replace(&mut room.is_speaking, true) {
            self.speaking.push_back(lane);
        }
    }

    /// A batch to gather in.
    fn batch(&mut self) -> Rc<Batch> {
        self.spare.pop().unwrap_or_default()
    }

    /// Puts a room that has something to do at the head of the line, for its turn is not over.
    fn ready_first(&mut self, lane: LaneId, room: &mut Room) {
        if room.has_work() && !std::mem::replace(&mut room.is_ready, true) {
            self.ready.push_front(lane);
        }
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.dirty.is_empty()
    }

    /// Takes back the batches that every member has been sent; what a slow client still holds, it keeps alone.
    fn recycle(&mut self, metrics: &ShardMetrics) {
        if !self.dirty.is_empty() || self.finished.is_empty() {
            return;
        }
        let now = Instant::now();
        for Swept { batch: mut shared, since } in self.finished.drain(..) {
            metrics.count_fanout(now - since);
            if self.spare.len() < SPARE_BATCHES
                && let Some(batch) = Rc::get_mut(&mut shared)
                && batch.bytes.capacity() <= SPARE_BYTES
            {
                batch.bytes.clear();
                batch.frames.clear();
                self.spare.push(shared);
            }
        }
    }
}

/// Runs a shard's fan-out for as long as the worker lives.
pub async fn run(shard: Rc<Shard>) {
    let mut items = Vec::new();
    let (mut slices, mut looks) = (0, 0);
    // What a slice has left is not kept waiting.
    let mut is_rested = true;
    loop {
        if shard.inbox.take(&mut items) {
            shard.accept(&mut items);
            let expected = std::mem::take(&mut shard.state.borrow_mut().work.expected);
            if is_rested && expected >= WRITES_WORTH_A_LOOK && looks < LOOKS_IN_A_ROW {
                looks += 1;
                tokio::task::yield_now().await;
                continue;
            }
        } else if !shard.has_work() {
            shard.inbox.wait().await;
            slices = 0;
            is_rested = true;
            if !shard.settings.linger.is_zero() {
                tokio::time::sleep(shard.settings.linger).await;
            }
            continue;
        }
        slices += 1;
        looks = 0;
        is_rested = !shard.slice();
        if !is_rested || slices >= SLICES_IN_A_ROW {
            slices = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// What a slice has done so far.
struct Slice {
    began: Instant,
    /// The last look at the clock showed that its time is over.
    is_late: bool,
    writes: usize,
    offers: usize,
    tally: Tally,
    /// Where what one client gets is put together.
    scratch: Vec<u8>,
}

impl Slice {
    fn new(scratch: Vec<u8>) -> Self {
        let began = clock::recent_instant();
        Self { began, is_late: false, writes: 0, offers: 0, tally: Tally::default(), scratch }
    }

    fn count_write(&mut self) {
        self.writes += 1;
        self.is_late |= self.writes.is_multiple_of(WRITES_PER_LOOK) && self.began.elapsed() > SLICE_TIME;
    }

    /// True when it is other tasks' turn.
    fn is_over(&self) -> bool {
        self.is_late || self.writes >= SLICE_WRITES
    }

    /// True when nothing more is to be offered to anybody, as when so many `dirty` clients wait for their write.
    fn is_full(&self, dirty: usize) -> bool {
        self.is_over() || self.offers >= SLICE_OFFERS || dirty >= SLICE_WRITES
    }
}

impl Shard {
    /// True when something is left to do. Asked afresh each time: a client that leaves its room takes in what is there.
    fn has_work(&self) -> bool {
        !self.state.borrow().work.is_empty()
    }

    /// Does one slice of the work; returns true when some is left.
    pub fn slice(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if state.work.is_empty() {
            return false;
        }
        self.tick();
        let mut slice = Slice::new(std::mem::take(&mut state.work.scratch));
        // What a slice left unwritten goes first: else the next batches would pile up on clients that are fast.
        if state.work.dirty.is_empty() {
            self.fill(&mut state, &mut slice);
            // Those whom it left for their one write get it now, until the next look.
            slice.is_late = false;
        }
        self.write_dirty(&mut state, &mut slice);
        self.count(&slice.tally);
        if slice.scratch.capacity() <= SPARE_BYTES {
            state.work.scratch = slice.scratch;
        }
        self.enforce_budget(&mut state.clients);
        !state.work.is_empty()
    }

    /// Takes batches, room by room, to a slice's worth of clients.
    fn fill(&self, state: &mut State, slice: &mut Slice) {
        let State { clients, rooms, work, .. } = state;
        for turn in 0..work.ready.len() {
            if slice.is_full(work.dirty.len()) {
                return;
            }
            ahead(&work.ready, rooms).for_each(|(turns, room)| room.prefetch(turns, clients));
            let Some(lane) = work.ready.pop_front() else { return };
            let Some(room) = rooms.get_mut(&lane) else { continue };
            room.gather(&self.settings.batch, || work.batch());
            self.inbox.done(room.begin());
            room.is_ready = false;
            let swept = self.serve(room, clients, &mut work.dirty, slice);
            // Behind all others its last members would wait twice as long as everybody else; but the first of a slice
            // has had all of it, and that somebody types can wait.
            let is_cut_short = swept.is_none() && turn > 0 && !room.is_typing();
            if let Some(swept) = swept {
                room.swept_ms = self.now_ms();
                work.finished.push(swept);
            }
            if is_cut_short {
                work.ready_first(lane, room);
            } else {
                work.ready(lane, room);
            }
            if room.has_pending() {
                work.speaking(lane, room);
            }
            self.serve_speakers(clients, rooms, work, slice);
        }
    }

    /// Sweeps on in a room until it is through, and returns that sweep, or until the slice is full. Who is in one room
    /// is written to at once; who is in several gets what all of them have in one write, later in the slice.
    fn serve(
        &self,
        room: &mut Room,
        clients: &mut Clients,
        dirty: &mut VecDeque<u32>,
        slice: &mut Slice,
    ) -> Option<Swept> {
        if room.is_typing() {
            self.sweep_typing(room, clients, dirty, slice);
            return None;
        }
        loop {
            let progress = room.sweep(|Offer { batch, slot, start, frames, next }| {
                clients.prefetch_sinks(next.iter().map(|member| member.slot));
                slice.offers += 1;
                let bytes = &batch.bytes[start as usize..];
                let is_direct =
                    self.write_direct(clients, slot as usize, bytes, frames, slice, |outbox, now_ms| {
                        outbox.push_shared(batch, start, frames, now_ms);
                    });
                if !is_direct && let Some(mut client) = clients.get_mut(slot as usize) {
                    self.offer(&mut client, batch, start, frames);
                    client.line_up(dirty);
                }
                !slice.is_full(dirty.len())
            });
            match progress {
                Progress::Through(swept) => return Some(swept),
                Progress::Paused => return None,
                Progress::Apart => self.serve_apart(room, clients, dirty, slice),
            }
            if slice.is_full(dirty.len()) {
                return None;
            }
        }
    }

    /// Queues the end of a batch for a client, or does with the client what the policy says.
    fn offer(&self, client: &mut ClientMut<'_>, batch: &Rc<Batch>, start: u32, frames: u32) {
        self.offer_part(client, batch, start..batch.bytes.len() as u32, frames);
    }

    /// Queues a part of a batch for a client, or does with the client what the policy says. May write: not to be called
    /// under a lock.
    pub(super) fn offer_part(
        &self,
        client: &mut ClientMut<'_>,
        batch: &Rc<Batch>,
        part: Range<u32>,
        frames: u32,
    ) {
        let Range { start, end } = part;
        let (bytes, messages) = ((end - start) as usize, frames as usize);
        let bounds = &self.settings.bounds;
        let overflow = |client: &Client| client.outbox.overflow(bytes, messages, self.now_ms(), bounds);
        if overflow(client).is_some() {
            // What several rooms put there in one slice says nothing of how fast the client is.
            self.relieve(client);
        }
        if client.end.is_some() {
            return;
        }
        if let Some(overflow) = overflow(client) {
            let mut is_full = true;
            match batch.overload {
                Overload::Disconnect => {
                    return self.end_client(client, EndReason::SlowConsumer(overflow.text()));
                }
                Overload::DropNewest => {}
                Overload::DropOldest => {
                    let dropped = self
                        .queue(client, |client, now| client.outbox.drop_oldest(bytes, messages, bounds, now));
                    self.metrics.messages_dropped.add(dropped);
                    is_full = client.outbox.is_full(bytes, messages, bounds);
                }
            }
            if is_full {
                client.outbox.tell_missing(batch, start, end, self.now_ms());
                return self.metrics.messages_dropped.add(u64::from(frames));
            }
        }
        self.queue(client, |client, now| client.outbox.push_part(batch, start, end, frames, now));
    }

    /// Ends connections with the largest queues, a few at a time, while this shard's queues exceed its share of the
    /// budget.
    pub(super) fn enforce_budget(&self, clients: &mut Clients) {
        self.backlogs.borrow_mut().tidy(clients);
        for _ in 0..EVICTIONS {
            if self.metrics.queue_bytes.get() <= self.settings.queue_budget {
                return;
            }
            let longest = self.backlogs.borrow_mut().longest(clients);
            let Some(mut client) = longest.and_then(|slot| clients.get_mut(slot)) else { return };
            self.end_client(&mut client, EndReason::SlowConsumer("queue budget of the node exceeded"));
        }
    }
}

#[cfg(test)]
mod tests;
