//! The part of a sweep that goes to one member apart from the others. A sender gets the batch first, with its acks; a
//! member that leaves gets what it has still to get.

use std::ops::Range;
use std::rc::Rc;

use smallvec::SmallVec;

use super::member::Member;
use crate::names::ConnectionId;
use crate::protocol::frame::Frame;
use crate::registry::delivery::SenderCopy;
use crate::shard::batch::Batch;
use crate::shard::clients::ClientMut;
use crate::shard::egress::Egress;

/// A sender's copy, with the index of its message in the batch.
#[derive(Debug)]
pub(in crate::shard) struct IndexedCopy {
    pub(in crate::shard) copy: SenderCopy,
    /// Index of the message in the batch.
    pub(in crate::shard) index: usize,
}

impl IndexedCopy {
    pub(super) fn new(copy: SenderCopy, index: usize) -> Self {
        Self { copy, index }
    }

    pub(super) fn has_ack(&self) -> bool {
        self.copy.ack.is_some()
    }

    pub(super) fn slot(&self) -> u32 {
        self.copy.to.slot() as u32
    }

    /// Sorts the copies so that the first of the sweep is last, where it is popped.
    pub(super) fn sort(all: &mut [Self]) {
        all.sort_unstable_by_key(|copy| std::cmp::Reverse((copy.slot(), copy.index)));
    }
}

/// A batch as one client gets it.
#[derive(Debug)]
pub(in crate::shard) struct PersonalBatch {
    pub(in crate::shard) batch: Rc<Batch>,
    pub(in crate::shard) slot: u32,
    /// The client gets the frames behind this position; [`GONE`](super::member::GONE) when it is no member.
    pub(in crate::shard) after: u64,
    /// The copies of the senders that have or had the slot, in the order of their messages.
    pub(in crate::shard) copies: SmallVec<[IndexedCopy; 1]>,
}

/// A piece of what one client gets.
#[derive(Debug)]
pub(in crate::shard) enum Piece<'a> {
    /// These frames of the batch.
    Messages(Range<usize>),
    /// The reply to its own command.
    Ack(&'a Frame),
}

impl PersonalBatch {
    /// Calls `take` with each piece of what the client gets, up to a position in the stream.
    pub(in crate::shard) fn pieces<'a>(
        &'a self,
        id: ConnectionId,
        until: u64,
        mut take: impl FnMut(Piece<'a>),
    ) {
        let frames = &self.batch.frames;
        let mut next = frames.partition_point(|frame| frame.seq <= self.after);
        let end = frames.partition_point(|frame| frame.seq <= until);
        // Another client may have got the slot and be a member as well: it gets no ack of its predecessor.
        for IndexedCopy { copy, index } in self.copies.iter().filter(|indexed| indexed.copy.to == id) {
            let Some(ack) = &copy.ack else { continue };
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

    /// Queues what the client gets, up to a position in the stream.
    pub(in crate::shard) fn queue(&self, egress: &Egress, client: &mut ClientMut<'_>, until: u64) {
        self.pieces(client.id, until, |piece| match piece {
            Piece::Messages(frames) => egress.offer_frames(client, &self.batch, frames),
            Piece::Ack(frame) => egress.queue_reply(client, frame),
        });
    }
}

/// Serves a member before the others: returns the position behind which it is served, and moves that to `last`, the end
/// of the batch. Returns [`GONE`](super::member::GONE) when there is no such member.
pub(super) fn serve_first(members: &mut [Member], slot: u32, last: u64) -> u64 {
    let Ok(at) = Member::find(members, slot) else { return super::member::GONE };
    let after = members[at].after;
    members[at].after = after.max(last);
    after
}
