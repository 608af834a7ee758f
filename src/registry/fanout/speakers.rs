//! Whoever said something gets it, with its ack, before the turn of its room comes: it may wait for that to go on. What
//! it says next goes into the same batch then, and costs the others no write of their own.

use rustc_hash::FxHashMap;

use super::{Slice, Work};
use crate::registry::clients::Clients;
use crate::registry::lane::LaneId;
use crate::registry::room::{Room, ahead};
use crate::registry::shard::Shard;

/// Rooms whose speakers are served after each turn: then that has had its slice first. With more of them the batches
/// grow, but each turn comes later. Measured with 1,000 rooms of 10 and a publisher in each: CPU time per delivery 0.59
/// of `floor`'s, the 99th percentile of the latency 1.01 of its. When they were served before a turn, for 0 to 4: 1.16,
/// 0.74, 0.55, 0.44 and 0.40; 1.05, 0.97, 1.02, 1.07 and 1.41.
const ROOMS: usize = 2;

impl Shard {
    /// Serves speakers in the rooms that are next in their line.
    pub(super) fn serve_speakers(
        &self,
        clients: &mut Clients,
        rooms: &mut FxHashMap<LaneId, Box<Room>>,
        work: &mut Work,
        slice: &mut Slice,
    ) {
        for _ in 0..ROOMS {
            if slice.is_full(work.dirty.len()) {
                return;
            }
            ahead(&work.speaking, rooms).for_each(|(turns, room)| room.prefetch_speaker(turns, clients));
            let Some(lane) = work.speaking.pop_front() else { return };
            let Some(room) = rooms.get_mut(&lane) else { continue };
            room.is_speaking = false;
            let is_next = work.ready.front() == Some(&lane);
            if !is_next && !room.is_sweeping() {
                room.gather(&self.settings.batch, || work.batch());
                self.serve(room, clients, &mut work.dirty, slice);
            }
        }
    }
}
