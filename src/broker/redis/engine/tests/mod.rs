//! The engines of two nodes on real servers: one, a Redis Cluster, or a master that Sentinels watch.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::broker::memory::{Memory, MemoryLimits};
use crate::broker::quota::KeyBound;
use crate::broker::redis::directory::Spent;
use crate::broker::redis::directory::release::Missing;
use crate::broker::redis::{Cluster, Holder, Host, Preparation, PrivateText, StartError};
use crate::broker::room::SharedRoom;
use crate::broker::{BrokerError, Encoded, Job, Local, Opener, Position, Publication, Published};
use crate::chat::presence::{Change, LocalNews};
use crate::chat::rooms::RoomRules;
use crate::clock::Clock;
use crate::config::{Address, Config, RedisMode};
use crate::names::{ConnectionId, Offset, RoomName, UserId};
use crate::protocol::close::EndReason;
use crate::protocol::event::Content;
use crate::revocation::Revocation;

mod cluster;
mod pacing;
mod report;
mod sentinel;
mod servers;
mod start;

use self::servers::{PATIENCE, eventually};

/// The messages that the members of a room were shown: each offset with its text.
type Shown = Vec<(u64, String)>;

/// The members of all rooms of a node, and its senders.
#[derive(Default)]
struct Members {
    acks: Mutex<HashMap<String, Position>>,
    refused: Mutex<Vec<(RoomName, String)>>,
    /// Rooms whose members were ended because messages are lost.
    lost: AtomicU64,
    /// Rooms that went on in a new epoch.
    renamed: AtomicU64,
}

impl Local for Members {
    type Topic = Shown;
    type SenderCopy = ();
    type Message = String;
    fn topic(&self) -> Shown {
        Vec::new()
    }
    fn has_space(&self, _: &Shown, _: usize) -> bool {
        true
    }
    fn deliver(&self, topic: &mut Shown, publication: Publication<'_, ()>) {
        let frame = String::from_utf8_lossy(publication.frame);
        let text = frame.split_once("\"message\":\"").and_then(|(_, rest)| rest.split_once('"'));
        topic.push((publication.offset.0, text.expect("a message has a text").0.to_owned()));
    }
    fn missed(&self, _: &mut Shown, room: &RoomName, from: Offset, to: Offset) {
        panic!("{room}: {from} to {to} are missing");
    }
    fn renamed(&self, _: &mut Shown, _: &RoomName, _: Position) {
        self.renamed.fetch_add(1, Relaxed);
    }
    fn lost(&self, _: &mut Shown) {
        self.lost.fetch_add(1, Relaxed);
    }
    fn is_occupied(&self, _: &Shown) -> bool {
        true
    }
    fn members(&self, _: &Shown) -> usize {
        1
    }
    fn show_typing(&self, _: &Shown, _: &RoomName, _: &UserId) {}
    fn encode(&self, _: &String, _: &RoomName, _: Position) -> Encoded<()> {
        unreachable!("an engine encodes from the batch")
    }
    fn content<'m>(&self, message: &'m String) -> Content<'m> {
        message.into()
    }
    fn sender_copy(&self, _: &String, _: &RoomName, _: Position) -> Option<()> {
        None
    }
    fn answer(&self, message: String, room: &RoomName, answer: Result<Published, BrokerError>) {
        match answer {
            Ok(published) => {
                let before = self.acks.lock().insert(message.clone(), published.position);
                assert_eq!(before, None, "{message} is acknowledged twice");
            }
            Err(_) => self.refused.lock().push((room.clone(), message)),
        }
    }
}

/// No connection holds a user id here.
impl Host for Members {
    const SLICES: usize = 1;

    fn hold(&self, _: Holder, _: &[ConnectionId]) {}
    fn holds(&self, _: &UserId, _: ConnectionId) -> bool {
        false
    }
    fn release(&self, _: &UserId, _: ConnectionId) {}
    fn holders(&self, _: usize) -> Vec<Holder> {
        Vec::new()
    }
    fn end(&self, _: &UserId, _: ConnectionId, _: EndReason) -> bool {
        false
    }
    fn end_all(&self) {}
    async fn is_alive(&self, _: ConnectionId, _: u32) -> bool {
        false
    }
    fn has_user(&self, _: &UserId) -> bool {
        false
    }
    async fn tell(&self, question: Bytes) -> Option<Bytes> {
        Some(question)
    }
    async fn revoke(&self, _: Vec<Revocation>) -> usize {
        0
    }
    fn deliver_private(&self, _: &[ConnectionId], _: &PrivateText) -> usize {
        0
    }
    fn apply_presence(
        &self,
        room: &SharedRoom<Self>,
        changes: Vec<Change>,
        now_ms: u64,
    ) -> Option<LocalNews> {
        room.with(|state| {
            let rules = state.settings().presence;
            let _ = state.presence.apply(changes, now_ms, &rules);
            state.presence.take_local()
        })
    }
    fn missing(&self, _: &UserId) -> Missing {
        Missing::default()
    }
    fn spend(&self, _: &UserId, _: Spent) {}
}

/// The engine of one node.
struct TestNode {
    broker: Arc<Memory<Members>>,
    cluster: Cluster<Members>,
}

impl TestNode {
    /// Starts an engine with these servers.
    fn start(mode: RedisMode, addresses: &[String]) -> Self {
        Self::try_start(mode, addresses, |_| {}).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_start(
        mode: RedisMode,
        addresses: &[String],
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        let mut config = Config::default();
        config.redis.mode = mode;
        config.redis.addresses = addresses.iter().map(|address| Address::parse(address).unwrap()).collect();
        config.redis.master_name = Some(servers::MASTER_NAME.to_owned());
        config.node = format!("n{}", fastrand::u32(..));
        change(&mut config);
        let limits = MemoryLimits {
            rooms: RoomRules::new(&config),
            history_total_bytes: 1 << 30,
            max_rooms: 100_000,
            max_positions: 0,
            position_ttl_ms: 0,
            default_room: config.chat.default_room.clone(),
            max_keys_per_user: 0,
            max_keys_of_api: 10,
            max_keys_bytes: 0,
        };
        let broker = Arc::new(Memory::new(Members::default(), limits));
        let cluster = Cluster::start(&config, &broker, Clock::system())?;
        Ok(Self { broker, cluster })
    }

    fn members(&self) -> &Members {
        self.broker.local()
    }

    /// Opens rooms, and waits until they are open.
    #[track_caller]
    fn open(&self, rooms: &[RoomName]) {
        let (answer, answers) = mpsc::sync_channel(1);
        for room in rooms {
            let answer = answer.clone();
            self.cluster.prepare(Preparation {
                room: room.clone(),
                opener: Opener::default(),
                resume: None,
                answer: Box::new(move |result| answer.send(result).expect("the test waits")),
            });
        }
        for _ in rooms {
            answers.recv_timeout(PATIENCE).expect("an answer").expect("the room is opened");
        }
    }

    /// Publishes a message. It is refused where it cannot be.
    fn say(&self, room: &RoomName, text: &str) {
        let Some(shared) = self.broker.find(room) else {
            return self.members().refused.lock().push((room.clone(), text.to_owned()));
        };
        let job = Job {
            room: shared,
            user: "ann".parse().unwrap(),
            // Half of the messages have an idempotency key.
            key: text.ends_with(['0', '2', '4', '6', '8']).then(|| text.parse().expect("a key")),
            key_bound: KeyBound::User,
            max_len: 100,
            at_unix_ms: 1_700_000_000_000,
            message: text.to_owned(),
        };
        if self.cluster.publish(job).is_err() {
            self.members().refused.lock().push((room.clone(), text.to_owned()));
        }
    }

    /// Publishes again what was refused.
    fn say_refused_again(&self) {
        let refused = std::mem::take(&mut *self.members().refused.lock());
        refused.iter().for_each(|(room, text)| self.say(room, text));
    }

    fn acked(&self) -> usize {
        self.members().acks.lock().len()
    }

    /// Returns what the members of a room were shown.
    fn shown(&self, room: &RoomName) -> Shown {
        self.broker.find(room).map(|room| room.with(|state| state.topic.clone())).unwrap_or_default()
    }

    /// Returns how many messages were shown in all of these rooms.
    fn count(&self, rooms: &[RoomName]) -> usize {
        rooms.iter().map(|room| self.shown(room).len()).sum()
    }
}

fn names(count: usize) -> Vec<RoomName> {
    (0..count).map(|number| format!("room-{number}").parse().unwrap()).collect()
}

/// Two nodes in the same rooms.
struct Pair {
    nodes: [TestNode; 2],
    rooms: Vec<RoomName>,
    /// How many messages were given to the nodes.
    said: usize,
}

impl Pair {
    fn start(mode: RedisMode, addresses: &[String], rooms: usize) -> Self {
        let nodes = [(); 2].map(|()| TestNode::start(mode, addresses));
        let rooms = names(rooms);
        nodes.iter().for_each(|node| node.open(&rooms));
        Self { nodes, rooms, said: 0 }
    }

    /// Lets both nodes say something in every room.
    fn say_everywhere(&mut self) {
        for room in &self.rooms {
            for node in &self.nodes {
                node.say(room, &format!("text-{}", self.said));
                self.said += 1;
            }
        }
    }

    /// Lets both nodes talk until `work` is done. Refused messages are said again.
    fn talk_during(&mut self, work: impl FnOnce() + Send) {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                work();
                is_done.store(true, Relaxed);
            });
            let mut next = 0;
            while !worker.is_finished() {
                for _ in 0..20 {
                    let room = &self.rooms[next % self.rooms.len()];
                    self.nodes[self.said % 2].say(room, &format!("text-{}", self.said));
                    self.said += 1;
                    next += 7;
                }
                self.nodes.iter().for_each(TestNode::say_refused_again);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        assert!(is_done.load(Relaxed), "the work has failed");
    }

    /// Waits until every message is acknowledged and shown by both nodes, in the same order, each once, none missing.
    #[track_caller]
    fn check(&self) {
        eventually("every message is acknowledged", || {
            self.nodes.iter().for_each(TestNode::say_refused_again);
            self.nodes.iter().map(TestNode::acked).sum::<usize>() == self.said
        });
        for node in &self.nodes {
            eventually("every message is shown", || node.count(&self.rooms) >= self.said);
            assert_eq!(node.members().lost.load(Relaxed), 0, "members were ended");
        }
        let mut texts = BTreeSet::new();
        for room in &self.rooms {
            let [one, other] = [0, 1].map(|index| self.nodes[index].shown(room));
            assert_eq!(one, other, "{room}");
            for (index, (offset, text)) in one.into_iter().enumerate() {
                assert_eq!(offset, index as u64 + 1, "{room} has a hole before {text}");
                assert!(texts.insert(text.clone()), "{text} is there twice");
            }
        }
        assert_eq!(texts.len(), self.said);
    }

    fn renamed(&self) -> u64 {
        self.nodes[0].members().renamed.load(Relaxed)
    }
}
