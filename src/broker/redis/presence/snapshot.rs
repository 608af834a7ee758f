//! The users of a room as the engine keeps them: a hash with one entry for each node.
//!
//! The field `INCARNATION` holds `NUMBER FORM COUNT PIECES`: the number of the node's last publication, `l` for a list
//! of names or `c` for their number alone, the number of its users, and how many pieces the list has. The fields
//! `INCARNATION\0I` hold the pieces from 0 on: the names of up to 256 users each, written as in a payload.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use super::payload::{BadPresence, parse_number, put_user, take_users};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::script::Reply;
use crate::chat::presence::Name;
use crate::names::{DisplayName, UserId};

/// Most nodes that are read of one room: more than any cluster has.
pub const MAX_ENTRIES: usize = 4_096;

/// The users of a room, as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// One entry for each node that has written one.
    pub entries: Vec<Entry>,
    /// How many entries could not be understood.
    pub malformed: usize,
}

/// The entry of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The node.
    pub by: Incarnation,
    /// The number of its last publication.
    pub number: u64,
    /// How many users it has.
    pub count: usize,
    /// Their names; `None` where it tells their number alone.
    pub users: Option<Vec<UserId>>,
    /// The names that people are shown, of those who have one.
    pub names: Vec<Name>,
}

/// Returns the field of a node's entry.
pub(super) fn entry_field(by: Incarnation) -> Bytes {
    by.to_string().into()
}

/// Returns the value of a node's entry.
pub(super) fn entry_value(number: u64, is_counted: bool, count: usize, pieces: usize) -> Bytes {
    format!("{number} {} {count} {pieces}", if is_counted { 'c' } else { 'l' }).into()
}

/// Returns the value of a piece, with the names that `name_of` returns.
pub(super) fn piece_value<'n>(
    users: &[UserId],
    name_of: impl Fn(&UserId) -> Option<&'n DisplayName>,
) -> Bytes {
    let mut bytes = BytesMut::new();
    users.iter().for_each(|user| put_user(&mut bytes, user, name_of(user)));
    bytes.freeze()
}

impl Snapshot {
    /// Reads the fields and values of a room's hash. Entries that are not understood are counted and left out.
    ///
    /// # Errors
    /// The reply is not a list of strings.
    pub fn parse(reply: &Reply) -> Result<Self, BadPresence> {
        let pairs: Vec<(&Reply, &Reply)> = match reply {
            Reply::Array(flat) if flat.len() % 2 == 0 => {
                flat.chunks(2).map(|pair| (&pair[0], &pair[1])).collect()
            }
            Reply::Map(pairs) => pairs.iter().map(|(field, value)| (field, value)).collect(),
            _ => return Err(BadPresence::Reply),
        };
        let mut fields: HashMap<&[u8], &[u8]> = HashMap::with_capacity(pairs.len());
        for pair in pairs {
            let (Reply::Bytes(field), Reply::Bytes(value)) = pair else { return Err(BadPresence::Reply) };
            fields.insert(field, value);
        }
        let mut snapshot = Self::default();
        for (field, value) in &fields {
            if field.contains(&0) {
                continue;
            }
            match Entry::parse(field, value, &fields) {
                Ok(entry) if snapshot.entries.len() < MAX_ENTRIES => snapshot.entries.push(entry),
                _ => snapshot.malformed += 1,
            }
        }
        snapshot.entries.sort_by_key(|entry| entry.by);
        Ok(snapshot)
    }
}

impl Entry {
    fn parse(field: &[u8], value: &[u8], fields: &HashMap<&[u8], &[u8]>) -> Result<Self, BadPresence> {
        let text = |bytes| str::from_utf8(bytes).map_err(|_| BadPresence::Entry);
        let by = text(field)?.parse().map_err(|_| BadPresence::Entry)?;
        let value = text(value)?;
        let parts: Vec<&str> = value.split(' ').collect();
        let [number, form, count, pieces] = parts[..] else { return Err(BadPresence::Entry) };
        let read = |text| parse_number(text).ok_or(BadPresence::Entry);
        let (number, count, pieces) = (read(number)?, read(count)? as usize, read(pieces)?);
        let mut named = Vec::new();
        let users = match form {
            "c" => None,
            "l" => {
                let mut users = Vec::new();
                for piece in 0..pieces {
                    let name = [field, b"\0", piece.to_string().as_bytes()].concat();
                    let mut piece = *fields.get(&name[..]).ok_or(BadPresence::Entry)?;
                    users.append(&mut take_users(&mut piece, None, &mut named)?);
                }
                Some(users)
            }
            _ => return Err(BadPresence::Entry),
        };
        if users.as_ref().is_some_and(|users| users.len() != count) {
            return Err(BadPresence::Entry);
        }
        Ok(Self { by, number, count, users, names: named })
    }
}
