//! The wire form of a batch: the messages that one call of a node appended to a room. The same bytes are pushed on the
//! room's channel and stored in the room's stream.
//!
//! ```text
//! batch    header record…
//! header   "b1 " EPOCH " " FIRST " " COUNT " " INCARNATION " " CALL "\n"     ASCII, numbers in decimal
//! record   length of the rest (u32) · time in ms since the Unix epoch (u64) · length of the user id (u8)
//!          · user id · contents, which begin with the text as a JSON string literal    integers little-endian
//! ```
//!
//! A node encodes the records, the script on the server writes the header and joins the records of the messages that
//! are no duplicates. Every payload on a room's channel begins with a letter for its kind and a digit for its version.

pub mod content;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

pub use self::content::More;

use crate::names::{Epoch, NameError, Offset, Position, UserId};

/// Most messages in a batch, sent and accepted.
pub const MAX_MESSAGES: usize = 64;
/// Most bytes of a batch, sent and accepted. A call has as many messages as fit into a much smaller bound, but at least
/// one, and the longest message that can be configured has 1,000,000 characters, each of up to 6 bytes in JSON.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// How the payload of a batch of this version begins.
const START: &[u8] = b"b1 ";
/// Longest header: its start, the epoch, two numbers of 20 digits, the count, the incarnation, spaces and line break.
const MAX_HEADER: usize = START.len() + 13 + 20 + 20 + 2 + 16 + 5;
/// Bytes of a record between its length and the user id.
const RECORD_HEAD: usize = 8 + 1;

/// One run of a node's process: a random number, drawn at every start, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Incarnation {
    type Err = NameError;

    /// Parses the 16 digits that `Display` writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = NameError::Digits { digits: 16 };
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(wrong);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| wrong)
    }
}

/// One call of the script `publish`. The number counts from 1 for each incarnation and room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallId {
    /// The run of the node that made the call.
    pub by: Incarnation,
    /// The number of the call.
    pub number: u64,
}

/// A message as nodes receive it from the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchMessage {
    /// The sender.
    pub user: UserId,
    /// When the sender's node received the message, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The text as a JSON string literal, with its quotes.
    pub text: Bytes,
    /// The message's name and data; most have neither.
    pub more: Option<Box<More>>,
}

/// The messages that one call appended, at consecutive offsets. There is at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The room's epoch when the messages were appended.
    pub epoch: Epoch,
    /// The offset of the first message.
    pub first: Offset,
    /// The call that appended the messages.
    pub call: CallId,
    /// The messages, without those that were duplicates of earlier ones.
    pub messages: Vec<BatchMessage>,
}

/// Why a payload is not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    /// The payload is of another kind or version.
    #[error("the payload is no batch of version 1: it does not begin with `b1 `")]
    OtherKind,
    /// The payload is longer than [`MAX_BYTES`].
    #[error("the batch has more than {MAX_BYTES} bytes")]
    TooLong,
    /// The header lacks a field, or has one that is malformed or out of range.
    #[error(
        "the header of the batch is not `b1 EPOCH FIRST COUNT INCARNATION CALL`, with at most {MAX_MESSAGES} messages"
    )]
    Header,
    /// A record is cut off, has bytes left over, or holds a malformed user id or text.
    #[error("message {index} of the batch is malformed")]
    Record {
        /// The place of the message in the batch, from 0.
        index: usize,
    },
    /// Bytes follow the last record.
    #[error("the batch has {bytes} bytes behind its last message")]
    Trailing {
        /// How many bytes follow.
        bytes: usize,
    },
}

impl Batch {
    /// Returns the offset of the last message.
    #[must_use]
    pub fn last(&self) -> Offset {
        Offset(self.first.0 + (self.messages.len() as u64).saturating_sub(1))
    }

    /// Returns the position of the last message.
    #[must_use]
    pub fn last_position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last() }
    }

    /// Returns true when a payload is a batch of this version, well formed or not.
    #[must_use]
    pub fn is_batch(payload: &[u8]) -> bool {
        payload.starts_with(START)
    }

    /// Parses a payload. The texts of the messages share the payload's memory.
    ///
    /// # Errors
    /// A payload of another kind, one that is longer than [`MAX_BYTES`], and one that is malformed in any way.
    pub fn parse(payload: &Bytes) -> Result<Self, BadBatch> {
        if !Self::is_batch(payload) {
            return Err(BadBatch::OtherKind);
        }
        if payload.len() > MAX_BYTES {
            return Err(BadBatch::TooLong);
        }
        let searched = &payload[..payload.len().min(MAX_HEADER)];
        let end = searched.iter().position(|byte| *byte == b'\n').ok_or(BadBatch::Header)?;
        let header = std::str::from_utf8(&payload[START.len()..end]).map_err(|_| BadBatch::Header)?;
        let (epoch, first, count, call) = parse_header(header).ok_or(BadBatch::Header)?;

        let mut messages = Vec::with_capacity(count);
        let mut at = end + 1;
        for index in 0..count {
            let (message, len) = parse_record(payload, at).ok_or(BadBatch::Record { index })?;
            messages.push(message);
            at += len;
        }
        if at < payload.len() {
            return Err(BadBatch::Trailing { bytes: payload.len() - at });
        }
        Ok(Self { epoch, first, call, messages })
    }
}

/// Parses the header without its start and its line break.
fn parse_header(header: &str) -> Option<(Epoch, Offset, usize, CallId)> {
    let mut fields = header.split(' ');
    let epoch = fields.next()?.parse().ok()?;
    let first = decimal(fields.next()?)?;
    let count = decimal(fields.next()?)?;
    let by = fields.next()?.parse().ok()?;
    let number = decimal(fields.next()?)?;
    let is_in_range = first > 0 && number > 0 && (1..=MAX_MESSAGES as u64).contains(&count);
    if fields.next().is_some() || !is_in_range || first.checked_add(count).is_none() {
        return None;
    }
    Some((epoch, Offset(first), usize::try_from(count).ok()?, CallId { by, number }))
}

/// Parses a decimal number as it is written: no sign, and no zeros before it.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    if is_canonical { text.parse().ok() } else { None }
}

/// Parses the record that begins at `at`, and returns it with its length.
fn parse_record(payload: &Bytes, at: usize) -> Option<(BatchMessage, usize)> {
    let (len, rest) = payload.get(at..)?.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (time, rest) = rest.get(..len)?.split_first_chunk::<8>()?;
    let (user_len, rest) = rest.split_first()?;
    let (user, contents) = rest.split_at_checked(usize::from(*user_len))?;
    std::str::from_utf8(contents).ok()?;
    let end = at + 4 + len;
    let (text, more) = content::split(&payload.slice(end - contents.len()..end))?;
    let message = BatchMessage {
        user: std::str::from_utf8(user).ok()?.parse().ok()?,
        at_unix_ms: u64::from_le_bytes(*time),
        text,
        more,
    };
    Some((message, end - at))
}

/// A message as a node sends it to the engine: one record of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record(Bytes);

/// A message is too long for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {bytes} bytes does not fit into a batch of at most {MAX_BYTES} bytes")]
pub struct MessageTooLong {
    /// The length of the message's contents.
    pub bytes: usize,
}

impl Record {
    /// Encodes a message. `contents` is what [`content::encode`] returns: without more, a JSON string literal.
    ///
    /// # Errors
    /// [`MessageTooLong`] when a batch with this message alone would be longer than [`MAX_BYTES`].
    pub fn encode(user: &UserId, at_unix_ms: u64, contents: &[u8]) -> Result<Self, MessageTooLong> {
        let too_long = MessageTooLong { bytes: contents.len() };
        let user = user.as_str().as_bytes();
        let len = RECORD_HEAD + user.len() + contents.len();
        if MAX_HEADER + 4 + len > MAX_BYTES {
            return Err(too_long);
        }
        let mut record = Vec::with_capacity(4 + len);
        record.extend_from_slice(&u32::try_from(len).map_err(|_| too_long)?.to_le_bytes());
        record.extend_from_slice(&at_unix_ms.to_le_bytes());
        record.push(u8::try_from(user.len()).map_err(|_| too_long)?);
        record.extend_from_slice(user);
        record.extend_from_slice(contents);
        Ok(Self(Bytes::from(record)))
    }

    /// Returns the record's length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a record is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the record as it is sent.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}
