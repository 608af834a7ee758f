//! From segments to rooms: what is there, and what of it is proved.

use std::collections::{BTreeMap, HashMap};
use std::mem;

use super::files::Folder;
use super::format::{Entry, MAGIC, Reader, Step};
use super::index::Index;
use super::{LogError, Record, Recovered, RecoveredRoom, SentKey};
use crate::broker::Position;
use crate::names::{Offset, RoomName};

/// A message that was found, with its segment and its length there.
type Found = (Record, u32, usize);

#[derive(Debug)]
struct Room {
    position: Position,
    first: Offset,
    told_in: u32,
    /// Nothing that came later can have been lost.
    is_proved: bool,
    messages: BTreeMap<Offset, Found>,
    keys: BTreeMap<Offset, SentKey>,
}

/// What the segments hold.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Number and length of each segment, as far as it counts; oldest first.
    pub(super) segments: Vec<(u32, u64)>,
    rooms: HashMap<RoomName, Room>,
    /// Messages in each segment.
    messages: HashMap<u32, u64>,
    /// Until when each segment has keys that are kept.
    keyed: HashMap<u32, u64>,
    now_unix_ms: u64,
}

/// How the last segment that says so was left.
#[derive(Debug, Default)]
struct Ending {
    boot: Box<str>,
    is_closed: bool,
}

/// Reads the whole folder. Memory: one segment, and what is kept of messages and, at that time, of keys.
pub(super) fn scan(folder: &Folder, boot: &str, now_unix_ms: u64) -> Result<Scan, LogError> {
    let mut scan = Scan { now_unix_ms, ..Scan::default() };
    let mut ending = None;
    for number in folder.numbers()? {
        if scan.segments.last().is_some_and(|(last, _)| *last + 1 != number) {
            scan.doubt();
        }
        scan.segment(number, &folder.read(number)?, &mut ending);
    }
    if ending.is_some_and(|ending| !ending.is_safe_in(boot)) {
        scan.doubt();
    }
    Ok(scan)
}

impl Ending {
    /// What the operating system was given then is all there, as seen by whoever goes on in `boot`.
    fn is_safe_in(&self, boot: &str) -> bool {
        self.is_closed || (!boot.is_empty() && *self.boot == *boot)
    }
}

impl Scan {
    /// Something was lost here, and it could have been of any room.
    fn doubt(&mut self) {
        for room in self.rooms.values_mut() {
            room.is_proved = false;
        }
    }

    fn segment(&mut self, number: u32, bytes: &[u8], ending: &mut Option<Ending>) {
        let mut reader = Reader::new(bytes);
        let mut len = MAGIC.len().min(bytes.len());
        let mut counts = 0;
        let mut batch = Vec::new();
        let is_ours = MAGIC.starts_with(&bytes[..len]);
        let is_whole = loop {
            match reader.step() {
                _ if !is_ours => break false,
                Step::Entry(entry, size, is_last) => {
                    batch.push((entry, size));
                    len += size;
                    if is_last {
                        counts = len;
                        for (entry, size) in mem::take(&mut batch) {
                            self.apply(number, entry, size, ending);
                        }
                    }
                }
                Step::End | Step::Torn => break true,
                Step::Damaged => break false,
            }
        };
        if !is_whole {
            self.doubt();
        }
        self.segments.push((number, counts as u64));
    }

    fn apply(&mut self, number: u32, entry: Entry, size: usize, ending: &mut Option<Ending>) {
        match entry {
            Entry::Segment { previous_len, boot } => {
                let is_short = self.segments.last().is_some_and(|(_, counts)| *counts < previous_len);
                if is_short || ending.as_ref().is_some_and(|ending| !ending.is_safe_in(&boot)) {
                    self.doubt();
                }
                *ending = Some(Ending { boot, is_closed: false });
            }
            Entry::Message(record) => {
                // What is missing before it may yet come as a copy; if it does not, there is a hole.
                let room = self.room(&record.room, record.position, number);
                room.position = record.position;
                (room.told_in, room.is_proved) = (number, true);
                self.keep(number, record, size);
            }
            // It stands here because it was kept, but says nothing about what came behind it.
            Entry::Copy(record) => {
                let room = self.room(&record.room, record.position, number);
                room.position.offset = room.position.offset.max(record.position.offset);
                self.keep(number, record, size);
            }
            Entry::Key(name, offset, epoch, sent) => {
                let room = self.room(&name, Position { epoch, offset }, number);
                room.position.offset = room.position.offset.max(offset);
                self.keep_key(number, &name, offset, sent);
            }
            Entry::Position { room, position, first } => {
                let room = self.room(&room, position, number);
                room.position.offset = room.position.offset.max(position.offset);
                (room.told_in, room.is_proved) = (number, true);
                trim(room, first);
            }
            Entry::Forget { room, epoch } => {
                if self.rooms.get(&room).is_some_and(|room| room.position.epoch == epoch) {
                    self.rooms.remove(&room);
                }
            }
            Entry::Close => {
                if let Some(ending) = ending {
                    ending.is_closed = true;
                }
            }
        }
    }

    fn keep(&mut self, number: u32, record: Record, size: usize) {
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

    fn keep_key(&mut self, number: u32, room: &RoomName, offset: Offset, sent: SentKey) {
        let until_ms = sent.until_ms(self.now_unix_ms);
        if until_ms <= self.now_unix_ms {
            return;
        }
        let last_ms = self.keyed.entry(number).or_default();
        *last_ms = until_ms.max(*last_ms);
        if let Some(room) = self.rooms.get_mut(room) {
            room.keys.insert(offset, sent);
        }
    }

    /// The room in the epoch of `position`; another epoch is another life.
    fn room(&mut self, name: &RoomName, position: Position, number: u32) -> &mut Room {
        let fresh = || Room {
            position,
            first: Offset(0),
            told_in: number,
            is_proved: false,
            messages: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        let room = self.rooms.entry(name.clone()).or_insert_with(fresh);
        if room.position.epoch != position.epoch {
            *room = fresh();
        }
        room
    }

    /// The rooms that are proved, with what of their messages has not expired.
    pub(super) fn into_rooms(self, is_expired: impl Fn(&RoomName, u64) -> bool) -> (Index, Recovered) {
        let (mut index, mut recovered) = (Index::default(), Recovered::default());
        for (name, room) in self.rooms {
            if !room.is_proved {
                recovered.lost_rooms += 1;
                continue;
            }
            let mut messages = unbroken(room.messages, room.position.offset);
            let expired =
                messages.iter().take_while(|(record, ..)| is_expired(&name, record.at_unix_ms)).count();
            messages.drain(..expired);
            for (record, number, size) in &messages {
                index.append(&name, record.position, Offset(0), (*number, *size));
            }
            index.stand(&name, room.position, room.told_in);
            let messages = messages.into_iter().map(|(record, ..)| record).collect();
            let keys = room.keys.into_iter().collect();
            recovered.rooms.push(RecoveredRoom { room: name, position: room.position, messages, keys });
        }
        for (number, messages) in self.messages {
            index.count(number, messages);
        }
        for (number, until_ms) in self.keyed {
            index.keyed(number, until_ms);
        }
        (index, recovered)
    }
}

fn trim(room: &mut Room, first: Offset) {
    room.first = room.first.max(first);
    while room.messages.first_key_value().is_some_and(|(offset, _)| *offset < room.first) {
        room.messages.pop_first();
    }
}

/// The messages up to `last`, without a hole.
fn unbroken(messages: BTreeMap<Offset, Found>, last: Offset) -> Vec<Found> {
    let mut expected = last.0;
    let mut unbroken = Vec::new();
    for (offset, found) in messages.into_iter().rev() {
        if offset.0 != expected {
            break;
        }
        expected -= 1;
        unbroken.push(found);
    }
    unbroken.reverse();
    unbroken
}
