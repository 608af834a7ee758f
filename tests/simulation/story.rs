//! What happens to clients, step by step, with the model beside it: a counter and the keys of each life of each room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use throng::clock::Clock;
use throng::config::QueuePolicy;

use crate::checker::{Checker, Conn, Counts, End, Position};
use crate::system::{Client, Dress, Heard, KEPT, SHARDS, System};
use crate::{CLIENTS, Come, Step};

/// Characters of a long message: three are a page, and all that a room keeps are many.
const LONG: usize = 24_000;

/// Messages that somebody misses who lags.
const MISSED: usize = 6;

/// The client that speaks the plain dialect, unless messages are dropped: it would not be told.
const PLAIN: usize = CLIENTS - 1;

/// A room as the model knows it: its count goes on although everybody has gone.
#[derive(Default)]
struct Model {
    /// Which life of the room it is, and how many messages it has had.
    life: u64,
    said: u64,
    keys: HashSet<(String, String)>,
}

impl Model {
    fn end(&mut self) {
        *self = Self { life: self.life + 1, ..Self::default() };
    }

    /// Whether who has seen `position` of a life can get everything since.
    fn recovers(&self, life: u64, offset: u64) -> bool {
        life == self.life && offset <= self.said && offset + KEPT >= self.said
    }
}

/// A connection, with its judge's name for it.
struct Seat {
    client: Client,
    conn: Conn,
    /// The rooms it is in, with their count when it came.
    rooms: HashMap<String, u64>,
    /// Whether the model says that the next `welcome` or `joined` of a room recovers, and those behind it: who does not
    /// read may have joined again.
    expected: HashMap<String, VecDeque<Expected>>,
    is_stalled: bool,
}

/// What the model says of a `welcome` or `joined`.
struct Expected {
    recovers: bool,
    life: u64,
}

/// A keyed message, to be said again.
#[derive(Clone)]
struct Keyed {
    room: String,
    text: String,
    key: String,
}

/// See the module's documentation.
pub(crate) struct Story {
    policy: QueuePolicy,
    /// What is added to every text.
    filler: String,
    system: System,
    checker: Checker,
    seats: HashMap<usize, Seat>,
    rooms: HashMap<String, Model>,
    /// Where a client was in a room when it went.
    positions: HashMap<(usize, String), Position>,
    /// Which life of a room an epoch is.
    lives: HashMap<(String, String), u64>,
    keyed: HashMap<usize, Keyed>,
    counter: usize,
    /// Those of `positions` that are from before the last restart.
    old: HashSet<(usize, String)>,
    /// How much of what the stories are about has happened.
    plot: Plot,
    /// Where the rooms are that outlive the server. The last field, to go after everything that has it open.
    dir: Option<TempDir>,
}

/// How often it came to what only a story can bring about.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Plot {
    /// Messages that were said in a room while somebody was still getting what it had missed there.
    pub(crate) overtaken: u64,
    /// Positions from before a restart that recovered after it.
    pub(crate) outlived: u64,
}

impl Story {
    /// `is_long`: everything that is said. `is_durable`: rooms outlive the server.
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
            lives: HashMap::new(),
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
        // What somebody says is said when it is on disk, and may wait for that while others go on. A leave waits for
        // it by itself.
        if !matches!(step, Step::Say { .. } | Step::Retry { .. } | Step::Leave { .. } | Step::Turn { .. }) {
            self.system.write();
        }
        match *step {
            Step::Connect { client, room, come, is_stalled } => {
                self.connect(client, room, come, is_stalled);
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
            Step::Join { client, room, come } => self.join(client, room, come),
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

    /// With which position a client comes back, and whether the model says that it gets what it missed.
    fn wish(&mut self, client: usize, room: &str, come: Come) -> (Option<Position>, bool) {
        let known = self.positions.get(&(client, room.to_owned())).filter(|_| come != Come::Fresh);
        let Some((epoch, offset)) = known.cloned() else { return (None, false) };
        let life = self.lives.get(&(room.to_owned(), epoch.clone())).copied();
        let life = life.expect("where it was, it was welcomed");
        let (epoch, offset, life) = match come {
            Come::Future => (epoch, offset + 1_000, life),
            Come::OtherLife => ("0000000000000".to_owned(), offset, u64::MAX),
            Come::Stale(back) => (epoch, offset.saturating_sub(back), life),
            Come::Fresh | Come::Exact => (epoch, offset, life),
        };
        let recovers = self.rooms.entry(room.to_owned()).or_default().recovers(life, offset);
        (Some((epoch, offset)), recovers)
    }

    fn connect(&mut self, client: usize, room: usize, come: Come, is_stalled: bool) {
        if self.seats.contains_key(&client) {
            return;
        }
        // Two clients are one user.
        let (name, user, room) =
            (format!("client-{client}"), format!("user-{}", client / 2), format!("room-{room}"));
        let (wish, recovers) = self.wish(client, &room, come);
        let (dress, conn) = if self.is_plain(client) {
            (Dress::Plain, self.checker.connect_plain(&name, &user, &room))
        } else {
            (Dress::V1(wish.as_ref()), self.checker.connect(&name, &user, &room, wish.clone()))
        };
        let connected = self.system.connect(client % SHARDS, &user, &room, &dress, is_stalled);
        let model = self.rooms.entry(room.clone()).or_default();
        let life = model.life;
        let rooms = HashMap::from([(room.clone(), model.said)]);
        let expected = HashMap::from([(room, VecDeque::from([Expected { recovers, life }]))]);
        self.seats.insert(client, Seat { client: connected, conn, rooms, expected, is_stalled });
    }

    /// Sends a command of a client that is there and listened to.
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

    /// One of the client's rooms, the first by name.
    fn room_of(&self, client: usize) -> Option<String> {
        self.seats.get(&client)?.rooms.keys().min().cloned()
    }

    /// A client goes, misses more than a page if messages are long, and comes back without reading: what is said then
    /// overtakes what it missed.
    fn lag(&mut self, client: usize, room: usize) {
        let name = format!("room-{room}");
        let mut others = (0..CLIENTS).filter(|other| *other != client);
        let is_there = |seat: &Seat| !seat.is_stalled && seat.rooms.contains_key(&name);
        let Some(other) = others.find(|other| self.seats.get(other).is_some_and(is_there)) else { return };
        self.end(client, End::Ours);
        (0..MISSED).for_each(|_| self.say_in(other, name.clone(), false, true));
        self.system.write();
        self.connect(client, room, Come::Exact, true);
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
            self.plot.overtaken += u64::from(is_new && others.any(|seat| seat.client.is_replaying()));
        }
    }

    fn join(&mut self, client: usize, room: usize, come: Come) {
        let room = format!("room-{room}");
        if self.is_plain(client) || !self.seats.contains_key(&client) {
            return;
        }
        let (wish, recovers) = self.wish(client, &room, come);
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
        // Where it is already, it is told so.
        if !seat.rooms.contains_key(&room) {
            seat.rooms.insert(room.clone(), model.said);
            let expected = Expected { recovers, life: model.life };
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
        // What it has said is heard before the others hear that it has gone.
        self.system.write();
        let Some(seat) = self.seats.remove(&client) else { return };
        for room in seat.rooms.keys() {
            let position = self.checker.position(seat.conn, room);
            self.remember(client, room, position);
        }
        self.checker.closed(seat.conn, end);
    }

    /// Everyone is cut off. Without a log nothing is remembered: rooms count from one again, in another life.
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

    /// Every client reads what has come; who was closed is gone.
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
                    let Expected { recovers, life } = expected.expect("the model has let it in");
                    assert_eq!(recovered, recovers, "recovered, and what the model says: {text}");
                    let is_old = self.old.remove(&(*client, room.to_owned()));
                    self.plot.outlived += u64::from(recovered && is_old);
                    let epoch = event["epoch"].as_str().unwrap_or_default().to_owned();
                    let known = self.lives.insert((room.to_owned(), epoch), life);
                    assert!(known.is_none_or(|known| known == life), "an epoch is one life: {text}");
                }
            }
        }
        closed.into_iter().for_each(|client| self.end(client, End::Closed(4001)));
    }

    /// Everyone reads, everything arrives: each has come as far as the model, and the judge has nothing to say.
    pub(crate) fn finish(mut self) -> (Counts, Plot) {
        (0..CLIENTS).for_each(|client| self.stall(client, false));
        self.system.write();
        for _ in 0..2 {
            self.hear();
            self.system.settle();
        }
        // What was to be said about comings and goings later is said now.
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
