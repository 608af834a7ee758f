//! The record of a run: everything that the clients sent and were sent, in the order in which it happened, as the
//! [checker](crate::checker) reads it.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// A name that occurs often: of a room, an epoch, a user.
pub(crate) type Name = Arc<str>;

/// A position in a room: the epoch and the offset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) epoch: Name,
    pub(crate) offset: u64,
}

/// A client by its number. It stays the same client over all of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Client(pub(crate) usize);

/// Whether a fault may take messages that clients were shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Every message stays.
    None,
    /// The last messages may be lost, and clients that saw them must be told.
    May,
    /// Messages are lost: at least one client must be told.
    Must,
}

/// A thing that a client did or was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// It connects to a node.
    Connect { node: usize },
    /// `welcome` or `joined`: it is in the room. `asked` is the position from which it wanted to resume.
    Entered { room: Name, asked: Option<Position>, epoch: Name, offset: u64, recovered: bool },
    /// A message of the room. `id` is its id, which keeps the epoch under which it was published.
    Message { room: Name, offset: u64, id: Position, user: Name, text: String },
    /// Messages that will not come.
    Gap { room: Name, from: u64, to: u64 },
    /// The room counts on under another epoch, and nothing that this client saw is lost.
    Epoch { room: Name, epoch: Name, offset: u64 },
    /// It sends a message. `command` is the id of the command, which no other command of this client has.
    Sent { command: u64, room: Name, text: String, has_key: bool, echo: bool },
    /// The message of a command is in the room.
    Acked { command: u64, at: Position, duplicate: bool },
    /// The message of a command is not in the room.
    Refused { command: u64, code: String },
    /// A page of the history: the room's epoch, and id, user and text of each message.
    Page { room: Name, epoch: Name, messages: Vec<(Position, Name, String)> },
    /// An event, a status or an end that no client which keeps to the rules may get.
    Strange { what: String },
    /// The connection ended: with the server's code, or without one.
    Closed { code: Option<u16> },
}

/// An entry of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Client(Client, Event),
    /// A fault begins. Clients may hear of its losses at any time after that.
    Fault {
        name: String,
        loss: Loss,
    },
    /// The system was settled: every client was in all of its rooms, and nothing was under way.
    Settled,
}

/// The record of a run, with the time of each entry in milliseconds since the beginning.
#[derive(Debug)]
pub(crate) struct Record {
    began: Instant,
    entries: Mutex<Vec<(u64, Entry)>>,
}

impl Record {
    /// Makes an empty record that begins now.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), entries: Mutex::default() })
    }

    /// Adds an entry.
    pub(crate) fn add(&self, entry: Entry) {
        // The time is taken under the lock, so that it never runs backwards.
        let mut entries = self.entries.lock();
        let at = u64::try_from(self.began.elapsed().as_millis()).expect("a test takes no aeon");
        entries.push((at, entry));
    }

    /// Lets the last fault be one that may take messages.
    pub(crate) fn allow_loss(&self) {
        let mut entries = self.entries.lock();
        let last = entries.iter_mut().rev().find_map(|(_, entry)| match entry {
            Entry::Fault { loss, .. } => Some(loss),
            _ => None,
        });
        if let Some(loss @ Loss::None) = last {
            *loss = Loss::May;
        }
    }

    /// Returns all entries, and leaves none.
    pub(crate) fn take(&self) -> Vec<(u64, Entry)> {
        std::mem::take(&mut self.entries.lock())
    }
}
