//! Prefetches what a lane's turn will read while the lanes before it in the line have theirs. A lane is the members of
//! one room on one shard that are sent its events in one form.
//!
//! It is done in steps, one in each turn. Each step finds its addresses in the memory that the step before it
//! prefetched, which has arrived by then, because a turn makes a few writes.

use std::collections::VecDeque;

use super::id::LaneId;
use super::{AHEAD, Lane};
use crate::prefetch::{prefetch, prefetch_bytes};
use crate::registry::delivery::{Ack, SenderCopy};
use crate::shard::clients::Clients;
use crate::shard::state::Lanes;

/// Number of steps. The first is taken this many turns before the lane's own.
const STEPS: usize = 4;

/// Returns the lanes that follow the first in a line, as far as they are prefetched in its turn. The number is the
/// turns that are left until the lane's own.
pub(in crate::shard) fn upcoming<'a>(
    line: &'a VecDeque<LaneId>,
    lanes: &'a Lanes,
) -> impl Iterator<Item = (usize, &'a Lane)> {
    let next = line.iter().enumerate().take(STEPS + 1).skip(1);
    next.filter_map(|(turns, id)| Some((turns, &**lanes.get(id)?)))
}

impl Lane {
    /// Takes the step that is due `turns` turns before the lane's own, in which its first members are served.
    pub(in crate::shard) fn prefetch(&self, turns: usize, clients: &Clients) {
        self.take_step(turns, self.first_members(), clients);
    }

    /// Takes the step that is due `turns` turns before the lane's first sender (the client that sent a message) is
    /// served.
    pub(in crate::shard) fn prefetch_sender(&self, turns: usize, clients: &Clients) {
        self.take_step(turns, self.first_sender(), clients);
    }

    /// Takes one step for a lane in whose turn the clients of `slots` are served first.
    fn take_step(&self, turns: usize, slots: impl IntoIterator<Item = u32>, clients: &Clients) {
        match turns {
            1 => self.prefetch_ack(),
            2 => self.prefetch_clients(slots, clients),
            3 => self.prefetch_lists(),
            _ => self.prefetch_lane(),
        }
    }

    fn prefetch_lane(&self) {
        prefetch(&self.pending);
        prefetch(&self.members);
        prefetch(&self.sweep);
        prefetch(&self.swept_ms);
        prefetch(&self.is_ready);
    }

    fn prefetch_lists(&self) {
        self.members.first().into_iter().for_each(prefetch);
        if let Some(pending) = self.pending.front() {
            prefetch(&pending.seq);
            prefetch(&pending.frame);
            prefetch(&pending.sender);
        }
        if let Some(sweep) = &self.sweep {
            prefetch(&sweep.batch.bytes);
            prefetch(&sweep.batch.overload);
        }
    }

    fn prefetch_clients(&self, slots: impl IntoIterator<Item = u32>, clients: &Clients) {
        clients.prefetch(slots);
        if let Some(pending) = self.pending.front() {
            prefetch_bytes(&pending.frame);
        }
        if let Some(sweep) = &self.sweep {
            prefetch_bytes(&sweep.batch.bytes);
            sweep.batch.frames.first().into_iter().for_each(prefetch);
        }
        self.first_ack().into_iter().for_each(prefetch);
    }

    fn prefetch_ack(&self) {
        if let Some(ack) = self.first_ack() {
            prefetch_bytes(&ack.frame);
        }
    }

    fn first_copy(&self) -> Option<&SenderCopy> {
        self.pending.front()?.sender.as_ref()
    }

    fn first_ack(&self) -> Option<&Ack> {
        self.first_copy()?.ack.as_deref()
    }

    fn first_sender(&self) -> Option<u32> {
        self.first_copy().map(|copy| copy.to.slot() as u32)
    }

    fn first_members(&self) -> impl Iterator<Item = u32> {
        self.members.iter().take(AHEAD).map(|member| member.slot)
    }
}
