//! A model: users come and go, and observers ask for the list of users at any time. The list that an observer is shown,
//! and the announcements behind it, must add up to the users in the room once everything has arrived: the names and the
//! number.

use std::collections::{BTreeSet, VecDeque};

use super::*;

/// A user in the room who keeps a list, as a client does.
#[derive(Debug)]
struct Observer {
    name: UserId,
    members: usize,
    /// The users it believes to be there; `None` while it has not asked.
    list: Option<BTreeSet<UserId>>,
    /// Set while it has yet to ask for the page behind this user.
    asks_behind: Option<Option<UserId>>,
    /// Announcements on their way. Answers overtake them.
    coming: VecDeque<(Option<Names>, usize)>,
}

impl Observer {
    fn ask(&mut self) {
        self.list = Some(BTreeSet::new());
        self.asks_behind = Some(None);
    }

    fn hear(&mut self) {
        let Some((names, members)) = self.coming.pop_front() else { return };
        self.members = members;
        match (names, &mut self.list) {
            (_, None) => {}
            (None, Some(_)) => self.ask(),
            (Some(Names { joined, left }), Some(list)) => {
                list.retain(|user| !left.contains(user));
                list.extend(joined);
            }
        }
    }

    fn read_on(&mut self, room: &Presence, limit: usize) {
        let Some(after) = self.asks_behind.take() else { return };
        let (page, has_more) = room.page(&self.name, after.as_ref(), limit);
        self.members = room.shown(&self.name);
        self.asks_behind = has_more.then(|| page.last().cloned().or(after));
        self.list.get_or_insert_default().extend(page);
    }
}

#[derive(Debug)]
struct World {
    rules: PresenceRules,
    room: Presence,
    observers: Vec<Observer>,
    /// Users whose connection was taken over by one that may yet join.
    held: Vec<(UserId, u32)>,
    /// The users on other nodes, each of which may tell their number alone.
    others: [(BTreeSet<UserId>, bool); 3],
    /// True when other nodes sometimes tell their number alone.
    counts: bool,
    is_shared: bool,
    due_ms: Option<u64>,
    now_ms: u64,
    random: fastrand::Rng,
}

impl World {
    fn announce(&mut self, outcome: Outcome) {
        let news = match outcome {
            Outcome::Quiet => return,
            Outcome::Due(at_ms) => {
                self.due_ms = Some(at_ms);
                return;
            }
            Outcome::Announce(news) => news,
        };
        let Some(Diff { names, members }) = news.diff else { return };
        for observer in &mut self.observers {
            let copy =
                names.as_ref().map(|names| Names { joined: names.joined.clone(), left: names.left.clone() });
            observer.coming.push_back((copy, members));
        }
    }

    /// Lets a guest join, or leave if it is connected.
    fn toggle(&mut self, guest: &UserId) {
        let outcome = match self.room.users.get(guest) {
            Some(Stay::Connected(_)) => self.room.leave(guest, self.now_ms, &self.rules),
            Some(Stay::Held(_)) | None => self.room.join(guest, self.now_ms, &self.rules),
        };
        self.announce(outcome);
    }

    /// Takes over a guest's connection; the other one has yet to join.
    fn hold(&mut self, guest: UserId) {
        if let Some(number) = self.room.hold(&guest) {
            self.held.push((guest, number));
        }
    }

    /// Lets the time of a hold pass, whether the guest has returned or not.
    fn release(&mut self, at: usize) {
        let (guest, number) = self.held.swap_remove(at);
        let outcome = self.room.release(&guest, number, self.now_ms, &self.rules);
        self.announce(outcome);
    }

    /// Lets the users on another node change.
    fn change_elsewhere(&mut self) {
        let at = self.random.usize(..self.others.len());
        let node = NodeKey(at as u64);
        let guests: BTreeSet<UserId> =
            (0..self.random.u8(..4)).map(|_| user(&format!("guest-{}", self.random.u8(..8)))).collect();
        let (users, is_counted) = &mut self.others[at];
        let change = match self.random.u8(..10) {
            0 => {
                (*users, *is_counted) = (BTreeSet::new(), false);
                Change::Removed { node }
            }
            1 if self.counts => {
                (*users, *is_counted) = (guests, true);
                Change::Count { node, users: users.len() }
            }
            _ if *is_counted || self.random.u8(..4) == 0 => {
                (*users, *is_counted) = (guests, false);
                Change::Users { node, users: users.iter().cloned().collect(), names: vec![] }
            }
            _ => {
                let joined: Vec<UserId> = guests.difference(users).cloned().collect();
                let left: Vec<UserId> = guests.intersection(users).cloned().collect();
                *users = users.symmetric_difference(&guests).cloned().collect();
                Change::Moved { node, joined, left, names: vec![] }
            }
        };
        self.apply(vec![change]);
    }

    fn apply(&mut self, changes: Vec<Change>) {
        let outcome = self.room.apply(changes, self.now_ms, &self.rules);
        self.announce(outcome);
    }

    fn enter(&mut self) {
        let name = user(&format!("observer-{}", self.random.u32(..)));
        let (list, asks_behind, coming) = (None, None, VecDeque::new());
        self.observers.push(Observer { name: name.clone(), members: 0, list, asks_behind, coming });
        self.toggle(&name);
        if let Some(newest) = self.observers.last_mut() {
            newest.members = self.room.shown(&name);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        if self.due_ms.take_if(|at_ms| *at_ms <= self.now_ms).is_some()
            && let Some(news) = self.room.merged(&self.rules)
        {
            self.announce(Outcome::Announce(news));
        }
    }

    fn step(&mut self) {
        let chosen = (!self.observers.is_empty()).then(|| self.random.usize(..self.observers.len()));
        match (self.random.u8(..100), chosen) {
            (..40, _) => {
                let guest = user(&format!("guest-{}", self.random.u8(..8)));
                self.toggle(&guest);
            }
            (40..45, _) if self.observers.len() < 5 => self.enter(),
            (45..48, Some(at)) => {
                let gone = self.observers.swap_remove(at).name;
                self.toggle(&gone);
            }
            (48..58, Some(at)) => self.observers[at].ask(),
            (58..70, Some(at)) => {
                let limit = self.random.usize(1..5);
                self.observers[at].read_on(&self.room, limit);
            }
            (70..85, Some(at)) => self.observers[at].hear(),
            (85..89, _) => {
                let guest = user(&format!("guest-{}", self.random.u8(..8)));
                self.hold(guest);
            }
            (89..92, _) if !self.held.is_empty() => {
                let at = self.random.usize(..self.held.len());
                self.release(at);
            }
            (92..96, _) if self.is_shared => self.change_elsewhere(),
            (99, _) if self.random.u8(..20) == 0 => {
                (0..=MAX_NAMES).for_each(|n| self.toggle(&user(&format!("many-{n}"))));
            }
            _ => {
                let ms = self.random.u64(..self.rules.interval_ms);
                self.pass(ms);
            }
        }
    }

    /// Lets everything arrive; nobody joins or leaves any more.
    fn settle(&mut self) {
        while !self.held.is_empty() {
            self.release(0);
        }
        let lists = self.others.iter().enumerate().map(|(at, (users, _))| Change::Users {
            node: NodeKey(at as u64),
            users: users.iter().cloned().collect(),
            names: vec![],
        });
        let lists = lists.collect();
        if self.is_shared {
            self.apply(lists);
        }
        self.pass(self.rules.interval_ms);
        assert_eq!(self.due_ms, None);
        for observer in &mut self.observers {
            while !observer.coming.is_empty() || observer.asks_behind.is_some() {
                observer.hear();
                observer.read_on(&self.room, 50);
            }
        }
    }
}

/// Runs a schedule, at the end of which everything has arrived.
fn run(seed: u64, is_shared: bool, counts: bool) -> World {
    let mut random = fastrand::Rng::with_seed(seed);
    let count_only_above = if random.bool() { 7 } else { 10_000 };
    let rules = PresenceRules { is_announced: true, notice_limit: 4, count_only_above, interval_ms: 100 };
    let (room, observers, held, others) = (Presence::default(), Vec::new(), Vec::new(), Default::default());
    let mut world =
        World { rules, room, observers, held, others, counts, is_shared, due_ms: None, now_ms: 0, random };
    for _ in 0..300 {
        world.step();
        let is_counted = world.others.iter().any(|(_, is_counted)| *is_counted);
        let wrong = world.observers.iter().find(|observer| {
            let (page, has_more) = world.room.page(&observer.name, None, MAX_PAGE);
            !is_counted && !has_more && page.len() != world.room.shown(&observer.name) || !page.is_sorted()
        });
        assert!(wrong.is_none(), "seed {seed}: names and number differ for {wrong:?}");
        if is_counted {
            let sum =
                world.room.users.len() + world.others.iter().map(|(users, _)| users.len()).sum::<usize>();
            assert_eq!(world.room.members(), sum, "seed {seed}: the sum of the nodes");
        }
    }
    world.settle();
    world
}

#[test]
fn a_list_and_the_announcements_behind_it_add_up_for_every_observer() {
    for (is_shared, counts) in [(false, false), (true, false), (true, true)] {
        for seed in 0..200 {
            let world = run(seed, is_shared, counts);
            let elsewhere = world.others.iter().flat_map(|(users, _)| users);
            let present: BTreeSet<UserId> = world.room.users.keys().chain(elsewhere).cloned().collect();
            assert_eq!(world.room.members(), present.len(), "seed {seed}");
            for Observer { name, members, list, .. } in &world.observers {
                assert_eq!(*members, present.len(), "seed {seed}, {name}");
                assert!(
                    list.as_ref().is_none_or(|list| *list == present),
                    "seed {seed}, {name}: {list:?}, {present:?}"
                );
            }
        }
    }
}
