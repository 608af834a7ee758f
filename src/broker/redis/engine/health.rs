//! The state of the engine as the rest of the node may know it, and what its log says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::super::batch::BadBatch;
use super::super::control::BadMessage;
use super::super::link::{DownReason, ServerFacts};
use super::super::nodes::Board;
use super::super::script::{BadReply, ServerError};
use super::super::topology::obstacle;
use super::links::Changes;
use crate::clock::Clock;
use crate::metrics::engine::EngineMetrics;
use crate::names::{Offset, RoomName};

/// How long the server may not answer before the node counts as not ready, in milliseconds.
const READY_MS: u64 = 5_000;
/// Time between two lines in the log of one kind, in milliseconds.
const LOG_PAUSE_MS: u64 = 1_000;

/// The state of the engine and its counters. Any thread may read them.
#[derive(Debug)]
pub(in crate::broker::redis) struct Health {
    clock: Clock,
    /// True once every server was connected.
    has_been_whole: AtomicBool,
    /// The time since which too many servers are not connected, in milliseconds of the node's clock, plus one; 0 while
    /// enough are.
    down_since_ms: AtomicU64,
    last_problem: Mutex<Option<Problem>>,
    /// True while the node is in the table of nodes.
    is_entered: AtomicBool,
    /// The progress of the start.
    start: Mutex<Start>,
    pub(in crate::broker::redis) metrics: Arc<EngineMetrics>,
    /// The nodes, for the dashboard.
    pub(in crate::broker::redis) board: Board,
    said: Mutex<[u64; Kind::COUNT]>,
}

/// The progress of a node's start at the table of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker::redis) enum Start {
    Waiting,
    Refused(Refusal),
    /// The node was entered.
    Over,
}

/// Why a node cannot be entered in the table of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::broker::redis) enum Refusal {
    #[error("another live node has the same name")]
    NameTaken,
    #[error("the table of nodes is full")]
    TableFull,
}

/// Why a server, or the map of all servers, is not at hand.
#[derive(Debug, Clone)]
pub(in crate::broker::redis) struct Problem {
    /// The server's name; `None` when it is the map that is missing, and the reason names the servers.
    pub(in crate::broker::redis) server: Option<String>,
    pub(in crate::broker::redis) reason: String,
    /// Trying again does not help: somebody has to change the settings of the node or of the server.
    pub(in crate::broker::redis) is_lasting: bool,
}

/// The kinds of lines in the log, each of which is written once a second at most.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Refused,
    Unreadable,
    Malformed,
    Gap,
    Fork,
    Lost,
    NoMap,
    Control,
    Endings,
}

impl Kind {
    const COUNT: usize = 9;
}

impl Health {
    pub(super) fn new(clock: Clock) -> Self {
        let now = clock.now_ms();
        Self {
            clock,
            has_been_whole: AtomicBool::new(false),
            down_since_ms: AtomicU64::new(now + 1),
            last_problem: Mutex::new(None),
            is_entered: AtomicBool::new(false),
            start: Mutex::new(Start::Waiting),
            metrics: Arc::default(),
            board: Board::default(),
            said: Mutex::default(),
        }
    }

    /// Returns true while enough servers were connected within the last five seconds: that of the keys that all nodes
    /// share, and those of at least half of the slots. False while the node is not in the table of nodes.
    pub(in crate::broker::redis) fn is_up(&self) -> bool {
        self.is_entered.load(Relaxed) && self.is_connected()
    }

    fn is_connected(&self) -> bool {
        match self.down_since_ms.load(Relaxed) {
            0 => true,
            since => self.clock.now_ms().saturating_sub(since - 1) < READY_MS,
        }
    }

    /// Returns true once every server was connected.
    pub(in crate::broker::redis) fn has_been_whole(&self) -> bool {
        self.has_been_whole.load(Relaxed)
    }

    /// Returns the progress of the start.
    pub(in crate::broker::redis) fn start(&self) -> Start {
        *self.start.lock()
    }

    /// Notes that the node is in the table of nodes.
    pub(super) fn entered(&self) {
        if !self.is_entered.swap(true, Relaxed) {
            *self.start.lock() = Start::Over;
        }
    }

    /// Notes that the node is not in the table of nodes any more.
    pub(in crate::broker::redis) fn begins_anew(&self) {
        self.is_entered.store(false, Relaxed);
    }

    /// Notes that the node cannot enter the table of nodes. Returns true when that ends its start.
    pub(super) fn refuse_start(&self, refusal: Refusal) -> bool {
        let mut start = self.start.lock();
        let ends_start = *start != Start::Over;
        if ends_start {
            *start = Start::Refused(refusal);
        }
        ends_start
    }

    /// Returns what is or was missing last.
    pub(in crate::broker::redis) fn last_problem(&self) -> Option<Problem> {
        self.last_problem.lock().clone()
    }

    /// Notes that every server is connected.
    pub(super) fn set_whole(&self) {
        self.has_been_whole.store(true, Relaxed);
    }

    /// Notes whether enough servers are connected.
    pub(super) fn set_available(&self, is_available: bool, now: u64) {
        if is_available {
            self.down_since_ms.store(0, Relaxed);
        } else {
            let _ = self.down_since_ms.compare_exchange(0, now + 1, Relaxed, Relaxed);
        }
    }

    pub(super) fn up(&self, server: &str, facts: &ServerFacts, was_up: bool) {
        if was_up {
            self.metrics.reconnects.add(1);
        }
        self.metrics.set_up(server, true);
        let ServerFacts { version, replication_id, .. } = facts;
        tracing::info!(server, %version, replication_id, "a server of the engine is connected");
    }

    pub(super) fn down(&self, server: &str, reason: &DownReason) {
        self.metrics.set_up(server, false);
        *self.last_problem.lock() = Some(Problem {
            server: Some(server.to_owned()),
            reason: reason.to_string(),
            is_lasting: reason.is_lasting(),
        });
        tracing::warn!(server, %reason, "a server of the engine is not connected: messages wait, then are refused");
    }

    /// Notes that the map of a cluster's slots could not be read.
    pub(super) fn no_map(&self, reason: String, is_lasting: bool) {
        if self.may_say(Kind::NoMap) {
            tracing::warn!(reason, "the slots of the cluster cannot be read, and are read again");
        }
        *self.last_problem.lock() = Some(Problem { server: None, reason, is_lasting });
    }

    /// Notes that other servers have the slots.
    pub(super) fn changed(&self, changes: &Changes) {
        let Changes { started, ended, moved } = changes;
        for server in ended {
            self.metrics.forget_server(&server.to_string());
            tracing::info!(%server, "a server of the engine has no slots any more");
        }
        for server in started {
            self.metrics.set_up(&server.to_string(), false);
            tracing::info!(%server, "a server of the engine has slots");
        }
        if *moved > 0 {
            tracing::info!(slots = moved, "slots of the cluster have moved");
        }
    }

    pub(super) fn nodes(&self, count: usize) {
        let nodes = &self.metrics.nodes;
        nodes.add((count as u64).wrapping_sub(nodes.get()));
    }

    pub(super) fn rooms(&self, count: usize) {
        let rooms = &self.metrics.rooms;
        rooms.add((count as u64).wrapping_sub(rooms.get()));
    }

    pub(super) fn calls(&self, count: usize) {
        let calls = &self.metrics.calls_in_flight;
        calls.add((count as u64).wrapping_sub(calls.get()));
    }

    pub(super) fn sent(&self, messages: usize) {
        self.metrics.count_batch(messages);
    }

    pub(super) fn filled(&self, messages: usize) {
        self.metrics.filled.add(messages as u64);
    }

    pub(super) fn gap(&self, room: &RoomName, from: Offset, to: Offset) {
        self.metrics.gaps.add(1);
        if self.may_say(Kind::Gap) {
            tracing::warn!(%room, %from, %to, "messages were gone before this node could read them");
        }
    }

    pub(super) fn fork(&self, room: &RoomName, is_lost: bool) {
        if is_lost {
            self.metrics.forks_lost.add(1);
            if self.may_say(Kind::Lost) {
                tracing::warn!(%room, "the engine lost messages that members were shown: they are closed with 4003");
            }
        } else {
            self.metrics.forks.add(1);
            if self.may_say(Kind::Fork) {
                tracing::info!(%room, "the room goes on in a new epoch, and nothing is lost");
            }
        }
    }

    pub(super) fn refused(&self, room: &RoomName, error: &ServerError) {
        self.metrics.errors.add(1);
        if self.may_say(Kind::Refused) {
            tracing::warn!(%room, %error, "the engine refuses a call");
        }
    }

    /// Notes that a script which is not a room's was refused. The answer that another server has the key is no refusal.
    pub(super) fn refused_script(&self, script: &str, error: &ServerError) {
        if obstacle(error).is_some() {
            return;
        }
        self.metrics.errors.add(1);
        if self.may_say(Kind::Refused) {
            tracing::warn!(script, %error, "the engine refuses a call");
        }
    }

    pub(super) fn malformed_control(&self, error: &BadMessage) {
        self.metrics.errors.add(1);
        if self.may_say(Kind::Control) {
            tracing::error!(%error, "a control message cannot be read or sent");
        }
    }

    pub(super) fn too_many_endings(&self) {
        if self.may_say(Kind::Endings) {
            tracing::warn!(
                "too many replaced connections of silent nodes: the next claim of the id ends them"
            );
        }
    }

    pub(super) fn unreadable(&self, error: &BadReply) {
        self.metrics.errors.add(1);
        if self.may_say(Kind::Unreadable) {
            tracing::error!(%error, "the engine's answer cannot be read");
        }
    }

    pub(super) fn malformed(&self, room: &RoomName, error: &BadBatch) {
        self.metrics.errors.add(1);
        if self.may_say(Kind::Malformed) {
            tracing::error!(%room, %error, "a malformed batch was published in the room's channel");
        }
    }

    /// Returns true when the last line of this kind is a second old.
    fn may_say(&self, kind: Kind) -> bool {
        let now = self.clock.now_ms() + LOG_PAUSE_MS;
        let mut said = self.said.lock();
        let is_due = now >= said[kind as usize] + LOG_PAUSE_MS;
        if is_due {
            said[kind as usize] = now;
        }
        is_due
    }
}
