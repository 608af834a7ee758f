//! What all connections of a run share: the plan, the counters, the clock, one read buffer.

use std::time::Instant;

use super::latency::Latency;
use super::mark::Stamp;
use super::plan::{Plan, Reach};
use super::tally::Tally;
use super::target::fill;
use super::wire::put_frame;

/// Large enough for what a busy server writes to one client at once.
const READ_BUFFER: usize = 256 << 10;

/// Nanoseconds since the run began, never going back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct Shared<'p> {
    pub(super) plan: &'p Plan,
    pub(super) clock: Clock,
    pub(super) tally: Tally,
    /// Publish → receipt, of what is measured now.
    pub(super) latency: Latency,
    /// Connect → 101, of what is measured now.
    pub(super) handshakes: Latency,
    /// Closed loop: a publisher for each message that came back to it.
    pub(super) permits: Vec<u16>,
    /// Open connections that read, by room.
    members: Vec<u32>,
    pub(super) buffer: Vec<u8>,
    /// All is measured, and the connections are being ended by us.
    pub(super) is_ending: bool,
}

impl<'p> Shared<'p> {
    /// Nothing counted yet, and nothing measured.
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            clock: Clock(Instant::now()),
            tally: Tally::default(),
            latency: Latency::new(0, 0),
            handshakes: Latency::new(0, u64::MAX),
            permits: Vec::new(),
            members: vec![0; plan.rooms],
            buffer: vec![0; READ_BUFFER],
            is_ending: false,
        }
    }

    /// A handshake begun at `since_ns` succeeded.
    pub(super) fn opened(&mut self, room: u32, since_ns: u64) {
        self.tally.opened += 1;
        self.members[room as usize] += 1;
        self.handshakes.record(since_ns, self.clock.now_ns());
    }

    /// An open connection ended or stopped reading.
    pub(super) fn left(&mut self, room: u32) {
        self.members[room as usize] -= 1;
    }

    /// Open connections that read.
    pub(super) fn readers(&self) -> usize {
        self.members.iter().map(|count| *count as usize).sum()
    }

    /// Connections that a message published in `room` now must reach.
    pub(super) fn reach(&self, room: usize) -> u64 {
        match self.plan.reach {
            Reach::Room => u64::from(self.members[room]),
            Reach::Publisher => 1,
        }
    }

    /// A mark came in on the sampled connection `number`.
    pub(super) fn received(&mut self, number: u32, stamp: Option<Stamp>, now_ns: u64) {
        self.tally.delivered += 1;
        let Some(stamp) = stamp else {
            self.tally.bad_marks += 1;
            return;
        };
        self.latency.record(stamp.at_ns, now_ns);
        if u32::from(stamp.publisher) == number {
            self.permits.push(stamp.publisher);
        }
    }

    /// What connection `number` says first, as a frame; empty for nothing.
    pub(super) fn hello(&self, number: usize, room: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        if !self.plan.hello.is_empty() {
            let text = fill(&self.plan.hello, number, room);
            put_frame(&mut frame, self.plan.opcode, text.as_bytes(), fastrand::u32(..).to_ne_bytes());
        }
        frame
    }
}
