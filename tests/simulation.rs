//! The library under a thousand random stories in one thread: clients speak, are cut off, stop reading, come back, time
//! passes, the server starts afresh, and between any two of these its shards have come as far as chance lets them. What
//! every client sees is judged by the [checker] of the integration tests, and compared with a model that is a counter
//! for each room.
//!
//! A story that fails is shortened by proptest, and told.

use std::collections::HashMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

#[path = "it/support/checker/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod checker;
#[path = "it/support/frame.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod frame;
#[path = "simulation/system.rs"]
mod system;

use checker::{Checker, Conn, End};
use system::{Client, Heard, SHARDS, System};

const CLIENTS: usize = 5;
const ROOMS: usize = 2;
/// Stories that are told, each with a seed of its own.
const STORIES: u32 = 1000;

/// What may happen. A step that makes no sense where it comes is left out: any part of a story is a story.
#[derive(Debug, Clone)]
enum Step {
    Connect { client: usize, room: usize },
    Disconnect { client: usize },
    Say { client: usize, times: usize },
    Nonsense { client: usize },
    Stall { client: usize },
    Read { client: usize },
    Turn { shard: usize },
    Settle,
    Wait { ms: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..CLIENTS, 0..ROOMS).prop_map(|(client, room)| Step::Connect { client, room }),
        2 => (0..CLIENTS).prop_map(|client| Step::Disconnect { client }),
        8 => (0..CLIENTS, 1..8_usize).prop_map(|(client, times)| Step::Say { client, times }),
        1 => (0..CLIENTS).prop_map(|client| Step::Nonsense { client }),
        2 => (0..CLIENTS).prop_map(|client| Step::Stall { client }),
        2 => (0..CLIENTS).prop_map(|client| Step::Read { client }),
        6 => (0..SHARDS).prop_map(|shard| Step::Turn { shard }),
        2 => Just(Step::Settle),
        1 => (1..3_000_u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Restart),
    ]
}

/// A connection with its judge's name for it, and what the model knows: its room, and that room's count when it came.
struct Seated {
    client: Client,
    conn: Conn,
    room: String,
    since: u64,
    is_stalled: bool,
}

struct Story {
    system: System,
    checker: Checker,
    seats: HashMap<usize, Seated>,
    /// The model: how many messages each room has had since the server began.
    said: HashMap<String, u64>,
    texts: usize,
}

impl Story {
    fn begin() -> Self {
        Self {
            system: System::start(),
            checker: Checker::default(),
            seats: HashMap::new(),
            said: HashMap::new(),
            texts: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Connect { client, room } => self.connect(client, room),
            Step::Disconnect { client } => self.end(client, End::Ours),
            Step::Say { client, times } => (0..times).for_each(|_| self.say(client)),
            Step::Nonsense { client } => {
                if let Some(seat) = self.seats.get_mut(&client) {
                    self.system.message(&mut seat.client, "no JSON");
                }
            }
            Step::Stall { client } => self.stall(client, true),
            Step::Read { client } => self.stall(client, false),
            Step::Turn { shard } => self.system.turn(shard),
            Step::Settle => self.system.settle(),
            Step::Wait { ms } => self.system.advance(Duration::from_millis(ms)),
            Step::Restart => self.restart(),
        }
        self.hear();
    }

    fn connect(&mut self, client: usize, room: usize) {
        if self.seats.contains_key(&client) {
            return;
        }
        // Two clients are one user.
        let (name, user, room) =
            (format!("client-{client}"), format!("user-{}", client / 2), format!("room-{room}"));
        let conn = self.checker.connect_plain(&name, &user, &room);
        let seated = Seated {
            client: self.system.connect(client % SHARDS, &user, &room),
            conn,
            since: self.said.get(&room).copied().unwrap_or(0),
            room,
            is_stalled: false,
        };
        self.seats.insert(client, seated);
    }

    fn say(&mut self, client: usize) {
        let Some(seat) = self.seats.get_mut(&client).filter(|seat| !seat.client.is_ending()) else { return };
        self.texts += 1;
        let command = json!({"message": format!("text {}", self.texts)}).to_string();
        self.checker.sent(seat.conn, &command);
        self.system.message(&mut seat.client, &command);
        *self.said.entry(seat.room.clone()).or_default() += 1;
    }

    fn stall(&mut self, client: usize, is_stalled: bool) {
        if let Some(seat) = self.seats.get_mut(&client) {
            seat.is_stalled = is_stalled;
            seat.client.stall(is_stalled);
        }
    }

    fn end(&mut self, client: usize, end: End) {
        if let Some(seat) = self.seats.remove(&client) {
            self.checker.closed(seat.conn, end);
        }
    }

    /// Everyone is cut off, and nothing is remembered: rooms count from one again, in another epoch.
    fn restart(&mut self) {
        (0..CLIENTS).for_each(|client| self.end(client, End::Ours));
        self.system = System::start();
        self.said.clear();
    }

    /// Every client reads what has come; who was closed is gone.
    fn hear(&mut self) {
        let mut closed = Vec::new();
        for (client, seat) in &self.seats {
            for heard in seat.client.hear() {
                match heard {
                    Heard::Event(text) => drop(self.checker.received(seat.conn, &text)),
                    Heard::Close(code) => {
                        assert_eq!(code, 4001, "closed, but not for being slow");
                        closed.push(*client);
                    }
                }
            }
        }
        closed.into_iter().for_each(|client| self.end(client, End::Closed(4001)));
    }

    /// Everyone reads, everything arrives: each has come as far as the model, and the judge has nothing to say.
    fn finish(mut self) {
        (0..CLIENTS).for_each(|client| self.stall(client, false));
        self.system.settle();
        self.hear();
        self.system.settle();
        self.hear();
        for (client, seat) in &self.seats {
            let said = self.said.get(&seat.room).copied().unwrap_or(0);
            let seen = self.checker.position(seat.conn, &seat.room).map_or(0, |(_, offset)| offset);
            let expected = if said > seat.since { said } else { 0 };
            assert_eq!(seen, expected, "client {client} in {}, which had {} before", seat.room, seat.since);
        }
        let unsettled = self.checker.unsettled();
        assert!(unsettled.is_empty(), "{}", unsettled[0]);
        self.seats.clear();
        self.system.settle();
        self.system.assert_empty();
        self.checker.finish().expect_clean();
    }
}

#[test]
fn whatever_happens_every_client_sees_one_story() {
    let config =
        Config { cases: STORIES, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let told = TestRunner::new(config).run(&vec(step(), 1..120), |steps| {
        let mut story = Story::begin();
        steps.iter().for_each(|step| story.take(step));
        story.finish();
        Ok(())
    });
    told.unwrap_or_else(|error| panic!("{error}"));
}
