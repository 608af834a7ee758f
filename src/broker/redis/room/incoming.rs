//! The batches that come to a room: where the room is, which batch is next, and those that are held until their turn.

use std::collections::VecDeque;

use super::super::batch::Batch;
use super::super::script::Lives;
use super::super::script::sync::SyncReply;
use super::lives::{includes, survived};
use super::rule::{Rule, is_broken};
use crate::names::{Offset, Position};

/// Most bytes of batches that a room holds. The rest is read from the stream later.
const MAX_HELD_BYTES: usize = 256 * 1024;
/// Bytes that a batch and each of its messages take in memory beside the texts, roughly.
const OVERHEAD_BYTES: usize = 64;

/// How a batch stands to the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The room has no position.
    Nowhere,
    /// The room has all of its messages.
    Seen,
    /// Its messages were lost with the tail of an earlier epoch.
    Lost,
    /// It has the next message, perhaps behind some that were seen.
    Next,
    /// Messages are missing before it.
    Ahead,
    /// Its epoch is unknown.
    OtherEpoch,
}

/// A batch that waits for its turn.
#[derive(Debug)]
struct Held {
    batch: Batch,
    /// The number that the next request had when the batch came. Requests from there on know of the batch.
    mark: u64,
}

/// The position of a room and the batches that it holds.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    pub(super) at: Option<Position>,
    pub(super) lives: Lives,
    /// The offset that the server is known to have reached.
    pub(super) goal: Offset,
    held: VecDeque<Held>,
    held_bytes: usize,
}

impl Incoming {
    /// Returns how a batch stands to the room.
    pub(super) fn place(&self, batch: &Batch) -> Place {
        let Some(at) = self.at else { return Place::Nowhere };
        if batch.epoch != at.epoch && !is_broken(Rule::CompareEpochs) {
            match survived(&self.lives, batch.epoch) {
                None => return Place::OtherEpoch,
                Some(last) if batch.last() > last => return Place::Lost,
                Some(_) => {}
            }
        }
        if batch.last() <= at.offset {
            return Place::Seen;
        }
        if batch.first <= at.offset.next() { Place::Next } else { Place::Ahead }
    }

    /// Returns true when the server is known to have messages that the room lacks.
    pub(super) fn is_behind(&self) -> bool {
        self.at.is_some_and(|at| at.offset < self.goal)
    }

    /// Moves the room to an offset of its epoch.
    pub(super) fn advance(&mut self, to: Offset) {
        if let Some(at) = &mut self.at {
            at.offset = to;
        }
    }

    /// Holds a batch behind the others. Returns false when all were dropped, because they are too many.
    pub(super) fn hold(&mut self, batch: Batch, mark: u64) -> bool {
        self.held_bytes += bytes(&batch);
        self.held.push_back(Held { batch, mark });
        if self.held_bytes <= MAX_HELD_BYTES {
            return true;
        }
        self.drop_held();
        false
    }

    /// Takes the first of the held batches.
    pub(super) fn take_held(&mut self) -> Option<(Batch, u64)> {
        let held = self.held.pop_front()?;
        self.held_bytes -= bytes(&held.batch);
        Some((held.batch, held.mark))
    }

    /// Puts a batch back before the others.
    pub(super) fn put_back(&mut self, batch: Batch, mark: u64) {
        self.held_bytes += bytes(&batch);
        self.held.push_front(Held { batch, mark });
    }

    /// Drops the held batches that are lost: the server was asked after they came, and does not have them.
    pub(super) fn prune(&mut self, number: u64, reply: &SyncReply) {
        if is_broken(Rule::PruneHeld) {
            return;
        }
        let dropped = &mut self.held_bytes;
        self.held.retain(|held| {
            let is_kept = held.mark > number || includes(reply, held.batch.epoch, held.batch.last());
            *dropped -= if is_kept { 0 } else { bytes(&held.batch) };
            is_kept
        });
    }

    /// Drops all held batches and frees their memory.
    pub(super) fn drop_held(&mut self) {
        self.held = VecDeque::new();
        self.held_bytes = 0;
    }

    pub(super) fn holds_some(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns the bytes of the held batches.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

fn bytes(batch: &Batch) -> usize {
    let messages = batch.messages.iter();
    let messages = messages.map(|message| {
        let more = message.more.as_ref().map_or(0, |more| more.len() + OVERHEAD_BYTES);
        message.text.len() + more + message.user.as_str().len() + OVERHEAD_BYTES
    });
    OVERHEAD_BYTES + messages.sum::<usize>()
}
