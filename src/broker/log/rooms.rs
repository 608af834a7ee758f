//! The rooms found while segments are scanned: what is there of each, and what of that is proved.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::format::LogEntry;
use super::found::{Recovered, RecoveredRoom};
use super::index::Index;
use super::record::{Record, SentKey};
use crate::broker::Position;
use crate::names::{Epoch, Offset, RoomName};
use crate::protocol::event;

/// A message that was found, with its segment and its length there.
type Found = (Record, u32, usize);

#[derive(Debug)]
struct ScannedRoom {
    position: Position,
    first: Offset,
    positioned_in: u32,
    /// True when nothing that came later can have been lost.
    is_proved: bool,
    messages: BTreeMap<Offset, Found>,
    keys: BTreeMap<Offset, SentKey>,
}

/// The rooms that were found so far.
#[derive(Debug)]
pub(super) struct ScannedRooms {
    rooms: HashMap<RoomName, ScannedRoom>,
    /// True when the log as a whole is not the one that was left: no room is proved.
    pub(super) is_doubted: bool,
    /// Messages in each segment.
    messages: HashMap<u32, u64>,
    /// Until when each segment contains keys that are kept.
    keyed: HashMap<u32, u64>,
    /// The rooms with entries in the segment that is being read.
    spoken_of: HashSet<RoomName>,
    /// The rooms that the last segment read says are gone, and its number.
    gone: (u32, Vec<(RoomName, Epoch)>),
    now_unix_ms: u64,
}

/// Changes that have to be written before the log continues.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    /// Rooms that continue in a new epoch, by their index in [`Recovered::rooms`], with the old epoch.
    pub(super) renewed: Vec<(usize, Epoch)>,
    /// Rooms that the last segment says are gone.
    pub(super) gone: Vec<(RoomName, Epoch)>,
    /// Rooms of which nothing is left.
    pub(super) forgotten: Vec<(RoomName, Epoch)>,
    /// Rooms that keep less than the log says.
    pub(super) trimmed: Vec<RoomName>,
}

impl ScannedRooms {
    pub(super) fn new(now_unix_ms: u64) -> Self {
        Self {
            rooms: HashMap::new(),
            is_doubted: false,
            messages: HashMap::new(),
            keyed: HashMap::new(),
            spoken_of: HashSet::new(),
            gone: (0, Vec::new()),
            now_unix_ms,
        }
    }

    /// Notes that something was lost which could have been of any room.
    pub(super) fn doubt(&mut self) {
        for room in self.rooms.values_mut() {
            room.is_proved = false;
        }
    }

    /// Ends a segment. Returns how many messages it has, and how many rooms have entries in it.
    pub(super) fn end_segment(&mut self, number: u32) -> (u64, usize) {
        let rooms = std::mem::take(&mut self.spoken_of).len();
        (self.messages.get(&number).copied().unwrap_or(0), rooms)
    }

    pub(super) fn apply(&mut self, number: u32, entry: LogEntry, size: usize) {
        if self.gone.0 != number {
            self.gone = (number, Vec::new());
        }
        match entry {
            LogEntry::Message(record) => {
                // Messages missing before it may yet follow as copies. If they do not, there is a hole.
                let room = self.room(&record.room, record.position, number);
                room.position = record.position;
                (room.positioned_in, room.is_proved) = (number, true);
                self.keep_message(number, record, size);
            }
            // A copy proves that this message was kept, but nothing about those behind it.
            LogEntry::Copy(record) => {
                let room = self.room(&record.room, record.position, number);
                room.position.offset = room.position.offset.max(record.position.offset);
                self.keep_message(number, record, size);
            }
            LogEntry::Key(name, offset, epoch, sent) => {
                let room = self.room(&name, Position { epoch, offset }, number);
                room.position.offset = room.position.offset.max(offset);
                self.keep_key(number, &name, offset, sent);
            }
            LogEntry::Position { room, position, first } => {
                let room = self.room(&room, position, number);
                // Repeated positions do not count as later, or each start would move the room on.
                if !(room.is_proved && room.position == position) {
                    room.positioned_in = number;
                }
                room.position.offset = room.position.offset.max(position.offset);
                room.is_proved = true;
                trim(room, first);
            }
            LogEntry::Forget { room, epoch } => {
                if self.rooms.get(&room).is_some_and(|room| room.position.epoch == epoch) {
                    self.rooms.remove(&room);
                }
                self.gone.1.push((room, epoch));
            }
            // Up to here the entries were about the segment before.
            LogEntry::PositionsDone(_) => self.gone.1.clear(),
            LogEntry::Segment(_) | LogEntry::OldSegment | LogEntry::Close => {}
        }
    }

    fn keep_message(&mut self, number: u32, record: Record, size: usize) {
        *self.messages.entry(number).or_default() += 1;
        let offset = record.position.offset;
        if let Some(sent) = record.sent_key() {
            self.keep_key(number, &record.room, offset, sent);
        }
        if let Some(room) = self.rooms.get_mut(&record.room) {
            let first = record.first;
            room.messages.insert(offset, (record, number, size));
            trim(room, first);
        }
    }

    fn keep_key(&mut self, number: u32, room: &RoomName, offset: Offset, mut sent: SentKey) {
        let until_ms = sent.until_ms(self.now_unix_ms);
        if until_ms <= self.now_unix_ms {
            return;
        }
        sent.at_unix_ms = sent.at_unix_ms.min(self.now_unix_ms);
        let last_ms = self.keyed.entry(number).or_default();
        *last_ms = until_ms.max(*last_ms);
        if let Some(room) = self.rooms.get_mut(room) {
            room.keys.insert(offset, sent);
        }
    }

    /// Returns the room in the epoch of `position`. Another epoch begins a new life of the room.
    fn room(&mut self, name: &RoomName, position: Position, number: u32) -> &mut ScannedRoom {
        let fresh = || ScannedRoom {
            position,
            first: Offset(0),
            positioned_in: number,
            is_proved: false,
            messages: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        if !self.spoken_of.contains(name) {
            self.spoken_of.insert(name.clone());
        }
        let room = self.rooms.entry(name.clone()).or_insert_with(fresh);
        if room.position.epoch != position.epoch {
            *room = fresh();
        }
        room
    }

    /// Returns the rooms with their messages that have not expired. Those that are proved and whole continue as they
    /// were, the others (and those that `is_to_be_renewed`) in a new epoch with what is left of them.
    pub(super) fn into_recovered(
        self,
        is_expired: impl Fn(&RoomName, u64) -> bool,
        is_to_be_renewed: impl Fn(&RoomName) -> bool,
    ) -> (Index, Recovered, Repairs) {
        let (mut index, mut recovered) = (Index::default(), Recovered::default());
        let mut repairs = Repairs { gone: self.gone.1, ..Repairs::default() };
        for (name, mut room) in self.rooms {
            let missing = room.missing();
            recovered.missing_messages += missing;
            let goes_on = room.goes_on() && !is_to_be_renewed(&name);
            let mut messages = room.messages.iter();
            let young = messages.find(|(_, (record, ..))| !is_expired(&name, record.at_unix_ms));
            let kept = match young.map(|(offset, _)| *offset) {
                Some(first) => room.messages.split_off(&first),
                None => BTreeMap::new(),
            };
            let has_expired = !std::mem::replace(&mut room.messages, kept).is_empty();
            if !goes_on {
                let old = room.position.epoch;
                recovered.renewed_rooms.push(name.clone());
                match room.renew(&name) {
                    Some(renewed) => {
                        repairs.renewed.push((recovered.rooms.len(), old));
                        recovered.rooms.push(renewed);
                    }
                    None => repairs.forgotten.push((name, old)),
                }
                continue;
            }
            if missing > 0 || has_expired {
                repairs.trimmed.push(name.clone());
            }
            for (record, number, size) in room.messages.values() {
                index.append(&name, record.position, Offset(0), (*number, *size));
            }
            index.set_position(&name, room.position, room.positioned_in);
            let messages = room.messages.into_values().map(|(record, ..)| record).collect();
            let keys = room.keys.into_iter().collect();
            recovered.rooms.push(RecoveredRoom { room: name, position: room.position, messages, keys });
        }
        for (number, messages) in self.messages {
            index.count(number, messages);
        }
        for (number, until_ms) in self.keyed {
            index.note_key(number, until_ms);
        }
        (index, recovered, repairs)
    }

    /// Returns each room with its position, its messages, and whether it continues as it is.
    pub(super) fn describe(&self) -> impl Iterator<Item = (&RoomName, Position, usize, bool)> {
        self.rooms.iter().map(|(name, room)| (name, room.position, room.messages.len(), room.goes_on()))
    }
}

impl ScannedRoom {
    /// Returns true when the room is as it was left.
    fn goes_on(&self) -> bool {
        self.is_proved && !self.has_hole()
    }

    /// Returns how many messages should be there and are not.
    fn missing(&self) -> u64 {
        let kept = (self.position.offset.0 + 1).saturating_sub(self.first.0.max(1));
        kept.saturating_sub(self.messages.len() as u64)
    }

    /// Returns true when a message is missing behind the first one that is there, or all are. Messages missing before
    /// the first are taken for expired.
    fn has_hole(&self) -> bool {
        let Some(first) = self.messages.keys().next() else { return self.missing() > 0 };
        self.position.offset.0 - first.0 + 1 != self.messages.len() as u64
    }

    /// Moves what is left of the room to a new epoch, without a hole; `None` when nothing is left.
    fn renew(self, name: &RoomName) -> Option<RecoveredRoom> {
        let epoch = Epoch::random();
        let first = *self.messages.keys().next()?;
        let mut position = Position { epoch, offset: Offset(first.0 - 1) };
        let mut keys: BTreeMap<Offset, SentKey> = BTreeMap::new();
        let mut messages = Vec::with_capacity(self.messages.len());
        for (old, (mut record, ..)) in self.messages {
            let next = Position { epoch, offset: position.offset.next() };
            let from = (record.position.epoch, old);
            let Some(frame) = event::at_position(&record.frame, from, (epoch, next.offset)) else { continue };
            (record.frame, record.position, record.first, position) = (frame, next, first, next);
            if let Some(sent) = self.keys.get(&old) {
                keys.insert(next.offset, sent.clone());
            }
            messages.push(record);
        }
        // The key of a lost message is forgotten, so that the message may be sent again.
        keys.extend(self.keys.into_iter().filter(|(offset, _)| *offset < first));
        if messages.is_empty() {
            return None;
        }
        Some(RecoveredRoom { room: name.clone(), position, messages, keys: keys.into_iter().collect() })
    }
}

fn trim(room: &mut ScannedRoom, first: Offset) {
    room.first = room.first.max(first);
    while room.messages.first_key_value().is_some_and(|(offset, _)| *offset < room.first) {
        room.messages.pop_first();
    }
}
