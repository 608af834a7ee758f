//! Bytes as values. Nothing is trusted: lengths, numbers of elements and depth are limited.

use bytes::{Buf, Bytes, BytesMut};

use super::super::call::{Reply, ServerError};

/// Most bytes of one value with all that is in it. The largest that nodes ask for are pages of histories.
const MAX_VALUE: usize = 64 << 20;
/// Most bytes of a line: of a number, a status or an error.
pub(super) const MAX_LINE: usize = 64 << 10;
/// Most values within each other.
const MAX_DEPTH: usize = 16;
/// Most elements for which space is reserved before they have come.
const MAX_RESERVED: usize = 256;
/// Most bytes of the buffer that are kept while it is empty.
pub(super) const MAX_KEPT: usize = 256 << 10;

/// One thing that a server has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The answer to the oldest command without one.
    Reply(Reply),
    /// Something about subscriptions.
    Push(Push),
}

/// Something that a server sends of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// A message on a sharded channel.
    Message {
        /// The channel.
        channel: Bytes,
        /// The message.
        payload: Bytes,
    },
    /// The subscription to a sharded channel has begun.
    Subscribed(Bytes),
    /// The subscription to a sharded channel has ended.
    Unsubscribed(Bytes),
    /// Any other push.
    Other,
}

/// The bytes are not those of the protocol, or more than a server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

/// Takes bytes as they come, and gives the values that are complete.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// So many bytes are needed at least before the next value can be complete.
    wanted: usize,
}

impl Decoder {
    /// Returns the buffer, to append what has come.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Returns the next value; `None` until more bytes have come.
    ///
    /// # Errors
    /// The bytes are malformed. Nothing that follows can be understood.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        if self.buffer.len() < self.wanted.max(1) {
            if self.buffer.is_empty() && self.buffer.capacity() > MAX_KEPT {
                self.buffer = BytesMut::new();
            }
            return Ok(None);
        }
        let mut cursor = Cursor { bytes: &self.buffer, at: 0 };
        match cursor.frame() {
            Ok(frame) => {
                let len = cursor.at;
                self.buffer.advance(len);
                self.wanted = 0;
                Ok(Some(frame))
            }
            Err(Stop::Wants(len)) if len > MAX_VALUE => Err(Malformed("a value is larger than 64 MiB")),
            Err(Stop::Wants(len)) => {
                self.wanted = len;
                Ok(None)
            }
            Err(Stop::Malformed(what)) => Err(Malformed(what)),
        }
    }
}

/// Why there is no value.
enum Stop {
    /// It is not complete: so many bytes are needed at least.
    Wants(usize),
    Malformed(&'static str),
}

/// Reads a value from its beginning.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn frame(&mut self) -> Result<Frame, Stop> {
        if self.bytes.first() != Some(&b'>') {
            return self.value(0).map(Frame::Reply);
        }
        self.at = 1;
        let count = self.count()?;
        self.push(count).map(Frame::Push)
    }

    fn push(&mut self, count: usize) -> Result<Push, Stop> {
        let kind = self.text()?;
        let (push, read) = match (kind, count) {
            (Some(b"smessage"), 3) => {
                let (channel, payload) = (self.bytes()?, self.bytes()?);
                (Push::Message { channel, payload }, 3)
            }
            (Some(b"ssubscribe"), 3) => (Push::Subscribed(self.bytes()?), 2),
            (Some(b"sunsubscribe"), 3) => (Push::Unsubscribed(self.bytes()?), 2),
            _ => (Push::Other, 1),
        };
        for _ in read..count {
            self.value(1)?;
        }
        Ok(push)
    }

    /// Reads a value that must be a string. Returns no bytes for another one.
    fn bytes(&mut self) -> Result<Bytes, Stop> {
        Ok(self.text()?.map(Bytes::copy_from_slice).unwrap_or_default())
    }

    /// Reads a value, and returns its text if it is a string.
    fn text(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        match self.bytes.get(self.at) {
            Some(b'$') => {
                self.at += 1;
                let len = self.count()?;
                self.bulk(len).map(Some)
            }
            Some(b'+') => {
                self.at += 1;
                self.line().map(Some)
            }
            _ => self.value(1).map(|_| None),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Reply, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Malformed("values are nested more than 16 times"));
        }
        let kind = *self.bytes.get(self.at).ok_or(Stop::Wants(self.at + 1))?;
        self.at += 1;
        match kind {
            b'+' | b',' | b'(' => self.line().map(|line| Reply::Bytes(Bytes::copy_from_slice(line))),
            b'-' => self.line().map(|line| Reply::Error(error(line))),
            b':' => self.number().map(Reply::Int),
            b'_' => self.line().map(|_| Reply::Nil),
            b'#' => self.line().map(|line| Reply::Int((line == b"t").into())),
            b'$' | b'=' | b'!' => self.string(kind),
            b'*' | b'~' | b'>' => self.elements(depth),
            b'%' => self.pairs(depth).map(Reply::Map),
            // Attributes explain the value that follows.
            b'|' => {
                self.pairs(depth)?;
                self.value(depth + 1)
            }
            _ => Err(Stop::Malformed("a value of an unknown kind")),
        }
    }

    fn string(&mut self, kind: u8) -> Result<Reply, Stop> {
        let len = self.number()?;
        if len == -1 {
            return Ok(Reply::Nil);
        }
        let bytes = self.bulk(usize::try_from(len).map_err(|_| Stop::Malformed("a negative length"))?)?;
        Ok(match kind {
            b'!' => Reply::Error(error(bytes)),
            // A text with its format before it: `txt:`.
            b'=' => Reply::Bytes(Bytes::copy_from_slice(bytes.get(4..).unwrap_or_default())),
            _ => Reply::Bytes(Bytes::copy_from_slice(bytes)),
        })
    }

    fn elements(&mut self, depth: usize) -> Result<Reply, Stop> {
        let count = self.number()?;
        if count == -1 {
            return Ok(Reply::Nil);
        }
        let count = usize::try_from(count).map_err(|_| Stop::Malformed("a negative number of elements"))?;
        let mut values = Vec::with_capacity(count.min(MAX_RESERVED));
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(Reply::Array(values))
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Reply, Reply)>, Stop> {
        let count = self.count()?;
        let mut pairs = Vec::with_capacity(count.min(MAX_RESERVED));
        for _ in 0..count {
            pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    fn bulk(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.saturating_add(len);
        let after = end.saturating_add(2);
        let bytes = self.bytes.get(self.at..after).ok_or(Stop::Wants(after))?;
        self.at = after;
        bytes.strip_suffix(b"\r\n").ok_or(Stop::Malformed("a string that does not end where it should"))
    }

    fn count(&mut self) -> Result<usize, Stop> {
        usize::try_from(self.number()?).map_err(|_| Stop::Malformed("a negative number"))
    }

    fn number(&mut self) -> Result<i64, Stop> {
        let line = self.line()?;
        // Almost all numbers are lengths of a few digits.
        if (1..=9).contains(&line.len()) && line.iter().all(u8::is_ascii_digit) {
            return Ok(line.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')));
        }
        let text = std::str::from_utf8(line).ok();
        text.and_then(|text| text.parse().ok()).ok_or(Stop::Malformed("a number was expected"))
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr::memchr(b'\n', &rest[..rest.len().min(MAX_LINE)]) else {
            let is_long = rest.len() >= MAX_LINE;
            let stop = Stop::Wants(self.bytes.len() + 1);
            return Err(if is_long { Stop::Malformed("a line is longer than 64 KiB") } else { stop });
        };
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r").ok_or(Stop::Malformed("a line does not end with CR LF"))
    }
}

fn error(text: &[u8]) -> ServerError {
    let text = String::from_utf8_lossy(text);
    let (code, rest) = text.split_once(' ').unwrap_or((&text, ""));
    ServerError::new(code, rest)
}
