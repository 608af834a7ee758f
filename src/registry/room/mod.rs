//! A lane of a room as one shard sees it: its members here, in sweep order, and what waits to be fanned out to them.
//!
//! A member who leaves in the middle of a sweep neither hides another member nor is written to: its place stays,
//! marked, until the list is compacted between two sweeps.

mod ahead;
mod apart;
mod typing;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use smallvec::SmallVec;

pub(super) use self::ahead::ahead;
pub(super) use self::apart::{Apart, Piece};
use self::apart::{Placed, serve_first};
use super::batch::Batch;
use super::bounds::Overload;
use super::delivery::{Aside, Place};
use crate::names::{ConnectionId, RoomName};
use crate::protocol::frame::Frame;

/// Marks a place whose member has left: nothing is behind it.
const GONE: u64 = u64::MAX;
/// Members of a sweep that are announced together: as many misses of the cache as a core has under way at once.
const AHEAD: usize = 16;

/// A client in a room: 16 bytes, in slab order, so that a sweep walks memory forwards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// The client's slot on this shard.
    pub(super) slot: u32,
    /// Gets only what is behind this place in the room's stream.
    pub(super) after: u64,
}

/// How long a batch may be.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Bytes; a single frame may be longer.
    pub bytes: usize,
    /// Messages.
    pub frames: usize,
}

impl BatchLimits {
    /// True when the batch has no place for this frame.
    pub(super) fn is_full(&self, batch: &Batch, frame: &Frame) -> bool {
        let is_full = batch.frames.len() >= self.frames || batch.bytes.len() + frame.len() > self.bytes;
        is_full && !batch.frames.is_empty()
    }
}

/// A frame that waits for the next sweep.
#[derive(Debug)]
pub(super) struct Pending {
    /// Place in the room's stream.
    pub(super) seq: u64,
    /// What is said should it be dropped.
    pub(super) place: Place,
    pub(super) frame: Frame,
    /// Its sender, if that is a client of this shard, and what it gets with it.
    pub(super) aside: Option<Aside>,
    pub(super) at: Instant,
}

/// One batch on its way through the members, or gathered for it.
#[derive(Debug)]
pub(super) struct Sweep {
    batch: Rc<Batch>,
    cursor: usize,
    /// Those who said it, who go first; the first of them last.
    asides: SmallVec<[Placed; 1]>,
    /// It goes round: nothing is added to the batch any more, for others than those may have got it.
    has_begun: bool,
    /// Somebody types, and this is all that the batch says.
    typist: Option<ConnectionId>,
    /// When the first of its messages was published.
    since: Instant,
}

impl Sweep {
    /// Bytes that wait for it to begin.
    fn gathered_bytes(&self) -> usize {
        if self.has_begun { 0 } else { self.batch.bytes.len() }
    }
}

/// A batch that has been handed to every member.
#[derive(Debug)]
pub(super) struct Swept {
    pub(super) batch: Rc<Batch>,
    pub(super) since: Instant,
}

/// What a member gets: the end of a batch.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) batch: &'a Rc<Batch>,
    pub(super) slot: u32,
    /// Where in the batch the member's part begins, and how many frames it has.
    pub(super) start: u32,
    pub(super) frames: u32,
    /// Now and then, the members whose turn it is from here on.
    pub(super) next: &'a [Member],
}

/// Why a sweep stopped.
#[derive(Debug)]
pub(super) enum Progress {
    /// It was told to, or there is none.
    Paused,
    /// The next client has an ack: [`Room::take_apart`].
    Apart,
    /// Every member has been offered the batch.
    Through(Swept),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// What happens to a member who has no space.
    overload: Overload,
    /// The room, where members are told what they missed.
    name: Option<Rc<RoomName>>,
    /// When the last sweep was through, in the shard's milliseconds.
    pub(super) swept_ms: u64,
    members: Vec<Member>,
    gone: usize,
    pending: VecDeque<Pending>,
    sweep: Option<Sweep>,
    /// The room stands in the shard's line; twice, if all members left and others came before its turn.
    pub(super) is_ready: bool,
    /// The room stands in the line of those where somebody has said something; twice, likewise.
    pub(super) is_speaking: bool,
}

impl Room {
    /// A lane without members. `name` where members are to be told what they missed.
    pub(super) fn new(overload: Overload, name: Option<RoomName>) -> Self {
        Self { overload, name: name.map(Rc::new), ..Self::default() }
    }

    /// Adds a member, or brings one back that left.
    pub(super) fn join(&mut self, slot: u32, after: u64) {
        let at = self.members.partition_point(|member| member.slot < slot);
        match self.members.get_mut(at).filter(|member| member.slot == slot) {
            Some(member) => {
                debug_assert_eq!(member.after, GONE, "a client joins a room once");
                self.gone -= usize::from(member.after == GONE);
                member.after = after;
            }
            None => {
                self.members.insert(at, Member { slot, after });
                if let Some(sweep) = self.sweep.as_mut().filter(|sweep| sweep.cursor > at) {
                    sweep.cursor += 1;
                }
            }
        }
    }

    /// Removes a member. Returns true when it was there.
    pub(super) fn leave(&mut self, slot: u32) -> bool {
        let Ok(at) = self.members.binary_search_by_key(&slot, |member| member.slot) else { return false };
        let was_here = std::mem::replace(&mut self.members[at].after, GONE) != GONE;
        self.gone += usize::from(was_here);
        if self.sweep.is_none() {
            self.compact();
        }
        was_here
    }

    /// Forgets the places of those who left once they are the majority: amortised, a leave moves two members.
    fn compact(&mut self) {
        if self.gone * 2 > self.members.len() {
            self.members.retain(|member| member.after != GONE);
            self.members.shrink_to(self.members.len() * 2);
            self.gone = 0;
        }
    }

    /// Members.
    pub(super) fn len(&self) -> usize {
        self.members.len() - self.gone
    }

    /// True when nobody is here.
    pub(super) fn is_empty(&self) -> bool {
        self.members.len() == self.gone
    }

    /// Adds a frame to what waits.
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

    /// True while a sweep is under way or something waits for one.
    pub(super) fn has_work(&self) -> bool {
        self.sweep.is_some() || self.has_pending()
    }

    /// True while something waits that is in no batch.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// True while a sweep goes round.
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.as_ref().is_some_and(|sweep| sweep.has_begun)
    }

    /// Bytes that wait for a sweep to begin.
    pub(super) fn pending_bytes(&self) -> usize {
        let gathered = self.sweep.as_ref().map_or(0, Sweep::gathered_bytes);
        gathered + self.pending.iter().map(|pending| pending.frame.len()).sum::<usize>()
    }

    /// Takes what waits into the batch of the next sweep, up to its limits, unless one goes round. What has been
    /// gathered before stays as it is while a queue holds it too.
    pub(super) fn gather(&mut self, limits: &BatchLimits, recycled: impl FnOnce() -> Rc<Batch>) {
        let Some(first) = self.pending.front() else { return };
        let since = first.at;
        let mut sweep = self.sweep.take().unwrap_or_else(|| {
            let mut batch = recycled();
            self.label(Rc::get_mut(&mut batch).expect("a recycled batch is nobody else's"));
            Sweep { batch, cursor: 0, asides: SmallVec::new(), has_begun: false, typist: None, since }
        });
        if !sweep.has_begun
            && let Some(batch) = Rc::get_mut(&mut sweep.batch)
        {
            while let Some(next) = self.pending.pop_front_if(|next| !limits.is_full(batch, &next.frame)) {
                sweep.asides.extend(next.aside.map(|aside| Placed::new(aside, batch.frames.len())));
                batch.push_message(next.seq, next.place, &next.frame);
            }
            Placed::sort(&mut sweep.asides);
            if self.pending.is_empty() && self.pending.capacity() > 64 {
                self.pending = VecDeque::new();
            }
        }
        self.sweep = Some(sweep);
    }

    /// Begins the sweep of what has been gathered, if it has not; returns how many bytes that are.
    pub(super) fn begin(&mut self) -> usize {
        let Some(sweep) = &mut self.sweep else { return 0 };
        let bytes = sweep.gathered_bytes();
        sweep.has_begun = true;
        bytes
    }

    /// Says on a batch what it is of.
    pub(super) fn label(&self, batch: &mut Batch) {
        batch.overload = self.overload;
        batch.room.clone_from(&self.name);
    }

    /// Makes offers, to those first who said something, until `make` returns false, somebody has an ack, or the sweep
    /// is through; of a sweep that has not begun, only to those.
    pub(super) fn sweep(&mut self, mut make: impl FnMut(Offer<'_>) -> bool) -> Progress {
        let Some(sweep) = self.sweep.as_mut() else { return Progress::Paused };
        let last = sweep.batch.frames.last().map_or(0, |frame| frame.seq);
        let first = sweep.batch.frames.first().map_or(0, |frame| frame.seq);
        let all = sweep.batch.frames.len() as u32;
        while let Some(next) = sweep.asides.last() {
            if next.has_ack() {
                return Progress::Apart;
            }
            let slot = next.slot();
            sweep.asides.pop();
            let after = serve_first(&mut self.members, slot, last);
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
            Some(Sweep { batch, since, .. }) => Progress::Through(Swept { batch, since }),
            None => Progress::Paused,
        }
    }
}

#[cfg(test)]
mod tests;
