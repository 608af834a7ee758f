//! The record of every message that was sent and how it was answered, which proves guarantee G4.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::log::Log;
use super::{Guarantee, Report, Violation, text};

/// How a message was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No answer, or none yet.
    Unknown,
    /// `ack`: epoch, offset, duplicate.
    Acked(String, u64, bool),
    /// `error` with this code.
    Refused(String),
}

/// One sending of a message.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) user: String,
    pub(super) room: String,
    pub(super) message: String,
    pub(super) key: Option<String>,
    pub(super) echo: bool,
    pub(super) outcome: Outcome,
}

/// All attempts to send; see the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) attempts: Vec<Attempt>,
    /// Attempts by room, user and text, and by room, user and key.
    by_text: HashMap<(String, String, String), Vec<usize>>,
    by_key: HashMap<(String, String, String), Vec<usize>>,
    /// Private messages by sender, recipient and text: how often they were sent.
    directs: HashMap<(String, String, String), Directs>,
    /// Number of connections that took a private message, by sender, recipient and key.
    delivered: HashMap<(String, String, String), u64>,
}

/// The number of times that a private message may reach a connection: once for each key, and once for each sending
/// without a key.
#[derive(Debug, Default)]
struct Directs {
    without_key: u64,
    keys: HashSet<String>,
}

impl Ledger {
    /// Notes that a message is sent, perhaps again; returns the attempt's index.
    pub(super) fn attempt(&mut self, user: &str, room: &str, command: &Value) -> usize {
        let (index, message) = (self.attempts.len(), text(command, "message").to_owned());
        let key = command["key"].as_str().map(str::to_owned);
        let author = (room.to_owned(), user.to_owned());
        self.by_text.entry((author.0.clone(), author.1.clone(), message.clone())).or_default().push(index);
        if let Some(key) = &key {
            self.by_key.entry((author.0, author.1, key.clone())).or_default().push(index);
        }
        self.attempts.push(Attempt {
            user: user.to_owned(),
            room: room.to_owned(),
            message,
            key,
            echo: command["echo"].as_bool().unwrap_or(true),
            outcome: Outcome::Unknown,
        });
        index
    }

    /// Notes that a private message is sent, perhaps again; returns its recipient and key.
    pub(super) fn direct(&mut self, user: &str, command: &Value) -> Option<(String, String)> {
        let to = text(command, "to").to_owned();
        let route = (user.to_owned(), to.clone(), text(command, "message").to_owned());
        let sent = self.directs.entry(route).or_default();
        match command["key"].as_str() {
            Some(key) => {
                sent.keys.insert(key.to_owned());
                Some((to, key.to_owned()))
            }
            None => {
                sent.without_key += 1;
                None
            }
        }
    }

    /// Returns how often a private message may reach each connection of its recipient.
    pub(super) fn directs(&self, from: &str, to: &str, message: &str) -> u64 {
        let sent = self.directs.get(&(from.to_owned(), to.to_owned(), message.to_owned()));
        sent.map_or(0, |sent| sent.without_key + sent.keys.len() as u64)
    }

    /// Notes how many connections took a keyed private message. A retry must get the same number; another is an error.
    pub(super) fn delivered(&mut self, from: &str, to: &str, key: &str, count: u64) -> Result<(), String> {
        let route = (from.to_owned(), to.to_owned(), key.to_owned());
        match self.delivered.insert(route, count) {
            Some(before) if before != count => Err(format!("key {key:?} was delivered to {before} before")),
            _ => Ok(()),
        }
    }

    /// Forgets the keys of private messages, which the server keeps in memory alone.
    pub(super) fn restarted(&mut self) {
        self.delivered.clear();
    }

    /// Notes an ack; returns an error when it contradicts the attempts with the same key.
    pub(super) fn acked(
        &mut self,
        index: usize,
        epoch: &str,
        offset: u64,
        duplicate: bool,
    ) -> Result<(), String> {
        self.attempts[index].outcome = Outcome::Acked(epoch.to_owned(), offset, duplicate);
        let Attempt { user, room, key, .. } = &self.attempts[index];
        let Some(key) = key else {
            return if duplicate { Err("a duplicate without a key".into()) } else { Ok(()) };
        };
        let all = &self.by_key[&(room.clone(), user.clone(), key.clone())];
        if duplicate && all.len() < 2 {
            return Err(format!("a duplicate, but key {key:?} was sent once"));
        }
        for other in all.iter().filter(|other| **other != index) {
            match &self.attempts[*other].outcome {
                Outcome::Acked(other_epoch, other_offset, _)
                    if other_epoch == epoch && *other_offset != offset =>
                {
                    return Err(format!("key {key:?} has offset {other_offset} as well"));
                }
                Outcome::Acked(other_epoch, _, false) if other_epoch == epoch && !duplicate => {
                    return Err(format!("key {key:?} was new twice"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks all messages that were ever seen: none was refused or never sent, and none stands there twice.
    pub(super) fn finish(&self, log: &Log, report: &mut Report) {
        for (room, user, text, positions) in log.positions() {
            let message = (room.to_owned(), user.to_owned(), text.to_owned());
            let attempts = self.by_text.get(&message).map_or(&[][..], Vec::as_slice);
            let epochs: HashSet<&str> = positions.iter().map(|(epoch, _)| epoch.as_str()).collect();
            let allowed = self.may_be_seen(attempts);
            for epoch in epochs {
                let here: Vec<u64> =
                    positions.iter().filter(|(other, _)| other == epoch).map(|(_, offset)| *offset).collect();
                if here.len() <= allowed {
                    continue;
                }
                let what = match (attempts.is_empty(), allowed) {
                    (true, _) => "never sent, but seen".to_owned(),
                    (_, 0) => "answered with an error, but seen".to_owned(),
                    _ => format!("sent for {allowed} positions, but stands at {here:?}"),
                };
                let of = |offset: &u64| log.get(room, epoch, *offset);
                let (first, last) = (here.first().and_then(of), here.last().and_then(of));
                report.add(Violation {
                    guarantee: Guarantee::Ack,
                    client: last.map_or("", |entry| &entry.client).to_owned(),
                    room: room.to_owned(),
                    offset: here.last().copied(),
                    what,
                    before: first.map_or("", |entry| &entry.raw).to_owned(),
                    now: last.map_or("", |entry| &entry.raw).to_owned(),
                });
            }
        }
    }

    /// Counts the positions at which a text may stand in one epoch of a room: one for each key and each attempt without
    /// a key, unless all were refused.
    fn may_be_seen(&self, attempts: &[usize]) -> usize {
        let mut keys = HashSet::new();
        let open = attempts.iter().map(|index| &self.attempts[*index]);
        let open = open.filter(|attempt| !matches!(attempt.outcome, Outcome::Refused(_)));
        open.filter(|attempt| attempt.key.as_ref().is_none_or(|key| keys.insert(key.clone()))).count()
    }
}
