//! The publications in which a node tells the others of its users in a room, as they are pushed on the room's channel.
//!
//! A header line in ASCII, `p1 INCARNATION NUMBER KIND COUNT JOINED LEFT\n`, and the names of users: one byte for the
//! length, then the name. Payloads with another letter or version are not presence, or are of a newer node.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use crate::broker::redis::batch::{Incarnation, decimal};
use crate::names::UserId;

/// Most bytes of a payload.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// Most bytes of names in a payload that is within [`MAX_PAYLOAD`].
pub(super) const MAX_NAMES_BYTES: usize = MAX_PAYLOAD - 128;
/// The largest number that a Lua script can count to.
pub(super) const MAX_NUMBER: u64 = 1 << 53;

/// A publication of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The node.
    pub by: Incarnation,
    /// The number of the publication: one more than that of the node's previous one in this room.
    pub number: u64,
    /// How many users the node has in the room now.
    pub count: usize,
    /// The contents.
    pub contents: Contents,
}

/// The contents of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// The users who have come and gone since the previous publication.
    Moved {
        /// Those who came.
        joined: Vec<UserId>,
        /// Those who went.
        left: Vec<UserId>,
    },
    /// All users of the node.
    All(Vec<UserId>),
    /// More users than fit: they have to be read.
    Read,
    /// Nothing but the number of users.
    Count,
    /// The node has left the room. Users that it still has may come back on other nodes.
    Closed,
}

/// Why a payload or a stored value of presence cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPresence {
    /// The header line is not of the form of this version.
    #[error("the header of a presence payload must be 'p1 INCARNATION NUMBER KIND COUNT JOINED LEFT'")]
    Header,
    /// The names are not those that the header announces.
    #[error("the names in a presence payload are cut off, too many or not valid user ids")]
    Names,
    /// A value in the hash of a room's presence is not of the form of this version.
    #[error("an entry of a room's presence must be 'NUMBER FORM COUNT PIECES' with its pieces beside it")]
    Entry,
    /// The reply of a script has another type.
    #[error("a script of presence replied with a value of another type")]
    Reply,
}

impl Payload {
    /// Writes the payload.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (joined, left): (&[UserId], &[UserId]) = match &self.contents {
            Contents::Moved { joined, left } => (joined, left),
            Contents::All(users) => (users, &[]),
            Contents::Read | Contents::Count | Contents::Closed => (&[], &[]),
        };
        let kind = match &self.contents {
            Contents::Moved { .. } => 'd',
            Contents::All(_) => 'a',
            Contents::Read => 'r',
            Contents::Count => 'c',
            Contents::Closed => 'x',
        };
        let mut header = String::with_capacity(96);
        // Writing into a string cannot fail.
        let _ = writeln!(
            header,
            "p1 {} {} {kind} {} {} {}",
            self.by,
            self.number,
            self.count,
            joined.len(),
            left.len()
        );
        let names: usize = joined.iter().chain(left).map(name_len).sum();
        let mut bytes = BytesMut::with_capacity(header.len() + names);
        bytes.put_slice(header.as_bytes());
        joined.iter().chain(left).for_each(|user| put_name(&mut bytes, user));
        bytes.freeze()
    }

    /// Reads a payload; `None` when it is not presence, or of another version.
    ///
    /// # Errors
    /// The payload is damaged.
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, BadPresence> {
        let Some(rest) = payload.strip_prefix(b"p1 ") else { return Ok(None) };
        let end = rest.iter().take(128).position(|byte| *byte == b'\n').ok_or(BadPresence::Header)?;
        let (header, mut names) = (&rest[..end], &rest[end + 1..]);
        let header = str::from_utf8(header).map_err(|_| BadPresence::Header)?;
        let fields: Vec<&str> = header.split(' ').collect();
        let [by, number, kind, count, joined, left] = fields[..] else { return Err(BadPresence::Header) };
        let by = by.parse().map_err(|_| BadPresence::Header)?;
        let number = parse_number(number).filter(|number| *number > 0).ok_or(BadPresence::Header)?;
        let size = |text| parse_number(text).map(|number| number as usize).ok_or(BadPresence::Header);
        let (count, joined, left) = (size(count)?, size(joined)?, size(left)?);
        let joined = take_names(&mut names, Some(joined))?;
        let left = take_names(&mut names, Some(left))?;
        let has_names = !joined.is_empty() || !left.is_empty();
        let contents = match kind {
            "d" => Contents::Moved { joined, left },
            "a" if left.is_empty() && joined.len() == count => Contents::All(joined),
            "r" if !has_names => Contents::Read,
            "c" if !has_names => Contents::Count,
            "x" if !has_names => Contents::Closed,
            _ => return Err(BadPresence::Header),
        };
        if names.is_empty() {
            Ok(Some(Self { by, number, count, contents }))
        } else {
            Err(BadPresence::Names)
        }
    }
}

/// Returns how many bytes a name takes.
pub(super) fn name_len(user: &UserId) -> usize {
    1 + user.as_str().len()
}

/// Appends a name.
pub(super) fn put_name(bytes: &mut BytesMut, user: &UserId) {
    let name = user.as_str().as_bytes();
    // A user id has at most 64 characters.
    bytes.put_u8(name.len() as u8);
    bytes.put_slice(name);
}

/// Takes this many names from the front of `bytes`, or all without a number.
pub(super) fn take_names(bytes: &mut &[u8], number: Option<usize>) -> Result<Vec<UserId>, BadPresence> {
    // The number is not trusted: a name takes four bytes at least.
    let mut names = Vec::with_capacity(number.unwrap_or_default().min(bytes.len() / 4));
    while number.map_or(!bytes.is_empty(), |number| names.len() < number) {
        let (len, rest) = bytes.split_first().ok_or(BadPresence::Names)?;
        let (name, rest) = rest.split_at_checked(usize::from(*len)).ok_or(BadPresence::Names)?;
        let name = str::from_utf8(name).map_err(|_| BadPresence::Names)?;
        names.push(name.parse().map_err(|_| BadPresence::Names)?);
        *bytes = rest;
    }
    Ok(names)
}

/// Parses a decimal number, as far as Lua can count.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    decimal(text).filter(|number| *number <= MAX_NUMBER)
}
