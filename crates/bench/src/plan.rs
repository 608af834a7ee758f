//! The plan of a run: every choice made and checked. `scenario` builds it from the command line.

use std::time::Duration;

use clap::ValueEnum;

use super::protocol::Client;
use super::schedule::Pace;
use super::target::Target;

/// The phases that a run goes through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Workload {
    /// Connect, warm up, publish for the measured time, drain. If `stalled` is not 0, measure once with all
    /// connections reading as a baseline, and again after the stalled ones have stopped reading.
    Traffic {
        /// Number of connections that stop reading, counted from the last.
        stalled: usize,
    },
    /// Connect all connections, which is what is measured.
    Connect,
    /// Connect, let each connection send and receive once, then do nothing for this long.
    Idle(Duration),
    /// Connect, then reset all connections and reconnect them at once, this many times.
    Storm(usize),
}

/// The connections that receive a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Receivers {
    /// All members of the room, the publisher too
    Room,
    /// All members of the room but the publisher
    Others,
    /// The publisher alone
    Publisher,
}

/// Everything that a run needs to know.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Name of the scenario on the command line.
    pub(super) scenario: &'static str,
    pub(super) workload: Workload,
    /// The server under test: address, path and headers of the handshake.
    pub(super) target: Target,
    pub(super) connections: usize,
    /// Connection `i` is in room `i % rooms`.
    pub(super) rooms: usize,
    /// Number of publishers: the connections from 0 to `publishers - 1`.
    pub(super) publishers: usize,
    pub(super) receivers: Receivers,
    pub(super) pace: Pace,
    /// Size of a payload in bytes. It begins with a mark: the publisher's number and the time of sending.
    pub(super) size: usize,
    /// The protocol of the server, and how a connection joins its room in it.
    pub(super) client: Client,
    /// Text of a message: `%s` stands for the payload, `%n` for its length, `{i}` for the publisher's number and `{r}`
    /// for its room.
    pub(super) template: String,
    /// Text that each connection sends once it is open, if it is not empty: `{i}` stands for the connection's number,
    /// `{r}` for its room.
    pub(super) hello: String,
    /// Opcode of published messages: [`super::wire::TEXT`] or [`super::wire::BINARY`].
    pub(super) opcode: u8,
    /// Each connection offers permessage-deflate, and messages are made of words, which can be compressed like a text.
    pub(super) compression: bool,
    /// The byte that begins a mark. The server should send it nowhere else.
    pub(super) mark: u8,
    /// Besides the publishers, each connection whose number is a multiple of `sample` measures latency.
    pub(super) sample: usize,
    /// Largest number of handshakes at the same time.
    pub(super) concurrency: usize,
    /// Number of connections from one source address before the next address is used.
    pub(super) per_address: usize,
    /// Pause after connecting.
    pub(super) settle: Duration,
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
    /// Longest wait at the end for messages that are still in flight.
    pub(super) drain: Duration,
    /// Process id of the server, if it is known and on this machine.
    pub(super) pid: Option<u32>,
}

impl Plan {
    /// Returns the room of connection `number`.
    pub(super) fn room(&self, number: usize) -> usize {
        number % self.rooms
    }

    /// Returns whether connection `number` parses marks and measures latency; the others only count deliveries.
    pub(super) fn is_sampled(&self, number: usize) -> bool {
        let observers = if self.receivers == Receivers::Others { self.rooms } else { 0 };
        number < self.publishers + observers || number.is_multiple_of(self.sample)
    }

    /// Returns the connection that tells by receiving a message of `publisher` that it has come: the publisher itself,
    /// or another one in its room.
    pub(super) fn observer(&self, publisher: u16) -> u32 {
        let apart = if self.receivers == Receivers::Others { self.rooms } else { 0 };
        u32::from(publisher) + apart as u32
    }
}
