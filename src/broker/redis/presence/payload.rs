//! The publications in which a node tells the others of its users in a room, as they are pushed on the room's channel.
//!
//! A header line in ASCII, `p1 INCARNATION NUMBER KIND COUNT JOINED LEFT\n`, and the users: one byte for the length of
//! the user id, then the id. The highest bit of the length says that the name follows that people are shown: one byte
//! for its length less one, then the name. Payloads with another letter or version are not presence, or are of a newer
//! node.

use std::fmt::Write;
use std::str::FromStr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::broker::redis::batch::{Incarnation, decimal};
use crate::chat::presence::Name;
use crate::names::{DisplayName, UserId};

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
    /// The names of those users in it who have one, in the order in which these stand there.
    pub names: Vec<Name>,
}

/// The bit of the length of a user id that says that a name follows.
const HAS_NAME: u8 = 0x80;

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
    #[error("the users in a presence payload are cut off, too many or not valid")]
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
        let named: usize = self.names.iter().map(|(_, name)| 1 + name.as_str().len()).sum();
        let users: usize = joined.iter().chain(left).map(|user| user_len(user, None)).sum();
        let mut bytes = BytesMut::with_capacity(header.len() + users + named);
        bytes.put_slice(header.as_bytes());
        let mut names = self.names.iter().peekable();
        for user in joined.iter().chain(left) {
            let name = names.next_if(|(named, _)| named == user).map(|(_, name)| name);
            put_user(&mut bytes, user, name);
        }
        debug_assert!(names.next().is_none(), "each name is of a user in the payload, and in their order");
        bytes.freeze()
    }

    /// Reads a payload; `None` when it is not presence, or of another version.
    ///
    /// # Errors
    /// The payload is damaged.
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, BadPresence> {
        let Some(rest) = payload.strip_prefix(b"p1 ") else { return Ok(None) };
        let end = rest.iter().take(128).position(|byte| *byte == b'\n').ok_or(BadPresence::Header)?;
        let (header, mut users) = (&rest[..end], &rest[end + 1..]);
        let header = str::from_utf8(header).map_err(|_| BadPresence::Header)?;
        let fields: Vec<&str> = header.split(' ').collect();
        let [by, number, kind, count, joined, left] = fields[..] else { return Err(BadPresence::Header) };
        let by = by.parse().map_err(|_| BadPresence::Header)?;
        let number = parse_number(number).filter(|number| *number > 0).ok_or(BadPresence::Header)?;
        let size = |text| parse_number(text).map(|number| number as usize).ok_or(BadPresence::Header);
        let (count, joined, left) = (size(count)?, size(joined)?, size(left)?);
        let mut names = Vec::new();
        let joined = take_users(&mut users, Some(joined), &mut names)?;
        let left = take_users(&mut users, Some(left), &mut names)?;
        let has_users = !joined.is_empty() || !left.is_empty();
        let contents = match kind {
            "d" => Contents::Moved { joined, left },
            "a" if left.is_empty() && joined.len() == count => Contents::All(joined),
            "r" if !has_users => Contents::Read,
            "c" if !has_users => Contents::Count,
            "x" if !has_users => Contents::Closed,
            _ => return Err(BadPresence::Header),
        };
        if users.is_empty() {
            Ok(Some(Self { by, number, count, contents, names }))
        } else {
            Err(BadPresence::Names)
        }
    }
}

/// Returns how many bytes a user takes.
pub(super) fn user_len(user: &UserId, name: Option<&DisplayName>) -> usize {
    1 + user.as_str().len() + name.map_or(0, |name| 1 + name.as_str().len())
}

/// Appends a user.
pub(super) fn put_user(bytes: &mut BytesMut, user: &UserId, name: Option<&DisplayName>) {
    let id = user.as_str().as_bytes();
    // A user id has at most 64 bytes, and a name 1 to 256.
    bytes.put_u8(id.len() as u8 | if name.is_some() { HAS_NAME } else { 0 });
    bytes.put_slice(id);
    if let Some(name) = name.map(DisplayName::as_str) {
        bytes.put_u8((name.len() - 1) as u8);
        bytes.put_slice(name.as_bytes());
    }
}

/// Takes this many users from the front of `bytes`, or all without a number. Those who have names are added to `names`.
pub(super) fn take_users(
    bytes: &mut &[u8],
    number: Option<usize>,
    names: &mut Vec<Name>,
) -> Result<Vec<UserId>, BadPresence> {
    // The number is not trusted: a user takes four bytes at least.
    let mut users = Vec::with_capacity(number.unwrap_or_default().min(bytes.len() / 4));
    while number.map_or(!bytes.is_empty(), |number| users.len() < number) {
        let len = take_byte(bytes)?;
        let user: UserId = take_text(bytes, usize::from(len & !HAS_NAME))?;
        if len & HAS_NAME != 0 {
            let len = usize::from(take_byte(bytes)?) + 1;
            names.push((user.clone(), take_text(bytes, len)?));
        }
        users.push(user);
    }
    Ok(users)
}

fn take_byte(bytes: &mut &[u8]) -> Result<u8, BadPresence> {
    let (byte, rest) = bytes.split_first().ok_or(BadPresence::Names)?;
    *bytes = rest;
    Ok(*byte)
}

fn take_text<T: FromStr>(bytes: &mut &[u8], len: usize) -> Result<T, BadPresence> {
    let (text, rest) = bytes.split_at_checked(len).ok_or(BadPresence::Names)?;
    *bytes = rest;
    let text = str::from_utf8(text).map_err(|_| BadPresence::Names)?;
    text.parse().map_err(|_| BadPresence::Names)
}

/// Parses a decimal number, as far as Lua can count.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    decimal(text).filter(|number| *number <= MAX_NUMBER)
}
