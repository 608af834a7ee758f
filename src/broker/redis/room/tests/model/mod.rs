//! A model of a room on three nodes: a server and links that fail in every way, in random schedules.

mod checker;
mod ends;
mod node;
mod server;

use std::collections::BTreeMap;

use self::checker::Checker;
use self::node::{Event, Node};
use self::server::{Request, Scripts, Sent, Server, Trouble};
use super::super::Commands;
use super::super::rule::{Rule, break_rule};

/// Schedules that are tried.
const SEEDS: u64 = 1_000;
/// Steps of a schedule before everything heals.
const STEPS: usize = 600;
/// Idempotency keys in use.
const KEYS: u8 = 12;
/// Kinds of commands, with the kinds of answers.
const KINDS: usize = 17;
/// Steps within which everything comes to rest: many more mean that something repeats itself.
const MAX_STEPS: usize = 20_000;

struct World {
    rng: fastrand::Rng,
    now: u64,
    server: Server,
    nodes: Vec<Node>,
    checker: Checker,
    /// Requests of broken connections that the server has received and not run.
    zombies: Vec<Request>,
    next_id: u64,
    profile: Profile,
}

/// Which accidents a schedule has.
#[derive(Debug, Clone, Copy)]
struct Profile {
    breaks: bool,
    forks: bool,
    losses: bool,
    forgets: bool,
    trims: bool,
    troubles: bool,
    closes: bool,
    long_texts: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let profile = Profile {
            breaks: rng.u8(..4) > 0,
            forks: rng.bool(),
            losses: rng.bool(),
            forgets: rng.u8(..4) == 0,
            trims: rng.u8(..3) == 0,
            troubles: rng.u8(..3) == 0,
            closes: rng.u8(..3) == 0,
            long_texts: rng.u8(..4) == 0,
        };
        let nodes = (0..3).map(|index| Node::new(index, rng.u64(..))).collect();
        Self {
            rng,
            now: 1,
            server: Server::new(),
            nodes,
            checker: Checker::default(),
            zombies: Vec::new(),
            next_id: 1,
            profile,
        }
    }

    /// Runs an input of a node and carries out its commands.
    fn at(&mut self, index: usize, input: impl FnOnce(&mut Node, u64) -> Commands<server::Draft>) {
        let node = &mut self.nodes[index];
        let commands = input(node, self.now);
        node.carry_out(commands, &self.server, &mut self.checker);
    }

    fn say(&mut self, index: usize) -> bool {
        let key = (self.rng.u8(..3) == 0).then(|| self.rng.u8(..KEYS));
        let is_long = self.profile.long_texts && self.rng.u8(..3) == 0;
        self.say_this(index, key, is_long)
    }

    fn say_this(&mut self, index: usize, key: Option<u8>, is_long: bool) -> bool {
        let sent = Sent { id: self.next_id, key, is_long };
        self.next_id += 1;
        self.nodes[index].say(sent, self.now, &self.server, &mut self.checker)
    }

    /// Sends the batches that were appended to the subscribed nodes.
    fn push(&mut self) {
        for batch in self.server.pushes.drain(..) {
            for node in self.nodes.iter_mut().filter(|node| node.is_subscribed) {
                node.events.push_back(Event::Push(batch.clone()));
            }
        }
    }

    /// Moves something that is on its way.
    fn deliver(&mut self, index: usize) {
        let is_frozen = self.nodes[index].frozen_until > self.now;
        match self.rng.u8(..10) {
            0..=2 => self.nodes[index].run_request(&mut self.server),
            3 => self.nodes[index].run_subscription(),
            _ if is_frozen => {}
            4..=5 => self.at(index, |node, now| node.take_answer(now)),
            6..=8 => self.at(index, |node, now| node.take_event(now)),
            _ => self.at(index, |node, now| node.take_notice(now)),
        }
        self.push();
    }

    fn disconnect(&mut self, index: usize) {
        let zombies = self.nodes[index].disconnect(&mut self.rng);
        self.zombies.extend(zombies);
    }

    /// Lets some accident happen.
    fn accident(&mut self, index: usize) {
        let Profile { breaks, forks, losses, forgets, trims, troubles, .. } = self.profile;
        match self.rng.u8(..14) {
            0..=1 if breaks => self.disconnect(index),
            2 if breaks => self.at(index, |node, now| node.pass_deadline(now)),
            3 if breaks && self.nodes[index].is_subscribed => {
                self.nodes[index].is_subscribed = false;
                self.nodes[index].events.push_back(Event::Unsubscribed);
            }
            4 => self.nodes[index].frozen_until = self.now + self.rng.u64(..2_000),
            5 if forks => self.change_id(),
            6 if forgets && self.rng.u8(..4) == 0 => self.server.forget(),
            7 if trims => self.server.trim(self.rng.usize(..4)),
            8 if troubles => {
                let troubles = [Trouble::None, Trouble::Loading, Trouble::Full];
                self.server.trouble = troubles[self.rng.usize(..3)];
            }
            9 if losses && !self.nodes[index].events.is_empty() => {
                // A push is lost, and nobody says so.
                let at = self.rng.usize(..self.nodes[index].events.len());
                if let Some(Event::Push(_)) = self.nodes[index].events.get(at) {
                    self.nodes[index].events.remove(at);
                }
            }
            _ => self.server.trouble = Trouble::None,
        }
    }

    fn change_id(&mut self) {
        let (loses_tail, is_same_process) = (self.rng.bool(), self.rng.u8(..4) == 0);
        self.server.change_id(loses_tail);
        if !is_same_process {
            (0..self.nodes.len()).for_each(|index| self.disconnect(index));
            self.zombies.clear();
        }
    }

    fn step(&mut self) {
        let index = self.rng.usize(..self.nodes.len());
        let is_frozen = self.nodes[index].frozen_until > self.now;
        match self.rng.u8(..100) {
            0..=64 => self.deliver(index),
            65..=79 if !is_frozen => {
                for _ in 0..self.rng.usize(1..4) {
                    self.say(index);
                }
            }
            80..=84 => self.now += self.rng.u64(..100),
            85 => self.now += self.rng.u64(..4_000),
            86..=89 if !is_frozen => self.at(index, |node, now| node.room.tick(now)),
            90 => self.server.replicate(),
            91 if !self.zombies.is_empty() => {
                let request = self.zombies.remove(0);
                self.server.run(&request);
                self.push();
            }
            92..=93 => self.nodes[index].connect(),
            94 if !is_frozen => self.at(index, |node, now| node.room.open(now)),
            95 if self.profile.closes && !is_frozen => self.at(index, |node, now| node.room.close(now)),
            _ => self.accident(index),
        }
    }

    /// Delivers what is on its way and lets the time pass, until nothing more happens for `ms` milliseconds.
    fn settle(&mut self, ms: u64) {
        let end = self.now + ms;
        for _ in 0..MAX_STEPS {
            let busy: Vec<usize> =
                (0..self.nodes.len()).filter(|index| !self.nodes[*index].is_idle()).collect();
            if let Some(index) = self.rng.choice(&busy) {
                self.deliver(*index);
                continue;
            }
            let due = self.nodes.iter().filter_map(|node| node.room.due()).min();
            let Some(due) = due.filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            for index in 0..self.nodes.len() {
                self.at(index, |node, now| node.room.tick(now));
            }
        }
        panic!("the nodes do not come to rest");
    }

    /// Ends all accidents and connects everything.
    fn heal(&mut self) {
        self.server.trouble = Trouble::None;
        for request in std::mem::take(&mut self.zombies) {
            self.server.run(&request);
        }
        self.push();
        for index in 0..self.nodes.len() {
            self.nodes[index].frozen_until = 0;
            self.nodes[index].connect();
            self.at(index, |node, now| node.room.open(now));
        }
    }

    fn check(&self) {
        for node in &self.nodes {
            self.checker.check_view(node.view.as_ref().expect("an open room"), &self.server);
            assert_eq!((node.room.waiting_bytes(), node.room.held_bytes()), (0, 0), "queues are empty");
        }
        self.checker.check_messages(&self.server);
        assert_eq!(self.checker.waiting(), 0, "every message is answered");
    }
}

/// Names the seed when its schedule fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the schedule of seed {} failed", self.0);
        }
    }
}

/// Runs the schedule of a seed, and all checks.
fn run(seed: u64, scripts: Scripts) -> BTreeMap<&'static str, usize> {
    let _named = Named(seed);
    let mut world = World::new(seed);
    world.server.scripts = scripts;
    for index in 0..world.nodes.len() {
        world.at(index, |node, now| node.room.open(now));
    }
    for _ in 0..STEPS {
        world.step();
    }
    world.heal();
    world.settle(100_000);
    for index in 0..world.nodes.len() {
        world.at(index, |node, now| node.room.open(now));
    }
    world.settle(10_000);
    world.check();
    ends::run(&mut world);
    world.heal();
    world.settle(100_000);
    world.check();
    world.checker.counts
}

#[test]
fn every_schedule_keeps_the_guarantees() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let seeds = if std::env::var_os("THRONG_LONG").is_some() { 100 * SEEDS } else { SEEDS };
    for seed in 0..seeds {
        for (kind, count) in run(seed, Scripts::default()) {
            *counts.entry(kind).or_default() += count;
        }
    }
    assert_eq!(counts.len(), KINDS, "every command is given somewhere: {counts:?}");
}

/// Returns true when a schedule fails in which the rule or the scripts are broken.
fn is_noticed(rule: Option<Rule>, scripts: Scripts) -> bool {
    (0..SEEDS).any(|seed| {
        break_rule(rule);
        let result = std::panic::catch_unwind(|| run(seed, scripts));
        break_rule(None);
        result.is_err()
    })
}

#[test]
fn every_broken_rule_is_noticed() {
    let ignored: Vec<_> =
        Rule::ALL.iter().filter(|rule| !is_noticed(Some(**rule), Scripts::default())).collect();
    assert!(ignored.is_empty(), "the model does not notice these rules: {ignored:?}");
}

#[test]
fn scripts_must_know_repeated_and_old_calls() {
    assert!(is_noticed(None, Scripts { know_repeated: false, ..Scripts::default() }));
    assert!(is_noticed(None, Scripts { know_old: false, ..Scripts::default() }));
}
