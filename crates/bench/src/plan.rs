//! What is to be done, every choice made: the command line behind it is checked.

use std::time::Duration;

use super::schedule::Pace;
use super::target::Target;

/// The course of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Course {
    /// Connect, warm up, publish for the measured time, drain. `stalled` connections stop reading after a first,
    /// equally long measurement with everybody reading, which is what the result is compared to.
    Traffic {
        /// Of the last connections, this many.
        stalled: usize,
    },
    /// Connect everybody, which is what is measured.
    Connect,
    /// Connect, let everybody send and receive once, then do nothing for this long.
    Idle(Duration),
    /// Connect, then cut all connections and have all come back at once, this many times.
    Storm(usize),
}

/// Who receives a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// All of the publisher's room, the publisher included.
    Room,
    /// The publisher alone.
    Publisher,
}

/// A run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Its name on the command line.
    pub(super) scenario: &'static str,
    pub(super) course: Course,
    pub(super) target: Target,
    pub(super) connections: usize,
    /// Connection `i` is in room `i % rooms`.
    pub(super) rooms: usize,
    /// The first this many connections publish.
    pub(super) publishers: usize,
    pub(super) reach: Reach,
    pub(super) pace: Pace,
    /// Bytes of a payload, mark included.
    pub(super) size: usize,
    /// `%s` is the payload, `%n` its length.
    pub(super) template: String,
    /// Sent by each connection once it is open; empty for nothing.
    pub(super) hello: String,
    /// [`super::wire::TEXT`] or [`super::wire::BINARY`].
    pub(super) opcode: u8,
    /// The byte that begins a mark.
    pub(super) mark: u8,
    /// Besides the publishers, each connection whose number is a multiple of it reads times.
    pub(super) sample: usize,
    /// Most handshakes under way at once.
    pub(super) concurrency: usize,
    /// Connections from one source address, before the next is used.
    pub(super) per_address: usize,
    /// Rest after connecting.
    pub(super) settle: Duration,
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
    /// Longest wait for what is still under way at the end.
    pub(super) drain: Duration,
    /// The server's process, if it is on this machine and known.
    pub(super) pid: Option<u32>,
}

impl Plan {
    /// The room of connection `number`.
    pub(super) fn room(&self, number: usize) -> usize {
        number % self.rooms
    }

    /// Whether connection `number` parses marks and reads times; the others only count.
    pub(super) fn is_sampled(&self, number: usize) -> bool {
        number < self.publishers || number.is_multiple_of(self.sample)
    }
}
