//! The checker of many nodes. It reads the [record](crate::load::record) of a run, all streams and acks of all clients,
//! and reports which guarantee they break. It knows nothing of the servers.
//!
//! The [existing checker](crate::support::checker) judges one node, where an epoch never changes under a member. Here a
//! room goes on under another epoch after a failover, and only members that were shown lost messages are told. So this
//! one keeps for each client and room a [view](view::View): the messages that the client believes to be the room's.
//! All views of one epoch must agree at each offset, also about messages that were seen under an earlier epoch: a
//! client that is let on silently keeps what it has seen, and a client that must not keep it begins a new view.

mod claims;
mod facts;
pub(crate) mod leftovers;
pub(crate) mod presence;
mod settled;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::fmt;

use crate::load::record::{Client, Entry, Event, Loss, Name, Position};
use claims::Claims;
use facts::Facts;
use view::View;

/// Violations that are kept: the first ones show the cause.
const MAX_KEPT: usize = 30;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// G1: one message for each room, epoch and offset, on every node.
    Order,
    /// G2: the next offset, or a `gap`, or a new view.
    NoSilentGap,
    /// G3: exactly the missed messages, or a new position.
    Resume,
    /// G4: an acknowledged message is in the room and seen by all members that were not told otherwise. A refused one
    /// is not.
    Ack,
    /// G4: a message is in the room once, however often it was sent.
    Once,
    /// G5: nothing twice on one connection, and nothing of other rooms.
    Delivery,
    /// A client is told of a loss only where a fault takes messages, and there at least one client is.
    Loss,
    /// When nothing is under way any more, all members of a room are at the same position.
    Settled,
    /// The form: no events, answers or ends that the protocol does not know.
    Protocol,
}

/// A broken promise.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

/// Counts of what happened, for tests that need it to have happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) connects: u64,
    pub(crate) messages: u64,
    pub(crate) acked: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) recovered: u64,
    /// Resumes that were answered with `recovered:false`.
    pub(crate) not_recovered: u64,
    /// Closes with 4003.
    pub(crate) lost: u64,
    pub(crate) epochs: u64,
    pub(crate) gaps: u64,
    /// Closes with 1008: the client's own last attempt, of which it knows nothing, held its user id.
    pub(crate) in_use: u64,
}

/// The verdict on a run.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    /// Number of violations, with those that were not kept.
    pub(crate) count: usize,
    pub(crate) counts: Counts,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} violations; {:?}", self.count, self.counts)?;
        self.violations
            .iter()
            .try_for_each(|violation| write!(f, "\n  {:?}: {}", violation.rule, violation.text))
    }
}

impl Verdict {
    fn add(&mut self, rule: Rule, text: String) {
        self.count += 1;
        if self.violations.len() < MAX_KEPT {
            self.violations.push(Violation { rule, text });
        }
    }

    /// Panics with the verdict unless nothing is broken.
    #[track_caller]
    pub(crate) fn expect_clean(&self) {
        assert!(self.count == 0, "{self}");
    }
}

/// The faults since everybody was settled the last time.
#[derive(Debug, Default)]
struct Window {
    name: String,
    may_lose: bool,
    must_lose: bool,
    /// Clients that were told of a loss.
    told: u64,
}

struct Checker {
    verdict: Verdict,
    claims: Claims,
    facts: Facts,
    views: HashMap<(Client, Name), View>,
    views_made: usize,
    window: Window,
    /// Acks since everybody was settled the last time: the sender, the number of its view, the room, the position.
    acks: Vec<(Client, usize, Name, Position)>,
    /// Time of the entry that is being read.
    now: u64,
}

/// Reads a record and returns the verdict.
pub(crate) fn check(entries: &[(u64, Entry)]) -> Verdict {
    let mut checker = Checker {
        verdict: Verdict::default(),
        claims: Claims::of(entries),
        facts: Facts::default(),
        views: HashMap::new(),
        views_made: 0,
        window: Window::default(),
        acks: Vec::new(),
        now: 0,
    };
    for (at, entry) in entries {
        checker.now = *at;
        match entry {
            Entry::Client(client, event) => checker.event(*client, event),
            Entry::Fault { name, loss } => checker.fault(name, *loss),
            Entry::Settled => checker.settled(),
        }
    }
    let Checker { mut verdict, facts, .. } = checker;
    facts.finish(&mut verdict);
    verdict
}

impl Checker {
    fn blame(&mut self, rule: Rule, client: Client, room: &str, what: &str) {
        let Self { now, window, .. } = self;
        let text = format!("at {now} ms, after {:?}: client {}, {room}: {what}", window.name, client.0);
        self.verdict.add(rule, text);
    }

    fn fault(&mut self, name: &str, loss: Loss) {
        name.clone_into(&mut self.window.name);
        self.window.may_lose |= loss != Loss::None;
        self.window.must_lose |= loss == Loss::Must;
    }

    /// Notes that a client was told of a loss.
    fn told(&mut self, client: Client, room: &str, what: &str) {
        self.window.told += 1;
        if !self.window.may_lose {
            self.blame(Rule::Loss, client, room, &format!("{what}, but no fault has taken a message"));
        }
    }

    fn event(&mut self, client: Client, event: &Event) {
        match event {
            Event::Connect { .. } => {
                self.verdict.counts.connects += 1;
                self.disconnected(client);
            }
            Event::Entered { room, asked, epoch, offset, recovered } => {
                self.entered(client, room, asked.as_ref(), epoch, *offset, *recovered);
            }
            Event::Message { room, offset, id, user, text } => {
                self.verdict.counts.messages += 1;
                self.fact(Rule::Order, client, room, id, user, text);
                if id.offset == *offset {
                    self.message(client, room, id);
                } else {
                    let what = format!("the id {}-{} at offset {offset}", id.epoch, id.offset);
                    self.blame(Rule::Order, client, room, &what);
                }
            }
            Event::Gap { room, from, to } => self.gap(client, room, *from, *to),
            Event::Epoch { room, epoch, offset } => self.epoch(client, room, epoch, *offset),
            Event::Sent { command, room, text, has_key, echo } => {
                self.facts.sent(client, *command, room, text, *has_key, *echo);
            }
            Event::Acked { command, at, duplicate } => self.acked(client, *command, at, *duplicate),
            Event::Refused { command, .. } => {
                self.verdict.counts.refused += 1;
                self.facts.refused(client, *command);
            }
            Event::Page { room, epoch, messages } => self.page(client, room, epoch, messages),
            Event::Strange { what } => self.blame(Rule::Protocol, client, "", what),
            Event::Closed { code } => {
                if *code == Some(4003) {
                    self.verdict.counts.lost += 1;
                    self.told(client, "", "closed with 4003");
                }
                self.verdict.counts.in_use += u64::from(*code == Some(1008));
                self.disconnected(client);
            }
        }
    }

    fn disconnected(&mut self, client: Client) {
        self.views
            .iter_mut()
            .filter(|((owner, _), _)| *owner == client)
            .for_each(|(_, view)| view.is_open = false);
    }

    /// Compares a message with what other clients know of its id.
    fn fact(&mut self, rule: Rule, client: Client, room: &Name, id: &Position, user: &str, text: &str) {
        if let Err(known) = self.facts.message(room, id, user, text) {
            let what = format!("{}-{} is {user}: {text:?}, known as {known}", id.epoch, id.offset);
            self.blame(rule, client, room, &what);
        }
    }

    /// Compares the id of a message with what all views of an epoch have at its offset.
    fn place(&mut self, rule: Rule, client: Client, room: &Name, epoch: &Name, id: &Position) {
        if let Err(known) = self.facts.place(room, epoch, id, client) {
            let what = format!("in epoch {epoch} offset {} is {}-{0}, known as {known}", id.offset, id.epoch);
            self.blame(rule, client, room, &what);
        }
    }

    fn acked(&mut self, client: Client, command: u64, at: &Position, duplicate: bool) {
        self.verdict.counts.acked += 1;
        self.verdict.counts.duplicates += u64::from(duplicate);
        let Some(sent) = self.facts.attempt(client, command).cloned() else {
            return self.blame(
                Rule::Protocol,
                client,
                "",
                &format!("an ack of command {command}, which was not sent"),
            );
        };
        let room = sent.room.clone();
        self.fact(Rule::Ack, client, &room, at, &crate::load::user(client), &sent.text);
        if duplicate && !sent.has_key {
            self.blame(Rule::Ack, client, &room, "a duplicate of a message without a key");
        }
        if !duplicate && !self.facts.fresh_ack(&room, at) {
            let what = format!("{}-{} is acknowledged as new twice", at.epoch, at.offset);
            self.blame(Rule::Ack, client, &room, &what);
        }
        let Some(view) = self.views.get(&(client, room.clone())).filter(|view| view.is_open) else { return };
        let (epoch, last, is_near) = (view.epoch.clone(), view.last, view.last + 1 == at.offset);
        let (is_dropped, number) = (view.is_in_gap(at.offset), view.number);
        if duplicate {
            return self.place(Rule::Ack, client, &room, &epoch, at);
        }
        self.acks.push((client, number, room.clone(), at.clone()));
        if !sent.echo {
            return self.message(client, &room, at);
        }
        if last != at.offset && !is_near && !is_dropped {
            let what = format!("an ack of {} out of sequence: {last} was last", at.offset);
            self.blame(Rule::Ack, client, &room, &what);
        }
        self.place(Rule::Ack, client, &room, &epoch, at);
    }

    fn page(&mut self, client: Client, room: &Name, epoch: &Name, messages: &[(Position, Name, String)]) {
        if messages.windows(2).any(|pair| pair[0].0.offset + 1 != pair[1].0.offset) {
            self.blame(Rule::Order, client, room, "a page of history that is not in order");
        }
        for (id, user, text) in messages {
            self.fact(Rule::Order, client, room, id, user, text);
            self.place(Rule::Order, client, room, epoch, id);
        }
    }
}
