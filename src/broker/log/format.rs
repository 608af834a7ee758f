//! The format of the log: [framed] entries, in batches that count as a whole.
//!
//! ```text
//! segment = magic  entry*                       the first entry is a Segment
//! ```
//!
//! The last entry of a batch is marked: a batch without that mark was never acknowledged.
//!
//! Segments are chained: each names the one before it, with its length and checksum. Its first entry is followed by the
//! positions of all rooms that had messages in the segment before, and then by [`LogEntry::PositionsDone`]. So if the
//! segment before is damaged or gone, it is known which rooms are affected.

use bytes::Bytes;

use super::record::{Record, SentKey};
use crate::broker::Position;
use crate::framed;
use crate::names::{Epoch, Offset, RoomName};

/// The first bytes of a segment; the last of them is the version.
pub(super) const MAGIC: &[u8; 8] = b"throng\x00\x02";
/// The magic of an older version that can be read. Its segments are not chained: nothing in it proves where a room's
/// offsets end.
pub(super) const OLD_MAGIC: &[u8; 8] = b"throng\x00\x01";
/// The first entry of a segment lies within so many bytes.
pub(super) const HEADER_BYTES: usize = 512;

/// Distinguishes one log from all others.
pub(super) type Identity = [u8; 16];

/// Describes the segment before another: its number, its valid length, and the checksum of that many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Previous {
    /// 0 when there is none.
    pub(super) number: u32,
    pub(super) len: u64,
    pub(super) sum: u32,
}

/// The first entry of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    pub(super) number: u32,
    pub(super) previous: Previous,
    /// True when everything acknowledged had reached the disk.
    pub(super) is_synced: bool,
    /// Identifies the machine's boot in which the segment was written.
    pub(super) boot: Box<str>,
}

/// An entry of a segment.
#[derive(Debug)]
pub(super) enum LogEntry {
    /// The first entry of each segment.
    Segment(Header),
    /// The first entry of each segment in the old version.
    OldSegment,
    /// A message as it was appended.
    Message(Record),
    /// A message copied from a segment that was about to be deleted.
    Copy(Record),
    /// The position of a room, and the first message that its history keeps.
    Position { room: RoomName, position: Position, first: Offset },
    /// An idempotency key that is still kept, of a message that is not.
    Key(RoomName, Offset, Epoch, SentKey),
    /// The room is gone.
    Forget { room: RoomName, epoch: Epoch },
    /// Everything before this has reached the disk, and nothing follows.
    Close,
    /// The positions of all rooms that had messages in the segment of this number precede this entry.
    PositionsDone(u32),
}

/// Entries that become valid together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    last: usize,
}

impl Batch {
    /// Adds a message. Returns its length on disk.
    pub(super) fn message(&mut self, record: &Record, is_copy: bool) -> usize {
        self.entry(if is_copy { 2 } else { 1 }, |body| {
            put_name(body, record.room.as_str());
            put_position(body, record.position);
            body.extend_from_slice(&record.first.0.to_le_bytes());
            body.extend_from_slice(&record.at_unix_ms.to_le_bytes());
            put_name(body, record.user.as_str());
            let key = record.key.as_ref().map_or("", |key| key.as_str());
            // At most 256 bytes, by its type.
            body.extend_from_slice(&(key.len() as u16).to_le_bytes());
            body.extend_from_slice(key.as_bytes());
            body.extend_from_slice(&record.frame);
        })
    }

    pub(super) fn segment(&mut self, header: &Header) {
        self.entry(7, |body| {
            body.extend_from_slice(&header.identity);
            body.extend_from_slice(&header.number.to_le_bytes());
            body.extend_from_slice(&header.previous.number.to_le_bytes());
            body.extend_from_slice(&header.previous.len.to_le_bytes());
            body.extend_from_slice(&header.previous.sum.to_le_bytes());
            body.push(u8::from(header.is_synced));
            body.extend_from_slice(header.boot.as_bytes());
        });
    }

    pub(super) fn positions_done(&mut self, number: u32) {
        self.entry(8, |body| body.extend_from_slice(&number.to_le_bytes()));
    }

    pub(super) fn position(&mut self, room: &RoomName, position: Position, first: Offset) {
        self.entry(3, |body| {
            put_name(body, room.as_str());
            put_position(body, position);
            body.extend_from_slice(&first.0.to_le_bytes());
        });
    }

    pub(super) fn key(&mut self, room: &RoomName, epoch: Epoch, offset: Offset, sent: &SentKey) {
        self.entry(6, |body| {
            put_name(body, room.as_str());
            put_position(body, Position { epoch, offset });
            body.extend_from_slice(&sent.at_unix_ms.to_le_bytes());
            put_name(body, sent.user.as_str());
            body.extend_from_slice(sent.key.as_str().as_bytes());
        });
    }

    pub(super) fn forget(&mut self, room: &RoomName, epoch: Epoch) {
        self.entry(4, |body| {
            put_name(body, room.as_str());
            body.extend_from_slice(&epoch.digits());
        });
    }

    pub(super) fn close(&mut self) {
        self.entry(5, |_| ());
    }

    fn entry(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        self.last = self.bytes.len();
        framed::append(&mut self.bytes, |body| {
            body.push(kind);
            write(body);
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes, with the mark on the last entry.
    pub(super) fn finish(mut self) -> Vec<u8> {
        framed::mark(&mut self.bytes[self.last..]);
        self.bytes
    }
}

/// Writes a name, which has at most 64 bytes by its type.
fn put_name(body: &mut Vec<u8>, text: &str) {
    body.push(text.len() as u8);
    body.extend_from_slice(text.as_bytes());
}

fn put_position(body: &mut Vec<u8>, position: Position) {
    body.extend_from_slice(&position.epoch.digits());
    body.extend_from_slice(&position.offset.0.to_le_bytes());
}

/// The next thing in a segment. A marked entry is the last of its batch.
pub(super) type Step = framed::Step<LogEntry>;

/// Returns a reader of the entries of a segment, of which `bytes` are the whole.
pub(super) fn reader(bytes: &[u8]) -> framed::Reader<'_, LogEntry> {
    framed::Reader::new(bytes.get(MAGIC.len()..).unwrap_or_default(), decode)
}

/// Reads the first entry of a segment from its first bytes, where it stands twice. Returns `None` when both are
/// damaged, or of the old version.
pub(super) fn header_of(bytes: &[u8]) -> Option<Header> {
    let mut reader = reader(bytes);
    (0..2).find_map(|_| match reader.step() {
        Step::Entry(LogEntry::Segment(header), ..) => Some(header),
        _ => None,
    })
}

fn decode(mut body: &[u8]) -> Option<LogEntry> {
    let body = &mut body;
    Some(match take(body, 1)?[0] {
        0 => LogEntry::OldSegment,
        kind @ (1 | 2) => {
            let record = record(body)?;
            if kind == 1 { LogEntry::Message(record) } else { LogEntry::Copy(record) }
        }
        3 => LogEntry::Position {
            room: take_parsed(body)?,
            position: position(body)?,
            first: Offset(take_u64(body)?),
        },
        4 => LogEntry::Forget { room: take_parsed(body)?, epoch: epoch(body)? },
        5 => LogEntry::Close,
        6 => {
            let (room, Position { epoch, offset }) = (take_parsed(body)?, position(body)?);
            let (at_unix_ms, user) = (take_u64(body)?, take_parsed(body)?);
            LogEntry::Key(room, offset, epoch, SentKey { user, key: text(body)?.parse().ok()?, at_unix_ms })
        }
        7 => LogEntry::Segment(Header {
            identity: take(body, 16)?.try_into().ok()?,
            number: take_u32(body)?,
            previous: Previous { number: take_u32(body)?, len: take_u64(body)?, sum: take_u32(body)? },
            is_synced: take(body, 1)?[0] != 0,
            boot: text(body)?.into(),
        }),
        8 => LogEntry::PositionsDone(take_u32(body)?),
        _ => return None,
    })
}

fn record(body: &mut &[u8]) -> Option<Record> {
    let room = take_parsed(body)?;
    let position = position(body)?;
    let first = Offset(take_u64(body)?);
    let at_unix_ms = take_u64(body)?;
    let user = take_parsed(body)?;
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

fn take_u64(body: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(body, 8)?.try_into().ok()?))
}

fn take_u32(body: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(body, 4)?.try_into().ok()?))
}

fn take_parsed<T: std::str::FromStr>(body: &mut &[u8]) -> Option<T> {
    let len = take(body, 1)?[0];
    text(take(body, usize::from(len))?)?.parse().ok()
}

fn epoch(body: &mut &[u8]) -> Option<Epoch> {
    text(take(body, 13)?)?.parse().ok()
}

fn position(body: &mut &[u8]) -> Option<Position> {
    Some(Position { epoch: epoch(body)?, offset: Offset(take_u64(body)?) })
}
