//! One node of the model: what a node does with its clients, its calls and its messages.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::world::{Counts, Fault};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::control::endings::Ending;
use crate::broker::redis::control::requests::PROBE_MS;
use crate::broker::redis::control::{Done, Endings, Kind, Message, Order, Outcome, Request, Requests};
use crate::broker::redis::directory::claim::{self, Claim, ClaimReply, Policy};
use crate::broker::redis::directory::release::{self, Missing};
use crate::broker::redis::directory::{Owner, SessionHash};
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::beat::{self, Timing};
use crate::broker::redis::nodes::{Details, Lease, LeaseEvent, NodeEvent, NodeName, Nodes};
use crate::broker::redis::script::{Call, Reply};
use crate::names::{ConnectionId, UserId};

/// Time within which a connection is claimed again, in milliseconds; much shorter than in earnest.
const REPEAT_MS: u64 = 20_000;
/// Pause before a lost call is repeated, in milliseconds.
const AGAIN_MS: u64 = 100;
/// Most incumbents that one claim has probed.
const MAX_PROBES: usize = 3;

/// The purpose of a call.
#[derive(Clone, Debug)]
pub(super) enum Tag {
    Beat,
    Remove,
    Claim(usize),
    Release,
}

/// Something that a node sends.
pub(super) enum Output {
    Call(Tag, Call),
    Publish(NodeName, Bytes),
}

/// A client that connects.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) user: UserId,
    pub(super) policy: Policy,
    pub(super) shows_session: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    /// The client still answers.
    pub(super) is_alive: bool,
    pub(super) is_open: bool,
    /// The connection has ended, and is released once its claim is answered.
    has_left: bool,
    /// A claim has no answer.
    is_busy: bool,
    probes: usize,
    repeat_at: u64,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: NodeName,
    fault: Fault,
    pub(super) lease: Lease,
    pub(super) nodes: Nodes,
    pub(super) requests: Requests<(usize, Owner)>,
    pub(super) endings: Endings,
    pub(super) connections: BTreeMap<usize, Connection>,
    next: usize,
    lost: Vec<(u64, Tag, Call)>,
    pub(super) counts: Counts,
}

impl Node {
    pub(super) fn new(name: NodeName, incarnation: Incarnation, fault: Fault, now: u64) -> Self {
        Self {
            lease: Lease::new(name.clone(), incarnation, now),
            name,
            fault,
            nodes: Nodes::default(),
            requests: Requests::new(incarnation),
            endings: Endings::new(incarnation),
            connections: BTreeMap::new(),
            next: 0,
            lost: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn owner(&self, number: usize) -> Owner {
        let connection = ConnectionId::new(0, number, 1);
        Owner { node: self.name.clone(), incarnation: self.lease.incarnation(), connection }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: u64, out: &mut Vec<Output>) {
        let keys = Keys::new("throng");
        if let Some(beat) = self.lease.due(now) {
            let call = beat::call(&keys, &beat, &Details::default(), Timing::default());
            out.push(Output::Call(Tag::Beat, call));
        }
        let (due, rest) = self.lost.drain(..).partition(|(at, ..)| *at <= now);
        self.lost = rest;
        let due: Vec<(u64, Tag, Call)> = due;
        out.extend(due.into_iter().map(|(_, tag, call)| Output::Call(tag, call)));
        while let Some(due) = self.endings.due(now) {
            if self.fault == Fault::TellsOnce {
                self.endings.keep_live(u64::MAX, |incarnation| incarnation != due.owner.incarnation);
            }
            self.publish(due.number, &due.owner, now + 1_000, due.order, out);
        }
        for done in self.requests.expired(now) {
            self.probed(done, out);
        }
        let repeated: Vec<usize> =
            self.connections.iter().filter(|(_, c)| c.repeat_at <= now).map(|(n, _)| *n).collect();
        repeated.into_iter().for_each(|number| self.repeat(number, now, out));
    }

    /// Claims an open connection again.
    fn repeat(&mut self, number: usize, now: u64, out: &mut Vec<Output>) {
        let may_claim = self.lease.may_claim(now) && self.fault != Fault::NeverRepeats;
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.is_open && !connection.is_busy && may_claim {
            connection.repeat_at = now + REPEAT_MS;
            connection.probes = 0;
            self.claim(number, Policy::Reject { dead: None }, false, out);
        }
    }

    pub(super) fn connect(&mut self, client: Client, now: u64, out: &mut Vec<Output>) -> Option<usize> {
        if !self.lease.may_claim(now) {
            return None;
        }
        self.next += 1;
        let (policy, shows) = (client.policy.clone(), client.shows_session);
        let connection = Connection {
            client,
            is_alive: true,
            is_open: false,
            has_left: false,
            is_busy: false,
            probes: 0,
            repeat_at: u64::MAX,
        };
        self.connections.insert(self.next, connection);
        self.claim(self.next, policy, shows, out);
        Some(self.next)
    }

    fn claim(&mut self, number: usize, policy: Policy, shows_session: bool, out: &mut Vec<Output>) {
        let owner = self.owner(number);
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.is_busy = true;
        let user = connection.client.user.clone();
        let session = Some(SessionHash::new(&"a".repeat(32).parse().unwrap()));
        let shown = session.clone().filter(|_| shows_session);
        let claim = Claim { user: &user, owner: &owner, session, shown, policy };
        let call = claim::call(&Keys::new("throng"), &claim, self.nodes.live_list());
        out.push(Output::Call(Tag::Claim(number), call));
    }

    fn release(user: &UserId, owner: &Owner, out: &mut Vec<Output>) {
        let missing = Missing { thousandths: 5, full_in_ms: 2_000 };
        out.push(Output::Call(Tag::Release, release::call(&Keys::new("throng"), user, owner, missing)));
    }

    /// Ends a connection, and releases it as soon as no claim of it is under way.
    pub(super) fn end(&mut self, number: usize, out: &mut Vec<Output>) {
        let owner = self.owner(number);
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.is_open = false;
        if connection.is_busy {
            connection.has_left = true;
        } else {
            Self::release(&connection.client.user, &owner, out);
            self.connections.remove(&number);
        }
    }

    /// Takes the answer to a call; `None` when the call was lost on either way.
    pub(super) fn answered(
        &mut self,
        tag: Tag,
        call: Call,
        answer: Option<Reply>,
        now: u64,
        out: &mut Vec<Output>,
    ) {
        match (tag, answer) {
            (Tag::Beat, None) => self.lease.failed(now),
            (Tag::Beat, Some(answer)) => {
                let event = self.lease.answered(now, beat::reply(&answer).unwrap());
                event.into_iter().for_each(|event| self.beaten(event, now, out));
            }
            (Tag::Remove, _) => {} // The next table shows whether it is still to be removed.
            (Tag::Claim(number), Some(answer)) => {
                self.claimed(number, claim::reply(&answer).unwrap(), now, out)
            }
            (Tag::Release, Some(answer)) => drop(release::reply(&answer).unwrap()),
            (tag @ (Tag::Claim(_) | Tag::Release), None) => self.lost.push((now + AGAIN_MS, tag, call)),
        }
    }

    fn beaten(&mut self, event: LeaseEvent, now: u64, out: &mut Vec<Output>) {
        let (table, is_doubtful) = match event {
            LeaseEvent::Entered(table) | LeaseEvent::Renewed(table) => (table, false),
            LeaseEvent::Doubtful(table) => (table, true),
            LeaseEvent::BeginAnew => {
                self.counts.anew += 1;
                let incarnation = Incarnation(self.lease.incarnation().0 + 1_000);
                let mut new = Self::new(self.name.clone(), incarnation, self.fault, now);
                (new.counts, new.next) = (self.counts, self.next);
                if self.fault == Fault::GoesOnAfterDeath {
                    new.connections = std::mem::take(&mut self.connections);
                }
                *self = new;
                return;
            }
            LeaseEvent::NameTaken | LeaseEvent::TableFull => panic!("{event:?}: each name is used once"),
        };
        for event in self.nodes.apply(table) {
            if let NodeEvent::Died(_, incarnation) = event {
                for done in self.requests.died(incarnation) {
                    self.probed(done, out);
                }
            }
        }
        self.endings.keep_live(now, |incarnation| self.nodes.get(incarnation).is_some());
        for (name, incarnation) in self.nodes.to_remove(self.lease.incarnation()) {
            out.push(Output::Call(Tag::Remove, beat::remove(&Keys::new("throng"), name, incarnation, false)));
        }
        if is_doubtful {
            let all: Vec<usize> = self.connections.keys().copied().collect();
            all.into_iter().for_each(|number| self.repeat(number, now, out));
        }
    }

    fn claimed(&mut self, number: usize, reply: ClaimReply, now: u64, out: &mut Vec<Output>) {
        let own = self.lease.incarnation();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.is_busy = false;
        if let ClaimReply::Claimed { replaced, .. } = &reply {
            if !connection.is_open && !connection.has_left {
                connection.is_open = true;
                connection.repeat_at = now + REPEAT_MS;
                self.counts.opened += 1;
            }
            let user = connection.client.user.clone();
            for owner in replaced {
                self.counts.replaced += 1;
                if owner.incarnation != own {
                    self.endings.add(Ending { owner: owner.clone(), user: user.clone() }, now);
                } else {
                    self.end(owner.connection.slot(), out);
                }
            }
        }
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match reply {
            _ if connection.has_left => self.end(number, out),
            ClaimReply::Claimed { .. } => {}
            ClaimReply::Held(holder) => self.probe(number, holder, now, out),
            ClaimReply::Replaced => self.end(number, out),
            ClaimReply::Full => panic!("a user has a few connections"),
        }
    }

    /// Asks for a sign of life of a connection that holds the user id.
    fn probe(&mut self, number: usize, holder: Owner, now: u64, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.probes += 1;
        if connection.probes > MAX_PROBES {
            return self.refuse(number, out);
        }
        if holder.incarnation == self.lease.incarnation() {
            return self.decide(number, holder.clone(), self.gives_sign(&holder), out);
        }
        let until = now + PROBE_MS;
        let waiter = (number, holder.clone());
        let request = self.requests.begin(Kind::Probe, [holder.incarnation], until, waiter).unwrap();
        let order = Order::Probe { connection: holder.connection, address: 1 };
        let until_ms = self.lease.engine_now_ms(until).unwrap_or(0);
        self.publish(request, &holder, until_ms, order, out);
    }

    fn publish(&self, number: u64, to: &Owner, until_ms: u64, order: Order, out: &mut Vec<Output>) {
        let (by, target) = (self.lease.incarnation(), to.incarnation);
        let request = Request { number, node: self.name.clone(), by, target, until_ms, order };
        out.push(Output::Publish(to.node.clone(), request.encode().unwrap()));
    }

    fn gives_sign(&self, owner: &Owner) -> bool {
        let connection = self.connections.get(&owner.connection.slot());
        connection.is_some_and(|connection| connection.is_alive && !connection.has_left)
    }

    fn probed(&mut self, done: Done<(usize, Owner)>, out: &mut Vec<Output>) {
        let (number, holder) = done.waiter;
        let is_alive = done.outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Alive(true));
        self.decide(number, holder, is_alive, out);
    }

    fn decide(&mut self, number: usize, holder: Owner, is_alive: bool, out: &mut Vec<Output>) {
        if is_alive {
            return self.refuse(number, out);
        }
        self.counts.probed_dead += 1;
        let has_left = self.connections.get(&number).is_none_or(|connection| connection.has_left);
        if has_left {
            self.connections.remove(&number);
        } else {
            self.claim(number, Policy::Reject { dead: Some(holder) }, false, out);
        }
    }

    /// Refuses a connection, or ends it if it is open: another one has its user id.
    fn refuse(&mut self, number: usize, out: &mut Vec<Output>) {
        if self.connections.get(&number).is_some_and(|connection| connection.is_open) {
            return self.end(number, out);
        }
        self.counts.refused += 1;
        self.connections.remove(&number);
    }

    /// Takes a message on the node's control channel.
    pub(super) fn message(&mut self, payload: &Bytes, now: u64, out: &mut Vec<Output>) {
        match Message::parse(payload).unwrap() {
            Message::Answer(answer) => {
                self.endings.answered(&answer);
                if let Some(done) = self.requests.answered(&answer) {
                    self.probed(done, out);
                }
            }
            Message::Request(request) if request.target == self.lease.incarnation() => {
                let is_late = self.lease.engine_now_ms(now).is_none_or(|now| request.is_late(now));
                if is_late {
                    return;
                }
                let outcome = match &request.order {
                    Order::Probe { connection, .. } => {
                        Outcome::Alive(self.gives_sign(&self.owner(connection.slot())))
                    }
                    Order::End { connection, user, .. } => {
                        let existed = self.connections.contains_key(&connection.slot());
                        if existed {
                            self.end(connection.slot(), out);
                        } else {
                            Self::release(user, &self.owner(connection.slot()), out);
                        }
                        Outcome::Ended { existed, missing: 0 }
                    }
                    Order::Direct { .. } | Order::Ask(_) | Order::Revoke(_) => panic!("no such orders here"),
                };
                out.push(Output::Publish(request.node.clone(), request.answer(outcome).encode()));
            }
            Message::Request(_) | Message::Other => {}
        }
    }
}
