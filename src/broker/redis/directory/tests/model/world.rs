//! The surroundings of the nodes of the model: the engine, the network, the clients, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use bytes::Bytes;

use super::node::{Client, Node, Output, Tag};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::directory::claim::Policy;
use crate::broker::redis::directory::find;
use crate::broker::redis::directory::tests::imitation::Imitation;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::NodeName;
use crate::broker::redis::script::{Call, Reply};

const NODES: usize = 3;
const USERS: usize = 4;
/// Time during which clients come and things go wrong, in milliseconds.
const BUSY_MS: u64 = 90_000;
/// Time after which everything has settled.
const QUIET_MS: u64 = BUSY_MS + 60_000;
/// Time after which all clients are gone.
const END_MS: u64 = QUIET_MS + 10_000;
/// Longest time during which a user may have two open connections on nodes that run and reach the engine.
const TAKEOVER_MS: u64 = 9_000;
const TICK_MS: u64 = 250;

/// A rule that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    None,
    /// The node of a replaced connection is told only once.
    TellsOnce,
    /// The engine does not remember replaced connections.
    ForgetsReplaced,
    /// A node that was declared dead keeps its clients.
    GoesOnAfterDeath,
    /// Connections are never claimed again.
    NeverRepeats,
}

/// How often something happened.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Counts {
    pub(super) opened: u64,
    pub(super) refused: u64,
    pub(super) replaced: u64,
    pub(super) crashed: u64,
    pub(super) anew: u64,
    pub(super) probed_dead: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.opened += more.opened;
        self.refused += more.refused;
        self.replaced += more.replaced;
        self.crashed += more.crashed;
        self.anew += more.anew;
        self.probed_dead += more.probed_dead;
    }
}

enum Event {
    Tick,
    Leave(usize),
    Vanish(usize),
    /// A call has arrived at the engine.
    Call(Tag, Call),
    Answer(Tag, Call, Option<Reply>),
    Message(Bytes),
}

/// A node with what surrounds it. While it is down there is no node.
struct Place {
    node: Option<Node>,
    /// The number of the process; events for an earlier one are dropped.
    process: u64,
    down_until: u64,
    paused_until: u64,
    cut_until: u64,
    /// The last arrivals on the way to the engine and back. Neither way changes the order.
    last_call: u64,
    last_answer: u64,
}

pub(super) struct World {
    random: fastrand::Rng,
    now: u64,
    engine: Imitation,
    away_until: u64,
    places: Vec<Place>,
    /// By time and number.
    events: BTreeMap<(u64, u64), (usize, u64, Event)>,
    sequence: u64,
    fault: Fault,
    /// Whether the nodes have the policy `reject`.
    rejects: bool,
    doubled: [Option<u64>; USERS],
    counts: Counts,
}

fn name(place: usize) -> NodeName {
    format!("n{place}").parse().unwrap()
}

fn user(number: usize) -> crate::names::UserId {
    format!("user{number}").parse().unwrap()
}

impl World {
    pub(super) fn new(seed: u64, fault: Fault) -> Self {
        let place = |_| Place {
            node: None,
            process: 0,
            down_until: 0,
            paused_until: 0,
            cut_until: 0,
            last_call: 0,
            last_answer: 0,
        };
        let mut engine = Imitation::default();
        engine.forgets_replaced = fault == Fault::ForgetsReplaced;
        Self {
            random: fastrand::Rng::with_seed(seed),
            now: 0,
            engine,
            away_until: 0,
            places: (0..NODES).map(place).collect(),
            events: BTreeMap::new(),
            sequence: 0,
            fault,
            rejects: seed.is_multiple_of(2),
            doubled: [None; USERS],
            counts: Counts::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Counts, String> {
        while self.now < END_MS {
            self.now += TICK_MS;
            self.happen();
            if self.now < BUSY_MS {
                self.disturb();
                self.connect();
            }
            if self.now == BUSY_MS {
                self.away_until = 0;
                self.places.iter_mut().for_each(|place| {
                    (place.down_until, place.paused_until, place.cut_until) = (0, 0, 0);
                });
            }
            for place in 0..NODES {
                self.start(place);
                self.schedule(place, self.now, Event::Tick);
            }
            self.check()?;
            if self.now == QUIET_MS {
                self.check_quiet()?;
                self.all_leave();
            }
        }
        if let Some(field) = self.engine.fields().first() {
            return Err(format!("{field} is left at the end"));
        }
        for node in self.places.iter().filter_map(|place| place.node.as_ref()) {
            self.counts += node.counts;
        }
        Ok(self.counts)
    }

    fn schedule(&mut self, place: usize, at: u64, event: Event) {
        self.sequence += 1;
        let process = self.places[place].process;
        self.events.insert((at, self.sequence), (place, process, event));
    }

    /// Lets all events happen that are due.
    fn happen(&mut self) {
        let until = self.now;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            let (at, _) = *entry.key();
            let (place, process, event) = entry.remove();
            self.now = at;
            self.happen_at(place, process, event);
        }
        self.now = until;
    }

    fn happen_at(&mut self, index: usize, process: u64, event: Event) {
        let now = self.now;
        if let Event::Call(tag, call) = event {
            return self.engine_called(index, process, tag, call);
        }
        let place = &mut self.places[index];
        if place.process != process {
            return;
        }
        if place.paused_until > now {
            let at = place.paused_until;
            // A paused process finds a single tick when it goes on.
            if !matches!(event, Event::Tick) {
                self.schedule(index, at, event);
            }
            return;
        }
        let Some(node) = &mut place.node else { return };
        let mut out = Vec::new();
        match event {
            Event::Tick => node.tick(now, &mut out),
            Event::Leave(number) => node.end(number, &mut out),
            Event::Vanish(number) => {
                if let Some(connection) = node.connections.get_mut(&number) {
                    connection.is_alive = false;
                }
            }
            Event::Answer(tag, call, answer) => node.answered(tag, call, answer, now, &mut out),
            Event::Message(payload) => node.message(&payload, now, &mut out),
            Event::Call(..) => {}
        }
        self.send(index, out);
    }

    fn send(&mut self, index: usize, out: Vec<Output>) {
        let now = self.now;
        for output in out {
            let is_cut = self.places[index].cut_until > now || self.away_until > now;
            match output {
                Output::Call(tag, call) if is_cut => {
                    self.schedule(index, now + 50, Event::Answer(tag, call, None));
                }
                Output::Call(tag, call) => {
                    let at = self.places[index].last_call.max(now + self.random.u64(1..40));
                    self.places[index].last_call = at;
                    self.schedule(index, at, Event::Call(tag, call));
                }
                Output::Publish(to, payload) => {
                    let to = (0..NODES).find(|place| name(*place) == to).unwrap();
                    let is_lost = is_cut || self.places[to].cut_until > now || self.random.u8(0..10) == 0;
                    if !is_lost {
                        let at = now + self.random.u64(1..80);
                        self.schedule(to, at, Event::Message(payload));
                    }
                }
            }
        }
    }

    /// Carries a call out in the engine. The call or its answer may be lost, and then the node hears late that it is.
    fn engine_called(&mut self, index: usize, process: u64, tag: Tag, call: Call) {
        let fate = self.random.u8(0..50);
        let is_away = self.away_until > self.now;
        let mut answer = None;
        if !is_away && fate != 0 {
            self.engine.now_ms = 1_000_000_000 + self.now;
            answer = Some(self.engine.call(&call));
        }
        if self.places[index].process != process {
            return;
        }
        let is_lost = fate < 2 || self.places[index].cut_until > self.now;
        let delay = if is_lost || is_away { 200 } else { self.random.u64(1..40) };
        let at = self.places[index].last_answer.max(self.now + delay);
        self.places[index].last_answer = at;
        self.schedule(index, at, Event::Answer(tag, call, answer.filter(|_| !is_lost)));
    }

    /// Starts a node's process if there is none, and none is to be down.
    fn start(&mut self, index: usize) {
        let place = &mut self.places[index];
        if place.node.is_none() && place.down_until <= self.now {
            place.process += 1;
            let incarnation = Incarnation(self.random.u64(..) >> 16);
            place.node = Some(Node::new(name(index), incarnation, self.fault, self.now));
        }
    }

    /// Lets something go wrong now and then.
    fn disturb(&mut self) {
        let (now, index) = (self.now, self.random.usize(0..NODES));
        let place = &mut self.places[index];
        match self.random.u16(0..600) {
            0..4 => {
                if let Some(node) = place.node.take() {
                    self.counts += node.counts;
                    self.counts.crashed += 1;
                    place.process += 1;
                }
                place.down_until = now + self.random.u64(500..15_000);
                place.paused_until = 0;
            }
            4..10 => place.paused_until = now + self.random.u64(500..40_000),
            10..14 => place.cut_until = now + self.random.u64(500..30_000),
            14..16 => self.away_until = now + self.random.u64(500..20_000),
            16 => self.engine.lose_all(),
            _ => {}
        }
    }

    /// Lets a client connect now and then.
    fn connect(&mut self) {
        let (now, index) = (self.now, self.random.usize(0..NODES));
        let is_owner = self.random.u8(0..10) == 0;
        let policy = if self.rejects && !is_owner { Policy::Reject { dead: None } } else { Policy::Replace };
        let user = user(self.random.usize(0..USERS));
        let client = Client { user, policy, shows_session: self.random.u8(0..5) == 0 };
        let place = &mut self.places[index];
        let is_running = place.paused_until <= now && place.cut_until <= now && self.away_until <= now;
        if !is_running || self.random.bool() {
            return;
        }
        let Some(node) = &mut place.node else { return };
        let mut out = Vec::new();
        let Some(number) = node.connect(client, now, &mut out) else { return };
        self.send(index, out);
        let stays = self.random.u64(100..30_000);
        if self.random.u8(0..4) == 0 {
            // Its node notices only after a while.
            self.schedule(index, now + stays, Event::Vanish(number));
            self.schedule(index, now + stays + 25_000, Event::Leave(number));
        } else if self.random.u8(0..10) > 0 {
            self.schedule(index, now + stays, Event::Leave(number));
        }
    }

    fn all_leave(&mut self) {
        for index in 0..NODES {
            let numbers: Vec<usize> =
                self.places[index].node.iter().flat_map(|n| n.connections.keys().copied()).collect();
            numbers.into_iter().for_each(|number| self.schedule(index, self.now, Event::Leave(number)));
        }
    }

    /// Checks that no user has had two open connections for too long. Time during which a node that has one of them
    /// stands still or does not reach the engine does not count: it can neither be told nor find out.
    fn check(&mut self) -> Result<(), String> {
        for number in 0..USERS {
            let user = user(number);
            let mut owners = Vec::new();
            let mut is_excused = self.away_until > self.now;
            for place in &self.places {
                let Some(node) = &place.node else { continue };
                for (connection, state) in &node.connections {
                    if state.is_open && state.is_alive && state.client.user == user {
                        owners.push(node.owner(*connection));
                        is_excused |= place.paused_until > self.now || place.cut_until > self.now;
                    }
                }
            }
            if owners.len() < 2 || is_excused {
                self.doubled[number] = None;
            } else {
                let since = *self.doubled[number].get_or_insert(self.now);
                if self.now - since > TAKEOVER_MS {
                    return Err(format!("{user} has had {owners:?} since {since}, and it is {}", self.now));
                }
            }
        }
        Ok(())
    }

    /// Checks that the directory has the open connections, and nothing else, and that nobody waits.
    fn check_quiet(&mut self) -> Result<(), String> {
        let nodes: Vec<&Node> = self.places.iter().filter_map(|place| place.node.as_ref()).collect();
        let mut table = self.engine.nodes();
        let mut expected: Vec<_> = nodes.iter().map(|n| (n.lease.incarnation().to_string(), true)).collect();
        table.sort();
        expected.sort();
        if table != expected {
            return Err(format!("the table is {table:?}, and the nodes are {expected:?}"));
        }
        let mut open = BTreeSet::new();
        for node in &nodes {
            if !node.requests.is_empty() || !node.endings.is_empty() {
                return Err(format!("{} still waits: {:?} {:?}", node.name, node.requests, node.endings));
            }
            let connections = node.connections.iter().filter(|(_, state)| state.is_open);
            open.extend(
                connections.map(|(number, _)| String::from_utf8(node.owner(*number).id().to_vec()).unwrap()),
            );
        }
        for number in 0..USERS {
            self.engine.call(&find::call(&Keys::new("throng"), &user(number), nodes[0].nodes.live_list()));
        }
        let fields: BTreeSet<String> =
            self.engine.fields().into_iter().filter(|field| field != "b").collect();
        let expected: BTreeSet<String> = open.iter().map(|id| format!("c:{id}")).collect();
        if fields != expected {
            return Err(format!("the directory has {fields:?}, and open are {expected:?}"));
        }
        Ok(())
    }
}
