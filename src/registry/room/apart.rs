//! What of a sweep goes to one member apart from the others: the ack of what it said itself, and what a leaver has
//! still to get.

use std::rc::Rc;

use smallvec::SmallVec;

use super::{Aside, GONE, NOBODY, Pending, Room, Sweep};
use crate::names::ConnectionId;
use crate::registry::batch::Batch;

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

    fn slot(&self) -> u32 {
        self.aside.to.slot() as u32
    }

    /// The first of the sweep last, from where they are taken.
    pub(super) fn sort(all: &mut [Self]) {
        all.sort_unstable_by_key(|placed| std::cmp::Reverse((placed.slot(), placed.index)));
    }
}

impl Sweep {
    /// The slot of the next client that gets something of its own.
    pub(super) fn next_apart(&self) -> u32 {
        self.asides.last().map_or(NOBODY, Placed::slot)
    }
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

impl Room {
    /// What the next client with asides gets, once the sweep stands there.
    pub(in crate::registry) fn take_apart(&mut self) -> Option<Apart> {
        let sweep = self.sweep.as_mut()?;
        let slot = sweep.asides.last()?.slot();
        let mut asides = SmallVec::new();
        while let Some(placed) = sweep.asides.pop_if(|placed| placed.slot() == slot) {
            asides.push(placed);
        }
        let member = self.members.get(sweep.cursor).filter(|member| member.slot == slot);
        sweep.cursor += usize::from(member.is_some());
        let after = member.map_or(GONE, |member| member.after);
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
        let mut asides: SmallVec<_> = sweep.asides.extract_if(.., |placed| placed.aside.to == id).collect();
        asides.reverse();
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

    /// The asides that no sweep will bring, because there will be none any more.
    pub(in crate::registry) fn into_asides(self) -> impl Iterator<Item = Aside> {
        let swept = self.sweep.into_iter().flat_map(|sweep| sweep.asides.into_iter().rev());
        let pending = self.pending.into_iter().filter_map(|pending| pending.aside);
        swept.map(|placed| placed.aside).chain(pending.map(|aside| *aside))
    }
}
