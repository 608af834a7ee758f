//! What a room's turn will read is fetched while other rooms have theirs. Each step reads what the one before it has
//! fetched, and a turn of a few writes lies between them.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::{AHEAD, Room};
use crate::prefetch::{prefetch, prefetch_bytes};
use crate::registry::clients::Clients;
use crate::registry::delivery::{Ack, Aside};
use crate::registry::lane::LaneId;

/// Steps, and so the turns before its own at which the first of them is taken.
const STEPS: usize = 4;

/// The rooms of a line that are prepared in the turn of its first, and how many turns before their own that is.
pub(in crate::registry) fn ahead<'a>(
    line: &'a VecDeque<LaneId>,
    rooms: &'a FxHashMap<LaneId, Box<Room>>,
) -> impl Iterator<Item = (usize, &'a Room)> {
    let next = line.iter().enumerate().take(STEPS + 1).skip(1);
    next.filter_map(|(turns, lane)| Some((turns, &**rooms.get(lane)?)))
}

impl Room {
    /// Takes the step that is due `turns` before the room's own.
    pub(in crate::registry) fn prefetch(&self, turns: usize, clients: &Clients) {
        self.take_step(turns, self.first_members(), clients);
    }

    /// Takes the step that is due `turns` before the first who said something is served.
    pub(in crate::registry) fn prefetch_speaker(&self, turns: usize, clients: &Clients) {
        self.take_step(turns, self.first_speaker(), clients);
    }

    fn take_step(&self, turns: usize, slots: impl IntoIterator<Item = u32>, clients: &Clients) {
        match turns {
            1 => self.prefetch_behind(slots, clients),
            2 => self.prefetch_first(slots, clients),
            3 => self.prefetch_lists(),
            _ => self.prefetch_itself(),
        }
    }

    fn prefetch_itself(&self) {
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
            prefetch(&pending.aside);
        }
        if let Some(sweep) = &self.sweep {
            prefetch(&sweep.batch.bytes);
            prefetch(&sweep.batch.overload);
        }
    }

    fn prefetch_first(&self, slots: impl IntoIterator<Item = u32>, clients: &Clients) {
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

    fn prefetch_behind(&self, slots: impl IntoIterator<Item = u32>, clients: &Clients) {
        clients.prefetch_sinks(slots);
        if let Some(ack) = self.first_ack() {
            prefetch_bytes(&ack.frame);
        }
    }

    fn first_aside(&self) -> Option<&Aside> {
        self.pending.front()?.aside.as_ref()
    }

    fn first_ack(&self) -> Option<&Ack> {
        self.first_aside()?.ack.as_deref()
    }

    fn first_speaker(&self) -> Option<u32> {
        self.first_aside().map(|aside| aside.to.slot() as u32)
    }

    fn first_members(&self) -> impl Iterator<Item = u32> {
        self.members.iter().take(AHEAD).map(|member| member.slot)
    }
}
