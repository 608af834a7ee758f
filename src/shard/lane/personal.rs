//! The part of a sweep that goes to one client apart from the others. A sweep is one batch on its way through the
//! members of a lane (one room, shard and form).
//!
//! A sender (the client that sent a message) gets the batch first, with the acks of its messages. A member that leaves
//! gets the rest that the sweep has not brought it yet.

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

/// The copy of a message for its sender, with the index of the message in the batch.
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

    /// Sorts copies by slot and message in descending order, so that the next to serve is at the end, where it is
    /// popped.
    pub(super) fn sort(all: &mut [Self]) {
        all.sort_unstable_by_key(|copy| std::cmp::Reverse((copy.slot(), copy.index)));
    }
}

/// The part of a batch that one client gets, with the acks of its own messages in between.
#[derive(Debug)]
pub(in crate::shard) struct PersonalBatch {
    pub(in crate::shard) batch: Rc<Batch>,
    /// The client's slot on this shard.
    pub(in crate::shard) slot: u32,
    /// The client gets the frames behind this position; [`GONE`](super::member::GONE) when it is no member.
    pub(in crate::shard) after: u64,
    /// The copies for senders that have or had the slot, in the order of their messages.
    pub(in crate::shard) copies: SmallVec<[IndexedCopy; 1]>,
}

/// A piece of what one client gets of a batch.
#[derive(Debug)]
pub(in crate::shard) enum Piece<'a> {
    /// The frames of the batch with these indices.
    Messages(Range<usize>),
    /// The ack of the client's own message.
    Ack(&'a Frame),
}

impl PersonalBatch {
    /// Calls `take` with each piece of what the client `id` gets, in order, up to the position `until` of the room's
    /// stream. An ack comes right behind its message, or in its stead.
    pub(in crate::shard) fn pieces<'a>(
        &'a self,
        id: ConnectionId,
        until: u64,
        mut take: impl FnMut(Piece<'a>),
    ) {
        let frames = &self.batch.frames;
        let mut next = frames.partition_point(|frame| frame.seq <= self.after);
        let end = frames.partition_point(|frame| frame.seq <= until);
        // The sender may have gone and another client may have its slot now: that one gets no ack of its predecessor.
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

    /// Queues what the client gets, up to the position `until` of the room's stream. May write to the socket when the
    /// client's queue is full.
    pub(in crate::shard) fn queue(&self, egress: &Egress, client: &mut ClientMut<'_>, until: u64) {
        self.pieces(client.id, until, |piece| match piece {
            Piece::Messages(frames) => egress.offer_frames(client, &self.batch, frames),
            Piece::Ack(frame) => egress.queue_reply(client, frame),
        });
    }
}

/// Moves a member's position to `last`, the end of the batch, because the caller serves it before the others. Returns
/// its position until now, or [`GONE`](super::member::GONE) when there is no such member.
pub(super) fn mark_served(members: &mut [Member], slot: u32, last: u64) -> u64 {
    let Ok(at) = Member::find(members, slot) else { return super::member::GONE };
    let after = members[at].after;
    members[at].after = after.max(last);
    after
}
