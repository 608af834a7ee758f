//! What of a sweep goes to one member apart from the others. Whoever said something gets it first, with its ack if it
//! has one: it may wait for that to go on, and then does so while others are served, so that the batches are larger.
//! Whoever leaves gets what it has still to get.

use std::ops::Range;
use std::rc::Rc;

use smallvec::SmallVec;

use super::{Aside, GONE, Member, Pending, Room};
use crate::names::ConnectionId;
use crate::protocol::frame::Frame;
use crate::registry::batch::Batch;
use crate::registry::delivery::Ack;

/// An aside with the place of its message.
#[derive(Debug)]
pub(in crate::registry) struct Placed {
    pub(in crate::registry) aside: Aside,
    /// Index of the message in the batch.
    pub(in crate::registry) index: usize,
}

impl Placed {
    pub(super) fn new(aside: Aside, index: usize) -> Self {
        Self { aside, index }
    }

    pub(super) fn has_ack(&self) -> bool {
        self.aside.ack.is_some()
    }

    pub(super) fn slot(&self) -> u32 {
        self.aside.to.slot() as u32
    }

    /// The first of the sweep last, from where they are taken.
    pub(super) fn sort(all: &mut [Self]) {
        all.sort_unstable_by_key(|placed| std::cmp::Reverse((placed.slot(), placed.index)));
    }
}

/// The place behind which a member is served; from now on that is `last`, the end of the batch. Behind everything for
/// who is no member.
pub(super) fn serve_first(members: &mut [Member], slot: u32, last: u64) -> u64 {
    let Ok(at) = members.binary_search_by_key(&slot, |member| member.slot) else { return GONE };
    let after = members[at].after;
    members[at].after = after.max(last);
    after
}

/// A batch as one client gets it.
#[derive(Debug)]
pub(in crate::registry) struct Apart {
    pub(in crate::registry) batch: Rc<Batch>,
    pub(in crate::registry) slot: u32,
    /// The part of the batch behind this place; nothing of it for who is no member.
    pub(in crate::registry) after: u64,
    /// What comes in between, in order. Of whoever has the slot now, or had it.
    pub(in crate::registry) asides: SmallVec<[Placed; 1]>,
}

/// A piece of what one client gets.
#[derive(Debug)]
pub(in crate::registry) enum Piece<'a> {
    /// These frames of the batch.
    Messages(Range<usize>),
    /// The answer to its own command.
    Ack(&'a Frame),
}

impl Apart {
    /// What a client gets, piece by piece, up to a place in the stream.
    pub(in crate::registry) fn pieces<'a>(
        &'a self,
        id: ConnectionId,
        until: u64,
        mut take: impl FnMut(Piece<'a>),
    ) {
        let frames = &self.batch.frames;
        let mut next = frames.partition_point(|frame| frame.seq <= self.after);
        let end = frames.partition_point(|frame| frame.seq <= until);
        // The slot may have got somebody else, who is a member as well: what was meant for the other is for nobody.
        for Placed { aside, index } in self.asides.iter().filter(|placed| placed.aside.to == id) {
            let Some(ack) = &aside.ack else { continue };
            if *index >= next {
                let stop = index + usize::from(!ack.instead);
                if next < stop {
                    take(Piece::Messages(next..stop));
                }
                next = index + 1;
            }
            take(Piece::Ack(&ack.frame));
        }
        if next < end {
            take(Piece::Messages(next..end));
        }
    }
}

impl Room {
    /// What the next of those who have acks gets.
    pub(in crate::registry) fn take_apart(&mut self) -> Option<Apart> {
        let sweep = self.sweep.as_mut()?;
        let slot = sweep.asides.last()?.slot();
        let mut asides = SmallVec::new();
        while sweep.asides.last().is_some_and(|placed| placed.slot() == slot) {
            asides.extend(sweep.asides.pop());
        }
        let last = sweep.batch.frames.last().map_or(0, |frame| frame.seq);
        let after = serve_first(&mut self.members, slot, last);
        Some(Apart { batch: Rc::clone(&sweep.batch), slot, after, asides })
    }

    /// What the sweep under way has still to bring to a member, who gets it now instead.
    pub(in crate::registry) fn rest_of_sweep(&mut self, id: ConnectionId) -> Option<Apart> {
        let slot = id.slot() as u32;
        let sweep = self.sweep.as_mut().filter(|sweep| sweep.typist.is_none())?;
        let at = self.members.binary_search_by_key(&slot, |member| member.slot).ok()?;
        if at < sweep.cursor {
            return None;
        }
        let all = std::mem::take(&mut sweep.asides).into_iter();
        let (mut asides, rest): (SmallVec<_>, _) = all.partition(|placed| placed.aside.to == id);
        asides.reverse();
        sweep.asides = rest;
        Some(Apart { batch: Rc::clone(&sweep.batch), slot, after: self.members[at].after, asides })
    }

    /// What waits for the next sweep, up to a place in the stream.
    pub(in crate::registry) fn rest_of_pending(&mut self, until: u64) -> impl Iterator<Item = &mut Pending> {
        self.pending.iter_mut().take_while(move |pending| pending.seq <= until)
    }

    /// Behind which place in the stream a client is served; `None` when it is no member.
    pub(in crate::registry) fn position(&self, slot: u32) -> Option<u64> {
        let at = self.members.binary_search_by_key(&slot, |member| member.slot).ok()?;
        Some(self.members[at].after).filter(|&after| after != GONE)
    }

    /// The acks that no sweep will bring, because there will be none any more.
    pub(in crate::registry) fn into_acks(self) -> impl Iterator<Item = (ConnectionId, Box<Ack>)> {
        let swept = self.sweep.into_iter().flat_map(|sweep| sweep.asides.into_iter().rev());
        let pending = self.pending.into_iter().filter_map(|pending| pending.aside);
        let asides = swept.map(|placed| placed.aside).chain(pending);
        asides.filter_map(|Aside { to, ack }| Some((to, ack?)))
    }
}
