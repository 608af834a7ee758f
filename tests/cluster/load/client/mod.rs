//! One client: it is in its rooms on some node, publishes, and comes back elsewhere with its session and positions.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::record::{Client, Entry, Event, Name, Position};
use super::socket::{Heard, Refusal, Socket};
use super::{Phase, Shared, State, rooms_of, user};

/// Messages of one client that wait for their answer, at most. Beyond, it publishes nothing new.
const MAX_UNANSWERED: usize = 32;

/// Time for which a message is sent again with its key. The key is remembered for five minutes.
const RETRY_FOR: Duration = Duration::from_secs(240);

/// Time after which a refused message or join is sent again.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(25);

/// Close codes that a client which keeps to the rules may get.
const SANE_ENDS: [u16; 6] = [1001, 1012, 1013, 3008, 4001, 4003];

/// A message under way, or one to be sent again.
#[derive(Debug, Clone)]
struct Outgoing {
    room: Name,
    text: String,
    key: Option<String>,
    echo: bool,
    first_sent: Instant,
    not_before: Instant,
}

/// A command that waits for its answer.
#[derive(Debug)]
enum Pending {
    Message(Outgoing),
    Join(Name, Option<Position>),
    History,
}

/// The end of a connection, as the client goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Reconnect,
    End,
}

struct Life {
    client: Client,
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    random: Rng,
    rooms: Vec<Name>,
    session: Option<String>,
    positions: BTreeMap<Name, Position>,
    /// Rooms that the connection is in.
    entered: BTreeSet<Name>,
    /// Rooms to join, at the earliest then.
    to_join: BTreeMap<Name, Instant>,
    pending: BTreeMap<u64, Pending>,
    /// Messages with a key that must be sent again.
    again: Vec<Outgoing>,
    counter: u64,
    silence: Duration,
    attempts: u32,
}

/// Lives until the clients are told to leave.
pub(super) async fn live(client: Client, shared: Arc<Shared>, seed: u64) {
    let phase = shared.phase.subscribe();
    let rooms = rooms_of(client, &shared.world);
    let mut life = Life {
        client,
        shared,
        phase,
        random: Rng::with_seed(seed),
        rooms,
        session: None,
        positions: BTreeMap::new(),
        entered: BTreeSet::new(),
        to_join: BTreeMap::new(),
        pending: BTreeMap::new(),
        again: Vec::new(),
        counter: 0,
        silence: Duration::from_secs(5),
        attempts: 0,
    };
    while *life.phase.borrow() != Phase::Leave {
        if life.connection().await == Next::End {
            return;
        }
        // Full jitter, as the manual asks for, with times that suit a test.
        let most = (50 << life.attempts.min(5)).min(1000);
        sleep(Duration::from_millis(life.random.u64(..=most))).await;
    }
}

fn name(event: &Value, field: &str) -> Name {
    event[field].as_str().unwrap_or_default().into()
}

impl Life {
    fn record(&self, event: Event) {
        self.shared.record.add(Entry::Client(self.client, event));
    }

    fn strange(&self, what: impl Into<String>) {
        self.record(Event::Strange { what: what.into() });
    }

    /// Shows the rest of the rig how the client is.
    fn show(&self) {
        let is_settled =
            self.entered.len() == self.rooms.len() && self.pending.is_empty() && self.again.is_empty();
        let state = State { is_settled, positions: self.positions.clone() };
        self.shared.states.lock()[self.client.0] = state;
    }

    /// Connects to a node chosen at random and stays until the connection ends.
    async fn connection(&mut self) -> Next {
        let (node, address) = {
            let nodes = self.shared.nodes.lock();
            let node = self.random.usize(..nodes.len());
            (node, nodes[node])
        };
        let room = self.random.choice(&self.rooms).expect("a client has rooms").clone();
        let asked = self.positions.get(&room).cloned();
        let mut path = format!("/ws/chat/{}?room={room}", user(self.client));
        if let Some(Position { epoch, offset }) = &asked {
            path.push_str(&format!("&resume={epoch}:{offset}"));
        }
        if let Some(session) = &self.session {
            path.push_str(&format!("&session={session}"));
        }
        self.attempts += 1;
        self.record(Event::Connect { node });
        let mut socket = match Socket::connect(address, &path).await {
            Ok(socket) => socket,
            Err(Refusal::Away) => return Next::Reconnect,
            Err(Refusal::Status(status)) => {
                self.strange(format!("status {status} for {path}"));
                return Next::Reconnect;
            }
        };
        let next = self.stay(&mut socket, &room, asked).await;
        self.forget();
        match next {
            // Half of the ends are abrupt.
            Next::Reconnect if self.random.bool() => socket.reset(),
            Next::Reconnect | Next::End => socket.close().await,
        }
        next
    }

    /// Forgets the connection. A message with a key whose outcome is unknown must be sent again.
    fn forget(&mut self) {
        self.entered.clear();
        self.to_join.clear();
        for pending in std::mem::take(&mut self.pending).into_values() {
            if let Pending::Message(message) = pending {
                self.send_again(message, Instant::now());
            }
        }
        self.show();
    }

    fn send_again(&mut self, message: Outgoing, not_before: Instant) {
        if message.key.is_some() && message.first_sent.elapsed() < RETRY_FOR {
            self.again.push(Outgoing { not_before, ..message });
        }
    }

    async fn stay(&mut self, socket: &mut Socket, room: &Name, asked: Option<Position>) -> Next {
        let world = self.shared.world;
        let mut until = Instant::now() + world.move_every.mul_f64(self.random.f64() * 2.0);
        let mut talk = Instant::now() + world.talk_every.mul_f64(self.random.f64() * 2.0);
        let mut heard_at = Instant::now();
        let mut is_welcome = false;
        loop {
            let phase = *self.phase.borrow_and_update();
            let now = Instant::now();
            if phase == Phase::Leave || (phase == Phase::Talk && now > until) || now > heard_at + self.silence
            {
                self.record(Event::Closed { code: None });
                return if phase == Phase::Leave { Next::End } else { Next::Reconnect };
            }
            if phase == Phase::Settle {
                until = now + world.move_every.mul_f64(self.random.f64() * 2.0);
            }
            if is_welcome && !self.act(socket, phase, &mut talk).await {
                self.record(Event::Closed { code: None });
                return Next::Reconnect;
            }
            tokio::select! {
                biased;
                heard = socket.next() => {
                    heard_at = Instant::now();
                    match heard {
                        Heard::Event(event) if !is_welcome => {
                            is_welcome = self.welcome(&event, room, asked.as_ref());
                        }
                        Heard::Event(event) => self.heard(socket, &event).await,
                        Heard::Broken => {
                            self.record(Event::Closed { code: None });
                            return Next::Reconnect;
                        }
                        Heard::Closed(code, reason) => {
                            self.closed(code, &reason);
                            return Next::Reconnect;
                        }
                    }
                    self.show();
                }
                _ = self.phase.changed() => {}
                () = sleep_until(now + TICK) => {}
            }
        }
    }

    fn closed(&mut self, code: u16, reason: &str) {
        self.record(Event::Closed { code: Some(code) });
        // An attempt that the client gave up may have been carried out late, with a session that it never heard of. It
        // holds the user id until the node has noticed that nobody is there.
        let meets_itself = code == 1008 && self.attempts > 1 && reason.contains("already in use");
        if !SANE_ENDS.contains(&code) && !meets_itself {
            self.strange(format!("closed with {code} {reason:?}"));
        }
    }

    fn welcome(&mut self, event: &Value, room: &Name, asked: Option<&Position>) -> bool {
        if event["type"] == "disconnect" {
            return false;
        }
        if event["type"] != "welcome" || name(event, "room") != *room {
            self.strange(format!("no welcome to {room}: {event}"));
            return false;
        }
        self.attempts = 0;
        self.session = event["session"].as_str().map(str::to_owned);
        // Two heartbeats that did not come are the end of a connection whose node is stopped or cut off.
        self.silence = Duration::from_millis(event["heartbeat_ms"].as_u64().unwrap_or(2500) * 2 + 500);
        self.enter(room, asked.cloned(), event);
        let others = self.rooms.iter().filter(|other| *other != room);
        self.to_join = others.map(|other| (other.clone(), Instant::now())).collect();
        true
    }

    fn enter(&mut self, room: &Name, asked: Option<Position>, event: &Value) {
        let epoch = name(event, "epoch");
        let recovered = event["recovered"] == true;
        let offset = event["offset"].as_u64().unwrap_or(0);
        let last = if recovered { asked.as_ref().map_or(offset, |asked| asked.offset) } else { offset };
        self.positions.insert(room.clone(), Position { epoch: epoch.clone(), offset: last });
        self.entered.insert(room.clone());
        self.record(Event::Entered { room: room.clone(), asked, epoch, offset, recovered });
    }

    /// Does what is due; false when the node takes no command.
    async fn act(&mut self, socket: &mut Socket, phase: Phase, talk: &mut Instant) -> bool {
        let now = Instant::now();
        while let Some(room) = self.to_join.iter().find(|(_, at)| **at <= now).map(|(room, _)| room.clone()) {
            self.to_join.remove(&room);
            let asked = self.positions.get(&room).cloned();
            let mut command = json!({"type": "join", "room": &*room});
            if let Some(Position { epoch, offset }) = &asked {
                command["resume"] = json!({"epoch": &**epoch, "offset": offset});
            }
            if !self.command(socket, command, Pending::Join(room, asked)).await {
                return false;
            }
        }
        let is_due = |message: &Outgoing| message.not_before <= now && self.entered.contains(&message.room);
        let (due, later) = std::mem::take(&mut self.again).into_iter().partition(is_due);
        self.again = later;
        let mut due: Vec<Outgoing> = due;
        if phase == Phase::Talk && now >= *talk {
            *talk = now + self.shared.world.talk_every.mul_f64(self.random.f64() * 2.0);
            if self.pending.len() + self.again.len() < MAX_UNANSWERED {
                due.extend(self.compose());
            }
            if self.random.u8(..20) == 0 && !self.ask(socket).await {
                return false;
            }
        }
        let mut is_taken = true;
        for message in due {
            // After a failure the rest is remembered for the next connection.
            is_taken = is_taken && self.publish(socket, message.clone()).await || {
                self.send_again(message, now);
                false
            };
        }
        self.show();
        is_taken
    }

    /// Makes up a message that nobody has sent before. A third of the messages have a key.
    fn compose(&mut self) -> Option<Outgoing> {
        let room = self.random.choice(self.entered.iter())?.clone();
        self.counter += 1;
        let text = format!("client {} says {}", self.client.0, self.counter);
        let key = (self.random.u8(..3) == 0).then(|| format!("key-{}-{}", self.client.0, self.counter));
        let now = Instant::now();
        Some(Outgoing { room, text, key, echo: self.random.u8(..4) > 0, first_sent: now, not_before: now })
    }

    async fn publish(&mut self, socket: &mut Socket, message: Outgoing) -> bool {
        let Outgoing { room, text, key, echo, .. } = message.clone();
        let mut command = json!({"type": "message", "room": &*room, "message": text, "echo": echo});
        if let Some(key) = &key {
            command["key"] = key.as_str().into();
        }
        // It may arrive even if the connection breaks meanwhile, so it is recorded first.
        self.record(Event::Sent { command: self.counter + 1, room, text, has_key: key.is_some(), echo });
        self.command(socket, command, Pending::Message(message)).await
    }

    async fn ask(&mut self, socket: &mut Socket) -> bool {
        let Some(room) = self.random.choice(self.entered.iter()).cloned() else { return true };
        self.command(socket, json!({"type": "history", "room": &*room, "limit": 100}), Pending::History).await
    }

    /// Sends a command with a new id; false when the node does not take it.
    async fn command(&mut self, socket: &mut Socket, mut command: Value, pending: Pending) -> bool {
        self.counter += 1;
        command["id"] = self.counter.to_string().into();
        let is_taken = socket.send(&command).await;
        if is_taken {
            self.pending.insert(self.counter, pending);
        }
        is_taken
    }
}
