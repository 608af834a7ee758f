//! The state that all connections of a run share: the plan, the counters, the clock and one read buffer.

use std::time::Instant;

use super::counters::Counters;
use super::inflate::Forms;
use super::latency::LatencyRecorder;
use super::mark::Stamp;
use super::plan::{Plan, Receivers};
use super::target::fill_placeholders;
use super::wire::put_frame;

/// Size of the read buffer: as much as a busy server writes to one client at once.
const READ_BUFFER: usize = 256 << 10;

/// The monotonic clock of a run, in nanoseconds since its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Returns the nanoseconds since the start of the run.
    pub(super) fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// The state that all connections share.
#[derive(Debug)]
pub(super) struct Shared<'p> {
    pub(super) plan: &'p Plan,
    pub(super) clock: Clock,
    pub(super) counters: Counters,
    /// Time from publishing to receipt, in the current measurement.
    pub(super) latency: LatencyRecorder,
    /// Time from TCP connect to the 101 response, or until the connection has joined, in the current measurement.
    pub(super) handshakes: LatencyRecorder,
    /// Closed loop: the number of a publisher, once for each message that it may send now.
    pub(super) permits: Vec<u16>,
    /// Number of open connections that read, by room.
    members: Vec<u32>,
    pub(super) buffer: Vec<u8>,
    /// The plaintext of the last read, where connections are encrypted.
    pub(super) decrypted: Vec<u8>,
    /// Version and cipher of the first encrypted connection.
    pub(super) tls: Option<String>,
    /// Compressed forms that were received.
    pub(super) forms: Forms,
    /// The frames of the last read, decompressed.
    pub(super) plain: Vec<u8>,
    /// The measurements are over, and the connections are being closed from this side.
    pub(super) is_ending: bool,
}

impl<'p> Shared<'p> {
    /// Returns the state at the start of a run: nothing is counted or measured yet.
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            clock: Clock(Instant::now()),
            counters: Counters::default(),
            latency: LatencyRecorder::new(0, 0),
            handshakes: LatencyRecorder::new(0, u64::MAX),
            permits: Vec::new(),
            members: vec![0; plan.rooms],
            buffer: vec![0; READ_BUFFER],
            decrypted: Vec::new(),
            tls: None,
            forms: Forms::default(),
            plain: Vec::new(),
            is_ending: false,
        }
    }

    /// Records a handshake that began at `since_ns` and has succeeded.
    pub(super) fn record_handshake(&mut self, room: u32, since_ns: u64) {
        self.counters.opened += 1;
        self.members[room as usize] += 1;
        self.handshakes.record(since_ns, self.clock.now_ns());
    }

    /// Removes a connection from the readers of `room`: it has ended or stopped reading.
    pub(super) fn remove_reader(&mut self, room: u32) {
        self.members[room as usize] -= 1;
    }

    /// Returns the number of open connections that read.
    pub(super) fn readers(&self) -> usize {
        self.members.iter().map(|count| *count as usize).sum()
    }

    /// Returns how many connections must receive a message that is published in `room` now.
    pub(super) fn receiver_count(&self, room: usize) -> u64 {
        match self.plan.receivers {
            Receivers::Room => u64::from(self.members[room]),
            Receivers::Others => u64::from(self.members[room].saturating_sub(1)),
            Receivers::Publisher => 1,
        }
    }

    /// Records a mark that the sampled connection `number` has received; `stamp` is `None` if it cannot be parsed.
    pub(super) fn record_delivery(&mut self, number: u32, stamp: Option<Stamp>, now_ns: u64) {
        self.counters.delivered += 1;
        let Some(stamp) = stamp else {
            self.counters.bad_marks += 1;
            return;
        };
        self.latency.record(stamp.at_ns, now_ns);
        if self.plan.observer(stamp.publisher) == number {
            self.permits.push(stamp.publisher);
        }
    }

    /// Returns the first message of connection `number` as a frame; empty if the plan has none.
    pub(super) fn hello(&self, number: usize, room: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        if !self.plan.hello.is_empty() {
            let text = fill_placeholders(&self.plan.hello, number, room);
            put_frame(&mut frame, self.plan.opcode, text.as_bytes(), fastrand::u32(..).to_ne_bytes());
        }
        frame
    }
}
