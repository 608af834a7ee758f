//! A node without connections: its broker, its engine and the CPU time of the engine's thread.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use throng::names::{RoomName, UserId};
use throng::testing::broker::memory::{Memory, MemoryLimits};
use throng::testing::broker::quota::KeyBound;
use throng::testing::broker::redis::{Cluster, Preparation};
use throng::testing::broker::room::SharedRoom;
use throng::testing::broker::{Job, Opener};
use throng::testing::chat::rooms::RoomRules;
use throng::testing::clock::Clock;

use super::members::{Members, Message};
use crate::support::{config, name};

/// Characters of each message.
const TEXT: usize = 150;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// The unit of the CPU times of threads in `/proc`.
const TICK: Duration = Duration::from_millis(10);

/// A node.
pub(super) struct Node {
    name: String,
    broker: Arc<Memory<Members>>,
    cluster: Cluster<Members>,
    /// The number of the engine's thread.
    thread: String,
    user: UserId,
    text: &'static str,
}

impl Node {
    /// Starts a node on the server at this address.
    pub(super) fn start(name: &str, address: &str) -> Self {
        let settings = [&format!("redis.addresses={address}"), &format!("node={name}"), "engine=redis"];
        let config = config(&settings);
        let limits = MemoryLimits {
            rooms: RoomRules::new(&config),
            history_total_bytes: 1 << 30,
            max_rooms: 1 << 20,
            max_positions: 0,
            position_ttl_ms: 0,
            default_room: config.chat.default_room.clone(),
            max_keys_per_user: 0,
            max_keys_of_api: 10,
            max_keys_bytes: 0,
        };
        let broker = Arc::new(Memory::new(Members::default(), limits));
        let others = engine_threads();
        let cluster =
            Cluster::start(&config, &broker, Clock::system()).unwrap_or_else(|error| panic!("{error}"));
        let thread = engine_threads().difference(&others).next().expect("the engine's thread").clone();
        let text = "m".repeat(TEXT).leak();
        Self {
            name: name.to_owned(),
            broker,
            cluster,
            thread,
            user: crate::support::name("user-12345"),
            text,
        }
    }

    /// Returns the name of the node's connections at the server.
    pub(super) fn client_name(&self) -> String {
        format!("throng-{}", self.name)
    }

    pub(super) fn members(&self) -> &Members {
        self.broker.local()
    }

    /// Returns the CPU time of the engine's thread.
    pub(super) fn cpu(&self) -> Duration {
        let stat =
            fs::read_to_string(format!("/proc/self/task/{}/stat", self.thread)).expect("the thread runs");
        // Behind the thread's name, which is in brackets, user and system time are the 12th and 13th field.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).map(|ticks| TICK * ticks.parse().expect("a number of ticks")).sum()
    }

    /// Opens rooms and returns them.
    pub(super) fn open(&self, rooms: usize) -> Vec<SharedRoom<Members>> {
        let names: Vec<RoomName> = (0..rooms).map(|number| name(&format!("room-{number}"))).collect();
        let (answer, answers) = mpsc::sync_channel(rooms);
        for room in &names {
            let answer = answer.clone();
            self.cluster.prepare(Preparation {
                room: room.clone(),
                opener: Opener::default(),
                resume: None,
                answer: Box::new(move |result| answer.send(result).expect("the bench waits")),
            });
        }
        for _ in &names {
            answers.recv_timeout(PATIENCE).expect("an answer").expect("the room is opened");
        }
        names.iter().map(|name| self.broker.find(name).expect("the room is open")).collect()
    }

    /// Submits a message.
    pub(super) fn publish(&self, room: &SharedRoom<Members>) {
        let job = Job {
            room: Arc::clone(room),
            user: self.user.clone(),
            key: None,
            key_bound: KeyBound::User,
            max_len: TEXT + 200,
            at_unix_ms: 1_700_000_000_000,
            message: Message { text: self.text, since: Instant::now() },
        };
        self.cluster.publish(job).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until at most so many messages are not answered.
    pub(super) fn wait_for_answers(&self, most: usize) {
        let began = Instant::now();
        while self.cluster.waiting() > most {
            assert!(began.elapsed() < PATIENCE, "{} messages are not answered", self.cluster.waiting());
            sleep(Duration::from_micros(100));
        }
        assert_eq!(self.members().refused.load(Relaxed), 0, "messages are refused");
    }

    /// Waits until so many messages were delivered since the node has started.
    pub(super) fn wait_for_deliveries(&self, count: u64) {
        let began = Instant::now();
        loop {
            let delivered = self.members().delivered.load(Relaxed);
            if delivered >= count {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{delivered} of {count} messages are delivered");
            sleep(Duration::from_micros(200));
        }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.members().delivered.load(Relaxed)
    }
}

/// Returns the numbers of all engines' threads.
fn engine_threads() -> BTreeSet<String> {
    let threads = fs::read_dir("/proc/self/task").expect("the threads of this process").flatten();
    let is_engine = |thread: &fs::DirEntry| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.trim_end() == "engine")
    };
    threads.filter(is_engine).map(|thread| thread.file_name().to_string_lossy().into_owned()).collect()
}
