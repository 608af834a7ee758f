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

pub(super) use self::ahead::STEPS;
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

/// One batch on its way through the members.
#[derive(Debug)]
pub(super) struct Sweep {
    batch: Rc<Batch>,
    cursor: usize,
    /// Those who said it, who go first; the first of them last.
    asides: SmallVec<[Placed; 1]>,
    /// Somebody types, and this is all that the batch says.
    typist: Option<ConnectionId>,
    /// When the first of its messages was published.
    since: Instant,
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

    /// True while a sweep is under way or something waits for the next.
    pub(super) fn has_work(&self) -> bool {
        self.sweep.is_some() || !self.pending.is_empty()
    }

    /// Bytes that wait for a sweep.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|pending| pending.frame.len()).sum()
    }

    /// Starts a sweep with what waits, if none is under way; returns how many bytes were taken.
    pub(super) fn start(&mut self, limits: &BatchLimits, recycled: impl FnOnce() -> Rc<Batch>) -> usize {
        let Some(first) = self.pending.front().filter(|_| self.sweep.is_none()) else { return 0 };
        let since = first.at;
        let mut shared = recycled();
        let batch = Rc::get_mut(&mut shared).expect("a recycled batch is nobody else's");
        self.label(batch);
        let mut asides = SmallVec::with_capacity(self.pending.len().min(limits.frames));
        while let Some(Pending { frame, .. }) = self.pending.front() {
            if limits.is_full(batch, frame) {
                break;
            }
            if let Some(Pending { seq, place, frame, aside, .. }) = self.pending.pop_front() {
                asides.extend(aside.map(|aside| Placed::new(aside, batch.frames.len())));
                batch.push_message(seq, place, &frame);
            }
        }
        Placed::sort(&mut asides);
        if self.pending.is_empty() && self.pending.capacity() > 64 {
            self.pending = VecDeque::new();
        }
        let taken = batch.bytes.len();
        self.sweep = Some(Sweep { batch: shared, cursor: 0, asides, typist: None, since });
        taken
    }

    /// Says on a batch what it is of.
    pub(super) fn label(&self, batch: &mut Batch) {
        batch.overload = self.overload;
        batch.room.clone_from(&self.name);
    }

    /// Makes offers, to those first who said something, until `make` returns false, somebody has an ack, or the sweep
    /// is through.
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
mod tests {
    use super::*;
    use bytes::Bytes;

    const LIMITS: BatchLimits = BatchLimits { bytes: 1000, frames: 8 };

    fn room(members: &[(u32, u64)]) -> Room {
        let mut room = Room::default();
        for &(slot, after) in members {
            room.join(slot, after);
        }
        room
    }

    fn push(room: &mut Room, seq: u64, frame: &'static [u8]) {
        let frame = Bytes::from_static(frame);
        room.push(Pending { seq, place: Place::NONE, frame, aside: None, at: Instant::now() });
    }

    fn run(room: &mut Room, at_most: usize) -> Vec<(u32, u32)> {
        let mut seen = Vec::new();
        room.sweep(|Offer { slot, frames, .. }| {
            seen.push((slot, frames));
            seen.len() < at_most
        });
        seen
    }

    #[test]
    fn whoever_gets_an_offer_was_announced_since_the_sweep_went_on() {
        let mut room = room(&(0..50).map(|slot| (slot * 3, 0)).collect::<Vec<_>>());
        (10..13).for_each(|slot| assert!(room.leave(slot * 3)));
        push(&mut room, 1, b"a");
        room.start(&LIMITS, Rc::default);
        for at_most in [20, 50] {
            let (mut announced, mut offers) = (Vec::new(), 0);
            room.sweep(|Offer { slot, next, .. }| {
                assert!(next.len() <= AHEAD);
                announced.extend(next.iter().map(|member| member.slot));
                assert!(announced.contains(&slot), "{slot}");
                offers += 1;
                offers < at_most
            });
        }
        assert!(!room.has_work());
    }

    #[test]
    fn members_get_only_what_is_behind_their_place() {
        let mut room = room(&[(3, 0), (1, 1), (2, 2)]);
        push(&mut room, 1, b"a");
        push(&mut room, 2, b"b");
        assert_eq!(room.start(&LIMITS, Rc::default), 2);
        assert_eq!(run(&mut room, 9), [(1, 1), (3, 2)]);
        assert!(!room.has_work());
    }

    #[test]
    fn leaving_and_joining_in_mid_sweep_hides_nobody() {
        let mut room = room(&[(2, 0), (4, 0), (6, 0), (8, 0)]);
        push(&mut room, 1, b"a");
        room.start(&LIMITS, Rc::default);
        assert_eq!(run(&mut room, 2), [(2, 1), (4, 1)]);
        assert!(room.leave(2));
        assert!(room.leave(6));
        room.join(1, 1);
        room.join(5, 1);
        room.join(2, 1);
        assert_eq!(run(&mut room, 9), [(8, 1)]);
        assert!(!room.leave(6), "gone already");
        push(&mut room, 2, b"b");
        room.start(&LIMITS, Rc::default);
        assert_eq!(run(&mut room, 9), [(1, 1), (2, 1), (4, 1), (5, 1), (8, 1)]);
    }

    #[test]
    fn a_batch_is_bounded_but_a_long_frame_still_goes() {
        let mut room = room(&[(0, 0)]);
        for seq in 1..=10 {
            push(&mut room, seq, &[0; 300]);
        }
        push(&mut room, 11, &[0; 5000]);
        let mut sizes = Vec::new();
        while room.has_work() {
            sizes.push(room.start(&LIMITS, Rc::default));
            run(&mut room, 9);
        }
        assert_eq!(sizes, [900, 900, 900, 300, 5000]);
    }

    #[test]
    fn those_who_left_are_forgotten() {
        let mut room = Room::default();
        for slot in 0..1000 {
            room.join(slot, 0);
        }
        for slot in 0..1000 {
            assert!(room.leave(slot));
        }
        assert!(room.is_empty());
        assert!(room.members.is_empty());
    }
}
