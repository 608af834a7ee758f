//! The messages of each room that any client knows of: all clients must have seen the same.

use std::collections::{BTreeMap, HashMap};

/// A message at one position of a room.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) user: String,
    pub(super) message: String,
    /// The event's time; an ack does not contain one.
    pub(super) ts: Option<u64>,
    /// The text of the event or command that named the message first; `client` sent or received it.
    pub(super) raw: String,
    pub(super) client: String,
    /// Number of acks that called it new.
    pub(super) fresh_acks: u32,
}

/// A contradiction between a new entry and the known one.
#[derive(Debug)]
pub(super) struct Clash {
    pub(super) raw: String,
    pub(super) client: String,
    /// The known entry comes from an ack alone.
    pub(super) is_of_ack: bool,
}

/// One epoch of a room: its messages by offset.
type Epoch = BTreeMap<u64, Entry>;
/// Positions of a user's text in a room.
type Positions = Vec<(String, u64)>;

/// All known messages by room and epoch; see the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Log {
    epochs: HashMap<(String, String), Epoch>,
    positions: HashMap<(String, String, String), Positions>,
}

impl Log {
    /// Adds an entry, or compares it with the one that is known at its position.
    pub(super) fn add(&mut self, room: &str, epoch: &str, offset: u64, entry: Entry) -> Result<(), Clash> {
        let messages = self.epochs.entry((room.to_owned(), epoch.to_owned())).or_default();
        match messages.get_mut(&offset) {
            None => {
                let key = (room.to_owned(), entry.user.clone(), entry.message.clone());
                self.positions.entry(key).or_default().push((epoch.to_owned(), offset));
                messages.insert(offset, entry);
                Ok(())
            }
            Some(known) => {
                let is_other_time = known.ts.is_some() && entry.ts.is_some() && known.ts != entry.ts;
                if known.user != entry.user || known.message != entry.message || is_other_time {
                    let (raw, client) = (known.raw.clone(), known.client.clone());
                    return Err(Clash { raw, client, is_of_ack: known.ts.is_none() });
                }
                known.fresh_acks += entry.fresh_acks;
                if known.ts.is_none() {
                    known.ts = entry.ts;
                    known.raw = entry.raw;
                    known.client = entry.client;
                }
                Ok(())
            }
        }
    }

    /// Returns the message at a position.
    pub(super) fn get(&self, room: &str, epoch: &str, offset: u64) -> Option<&Entry> {
        self.epochs.get(&(room.to_owned(), epoch.to_owned()))?.get(&offset)
    }

    /// Returns the event or command that named the message first; empty when no message is known at the position.
    pub(super) fn text(&self, room: &str, epoch: &str, offset: u64) -> &str {
        self.get(room, epoch, offset).map_or("", |entry| &entry.raw)
    }

    /// Returns the last offset of a room's epoch that any client knows of.
    pub(super) fn last(&self, room: &str, epoch: &str) -> u64 {
        let messages = self.epochs.get(&(room.to_owned(), epoch.to_owned()));
        messages.and_then(|messages| messages.keys().next_back().copied()).unwrap_or(0)
    }

    /// Returns the position of a room's last known message, for a server on which a room keeps its epoch for ever.
    pub(super) fn end(&self, room: &str) -> Option<(String, u64)> {
        let mut epochs = self.epochs.iter().filter(|((name, _), _)| name == room);
        epochs.find_map(|((_, epoch), messages)| Some((epoch.clone(), *messages.keys().next_back()?)))
    }

    /// Returns every room that has messages.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &str> {
        self.epochs.keys().map(|(room, _)| room.as_str())
    }

    /// Returns every text of every user with its positions: room, user, text, positions.
    pub(super) fn positions(&self) -> impl Iterator<Item = (&str, &str, &str, &[(String, u64)])> {
        self.positions.iter().map(|((room, user, message), positions)| {
            (room.as_str(), user.as_str(), message.as_str(), positions.as_slice())
        })
    }
}
