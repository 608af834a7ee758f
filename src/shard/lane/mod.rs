//! A lane: the members of one room on one shard that are sent its events in one form (the dialect, and whether events
//! are compressed), and the frames that wait to be fanned out to them. This module decides which member gets which
//! frames next, and writes nothing itself.
//!
//! A sweep takes one batch through all members, in the order of their slots. A member that leaves in the middle of a
//! sweep gets no more of it, and no other member is skipped: its entry stays, marked, until the list is compacted
//! between two sweeps. The sender of a message (the client that sent it) gets its copy, with its ack, before the
//! others.

pub(super) mod deflated;
pub(super) mod id;
mod leaving;
pub(super) mod member;
pub(super) mod personal;
pub(super) mod prefetch;
mod typing;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use smallvec::SmallVec;

use self::deflated::DeflatedForm;
use self::member::{GONE, Member};
use self::personal::{IndexedCopy, PersonalBatch, mark_served};
use super::batch::{Batch, BatchLimits};
use super::bounds::Overload;
use super::fanout::supplies::Supplies;
use crate::names::RoomName;
use crate::protocol::frame::Frame;
use crate::registry::delivery::{LossNote, SenderCopy};
use crate::registry::inbox::Typist;

/// Members of a sweep that are prefetched together: as many cache misses as a core has under way at once.
const AHEAD: usize = 16;

/// A frame that waits for the next sweep.
#[derive(Debug)]
pub(super) struct Pending {
    /// Position in the room's stream.
    pub(super) seq: u64,
    /// The note for a member whose queue drops the frame.
    pub(super) loss: LossNote,
    pub(super) frame: Frame,
    /// The sender's own copy, when the sender is a client of this shard.
    pub(super) sender: Option<SenderCopy>,
    /// Time when it was published.
    pub(super) at: Instant,
    /// The compressed form, which is made when a batch is gathered. `None` when the frame is not to be compressed.
    pub(super) deflated: Option<Rc<DeflatedForm>>,
}

/// One batch on its way through the lane's members, or being gathered for that way.
#[derive(Debug)]
struct Sweep {
    batch: Rc<Batch>,
    /// Index of the next member that is offered the batch.
    cursor: usize,
    /// The copies for the senders of the batch's messages, which are served before all members. The next to serve is at
    /// the end, where it is popped.
    copies: SmallVec<[IndexedCopy; 1]>,
    /// The sweep is under way. Nothing is added to the batch any more, because a member may have got it already.
    has_begun: bool,
    /// The connection of the user who is typing, if the batch is a typing event; `None` for a batch of messages.
    typist: Option<Typist>,
    /// Time when the first of its messages was published.
    since: Instant,
    /// Bytes by which the batch is shorter than its frames were in the inbox, because it has them compressed.
    saved: usize,
}

impl Sweep {
    /// Returns the bytes of the batch's frames, as they were in the inbox, while the sweep has not begun, and 0 after
    /// that.
    fn gathered_bytes(&self) -> usize {
        if self.has_begun { 0 } else { self.batch.bytes.len() + self.saved }
    }

    /// Returns the position of the batch's last frame in the room's stream.
    fn last_seq(&self) -> u64 {
        self.batch.frames.last().map_or(0, |frame| frame.seq)
    }
}

/// A batch that has been handed to every member.
#[derive(Debug)]
pub(super) struct FinishedSweep {
    pub(super) batch: Rc<Batch>,
    /// Time when the first of its messages was published.
    pub(super) since: Instant,
}

/// The part of a batch that one member gets: from some frame to the end.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) batch: &'a Rc<Batch>,
    /// The member's slot on this shard.
    pub(super) slot: u32,
    /// Byte of the batch at which the member's part begins.
    pub(super) start: u32,
    /// Number of frames in the member's part.
    pub(super) frames: u32,
    /// Members to prefetch: in about every sixteenth offer this member and those that follow it, otherwise none.
    pub(super) next: &'a [Member],
}

/// The reason for which [`Lane::sweep`] has returned.
#[derive(Debug)]
pub(super) enum Progress {
    /// The caller stopped it, there is no sweep, or the sweep has not begun and all its senders are served.
    Paused,
    /// The next client is a sender with an ack. [`Lane::next_sender`] returns what it gets.
    NextHasAck,
    /// Every member has been offered the batch.
    Finished(FinishedSweep),
}

/// A room's members on one shard that are sent its events in one form.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The policy for a member whose queue is full.
    overload: Overload,
    /// Name of the room.
    name: Option<Rc<RoomName>>,
    /// True in `throng.v1`, where batches name the room for their `gap` events.
    has_gaps: bool,
    /// Time when the last sweep with messages finished, in the shard's milliseconds.
    pub(super) swept_ms: u64,
    /// Members in the order of their slots, including marked entries of members that have left.
    members: Vec<Member>,
    /// Number of entries of members that have left.
    gone: usize,
    /// Frames that are in no batch yet, in the order of the room's stream.
    pending: VecDeque<Pending>,
    sweep: Option<Sweep>,
    /// The run queue has the lane in its line of lanes with work. Its id may be there twice: the lane is dropped when
    /// its last member leaves, and the next member of the room makes a new one with the same id.
    pub(super) is_ready: bool,
    /// The run queue has the lane in its line of lanes with senders to serve. Its id may be there twice, if the lane
    /// was dropped and made anew meanwhile.
    pub(super) has_senders: bool,
}

impl Lane {
    /// Makes a lane without members for the room of this name. In `throng.v1` it `has_gaps`: its batches name the room
    /// for their `gap` events.
    pub(super) fn new(overload: Overload, name: RoomName, has_gaps: bool) -> Self {
        Self { overload, name: Some(Rc::new(name)), has_gaps, ..Self::default() }
    }

    /// Returns the room's name.
    pub(super) fn name(&self) -> Option<&RoomName> {
        self.name.as_deref()
    }

    /// Adds a member, which gets the frames behind the position `after` of the room's stream. A marked entry of the
    /// same slot is used again.
    pub(super) fn join(&mut self, slot: u32, after: u64) {
        match Member::find(&self.members, slot) {
            Ok(at) => {
                let member = &mut self.members[at];
                debug_assert_eq!(member.after, GONE, "a client joins a room once");
                self.gone -= usize::from(member.after == GONE);
                member.after = after;
            }
            Err(at) => {
                self.members.insert(at, Member { slot, after });
                if let Some(sweep) = self.sweep.as_mut().filter(|sweep| sweep.cursor > at) {
                    sweep.cursor += 1;
                }
            }
        }
    }

    /// Removes a member. Returns true when it was one. Its entry stays, marked, until the list is compacted.
    pub(super) fn leave(&mut self, slot: u32) -> bool {
        let Ok(at) = Member::find(&self.members, slot) else { return false };
        let was_here = std::mem::replace(&mut self.members[at].after, GONE) != GONE;
        self.gone += usize::from(was_here);
        if self.sweep.is_none() {
            self.compact();
        }
        was_here
    }

    /// Removes the marked entries of members that have left, once they are the majority. So a leave costs constant
    /// time, amortised.
    fn compact(&mut self) {
        if self.gone * 2 > self.members.len() {
            self.members.retain(|member| member.after != GONE);
            self.members.shrink_to(self.members.len() * 2);
            self.gone = 0;
        }
    }

    /// Returns the slots of the members.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        self.members.iter().filter(|member| member.after != GONE).map(|member| member.slot)
    }

    /// Returns the number of members.
    pub(super) fn len(&self) -> usize {
        self.members.len() - self.gone
    }

    /// True when the lane has no members.
    pub(super) fn is_empty(&self) -> bool {
        self.members.len() == self.gone
    }

    /// Adds a frame, which waits for the next sweep. Drops a typing event that is under way: the message is newer.
    pub(super) fn push(&mut self, pending: Pending) {
        debug_assert!(
            self.pending.back().is_none_or(|last| last.seq < pending.seq),
            "a room's stream is in order"
        );
        if self.is_typing() {
            self.sweep = None;
        }
        self.pending.push_back(pending);
    }

    /// True while there is a sweep, begun or not, or a frame waits for one.
    pub(super) fn has_work(&self) -> bool {
        self.sweep.is_some() || self.has_pending()
    }

    /// True while a frame waits that is in no batch yet.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// True while a sweep is under way, which means that it has begun.
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.as_ref().is_some_and(|sweep| sweep.has_begun)
    }

    /// Returns the bytes of all frames that wait for a sweep to begin, gathered into a batch or not.
    pub(super) fn pending_bytes(&self) -> usize {
        let gathered = self.sweep.as_ref().map_or(0, Sweep::gathered_bytes);
        gathered + self.pending.iter().map(|pending| pending.frame.len()).sum::<usize>()
    }

    /// Moves waiting frames into the batch of the next sweep, up to its limits, unless a sweep is under way. Takes a
    /// batch from `supplies` if none has been gathered yet. A gathered batch that a client's queue holds too, because a
    /// sender has been served, stays as it is.
    pub(super) fn gather(&mut self, limits: &BatchLimits, supplies: &mut Supplies) {
        let Some(first) = self.pending.front() else { return };
        let since = first.at;
        let mut sweep = self.sweep.take().unwrap_or_else(|| {
            let mut batch = supplies.batch();
            self.label(Rc::get_mut(&mut batch).expect("no queue holds a recycled batch"));
            Sweep {
                batch,
                cursor: 0,
                copies: SmallVec::new(),
                has_begun: false,
                typist: None,
                since,
                saved: 0,
            }
        });
        if !sweep.has_begun
            && let Some(batch) = Rc::get_mut(&mut sweep.batch)
        {
            while let Some(next) = self.pending.pop_front_if(|next| !limits.is_full(batch, &next.frame)) {
                sweep.copies.extend(next.sender.map(|copy| IndexedCopy::new(copy, batch.frames.len())));
                let frame = match &next.deflated {
                    Some(form) => supplies.compressor.choose(&next.frame, form),
                    None => &next.frame,
                };
                sweep.saved += next.frame.len() - frame.len();
                batch.push_message(next.seq, next.loss, frame);
            }
            IndexedCopy::sort(&mut sweep.copies);
            if self.pending.is_empty() && self.pending.capacity() > 64 {
                self.pending = VecDeque::new();
            }
        }
        self.sweep = Some(sweep);
    }

    /// Begins the sweep of the gathered batch. Returns the batch's bytes; 0 if the sweep has begun already or there is
    /// none.
    pub(super) fn begin(&mut self) -> usize {
        let Some(sweep) = &mut self.sweep else { return 0 };
        let bytes = sweep.gathered_bytes();
        sweep.has_begun = true;
        bytes
    }

    /// Writes the room's name and policy into a batch.
    pub(super) fn label(&self, batch: &mut Batch) {
        batch.overload = self.overload;
        batch.room = self.name.as_ref().filter(|_| self.has_gaps).cloned();
    }

    /// Continues the sweep: calls `make` with an offer for each client in turn, senders first, until `make` returns
    /// false, the next sender has an ack, or all are served. A sweep that has not begun makes offers to senders only.
    pub(super) fn sweep(&mut self, mut make: impl FnMut(Offer<'_>) -> bool) -> Progress {
        let Some(sweep) = self.sweep.as_mut() else { return Progress::Paused };
        let last = sweep.last_seq();
        let first = sweep.batch.frames.first().map_or(0, |frame| frame.seq);
        let all = sweep.batch.frames.len() as u32;
        while let Some(next) = sweep.copies.last() {
            if next.has_ack() {
                return Progress::NextHasAck;
            }
            let slot = next.slot();
            sweep.copies.pop();
            let after = mark_served(&mut self.members, slot, last);
            let Some((start, frames)) = sweep.batch.behind(after) else { continue };
            if !make(Offer { batch: &sweep.batch, slot, start, frames, next: &[] }) {
                return Progress::Paused;
            }
        }
        if !sweep.has_begun {
            return Progress::Paused;
        }
        let mut announced = 0;
        while let Some(member) = self.members.get(sweep.cursor) {
            let at = sweep.cursor;
            sweep.cursor += 1;
            let part = if member.after < first {
                Some((0, all))
            } else if member.after >= last {
                None
            } else {
                sweep.batch.behind(member.after)
            };
            let Some((start, frames)) = part else { continue };
            let mut next: &[Member] = &[];
            if at >= announced {
                announced = self.members.len().min(at + AHEAD);
                next = &self.members[at..announced];
            }
            if !make(Offer { batch: &sweep.batch, slot: member.slot, start, frames, next }) {
                break;
            }
        }
        if sweep.cursor < self.members.len() {
            return Progress::Paused;
        }
        let finished = self.sweep.take();
        self.compact();
        match finished {
            Some(Sweep { batch, since, .. }) => Progress::Finished(FinishedSweep { batch, since }),
            None => Progress::Paused,
        }
    }

    /// Takes the copies of the next sender out of the sweep. Returns them with its part of the batch, as far as that
    /// has been gathered.
    pub(super) fn next_sender(&mut self) -> Option<PersonalBatch> {
        let sweep = self.sweep.as_mut()?;
        let slot = sweep.copies.last()?.slot();
        let mut copies = SmallVec::new();
        while sweep.copies.last().is_some_and(|copy| copy.slot() == slot) {
            copies.extend(sweep.copies.pop());
        }
        let after = mark_served(&mut self.members, slot, sweep.last_seq());
        Some(PersonalBatch { batch: Rc::clone(&sweep.batch), slot, after, copies })
    }
}

#[cfg(test)]
mod tests;
