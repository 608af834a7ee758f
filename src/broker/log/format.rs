//! How the log is written: framed entries, each with two checksums, in batches that count as a whole.
//!
//! ```text
//! segment = magic  entry*                       the first entry is a Segment
//! entry   = length u32  sum of body u32  sum of these eight bytes u32  body
//! ```
//!
//! Numbers are little-endian, sums are CRC-32. The highest bit of the length marks the last entry of a batch: what
//! lacks it was never acknowledged. The head has a sum of its own, because a length that cannot be trusted would make
//! damage look like an end: a write that was cut short leaves a good head and too few bytes, or too few for a head.

use bytes::Bytes;

use super::{Record, SentKey};
use crate::broker::Position;
use crate::names::{Epoch, Offset, RoomName};

/// The first bytes of a segment; the last one is the version.
pub(super) const MAGIC: &[u8; 8] = b"throng\x00\x01";
const HEAD: usize = 12;
const LAST: u32 = 1 << 31;

/// What stands in a segment.
#[derive(Debug)]
pub(super) enum Entry {
    /// The first of each: how much of the segment before it counts, and which boot of which machine wrote it.
    Segment { previous_len: u64, boot: Box<str> },
    /// A message as it was appended.
    Message(Record),
    /// A message saved from a segment that was to go.
    Copy(Record),
    /// Where a room stands, and the first message that its history keeps.
    Position { room: RoomName, position: Position, first: Offset },
    /// The key of a message that is kept no longer, while the key still is.
    Key(RoomName, Offset, Epoch, SentKey),
    /// The room is no more.
    Forget { room: RoomName, epoch: Epoch },
    /// All before this has reached the disk, and nothing comes behind it.
    Close,
}

/// Entries that become valid together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    last: usize,
}

impl Batch {
    /// Adds an entry; returns its length on disk.
    pub(super) fn message(&mut self, record: &Record, is_copy: bool) -> usize {
        self.entry(if is_copy { 2 } else { 1 }, |body| {
            name(body, record.room.as_str());
            place(body, record.position);
            body.extend_from_slice(&record.first.0.to_le_bytes());
            body.extend_from_slice(&record.at_unix_ms.to_le_bytes());
            name(body, record.user.as_str());
            let key = record.key.as_ref().map_or("", |key| key.as_str());
            // At most 256 bytes, by its type.
            body.extend_from_slice(&(key.len() as u16).to_le_bytes());
            body.extend_from_slice(key.as_bytes());
            body.extend_from_slice(&record.frame);
        })
    }

    pub(super) fn segment(&mut self, previous_len: u64, boot: &str) {
        self.entry(0, |body| {
            body.extend_from_slice(&previous_len.to_le_bytes());
            body.extend_from_slice(boot.as_bytes());
        });
    }

    pub(super) fn position(&mut self, room: &RoomName, position: Position, first: Offset) {
        self.entry(3, |body| {
            name(body, room.as_str());
            place(body, position);
            body.extend_from_slice(&first.0.to_le_bytes());
        });
    }

    pub(super) fn key(&mut self, room: &RoomName, epoch: Epoch, offset: Offset, sent: &SentKey) {
        self.entry(6, |body| {
            name(body, room.as_str());
            place(body, Position { epoch, offset });
            body.extend_from_slice(&sent.at_unix_ms.to_le_bytes());
            name(body, sent.user.as_str());
            body.extend_from_slice(sent.key.as_str().as_bytes());
        });
    }

    pub(super) fn forget(&mut self, room: &RoomName, epoch: Epoch) {
        self.entry(4, |body| {
            name(body, room.as_str());
            body.extend_from_slice(&epoch.digits());
        });
    }

    pub(super) fn close(&mut self) {
        self.entry(5, |_| ());
    }

    fn entry(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEAD]);
        self.bytes.push(kind);
        write(&mut self.bytes);
        let body = self.last + HEAD;
        let len = (self.bytes.len() - body) as u32;
        assert!(len & LAST == 0, "an entry is shorter than two gigabytes");
        let sum = crc32fast::hash(&self.bytes[body..]);
        self.put_head(len, sum);
        self.bytes.len() - self.last
    }

    fn put_head(&mut self, len: u32, sum: u32) {
        let head = &mut self.bytes[self.last..self.last + HEAD];
        head[..4].copy_from_slice(&len.to_le_bytes());
        head[4..8].copy_from_slice(&sum.to_le_bytes());
        let own = crc32fast::hash(&head[..8]);
        head[8..].copy_from_slice(&own.to_le_bytes());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes, with the mark on the last entry.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if let Some((len, sum)) = head_at(&self.bytes[self.last.min(self.bytes.len())..]) {
            self.put_head(len | LAST, sum);
        }
        self.bytes
    }
}

/// At most 64 bytes, by its type.
fn name(body: &mut Vec<u8>, text: &str) {
    body.push(text.len() as u8);
    body.extend_from_slice(text.as_bytes());
}

fn place(body: &mut Vec<u8>, position: Position) {
    body.extend_from_slice(&position.epoch.digits());
    body.extend_from_slice(&position.offset.0.to_le_bytes());
}

/// What a reader finds next.
#[derive(Debug)]
pub(super) enum Step {
    /// An entry, its length on disk, and whether it is the last of its batch.
    Entry(Entry, usize, bool),
    /// Nothing more.
    End,
    /// The beginning of an entry: the write was cut short.
    Torn,
    /// Bytes that were never written like this.
    Damaged,
}

/// Reads the entries of a segment.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// Length with its mark, and sum of the body; `None` when the head is not good.
fn head_at(bytes: &[u8]) -> Option<(u32, u32)> {
    let head = bytes.get(..HEAD)?;
    let number = |at: usize| Some(u32::from_le_bytes(head[at..at + 4].try_into().ok()?));
    (crc32fast::hash(&head[..8]) == number(8)?).then_some((number(0)?, number(4)?))
}

impl<'a> Reader<'a> {
    /// Reads behind the magic; `bytes` is a whole segment.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes.get(MAGIC.len()..).unwrap_or_default() }
    }

    pub(super) fn step(&mut self) -> Step {
        if self.rest.is_empty() {
            return Step::End;
        }
        if self.rest.len() < HEAD {
            return Step::Torn;
        }
        let Some((len, sum)) = head_at(self.rest) else { return Step::Damaged };
        let end = HEAD + (len & !LAST) as usize;
        let Some(body) = self.rest.get(HEAD..end) else { return Step::Torn };
        if crc32fast::hash(body) != sum {
            return Step::Damaged;
        }
        let Some(entry) = decode(body) else { return Step::Damaged };
        self.rest = &self.rest[end..];
        Step::Entry(entry, end, len & LAST != 0)
    }
}

fn decode(mut body: &[u8]) -> Option<Entry> {
    let body = &mut body;
    Some(match take(body, 1)?[0] {
        0 => {
            let previous_len = number(body)?;
            Entry::Segment { previous_len, boot: text(body)?.into() }
        }
        kind @ (1 | 2) => {
            let record = record(body)?;
            if kind == 1 { Entry::Message(record) } else { Entry::Copy(record) }
        }
        3 => Entry::Position { room: parse(body)?, position: position(body)?, first: Offset(number(body)?) },
        4 => Entry::Forget { room: parse(body)?, epoch: epoch(body)? },
        5 => Entry::Close,
        6 => {
            let (room, Position { epoch, offset }) = (parse(body)?, position(body)?);
            let (at_unix_ms, user) = (number(body)?, parse(body)?);
            Entry::Key(room, offset, epoch, SentKey { user, key: text(body)?.parse().ok()?, at_unix_ms })
        }
        _ => return None,
    })
}

fn record(body: &mut &[u8]) -> Option<Record> {
    let room = parse(body)?;
    let position = position(body)?;
    let first = Offset(number(body)?);
    let at_unix_ms = number(body)?;
    let user = parse(body)?;
    let key_len = u16::from_le_bytes(take(body, 2)?.try_into().ok()?);
    let key = match key_len {
        0 => None,
        len => Some(text(take(body, usize::from(len))?)?.parse().ok()?),
    };
    // A copy: a slice would keep the whole segment in memory.
    let frame = Bytes::copy_from_slice(body);
    Some(Record { room, position, first, at_unix_ms, user, key, frame })
}

fn take<'a>(body: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = body.split_at_checked(len)?;
    *body = rest;
    Some(taken)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn number(body: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(body, 8)?.try_into().ok()?))
}

fn parse<T: std::str::FromStr>(body: &mut &[u8]) -> Option<T> {
    let len = take(body, 1)?[0];
    text(take(body, usize::from(len))?)?.parse().ok()
}

fn epoch(body: &mut &[u8]) -> Option<Epoch> {
    text(take(body, 13)?)?.parse().ok()
}

fn position(body: &mut &[u8]) -> Option<Position> {
    Some(Position { epoch: epoch(body)?, offset: Offset(number(body)?) })
}
