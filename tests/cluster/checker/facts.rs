//! The facts that all clients of a run must agree on: which message an id names, which id stands at an offset of an
//! epoch, which messages were sent and how they were answered.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Rule, Verdict};
use crate::load::record::{Client, Name, Position};

/// One sending of a message.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) room: Name,
    pub(super) text: String,
    pub(super) has_key: bool,
    pub(super) echo: bool,
}

/// The sendings of a text. Every text is that of one message, which is sent again only with a key.
#[derive(Debug, Default)]
struct Text {
    user: String,
    attempts: u32,
    refused: u32,
}

#[derive(Debug, Default)]
pub(super) struct Facts {
    /// By room and id: user and text.
    messages: HashMap<(Name, Position), (String, String)>,
    /// By room and epoch: the epoch in the id at each offset, and the client that saw it there first.
    places: HashMap<(Name, Name), BTreeMap<u64, (Name, Client)>>,
    attempts: HashMap<(Client, u64), Attempt>,
    texts: HashMap<(Name, String), Text>,
    fresh_acks: HashSet<(Name, Position)>,
}

impl Facts {
    /// Adds a message, or compares it with the one that has its id. Returns the known one if they differ.
    pub(super) fn message(
        &mut self,
        room: &Name,
        id: &Position,
        user: &str,
        text: &str,
    ) -> Result<(), String> {
        let key = (room.clone(), id.clone());
        let known = self.messages.entry(key).or_insert_with(|| (user.to_owned(), text.to_owned()));
        if known.0 == user && known.1 == text { Ok(()) } else { Err(format!("{}: {:?}", known.0, known.1)) }
    }

    /// Adds the id at an offset of an epoch, or compares it with the one there. Returns the known one if they differ.
    pub(super) fn place(
        &mut self,
        room: &Name,
        epoch: &Name,
        id: &Position,
        client: Client,
    ) -> Result<(), String> {
        let places = self.places.entry((room.clone(), epoch.clone())).or_default();
        let (known, by) = places.entry(id.offset).or_insert_with(|| (id.epoch.clone(), client));
        if *known == id.epoch { Ok(()) } else { Err(format!("{known}-{} by client {}", id.offset, by.0)) }
    }

    pub(super) fn sent(
        &mut self,
        client: Client,
        command: u64,
        room: &Name,
        text: &str,
        has_key: bool,
        echo: bool,
    ) {
        let attempt = Attempt { room: room.clone(), text: text.to_owned(), has_key, echo };
        let known = self.attempts.insert((client, command), attempt);
        assert!(known.is_none(), "client {} uses the id {command} twice", client.0);
        let text = self.texts.entry((room.clone(), text.to_owned())).or_default();
        text.user = crate::load::user(client).to_string();
        text.attempts += 1;
        assert!(has_key || text.attempts == 1, "client {} sends a message without a key twice", client.0);
    }

    /// Returns the sending that a command was.
    pub(super) fn attempt(&self, client: Client, command: u64) -> Option<&Attempt> {
        self.attempts.get(&(client, command))
    }

    pub(super) fn refused(&mut self, client: Client, command: u64) {
        let Some(attempt) = self.attempts.get(&(client, command)) else { return };
        self.texts.entry((attempt.room.clone(), attempt.text.clone())).or_default().refused += 1;
    }

    /// Notes that a message was acknowledged as new; false when it has been before.
    pub(super) fn fresh_ack(&mut self, room: &Name, at: &Position) -> bool {
        self.fresh_acks.insert((room.clone(), at.clone()))
    }

    /// Makes the checks that need the whole record.
    pub(super) fn finish(&self, verdict: &mut Verdict) {
        for ((room, id), (user, text)) in &self.messages {
            let sent = self.texts.get(&(room.clone(), text.clone())).filter(|sent| sent.user == *user);
            let what = match sent {
                None => "was never sent",
                Some(sent) if sent.refused == sent.attempts => {
                    "is in the room, but every sending was refused"
                }
                Some(_) => continue,
            };
            verdict.add(Rule::Ack, format!("{room}, {}-{}: {user}: {text:?} {what}", id.epoch, id.offset));
        }
        for ((room, epoch), places) in &self.places {
            self.finish_epoch(room, epoch, places, verdict);
        }
    }

    fn finish_epoch(
        &self,
        room: &Name,
        epoch: &Name,
        places: &BTreeMap<u64, (Name, Client)>,
        verdict: &mut Verdict,
    ) {
        let mut texts: HashMap<&str, u64> = HashMap::new();
        let mut own_since = None;
        for (offset, (id, _)) in places {
            if id == epoch {
                own_since = own_since.or(Some(*offset));
            } else if let Some(since) = own_since {
                let what = format!("{room}, epoch {epoch} has {id}-{offset} behind its own offset {since}");
                verdict.add(Rule::Order, what);
            }
            let id = Position { epoch: id.clone(), offset: *offset };
            let Some((_, text)) = self.messages.get(&(room.clone(), id)) else { continue };
            if let Some(before) = texts.insert(text, *offset) {
                let what = format!("{room}, epoch {epoch}: {text:?} stands at {before} and at {offset}");
                verdict.add(Rule::Once, what);
            }
        }
    }
}
