//! Three nodes and an engine under random schedules: nodes die and start anew, links break, calls fail, the engine
//! loses its last writes or everything. In the end all nodes agree with the truth, users who moved between nodes were
//! never said to have left, and the users of a dead node left together.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::ExchangeSettings;
use super::super::rules::{Rule, tests::BROKEN};
use super::server::Server;
use super::world::{Node, Settings, Table, serve};
use crate::broker::redis::batch::Incarnation;
use crate::chat::presence::PresenceRules;
use crate::names::UserId;

const NODES: usize = 3;
/// Silence after which a node is dead.
const LEASE_MS: u64 = 10_000;
/// Time between two tables of nodes.
const TABLE_MS: u64 = 3_000;
/// How long links stay up at least after a break, so that a move is heard of in time.
const UP_MS: u64 = 12_000;
/// Length of a schedule, and of the calm after it.
const RUN_MS: u64 = 120_000;
const CALM_MS: u64 = 90_000;

/// A user who is always in the room, or on the way from one node to another.
#[derive(Debug)]
pub(super) struct Mover {
    pub(super) user: UserId,
    at: Option<usize>,
    returns_ms: u64,
}

#[derive(Debug)]
pub(super) struct World {
    settings: Settings,
    random: fastrand::Rng,
    now_ms: u64,
    pub(super) server: Server,
    /// Earlier contents, which a failover brings back.
    saved: Server,
    pub(super) nodes: Vec<Option<Node>>,
    table: Table,
    /// Nodes that were killed: when they are seen to be dead.
    killed: BTreeMap<Incarnation, u64>,
    /// When each place has a node again, and when its link comes up or may break.
    starts_ms: [u64; NODES],
    up_ms: [u64; NODES],
    last: u64,
    pub(super) movers: Vec<Mover>,
    guests: usize,
    /// The times for which users were connected to nodes that are dead.
    pub(super) stays: Vec<(UserId, u64, u64)>,
    /// Most residents of a node.
    residents: usize,
    /// True when the engine lost everything while its links stood. Nodes find that out late.
    pub(super) was_emptied: bool,
}

pub(super) fn user(name: &str, n: usize) -> UserId {
    format!("{name}-{n}").parse().unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        // In a third of the schedules the room goes to and fro between names and numbers.
        let count_only_above = if random.u8(..3) == 0 { random.usize(3..50) } else { 1_000 };
        let notice_limit = if random.bool() { 5 } else { 1_000 };
        let rules = PresenceRules { is_announced: true, notice_limit, count_only_above, interval_ms: 500 };
        let (lists_up_to, interval_ms) = (count_only_above, 500);
        // In most schedules no read by the clock mends what went wrong.
        let read_every_ms = if seed.is_multiple_of(4) { 15_000 } else { 1_000_000_000 };
        let exchange = ExchangeSettings { lists_up_to, notice_limit, interval_ms, read_every_ms };
        let (guests, residents, movers) = if random.bool() { (18, 2, 4) } else { (2, 0, 2) };
        let movers = (0..movers).map(|n| Mover { user: user("mover", n), at: None, returns_ms: 0 }).collect();
        let mut world = Self {
            settings: Settings { rules, exchange },
            random,
            now_ms: 1,
            server: Server::default(),
            saved: Server::default(),
            nodes: (0..NODES).map(|_| None).collect(),
            table: Table::default(),
            killed: BTreeMap::new(),
            starts_ms: [0; NODES],
            up_ms: [0; NODES],
            last: seed << 20,
            movers,
            guests,
            stays: Vec::new(),
            residents,
            was_emptied: false,
        };
        (0..NODES).for_each(|at| world.start(at));
        world.read_table();
        world
    }

    fn start(&mut self, at: usize) {
        // Not in the order of the starts.
        self.last += 1;
        let mut node = Node::new(Incarnation(self.last.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        for n in 0..self.random.usize(..=self.residents) {
            node.join(&user(&format!("resident-{}", self.last), n), &self.settings, self.now_ms);
        }
        self.nodes[at] = Some(node);
        self.up_ms[at] = 0;
    }

    fn read_table(&mut self) {
        self.table.version += 1;
        self.table.live = self.nodes.iter().flatten().map(|node| node.by).collect();
        let now_ms = self.now_ms;
        let mut has_died = false;
        for (by, dead_ms) in &self.killed {
            if *dead_ms > now_ms {
                self.table.live.insert(*by);
            } else {
                has_died |= self.table.dead.insert(*by);
            }
        }
        // Dead nodes are removed from the table some time after.
        self.killed.retain(|_, dead_ms| *dead_ms + 60_000 > now_ms);
        let is_known = |by: &Incarnation| self.killed.contains_key(by);
        self.table.dead.retain(is_known);
        for node in self.nodes.iter_mut().flatten() {
            node.nodes_changed(&self.table, has_died, &self.settings, now_ms);
        }
    }

    fn kill(&mut self, at: usize) {
        if self.nodes.iter().flatten().count() < NODES
            || !self.killed.values().all(|ms| ms + 30_000 < self.now_ms)
        {
            return;
        }
        if self.up_ms[at] > self.now_ms {
            return;
        }
        let Some(mut node) = self.nodes[at].take() else { return };
        node.calls.truncate(self.random.usize(..=node.calls.len()));
        while !node.calls.is_empty() {
            self.nodes[at] = Some(node);
            serve(&mut self.nodes, at, &mut self.server, 1);
            node = self.nodes[at].take().unwrap();
        }
        self.stays.extend(node.stays.drain(..).map(|(user, from, to)| (user, from, to.min(self.now_ms))));
        self.killed.insert(node.by, self.now_ms + LEASE_MS);
        self.starts_ms[at] = self.now_ms + self.random.u64(2_000..30_000);
        for mover in self.movers.iter_mut().filter(|mover| mover.at == Some(at)) {
            (mover.at, mover.returns_ms) = (None, self.now_ms + self.random.u64(100..12_000));
        }
    }

    /// Lets the engine lose its last writes. All links break.
    fn fail_over(&mut self) {
        if self.up_ms.iter().any(|up_ms| *up_ms > self.now_ms) {
            return;
        }
        self.server = self.saved.clone();
        (0..NODES).for_each(|at| self.break_link(at));
    }

    fn break_link(&mut self, at: usize) {
        let Some(node) = &mut self.nodes[at] else { return };
        if self.up_ms[at] > self.now_ms {
            return;
        }
        node.set_link(false, &self.settings, self.now_ms);
        node.calls.truncate(self.random.usize(..=node.calls.len()));
        self.up_ms[at] = self.now_ms + self.random.u64(50..4_000) + UP_MS;
    }

    fn step_mover(&mut self, n: usize) {
        let to = self.random.usize(..NODES);
        let mover = &mut self.movers[n];
        let (settings, now_ms) = (self.settings, self.now_ms);
        match mover.at {
            Some(at) => {
                let Some(node) = &mut self.nodes[at] else { return };
                node.leave(&mover.user, true, &settings, now_ms);
                (mover.at, mover.returns_ms) = (None, now_ms + self.random.u64(1..6_000));
            }
            None if mover.returns_ms <= now_ms => {
                let Some(node) = &mut self.nodes[to] else { return };
                node.join(&mover.user, &settings, now_ms);
                mover.at = Some(to);
            }
            None => {}
        }
    }

    fn step_guest(&mut self) {
        let at = self.random.usize(..NODES);
        let guest = user("guest", self.random.usize(..self.guests));
        let (settings, now_ms) = (self.settings, self.now_ms);
        let Some(node) = &mut self.nodes[at] else { return };
        match node.connections.get(&guest) {
            Some(_) if self.random.bool() => node.leave(&guest, false, &settings, now_ms),
            None if self.random.bool() => node.join(&guest, &settings, now_ms),
            _ => {}
        }
    }

    /// Lets some of what is on the way arrive.
    fn carry(&mut self, most: u8, luck: u8) {
        for _ in 0..self.random.u8(1..=most) {
            let at = self.random.usize(..NODES);
            let way = self.random.u8(..3);
            if way == 0 {
                let luck = if luck > 0 { self.random.u8(..luck) } else { 2 };
                serve(&mut self.nodes, at, &mut self.server, luck);
            }
            let Some(node) = &mut self.nodes[at] else { continue };
            match way {
                1 => node.hear(&self.table, &self.settings, self.now_ms),
                2 => node.take_reply(&self.table, &self.settings, self.now_ms),
                _ => {}
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let before_ms = self.now_ms;
        self.now_ms += ms;
        for at in 0..NODES {
            if self.nodes[at].is_none() && self.starts_ms[at] <= self.now_ms {
                self.start(at);
            }
            let Some(node) = &mut self.nodes[at] else { continue };
            if !node.is_up && self.up_ms[at] <= self.now_ms + UP_MS {
                node.set_link(true, &self.settings, self.now_ms);
            }
            node.tick(&self.settings, self.now_ms);
        }
        let returning = |mover: &Mover| mover.at.is_none() && mover.returns_ms <= self.now_ms;
        let returning: Vec<usize> = (0..self.movers.len()).filter(|n| returning(&self.movers[*n])).collect();
        returning.into_iter().for_each(|n| self.step_mover(n));
        if before_ms / TABLE_MS != self.now_ms / TABLE_MS {
            self.read_table();
        }
        if before_ms / 1_000 != self.now_ms / 1_000 {
            self.saved = self.server.clone();
        }
    }

    fn step(&mut self) {
        let at = self.random.usize(..NODES);
        match self.random.u16(..1_000) {
            0..2 => self.break_link(at),
            2..5 => self.fail_over(),
            5..7 => self.kill(at),
            7 if self.settings.exchange.read_every_ms < RUN_MS && self.random.u8(..8) == 0 => {
                (self.server, self.was_emptied) = (Server::default(), true)
            }
            8..20 => {
                let n = self.random.usize(..self.movers.len());
                if self.movers[n].at.is_some() {
                    self.step_mover(n);
                }
            }
            20..100 => self.step_guest(),
            _ => self.carry(9, 60),
        }
        let ms = self.random.u64(..30);
        self.pass(ms);
    }

    /// Lets all faults end, all movers arrive and everything be said.
    fn settle(&mut self) {
        self.up_ms = [0; NODES];
        if self.random.bool() {
            // The last users come and go while the links come up again.
            let (break_ms, until_ms) = (self.now_ms + 800, self.now_ms + self.random.u64(900..5_000));
            while self.now_ms < until_ms {
                if self.random.u8(..10) == 0 {
                    self.step_guest();
                }
                if self.now_ms > break_ms && self.up_ms == [0; NODES] {
                    self.fail_over();
                }
                self.carry(2, 8);
                self.pass(10);
            }
        }
        self.starts_ms = [0; NODES];
        let until_ms = self.now_ms + CALM_MS;
        while self.now_ms < until_ms {
            (0..20).for_each(|_| self.carry(9, 0));
            self.pass(30 + self.now_ms % 7);
        }
        (0..100).for_each(|_| self.carry(9, 0));
    }
}

fn run(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    while world.now_ms < RUN_MS {
        world.step();
    }
    world.settle();
    world.check()
}

/// Returns the first of these schedules that goes wrong, and how.
fn first_wrong(seeds: Range<u64>, broken: Option<Rule>) -> Option<String> {
    BROKEN.set(broken);
    let wrong = |seed| run(seed).err().map(|error| format!("seed {seed}: {error}"));
    let wrong = seeds.into_iter().find_map(wrong);
    BROKEN.set(None);
    wrong
}

#[test]
fn all_nodes_agree_with_the_truth() {
    let seeds = if std::env::var_os("THRONG_LONG").is_some() { 1_000 } else { 100 };
    assert_eq!(first_wrong(0..seeds, None), None);
}

#[test]
fn each_broken_rule_is_noticed() {
    // Each with a schedule near which something goes wrong.
    let rules = [
        (Rule::Hold, 0),
        (Rule::ReadAfterABreak, 10),
        (Rule::Repeat, 80),
        (Rule::WriteAnew, 50),
        (Rule::KeepTheNewer, 10),
        (Rule::SeeTheDead, 0),
        (Rule::RemoveTheDead, 0),
        (Rule::Close, 0),
    ];
    for (rule, from) in rules {
        let wrong = first_wrong(from..from + 200, Some(rule));
        assert!(wrong.is_some(), "nothing goes wrong without {rule:?}");
    }
}
