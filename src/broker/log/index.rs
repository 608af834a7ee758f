//! The log's index in memory: the position of each room, and the segment of each of its messages.

use std::collections::{HashMap, VecDeque};

use crate::broker::Position;
use crate::names::{Epoch, Offset, RoomName};
use crate::shrink::ShrinkWhenSparse;

/// A message on disk.
#[derive(Debug, Clone, Copy)]
struct StoredMessage {
    segment: u32,
    len: u32,
}

/// A room on disk. Its kept messages end at `position`, without a hole.
#[derive(Debug)]
struct IndexedRoom {
    position: Position,
    /// The segment with the latest entry that contains the room's position.
    positioned_in: u32,
    kept: VecDeque<StoredMessage>,
}

impl IndexedRoom {
    /// Returns the offset of the first message kept; the one behind the last when there is none.
    fn first(&self) -> Offset {
        Offset(self.position.offset.0 + 1 - self.kept.len() as u64)
    }
}

/// The contents of a segment, in numbers.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct SegmentUsage {
    /// Messages written to the segment, copies included.
    pub(super) messages: u64,
    /// Messages in the segment that are still kept.
    pub(super) live: u64,
    /// Bytes of the messages that are still kept.
    pub(super) live_bytes: u64,
    /// Rooms whose latest position entry is in the segment.
    pub(super) positions: u64,
    /// When the last of the segment's idempotency keys will be forgotten, in milliseconds since the Unix epoch.
    pub(super) keyed_until_ms: u64,
}

/// The index of a log. Memory: 8 bytes for each message kept, some 120 and the name for each room, 50 for each segment.
#[derive(Debug, Default)]
pub(super) struct Index {
    rooms: HashMap<RoomName, IndexedRoom>,
    segments: HashMap<u32, SegmentUsage>,
}

impl Index {
    /// Returns the position of a room.
    pub(super) fn position(&self, room: &RoomName) -> Option<Position> {
        self.rooms.get(room).map(|room| room.position)
    }

    /// Returns how many rooms there are, those without messages included.
    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Returns the position of a room, and the first message kept.
    pub(super) fn range(&self, room: &RoomName) -> Option<(Position, Offset)> {
        self.rooms.get(room).map(|room| (room.position, room.first()))
    }

    pub(super) fn usage(&self, segment: u32) -> SegmentUsage {
        self.segments.get(&segment).copied().unwrap_or_default()
    }

    /// Returns the bytes of all messages that are kept.
    pub(super) fn live_bytes(&self) -> u64 {
        self.segments.values().map(|usage| usage.live_bytes).sum()
    }

    /// Returns true when some message on disk is no longer kept.
    pub(super) fn has_dead(&self) -> bool {
        self.segments.values().any(|usage| usage.messages > usage.live)
    }

    pub(super) fn remove_segment(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }

    /// Sets how many messages a recovered segment has, those that are no longer kept included.
    pub(super) fn count(&mut self, segment: u32, messages: u64) {
        self.segments.entry(segment).or_default().messages = messages;
    }

    /// Notes that a segment contains a key which is kept until then.
    pub(super) fn note_key(&mut self, segment: u32, until_ms: u64) {
        let usage = self.segments.entry(segment).or_default();
        usage.keyed_until_ms = usage.keyed_until_ms.max(until_ms);
    }

    /// Adds a message that was written at the end of its room. A new epoch ends the old life of the room.
    pub(super) fn append(&mut self, room: &RoomName, position: Position, first: Offset, at: (u32, usize)) {
        if self.position(room).is_some_and(|old| old.epoch != position.epoch) {
            self.forget(room);
        }
        let (segment, len) = (at.0, at.1 as u32);
        self.set_position(room, Position { offset: Offset(position.offset.0 - 1), ..position }, segment);
        let Some(entry) = self.rooms.get_mut(room) else { return };
        entry.position = position;
        entry.kept.push_back(StoredMessage { segment, len });
        let usage = self.segments.entry(segment).or_default();
        usage.messages += 1;
        usage.live += 1;
        usage.live_bytes += u64::from(len);
        self.trim(room, first);
    }

    /// Notes that a room's position was written to `segment`.
    pub(super) fn set_position(&mut self, room: &RoomName, position: Position, segment: u32) {
        match self.rooms.get_mut(room) {
            Some(entry) => {
                let positioned_in = std::mem::replace(&mut entry.positioned_in, segment);
                self.segments.entry(positioned_in).or_default().positions -= 1;
            }
            None => {
                let kept = VecDeque::new();
                self.rooms.insert(room.clone(), IndexedRoom { position, positioned_in: segment, kept });
            }
        }
        self.segments.entry(segment).or_default().positions += 1;
    }

    /// Drops the messages before `first`.
    pub(super) fn trim(&mut self, room: &RoomName, first: Offset) {
        let Some(room) = self.rooms.get_mut(room) else { return };
        while room.first() < first && drop_oldest(room, &mut self.segments) {}
        room.kept.shrink_when_sparse();
    }

    pub(super) fn forget(&mut self, room: &RoomName) {
        let Some(mut room) = self.rooms.remove(room) else { return };
        while drop_oldest(&mut room, &mut self.segments) {}
        self.segments.entry(room.positioned_in).or_default().positions -= 1;
        self.rooms.shrink_when_sparse();
    }

    /// Returns true when exactly this message is kept, and lies in `segment`.
    pub(super) fn is_in(&self, segment: u32, room: &RoomName, position: Position) -> bool {
        let Some(room) = self.rooms.get(room).filter(|room| room.position.epoch == position.epoch) else {
            return false;
        };
        let slot = position.offset.0.checked_sub(room.first().0).and_then(|slot| usize::try_from(slot).ok());
        slot.and_then(|slot| room.kept.get(slot)).is_some_and(|kept| kept.segment == segment)
    }

    /// Notes that a kept message was copied.
    pub(super) fn relocate(&mut self, room: &RoomName, offset: Offset, at: (u32, usize)) {
        let Some(room) = self.rooms.get_mut(room) else { return };
        let slot = (offset.0 - room.first().0) as usize;
        let Some(kept) = room.kept.get_mut(slot) else { return };
        let old = self.segments.entry(kept.segment).or_default();
        old.live -= 1;
        old.live_bytes -= u64::from(kept.len);
        *kept = StoredMessage { segment: at.0, len: at.1 as u32 };
        let new = self.segments.entry(at.0).or_default();
        new.messages += 1;
        new.live += 1;
        new.live_bytes += at.1 as u64;
    }

    /// Drops the messages that still lie in a segment about to be deleted, and those before them: they could not be
    /// read. Returns how many rooms had any.
    pub(super) fn drop_unreadable(&mut self, segment: u32) -> usize {
        let mut rooms = 0;
        for room in self.rooms.values_mut() {
            let Some(last) = room.kept.iter().rposition(|kept| kept.segment == segment) else { continue };
            rooms += 1;
            for _ in 0..=last {
                drop_oldest(room, &mut self.segments);
            }
        }
        rooms
    }

    /// Returns the rooms whose latest position entry is in `segment`.
    pub(super) fn rooms_positioned_in(
        &self,
        segment: u32,
    ) -> impl Iterator<Item = (&RoomName, Position, Offset)> {
        let rooms = self.rooms.iter().filter(move |(_, room)| room.positioned_in == segment);
        rooms.map(|(name, room)| (name, room.position, room.first()))
    }

    /// Returns true when the room is in this epoch.
    pub(super) fn is_current(&self, room: &RoomName, epoch: Epoch) -> bool {
        self.position(room).is_some_and(|position| position.epoch == epoch)
    }
}

fn drop_oldest(room: &mut IndexedRoom, segments: &mut HashMap<u32, SegmentUsage>) -> bool {
    let Some(kept) = room.kept.pop_front() else { return false };
    let usage = segments.entry(kept.segment).or_default();
    usage.live -= 1;
    usage.live_bytes -= u64::from(kept.len);
    true
}
