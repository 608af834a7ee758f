//! A story: it carries out the steps of the clients, and keeps a model beside them, which has a counter and the keys of
//! each epoch of each room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use throng::config::QueuePolicy;
use throng::testing::clock::Clock;

use crate::checker::{Checker, Conn, Counts, End, Position};
use crate::system::{Client, EntryDialect, Heard, KEPT, SHARDS, System};
use crate::{CLIENTS, ResumeFrom, Step};

/// Characters of a long message: three messages fill a page, and a room keeps many.
const LONG: usize = 24_000;

/// Messages that a lagging client misses.
const MISSED: usize = 6;

/// The client that speaks the plain dialect, unless messages are dropped, of which a plain client gets no gap.
const PLAIN: usize = CLIENTS - 1;

/// A room of the model: its count goes on when all members have left.
#[derive(Default)]
struct Model {
    /// The number of the room's epoch.
    generation: u64,
    said: u64,
    keys: HashSet<(String, String)>,
}

impl Model {
    fn end(&mut self) {
        *self = Self { generation: self.generation + 1, ..Self::default() };
    }

    /// Whether a client that has seen `offset` of an epoch can get all messages since.
    fn recovers(&self, generation: u64, offset: u64) -> bool {
        generation == self.generation && offset <= self.said && offset + KEPT >= self.said
    }
}

/// A connection, with the judge's number for it.
struct Seat {
    client: Client,
    conn: Conn,
    /// The rooms it is in, each with its count of messages when the client came.
    rooms: HashMap<String, u64>,
    /// Predictions of the model for the next events `welcome` or `joined` of each room: several, because a client that
    /// does not read may have joined again.
    expected: HashMap<String, VecDeque<Expected>>,
    is_stalled: bool,
}

/// The model's prediction of a `welcome` or `joined`.
struct Expected {
    recovers: bool,
    generation: u64,
}

/// A keyed message, to be sent again.
#[derive(Clone)]
struct Keyed {
    room: String,
    text: String,
    key: String,
}

/// A running story; see the module's documentation.
pub(crate) struct Story {
    policy: QueuePolicy,
    /// Text that is added to every message.
    filler: String,
    system: System,
    checker: Checker,
    seats: HashMap<usize, Seat>,
    rooms: HashMap<String, Model>,
    /// The position of a client in a room when it left.
    positions: HashMap<(usize, String), Position>,
    /// The number of each epoch of a room.
    generations: HashMap<(String, String), u64>,
    keyed: HashMap<usize, Keyed>,
    counter: usize,
    /// Keys of `positions` that are from before the last restart.
    old: HashSet<(usize, String)>,
    /// Counts of the events that only stories bring about.
    plot: Plot,
    /// The folder of rooms that survive restarts. It is the last field, so that it is dropped after everything that has
    /// it open.
    dir: Option<TempDir>,
}

/// Counts of the events that only stories bring about.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Plot {
    /// Messages that were published in a room while a client was still receiving its missed ones.
    pub(crate) overtaken: u64,
    /// Positions from before a restart that recovered after it.
    pub(crate) outlived: u64,
}

impl Story {
    /// Begins a story, with long messages if `is_long`, and with rooms that survive restarts if `is_durable`.
    pub(crate) fn begin(policy: QueuePolicy, is_long: bool, is_durable: bool) -> Self {
        let dir = is_durable.then(|| tempfile::tempdir().expect("a folder"));
        Self {
            policy,
            filler: "x".repeat(if is_long { LONG } else { 0 }),
            system: System::start(policy, dir.as_ref().map(TempDir::path), Clock::manual()),
            dir,
            checker: Checker::new(policy != QueuePolicy::Disconnect),
            seats: HashMap::new(),
            rooms: HashMap::new(),
            positions: HashMap::new(),
            generations: HashMap::new(),
            keyed: HashMap::new(),
            counter: 0,
            old: HashSet::new(),
            plot: Plot::default(),
        }
    }

    fn is_plain(&self, client: usize) -> bool {
        client == PLAIN && self.policy == QueuePolicy::Disconnect
    }

    pub(crate) fn take(&mut self, step: &Step) {
        // A message takes effect when it is on disk, and may wait for that while others go on. A leave waits by itself.
        if !matches!(step, Step::Say { .. } | Step::Retry { .. } | Step::Leave { .. } | Step::Turn { .. }) {
            self.system.write();
        }
        match *step {
            Step::Connect { client, room, from, is_stalled } => {
                self.connect(client, room, from, is_stalled);
            }
            Step::Lag { client, room } => self.lag(client, room),
            Step::Disconnect { client } => self.end(client, End::Ours),
            Step::Say { client, times, is_keyed, echo } => {
                (0..times).for_each(|_| self.say(client, is_keyed, echo));
            }
            Step::Retry { client } => {
                if let Some(Keyed { room, text, key }) = self.keyed.get(&client).cloned() {
                    self.post(client, &room, &text, Some(&key), true);
                }
            }
            Step::Join { client, room, from } => self.join(client, room, from),
            Step::Leave { client } => self.leave(client),
            Step::Ask { client } => self.ask(client),
            Step::Stall { client } => self.stall(client, true),
            Step::Read { client } => self.stall(client, false),
            Step::Turn { shard } => self.system.turn(shard),
            Step::Settle => self.system.settle(),
            Step::Wait { ms } => self.system.advance(Duration::from_millis(ms)),
            Step::Restart => self.restart(),
        }
        self.hear();
    }

    /// Returns the position with which a client comes back, and whether the model says that it is recovered.
    fn wish(&mut self, client: usize, room: &str, from: ResumeFrom) -> (Option<Position>, bool) {
        let known = self.positions.get(&(client, room.to_owned())).filter(|_| from != ResumeFrom::Fresh);
        let Some((epoch, offset)) = known.cloned() else { return (None, false) };
        let generation = self.generations.get(&(room.to_owned(), epoch.clone())).copied();
        let generation = generation.expect("a client knows an epoch from a welcome");
        let (epoch, offset, generation) = match from {
            ResumeFrom::Future => (epoch, offset + 1_000, generation),
            ResumeFrom::OtherEpoch => ("0000000000000".to_owned(), offset, u64::MAX),
            ResumeFrom::Stale(back) => (epoch, offset.saturating_sub(back), generation),
            ResumeFrom::Fresh | ResumeFrom::Exact => (epoch, offset, generation),
        };
        let recovers = self.rooms.entry(room.to_owned()).or_default().recovers(generation, offset);
        (Some((epoch, offset)), recovers)
    }

    fn connect(&mut self, client: usize, room: usize, from: ResumeFrom, is_stalled: bool) {
        if self.seats.contains_key(&client) {
            return;
        }
        // Two of the clients are one user.
        let (name, user, room) =
            (format!("client-{client}"), format!("user-{}", client / 2), format!("room-{room}"));
        let (wish, recovers) = self.wish(client, &room, from);
        let (dress, conn) = if self.is_plain(client) {
            (EntryDialect::Plain, self.checker.connect_plain(&name, &user, &room))
        } else {
            (EntryDialect::V1(wish.as_ref()), self.checker.connect(&name, &user, &room, wish.clone()))
        };
        let connected = self.system.connect(client % SHARDS, &user, &room, &dress, is_stalled);
        let model = self.rooms.entry(room.clone()).or_default();
        let generation = model.generation;
        let rooms = HashMap::from([(room.clone(), model.said)]);
        let expected = HashMap::from([(room, VecDeque::from([Expected { recovers, generation }]))]);
        self.seats.insert(client, Seat { client: connected, conn, rooms, expected, is_stalled });
    }

    /// Sends a command of a client, if the client is connected and the server reads from it.
    fn send(&mut self, client: usize, mut command: Value) -> bool {
        let has_id = !self.is_plain(client);
        let Some(seat) = self.seats.get_mut(&client).filter(|seat| seat.client.is_listened_to()) else {
            return false;
        };
        self.counter += 1;
        if has_id {
            command["id"] = format!("c{}", self.counter).into();
        }
        let command = command.to_string();
        self.checker.sent(seat.conn, &command);
        self.system.message(&mut seat.client, &command);
        true
    }

    /// Returns the first of the client's rooms by name.
    fn room_of(&self, client: usize) -> Option<String> {
        self.seats.get(&client)?.rooms.keys().min().cloned()
    }

    /// Disconnects a client, lets it miss more than a page if messages are long, and connects it without reading: later
    /// messages then overtake its missed ones.
    fn lag(&mut self, client: usize, room: usize) {
        let name = format!("room-{room}");
        let mut others = (0..CLIENTS).filter(|other| *other != client);
        let is_there = |seat: &Seat| !seat.is_stalled && seat.rooms.contains_key(&name);
        let Some(other) = others.find(|other| self.seats.get(other).is_some_and(is_there)) else { return };
        self.end(client, End::Ours);
        (0..MISSED).for_each(|_| self.say_in(other, name.clone(), false, true));
        self.system.write();
        self.connect(client, room, ResumeFrom::Exact, true);
        (0..4).for_each(|_| self.say_in(other, name.clone(), false, true));
    }

    fn say(&mut self, client: usize, is_keyed: bool, echo: bool) {
        if let Some(room) = self.room_of(client) {
            self.say_in(client, room, is_keyed, echo);
        }
    }

    fn say_in(&mut self, client: usize, room: String, is_keyed: bool, echo: bool) {
        self.counter += 1;
        let (text, key) = (format!("text {} {}", self.counter, self.filler), format!("key {}", self.counter));
        let is_keyed = is_keyed && !self.is_plain(client);
        if is_keyed {
            let keyed = Keyed { room: room.clone(), text: text.clone(), key: key.clone() };
            self.keyed.insert(client, keyed);
        }
        self.post(client, &room, &text, is_keyed.then_some(key.as_str()), echo);
    }

    fn post(&mut self, client: usize, room: &str, text: &str, key: Option<&str>, echo: bool) {
        if !self.seats.get(&client).is_some_and(|seat| seat.rooms.contains_key(room)) {
            return;
        }
        let mut command = json!({"type": "message", "room": room, "message": text, "echo": echo});
        if let Some(key) = key {
            command["key"] = key.into();
        }
        if self.send(client, command) {
            let model = self.rooms.entry(room.to_owned()).or_default();
            let user = format!("user-{}", client / 2);
            let is_new = key.is_none_or(|key| model.keys.insert((user, key.to_owned())));
            model.said += u64::from(is_new);
            let mut others = self.seats.values().filter(|seat| seat.rooms.contains_key(room));
            self.plot.overtaken += u64::from(is_new && others.any(|seat| seat.client.is_pending()));
        }
    }

    fn join(&mut self, client: usize, room: usize, from: ResumeFrom) {
        let room = format!("room-{room}");
        if self.is_plain(client) || !self.seats.contains_key(&client) {
            return;
        }
        let (wish, recovers) = self.wish(client, &room, from);
        let mut command = json!({"type": "join", "room": room});
        if let Some((epoch, offset)) = wish {
            command["resume"] = json!({"epoch": epoch, "offset": offset});
        }
        if !self.send(client, command) {
            return;
        }
        let (Some(seat), model) = (self.seats.get_mut(&client), self.rooms.entry(room.clone()).or_default())
        else {
            return;
        };
        // A client that is in the room already gets an answer that says so.
        if !seat.rooms.contains_key(&room) {
            seat.rooms.insert(room.clone(), model.said);
            let expected = Expected { recovers, generation: model.generation };
            seat.expected.entry(room).or_default().push_back(expected);
        }
    }

    fn leave(&mut self, client: usize) {
        let Some(room) = self.room_of(client).filter(|_| !self.is_plain(client)) else { return };
        let is_known = self.seats.get(&client).and_then(|seat| self.checker.position(seat.conn, &room));
        if self.send(client, json!({"type": "leave", "room": room})) {
            self.remember(client, &room, is_known);
            if let Some(seat) = self.seats.get_mut(&client) {
                seat.rooms.remove(&room);
            }
        }
    }

    fn remember(&mut self, client: usize, room: &str, position: Option<Position>) {
        if let Some(position) = position.filter(|_| !self.is_plain(client)) {
            self.positions.insert((client, room.to_owned()), position);
        }
    }

    fn ask(&mut self, client: usize) {
        let Some(room) = self.room_of(client).filter(|_| !self.is_plain(client)) else { return };
        self.send(client, json!({"type": "history", "room": room}));
        self.send(client, json!({"type": "presence", "room": room}));
        self.send(
            client,
            json!({"type": "direct", "to": "user-0", "message": format!("psst {}", self.counter)}),
        );
        self.send(client, json!({"type": "ping"}));
        if let Some(seat) = self.seats.get_mut(&client).filter(|seat| seat.client.is_listened_to()) {
            self.system.message(&mut seat.client, &json!({"type": "typing", "room": room}).to_string());
        }
    }

    fn stall(&mut self, client: usize, is_stalled: bool) {
        if let Some(seat) = self.seats.get_mut(&client) {
            seat.is_stalled = is_stalled;
            self.system.stall(&mut seat.client, is_stalled);
        }
    }

    fn end(&mut self, client: usize, end: End) {
        // The others receive its messages before its leave.
        self.system.write();
        let Some(seat) = self.seats.remove(&client) else { return };
        for room in seat.rooms.keys() {
            let position = self.checker.position(seat.conn, room);
            self.remember(client, room, position);
        }
        self.checker.closed(seat.conn, end);
    }

    /// Restarts the server, which cuts off all clients. Without a log, rooms count from one again, in another epoch.
    fn restart(&mut self) {
        (0..CLIENTS).for_each(|client| self.end(client, End::Ours));
        let dir = self.dir.as_ref().map(TempDir::path);
        self.system.stop();
        self.system = System::start(self.policy, dir, self.system.clock());
        self.old = self.positions.keys().cloned().collect();
        if dir.is_none() {
            self.rooms.values_mut().for_each(Model::end);
        }
    }

    /// Lets every client read its events; a client that was closed is removed.
    fn hear(&mut self) {
        let mut closed = Vec::new();
        for (client, seat) in &mut self.seats {
            for heard in seat.client.hear() {
                let text = match heard {
                    Heard::Event(text) => text,
                    Heard::Close(code) => {
                        assert_eq!(code, 4001, "closed, but not for being slow");
                        closed.push(*client);
                        continue;
                    }
                };
                let event = self.checker.received(seat.conn, &text);
                if let (Some(recovered), Some(room)) = (event["recovered"].as_bool(), event["room"].as_str())
                {
                    let expected = seat.expected.get_mut(room).and_then(VecDeque::pop_front);
                    let Expected { recovers, generation } = expected.expect("the model has let it in");
                    assert_eq!(recovered, recovers, "recovered, and what the model says: {text}");
                    let is_old = self.old.remove(&(*client, room.to_owned()));
                    self.plot.outlived += u64::from(recovered && is_old);
                    let epoch = event["epoch"].as_str().unwrap_or_default().to_owned();
                    let known = self.generations.insert((room.to_owned(), epoch), generation);
                    assert!(known.is_none_or(|known| known == generation), "an epoch has one number: {text}");
                }
            }
        }
        closed.into_iter().for_each(|client| self.end(client, End::Closed(4001)));
    }

    /// Lets all clients read until everything has arrived; asserts that each is as far as the model, and that the judge
    /// finds nothing.
    pub(crate) fn finish(mut self) -> (Counts, Plot) {
        (0..CLIENTS).for_each(|client| self.stall(client, false));
        self.system.write();
        for _ in 0..2 {
            self.hear();
            self.system.settle();
        }
        // Merged presence events become due.
        self.system.advance(Duration::from_secs(2));
        self.system.settle();
        self.hear();
        for (client, seat) in &self.seats {
            assert!(!seat.is_stalled, "all of them read");
            for (room, since) in &seat.rooms {
                let said = self.rooms[room].said;
                let seen = self.checker.position(seat.conn, room).map_or(0, |(_, offset)| offset);
                let expected = if self.is_plain(*client) && said == *since { 0 } else { said };
                assert_eq!(seen, expected, "client {client} in {room}, which had {since} before");
            }
        }
        let unsettled = self.checker.unsettled();
        assert!(unsettled.is_empty(), "{}", unsettled[0]);
        self.seats.clear();
        self.system.settle();
        self.system.assert_empty();
        let counts = self.checker.counts;
        self.checker.finish().expect_clean();
        (counts, self.plot)
    }
}
