//! A server with one room: the scripts as they are, in one step each, and the accidents of a server.

use std::collections::HashMap;

use crate::broker::redis::batch::{Batch, BatchMessage, CallId, Incarnation};
use crate::broker::redis::room::{Failure, Waiting};
use crate::broker::redis::script::Lives;
use crate::broker::redis::script::publish::PublishReply;
use crate::broker::redis::script::sync::SyncReply;
use crate::names::{Epoch, Offset, Position};

/// Earlier epochs that the server remembers.
const MAX_LIVES: usize = 8;
/// Batches of a page.
const PAGE: usize = 3;
/// A text that fills the room for held batches quickly.
static LONG_TEXT: [u8; 40_000] = [b'x'; 40_000];

/// A message of the model. The id is its time on the wire, by which it is recognised.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) sent: Sent,
}

/// The content of a draft, which can be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) id: u64,
    pub(super) key: Option<u8>,
    pub(super) is_long: bool,
}

impl Waiting for Draft {
    fn bytes(&self) -> usize {
        if self.sent.is_long { LONG_TEXT.len() } else { 100 }
    }
}

/// A request on the link for calls.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Publish { call: CallId, messages: Vec<Sent> },
    Sync,
    Page { from: Offset },
}

/// An answer on the link for calls.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Published(Result<PublishReply, Failure>),
    Synced(Result<SyncReply, Failure>),
    Filled(Result<Vec<Batch>, Failure>),
}

impl Request {
    /// Returns the answer when the request fails.
    pub(super) fn failed(&self, failure: Failure) -> Answer {
        match self {
            Self::Publish { .. } => Answer::Published(Err(failure)),
            Self::Sync => Answer::Synced(Err(failure)),
            Self::Page { .. } => Answer::Filled(Err(failure)),
        }
    }
}

/// The room's keys.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) epoch: Epoch,
    replication_id: u32,
    pub(super) lives: Lives,
    calls: HashMap<Incarnation, (u64, PublishReply)>,
    stream: Vec<Batch>,
    keys: HashMap<u8, Position>,
    /// Every message of the history that survives, trimmed or not, by offset: epoch and id.
    pub(super) history: Vec<(Epoch, u64)>,
}

impl Stored {
    pub(super) fn last(&self) -> Offset {
        Offset(self.history.len() as u64)
    }
}

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// Every call is refused before it runs.
    Loading,
    /// A script fails with its first write.
    Full,
}

/// Rules of the script that publishes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scripts {
    /// It answers a call with the number of the last one as it answered that, and does nothing.
    pub(super) know_repeated: bool,
    /// It refuses a call with a lower number.
    pub(super) know_old: bool,
}

impl Default for Scripts {
    fn default() -> Self {
        Self { know_repeated: true, know_old: true }
    }
}

#[derive(Debug)]
pub(super) struct Server {
    replication_id: u32,
    epochs: u64,
    pub(super) room: Option<Stored>,
    /// The room as a replica or a file has it.
    replica: Option<Stored>,
    pub(super) trouble: Trouble,
    pub(super) scripts: Scripts,
    /// Every message that was ever appended.
    pub(super) recorded: HashMap<(Epoch, Offset), Sent>,
    /// The history at each position that a sync has named.
    pub(super) histories: HashMap<(Epoch, Offset), Vec<(Epoch, u64)>>,
    /// The highest offset that was trimmed.
    pub(super) trimmed: Offset,
    /// Batches that are to be pushed.
    pub(super) pushes: Vec<Batch>,
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            replication_id: 1,
            epochs: 0,
            room: None,
            replica: None,
            trouble: Trouble::None,
            scripts: Scripts::default(),
            recorded: HashMap::new(),
            histories: HashMap::new(),
            trimmed: Offset(0),
            pushes: Vec::new(),
        }
    }

    /// Runs a request in one step.
    pub(super) fn run(&mut self, request: &Request) -> Answer {
        if self.trouble == Trouble::Loading {
            return request.failed(Failure::Refused);
        }
        match request {
            Request::Publish { call, messages } => Answer::Published(self.publish(*call, messages)),
            Request::Sync => Answer::Synced(self.sync()),
            Request::Page { from } => Answer::Filled(Ok(self.page(*from))),
        }
    }

    /// Returns the room, in a new epoch if the server is not the one that wrote it.
    fn current(&mut self) -> Stored {
        self.epochs += 1;
        let epoch: Epoch = format!("{:013}", self.epochs).parse().unwrap();
        let id = self.replication_id;
        let Some(mut room) = self.room.clone() else {
            return Stored {
                epoch,
                replication_id: id,
                lives: Lives::default(),
                calls: HashMap::new(),
                stream: Vec::new(),
                keys: HashMap::new(),
                history: Vec::new(),
            };
        };
        if room.replication_id != id {
            room.lives.0.insert(0, (room.epoch, room.last()));
            room.lives.0.truncate(MAX_LIVES);
            (room.epoch, room.replication_id) = (epoch, id);
        }
        room
    }

    fn publish(&mut self, call: CallId, messages: &[Sent]) -> Result<PublishReply, Failure> {
        let known = self.room.as_ref().and_then(|room| room.calls.get(&call.by));
        if let Some((number, reply)) = known {
            if *number == call.number && self.scripts.know_repeated {
                return Ok(reply.clone());
            }
            if *number > call.number && self.scripts.know_old {
                return Err(Failure::Refused);
            }
        }
        if self.trouble == Trouble::Full {
            return Err(Failure::Refused);
        }
        let mut room = self.current();
        let first = room.last().next();
        let mut duplicates = Vec::new();
        let mut appended = Vec::new();
        for (index, sent) in messages.iter().enumerate() {
            if let Some(position) = sent.key.and_then(|key| room.keys.get(&key)) {
                duplicates.push((index, *position));
                continue;
            }
            let position = Position { epoch: room.epoch, offset: room.last().next() };
            self.recorded.insert((position.epoch, position.offset), *sent);
            room.history.push((room.epoch, sent.id));
            room.keys.extend(sent.key.map(|key| (key, position)));
            appended.push(message(sent));
        }
        let lives = room.lives.clone();
        let reply = PublishReply { epoch: room.epoch, first, last: room.last(), duplicates, lives };
        room.calls.insert(call.by, (call.number, reply.clone()));
        if !appended.is_empty() {
            let batch = Batch { epoch: room.epoch, first, call, messages: appended };
            room.stream.push(batch.clone());
            self.pushes.push(batch);
        }
        self.room = Some(room);
        Ok(reply)
    }

    fn sync(&mut self) -> Result<SyncReply, Failure> {
        let writes = self.room.as_ref().is_none_or(|room| room.replication_id != self.replication_id);
        if writes && self.trouble == Trouble::Full {
            return Err(Failure::Refused);
        }
        let room = self.current();
        let reply = SyncReply { epoch: room.epoch, last: room.last(), lives: room.lives.clone() };
        self.histories.entry((room.epoch, room.last())).or_insert_with(|| room.history.clone());
        self.room = Some(room);
        Ok(reply)
    }

    fn page(&self, from: Offset) -> Vec<Batch> {
        let stream = self.room.iter().flat_map(|room| &room.stream);
        stream.filter(|batch| batch.last() >= from).take(PAGE).cloned().collect()
    }

    /// Copies the room to the replica.
    pub(super) fn replicate(&mut self) {
        self.replica = self.room.clone();
    }

    /// Gives the server another replication id: it was promoted, or restarted.
    pub(super) fn change_id(&mut self, loses_tail: bool) {
        self.replication_id += 1;
        if loses_tail {
            self.room = self.replica.clone();
        } else {
            self.replicate();
        }
    }

    /// Forgets all of the room, everywhere.
    pub(super) fn forget(&mut self) {
        self.room = None;
        self.replica = None;
    }

    /// Trims all batches but the last few.
    pub(super) fn trim(&mut self, kept: usize) {
        let Some(room) = &mut self.room else { return };
        let gone = room.stream.len().saturating_sub(kept);
        for batch in room.stream.drain(..gone) {
            self.trimmed = self.trimmed.max(batch.last());
        }
    }
}

fn message(sent: &Sent) -> BatchMessage {
    let text = if sent.is_long { &LONG_TEXT[..] } else { b"\"x\"" };
    BatchMessage {
        user: "bob".parse().unwrap(),
        at_unix_ms: sent.id,
        text: bytes::Bytes::from_static(text),
        more: None,
    }
}
