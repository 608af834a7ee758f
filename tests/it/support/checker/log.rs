//! What all clients together know of each room's messages.

use std::collections::{BTreeMap, HashMap};

/// A message at its place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) user: String,
    pub(super) message: String,
    /// Its time as the event gives it; an acknowledgement says nothing of it.
    pub(super) ts: Option<u64>,
    /// The event or command that told of it first, and the client that it was.
    pub(super) raw: String,
    pub(super) client: String,
    /// How often it was acknowledged as new.
    pub(super) fresh_acks: u32,
}

/// What an entry says against what is known.
#[derive(Debug)]
pub(super) struct Clash {
    pub(super) raw: String,
    pub(super) client: String,
    /// The known one is only what its sender was told.
    pub(super) is_of_ack: bool,
}

/// One life of a room: its messages by offset.
type Life = BTreeMap<u64, Entry>;
/// Where a text of a user stands in a room.
type Places = Vec<(String, u64)>;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Log {
    lives: HashMap<(String, String), Life>,
    places: HashMap<(String, String, String), Places>,
}

impl Log {
    /// Adds an entry, or compares it with the one that is known.
    pub(super) fn add(&mut self, room: &str, epoch: &str, offset: u64, entry: Entry) -> Result<(), Clash> {
        let life = self.lives.entry((room.to_owned(), epoch.to_owned())).or_default();
        match life.get_mut(&offset) {
            None => {
                let key = (room.to_owned(), entry.user.clone(), entry.message.clone());
                self.places.entry(key).or_default().push((epoch.to_owned(), offset));
                life.insert(offset, entry);
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

    /// The message at a place.
    pub(super) fn get(&self, room: &str, epoch: &str, offset: u64) -> Option<&Entry> {
        self.lives.get(&(room.to_owned(), epoch.to_owned()))?.get(&offset)
    }

    /// Its text, empty when it is not known.
    pub(super) fn text(&self, room: &str, epoch: &str, offset: u64) -> &str {
        self.get(room, epoch, offset).map_or("", |entry| &entry.raw)
    }

    /// The last offset that anybody knows of.
    pub(super) fn last(&self, room: &str, epoch: &str) -> u64 {
        let life = self.lives.get(&(room.to_owned(), epoch.to_owned()));
        life.and_then(|life| life.keys().next_back().copied()).unwrap_or(0)
    }

    /// The last message of a room that anybody knows of, where a room has one life for ever.
    pub(super) fn end(&self, room: &str) -> Option<(String, u64)> {
        let mut lives = self.lives.iter().filter(|((name, _), _)| name == room);
        lives.find_map(|((_, epoch), life)| Some((epoch.clone(), *life.keys().next_back()?)))
    }

    /// Every room that has messages.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &str> {
        self.lives.keys().map(|(room, _)| room.as_str())
    }

    /// Every text of every user, and where it stands: room, user, text, places.
    pub(super) fn places(&self) -> impl Iterator<Item = (&str, &str, &str, &[(String, u64)])> {
        self.places.iter().map(|((room, user, message), places)| {
            (room.as_str(), user.as_str(), message.as_str(), places.as_slice())
        })
    }
}
