//! A simulated cluster: nodes with their presence and exchange of one room, and the ways between them and the engine,
//! on which calls, replies and pushes wait for any time but keep their order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::super::{Command, Exchange, ExchangeSettings, NodeTable, Standing};
use super::server::Server;
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::script::{Call, Reply};
use crate::chat::announcement::{Announcement, Names};
use crate::chat::presence::{MAX_PAGE, Outcome, Presence, PresenceRules};
use crate::names::UserId;

/// How long a node holds a user whose connection was lost.
const HOLD_MS: u64 = 20_000;
/// How long a node without users stays in the room.
const LINGER_MS: u64 = 3_000;

/// The table of nodes.
#[derive(Debug, Default, Clone)]
pub(super) struct Table {
    pub(super) version: u64,
    pub(super) live: BTreeSet<Incarnation>,
    pub(super) dead: BTreeSet<Incarnation>,
}

impl NodeTable for Table {
    fn standing(&self, node: Incarnation) -> Standing {
        match (self.live.contains(&node), self.dead.contains(&node)) {
            (true, _) => Standing::Live,
            (false, true) => Standing::Dead,
            (false, false) => Standing::Unknown,
        }
    }

    fn version(&self) -> u64 {
        self.version
    }
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) by: Incarnation,
    pub(super) presence: Presence,
    pub(super) exchange: Option<Exchange>,
    /// The connections of each user.
    pub(super) connections: BTreeMap<UserId, u32>,
    held: Vec<(u64, UserId, u32)>,
    pub(super) is_up: bool,
    pub(super) is_ready: bool,
    /// True when webhooks were told last that this node has users.
    pub(super) is_occupied: bool,
    next_number: u64,
    empty_since_ms: Option<u64>,
    due_ms: Option<u64>,
    /// On the way to the engine.
    pub(super) calls: VecDeque<(u64, Call)>,
    /// On the way to the node.
    pub(super) replies: VecDeque<(u64, Option<Reply>)>,
    pub(super) pushes: VecDeque<Bytes>,
    /// The names that were announced, with the time.
    pub(super) told: Vec<(u64, Names)>,
    /// The times for which users were connected to this node, the last one without an end.
    pub(super) stays: Vec<(UserId, u64, u64)>,
    /// The users who are there by what was announced, as a member keeps them; `None` where it has to ask.
    pub(super) list: Option<BTreeSet<UserId>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) rules: PresenceRules,
    pub(super) exchange: ExchangeSettings,
}

impl Node {
    pub(super) fn new(by: Incarnation) -> Self {
        Self {
            by,
            presence: Presence::default(),
            exchange: None,
            connections: BTreeMap::new(),
            held: Vec::new(),
            is_up: true,
            is_ready: false,
            is_occupied: false,
            next_number: 1,
            empty_since_ms: None,
            due_ms: None,
            calls: VecDeque::new(),
            replies: VecDeque::new(),
            pushes: VecDeque::new(),
            told: Vec::new(),
            stays: Vec::new(),
            list: None,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.calls.is_empty() && self.replies.is_empty() && self.pushes.is_empty()
    }

    fn announce(&mut self, outcome: Outcome, now_ms: u64) {
        let Announcement { diff, .. } = match outcome {
            Outcome::Quiet => return,
            Outcome::Due(at_ms) => {
                self.due_ms = Some(at_ms);
                return;
            }
            Outcome::Announce(announcement) => announcement,
        };
        let Some(diff) = diff else { return };
        match (diff.names, &mut self.list) {
            (None, list) => *list = None,
            (Some(names), list) => {
                if let Some(list) = list {
                    list.retain(|user| !names.left.contains(user));
                    list.extend(names.joined.iter().cloned());
                }
                if self.is_ready {
                    self.told.push((now_ms, names));
                }
            }
        }
    }

    /// Lets a client who keeps a list ask for it.
    pub(super) fn ask(&mut self) {
        let viewer = "nobody".parse().unwrap();
        if !self.presence.is_empty() && self.list.is_none() && self.is_ready {
            self.list = Some(self.presence.page(&viewer, None, MAX_PAGE).0.into_iter().collect());
        }
    }

    fn run(&mut self, commands: Vec<Command>, settings: &Settings, now_ms: u64) {
        let keys = Keys::new("p").room(&"den".parse().unwrap());
        for command in commands {
            match command {
                Command::Call { tag, operation } => {
                    self.calls.push_back((tag, operation.call(&keys, Duration::from_secs(60))))
                }
                Command::Apply(changes) => {
                    // Where nobody is, nobody keeps a list.
                    self.list.take_if(|_| self.presence.is_empty());
                    let outcome = self.presence.apply(changes, now_ms, &settings.rules);
                    self.announce(outcome, now_ms);
                }
                Command::Occupied(is_occupied) => self.is_occupied = is_occupied,
                Command::Ready => (self.is_ready, self.list) = (true, None),
                Command::Closed => {
                    assert!(self.presence.is_empty(), "closed with users");
                    self.leave_room();
                    return;
                }
            }
        }
        self.tell(settings, now_ms);
    }

    fn leave_room(&mut self) {
        self.next_number = self.exchange.take().map_or(1, |exchange| exchange.number() + 1);
        self.presence.detach();
        (self.is_ready, self.list, self.empty_since_ms) = (false, None, None);
        self.calls.clear();
        self.replies.clear();
        self.pushes.clear();
    }

    /// Gives the exchange the moves of this node's users.
    fn tell(&mut self, settings: &Settings, now_ms: u64) {
        while self.presence.wants_exchange() {
            let Some(moves) = self.presence.take_local() else { return };
            let Some(exchange) = &mut self.exchange else { return };
            let commands = exchange.moved(moves, now_ms);
            self.run(commands, settings, now_ms);
        }
    }

    fn with(&mut self, settings: &Settings, now_ms: u64, event: impl FnOnce(&mut Exchange) -> Vec<Command>) {
        if let Some(exchange) = &mut self.exchange {
            let commands = event(exchange);
            self.run(commands, settings, now_ms);
        }
    }

    pub(super) fn join(&mut self, user: &UserId, settings: &Settings, now_ms: u64) {
        let connections = self.connections.entry(user.clone()).or_default();
        if *connections == 0 {
            self.stays.push((user.clone(), now_ms, u64::MAX));
        }
        *connections += 1;
        self.empty_since_ms = None;
        if self.exchange.is_none() {
            self.exchange = Some(Exchange::new(self.by, self.next_number, settings.exchange));
            self.presence.attach();
            if self.is_up {
                self.with(settings, now_ms, |exchange| exchange.link_up(now_ms));
            }
        }
        let outcome = self.presence.join(user, now_ms, &settings.rules);
        self.announce(outcome, now_ms);
        self.tell(settings, now_ms);
    }

    /// Ends a connection of a user, who stays for a while if a return is expected.
    pub(super) fn leave(&mut self, user: &UserId, returns: bool, settings: &Settings, now_ms: u64) {
        let Some(connections) = self.connections.get_mut(user) else { return };
        *connections -= 1;
        if *connections == 0 {
            self.connections.remove(user);
            let stay = self.stays.iter_mut().rev().find(|(name, ..)| name == user);
            stay.unwrap().2 = now_ms;
        }
        if returns {
            if let Some(number) = self.presence.hold(user) {
                self.held.push((now_ms + HOLD_MS, user.clone(), number));
            }
        } else {
            let outcome = self.presence.leave(user, now_ms, &settings.rules);
            self.announce(outcome, now_ms);
        }
        self.tell(settings, now_ms);
    }

    pub(super) fn set_link(&mut self, is_up: bool, settings: &Settings, now_ms: u64) {
        if self.is_up == is_up {
            return;
        }
        self.is_up = is_up;
        if is_up {
            self.with(settings, now_ms, |exchange| exchange.link_up(now_ms));
        } else {
            self.pushes.clear();
            self.replies.clear();
            self.with(settings, now_ms, |exchange| {
                exchange.link_down();
                Vec::new()
            });
        }
    }

    pub(super) fn hear(&mut self, table: &Table, settings: &Settings, now_ms: u64) {
        if let Some(push) = self.pushes.pop_front() {
            self.with(settings, now_ms, |exchange| exchange.pushed(&push, table, now_ms));
        }
    }

    pub(super) fn take_reply(&mut self, table: &Table, settings: &Settings, now_ms: u64) {
        if let Some((tag, reply)) = self.replies.pop_front() {
            self.with(settings, now_ms, |exchange| exchange.answered(tag, reply.as_ref(), table, now_ms));
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, settings: &Settings, now_ms: u64) {
        if self.due_ms.take_if(|due_ms| *due_ms <= now_ms).is_some()
            && let Some(announcement) = self.presence.merged(&settings.rules)
        {
            self.announce(Outcome::Announce(announcement), now_ms);
        }
        while let Some(at) = self.held.iter().position(|(until_ms, ..)| *until_ms <= now_ms) {
            let (_, user, number) = self.held.remove(at);
            let outcome = self.presence.release(&user, number, now_ms, &settings.rules);
            self.announce(outcome, now_ms);
        }
        self.tell(settings, now_ms);
        self.ask();
        if self.exchange.as_ref().and_then(Exchange::next_tick_ms).is_some_and(|at_ms| at_ms <= now_ms) {
            self.with(settings, now_ms, |exchange| exchange.tick(now_ms));
        }
        if self.presence.is_empty() && self.exchange.is_some() {
            if now_ms >= *self.empty_since_ms.get_or_insert(now_ms) + LINGER_MS {
                self.empty_since_ms = Some(u64::MAX / 2);
                self.with(settings, now_ms, |exchange| exchange.close(now_ms));
            }
        } else {
            self.empty_since_ms = None;
        }
    }

    pub(super) fn nodes_changed(&mut self, table: &Table, has_died: bool, settings: &Settings, now_ms: u64) {
        if has_died || self.exchange.as_ref().is_some_and(Exchange::awaits_nodes) {
            self.with(settings, now_ms, |exchange| exchange.nodes_changed(table, now_ms));
        }
    }
}

/// Lets the engine carry out the next call of a node. Its answer is lost with some probability, before or after it.
pub(super) fn serve(nodes: &mut [Option<Node>], at: usize, server: &mut Server, luck: u8) {
    let Some(node) = &mut nodes[at] else { return };
    let Some((tag, call)) = node.calls.pop_front() else { return };
    let is_done = luck != 0;
    let (mut reply, mut push) = (None, None);
    if is_done {
        let (answer, payload) = server.run(&call);
        (reply, push) = (Some(answer), payload);
    }
    if node.is_up {
        node.replies.push_back((tag, reply.filter(|_| luck > 1)));
    }
    let Some(push) = push else { return };
    for node in nodes.iter_mut().flatten().filter(|node| node.is_up && node.exchange.is_some()) {
        node.pushes.push_back(push.clone());
    }
}
