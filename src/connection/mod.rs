//! One connection, from the first byte after its request to the last one of the close.
//!
//! A connection is a small state machine without a task of its own. It gets a turn when its socket is ready, when the
//! shard has queued something that the socket does not take, or when the shard's timer wheel wakes it. It owns no
//! timer, and no read buffer while no message is under way. Everything it sends goes through its outbox on the shard.
//! [`Connections`] holds the connections of a worker and gives them their turns.

mod active;
mod closing;
mod context;
pub mod deadlines;
mod due;
mod encrypted;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod parser;
mod poller;
mod reader;
mod readiness;
mod scanner;
pub mod socket;
mod table;
mod turn;

use std::io::ErrorKind;

use bytes::Bytes;
use mio::event::Event;

use self::active::Active;
pub use self::context::WorkerContext;
use self::deadlines::Deadlines;
use self::reader::{Charge, Incoming};
use self::readiness::Readiness;
pub use self::table::Connections;
use self::turn::Turn;
use crate::endpoint::{Endpoint, Route};
use crate::metrics::EndedBy;
use crate::node::ConnectionPermit;
use crate::prefetch::prefetch;
use crate::protocol::Deflate;
use crate::protocol::close::EndReason;
use crate::shard::Registration;
use crate::shard::outbox::Flush;
use crate::shard::sink::Arrived;

/// Most reads in one turn, after which other connections of the worker have theirs.
const READS_PER_TURN: usize = 2;
/// Most pages of missed messages in one turn.
const PAGES_PER_TURN: usize = 4;
/// Most messages and control frames in one turn.
const FRAMES_PER_TURN: usize = 256;

/// Facts about a connection that are known when it is admitted.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The route of its request.
    pub route: Route,
    /// Expiry of the client's token, in milliseconds since the Unix epoch; `None` without a token.
    pub until_unix_ms: Option<i64>,
    /// The permit that counts the connection among `limits.max_connections`.
    pub permit: ConnectionPermit,
}

/// Why reading stopped.
enum Reading {
    /// No bytes are there, and the connection gets a turn when there are; or the connection ends.
    Waiting,
    /// There may be more bytes, but other connections have their turns first.
    Interrupted,
    /// The client has to read its answers first (back-pressure).
    Paused,
}

/// How a read finds out whether the socket has bytes.
#[derive(Debug, Clone, Copy)]
enum ReadSource {
    /// By the readiness that the poller has reported.
    Poller,
    /// By asking the kernel.
    Kernel,
}

/// Received messages and bytes, for the log.
#[derive(Debug, Default)]
struct Traffic {
    messages: u64,
    bytes: u64,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    // Fields are dropped in this order: rooms are left before the slot is given up. `None` once the connection is
    // ending, because it then is in no room and holds no user id.
    endpoint: Option<Endpoint>,
    registration: Registration,
    active: Option<Box<Active>>,
    deadlines: Deadlines,
    traffic: Traffic,
    opened_ms: u64,
    _permit: ConnectionPermit,
    route: Route,
    readiness: Readiness,
    /// The client may send compressed messages.
    deflates: bool,
    /// The conversation has begun.
    is_open: bool,
    /// The connection is in the queue of those that get a turn.
    is_queued: bool,
    /// The connection is in the queue of those that will rest.
    is_watched: bool,
}

impl Connection {
    /// Creates a connection that was admitted. `leftover` holds the bytes that followed the handshake.
    fn new(
        context: &WorkerContext,
        registration: Registration,
        endpoint: Endpoint,
        info: ConnectionInfo,
        leftover: Bytes,
    ) -> Self {
        let now_ms = context.shard.tick();
        let expires_ms = info.until_unix_ms.map(|until_unix_ms| context.expires_ms(until_unix_ms));
        let deadlines = Deadlines::new(expires_ms, now_ms, &context.times, |most| fastrand::u64(..=most));
        let deflates = registration.deflate() != Deflate::Off;
        let metrics = context.shard.metrics();
        metrics.connections.add(1);
        metrics.accepted.add(1);
        let ConnectionInfo { route, permit, .. } = info;
        Self {
            endpoint: Some(endpoint),
            registration,
            active: (!leftover.is_empty()).then(|| Active::with(leftover, deflates, now_ms)),
            deadlines,
            traffic: Traffic::default(),
            opened_ms: now_ms,
            _permit: permit,
            route,
            readiness: Readiness::default(),
            deflates,
            is_open: false,
            is_queued: false,
            is_watched: false,
        }
    }

    /// Takes a report of the poller. Returns true when it calls for a turn.
    fn report(&mut self, event: &Event) -> bool {
        self.readiness.add(event);
        // Space in the socket is of no use while nothing waits for it.
        self.readiness.is_readable() || self.registration.is_blocked()
    }

    /// Does what can be done now, within the limits of one turn.
    fn turn(&mut self, context: &WorkerContext) -> Turn {
        if self.endpoint.is_some() {
            let turn = self.turn_open(context);
            if turn != Turn::Over {
                return turn;
            }
            self.leave(context);
            self.active = Some(Active::ending(context.shard.now_ms()));
        }
        match self.active.as_mut().and_then(|active| active.closing.as_mut()) {
            Some(closing) => closing.turn(&mut self.readiness, &self.registration, &context.parsers),
            None => Turn::Over,
        }
    }

    /// Gives an open connection its turn, which is [over](Turn::Over) when the connection has to end.
    fn turn_open(&mut self, context: &WorkerContext) -> Turn {
        self.prefetch();
        let now_ms = context.shard.tick();
        if !std::mem::replace(&mut self.is_open, true) {
            self.registration.open();
            self.call(context, now_ms, Endpoint::open);
            self.registration.flush();
            // The memory of the queue goes to the next connection. If many kept it for a while, it would leave holes
            // between what stays.
            self.registration.rest();
        }
        if self.deadlines.has_expired(context.shard.clock_ms()) {
            self.registration.end(EndReason::TokenExpired);
        }
        self.depart(context, now_ms);
        self.go_on(context, now_ms);
        // Reading comes before deadlines, because bytes may have come in time although this turn is late.
        let mut reading = self.read(context, now_ms, ReadSource::Poller);
        self.handle_deadlines(context, now_ms, &mut reading);
        // Writing comes last, because everything before may have left bytes that the socket did not take.
        self.write_backlog();
        let status = self.registration.status();
        if status.end.is_some() {
            return Turn::Over;
        }
        let next_ms = self.deadlines.next_ms(now_ms, &status, &context.times);
        self.registration.arm(self.endpoint_due_ms().map_or(next_ms, |at_ms| next_ms.min(at_ms)));
        let may_go_on = match reading {
            Reading::Waiting => false,
            Reading::Interrupted => true,
            Reading::Paused => {
                self.note_progress();
                !self.registration.owes_much() && !self.endpoint.as_ref().is_some_and(Endpoint::is_waiting)
            }
        };
        if may_go_on { Turn::Again } else { Turn::Waits }
    }

    /// Prefetches the memory that every turn reads.
    fn prefetch(&self) {
        prefetch(&self.registration);
        prefetch(&self.traffic);
        if let Some(active) = &self.active {
            active.prefetch();
        }
    }

    fn endpoint_due_ms(&self) -> Option<u64> {
        self.endpoint.as_ref().and_then(Endpoint::next_due_ms)
    }

    /// Leaves the rooms that an operator wants the client to leave.
    fn depart(&mut self, context: &WorkerContext, now_ms: u64) {
        for departure in self.registration.take_departures() {
            self.call(context, now_ms, |endpoint, peer| endpoint.depart(departure, peer));
            self.registration.flush();
        }
    }

    /// Goes on with an unfinished command, as long as the client reads its answers: of missed messages, at most
    /// [`PAGES_PER_TURN`] pages.
    fn go_on(&mut self, context: &WorkerContext, now_ms: u64) {
        for _ in 0..PAGES_PER_TURN {
            if !self.is_pending() || self.registration.owes_much() || self.registration.is_ending() {
                return;
            }
            self.call(context, now_ms, Endpoint::go_on);
            self.registration.flush();
        }
    }

    fn is_pending(&self) -> bool {
        self.endpoint.as_ref().is_some_and(Endpoint::is_pending)
    }

    /// Writes the queue, as far as the socket takes it. The connection gets a turn when the socket takes more.
    fn write_backlog(&mut self) {
        while self.registration.is_blocked() && self.readiness.is_writable() {
            if self.registration.flush() == Flush::Blocked {
                self.readiness.clear_writable();
            }
        }
    }

    /// Reads and handles the bytes that are there.
    fn read(&mut self, context: &WorkerContext, now_ms: u64, source: ReadSource) -> Reading {
        for _ in 0..READS_PER_TURN {
            if self.registration.is_ending() {
                return Reading::Waiting;
            }
            let has_held = self.active.as_ref().is_some_and(|active| active.reader.has_held());
            if self.is_stream() && (has_held || self.traffic.bytes > 0) {
                return self.end_talkative(context);
            }
            if self.registration.owes_much() || self.is_pending() {
                return Reading::Paused;
            }
            if !has_held && !self.fill(context, source) {
                return Reading::Waiting;
            }
            if self.is_stream() {
                continue;
            }
            let active = Active::of(&mut self.active, self.deflates, now_ms);
            if has_held {
                active.reader.unhold(&context.parsers);
            }
            let is_used_up = self.handle_scratch(context, now_ms);
            self.registration.flush();
            if !is_used_up {
                break;
            }
        }
        Reading::Interrupted
    }

    /// Fills the scratch buffer from the socket. Returns false when there are no bytes, or the connection ends because
    /// the client has vanished.
    fn fill(&mut self, context: &WorkerContext, source: ReadSource) -> bool {
        if matches!(source, ReadSource::Poller) && !self.readiness.is_readable() {
            return false;
        }
        let Self { readiness, registration, .. } = self;
        match context.parsers.scratch.fill(|buffer| readiness.read(registration, buffer)) {
            Ok(Arrived { bytes, is_end: false, .. }) => {
                self.traffic.bytes += bytes as u64;
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Ok(_) | Err(_) => {
                self.registration.end(EndReason::PeerVanished);
                false
            }
        }
    }

    /// Handles the bytes in the scratch buffer; returns false when some of them are held back for the next poll.
    fn handle_scratch(&mut self, context: &WorkerContext, now_ms: u64) -> bool {
        let mut has_finished = false;
        let mut is_used_up = false;
        let asked = self.registration.asked();
        let limiter = context.node.limiter.read();
        let rate = limiter.as_ref().as_ref().map(|limiter| &limiter.frames);
        let mut frames = Charge { rate, asked, now_ms };
        for _ in 0..FRAMES_PER_TURN {
            let reader = &mut Active::of(&mut self.active, self.deflates, now_ms).reader;
            match reader.next(&context.parsers, &context.limits, &mut frames) {
                Ok(Some((incoming, refused))) => {
                    has_finished |= matches!(incoming, Incoming::Text(_) | Incoming::Binary(_));
                    self.deadlines.heard();
                    self.registration.heard();
                    match refused {
                        Some(refused) => self.refuse(context, incoming, refused, now_ms),
                        None => self.handle(context, incoming, now_ms),
                    }
                }
                Ok(None) => is_used_up = true,
                Err(reason) => self.registration.end(reason),
            }
            if self.registration.is_ending() {
                context.parsers.scratch.clear();
                return true;
            }
            let is_full = self.registration.owes_much() && self.registration.flush() == Flush::Blocked;
            if is_used_up || is_full || self.is_pending() {
                break;
            }
        }
        if frames.asked < asked {
            self.registration.answered(asked - frames.asked);
        }
        let reader = &mut Active::of(&mut self.active, self.deflates, now_ms).reader;
        reader.hold(&context.parsers);
        let is_under_way = !reader.is_idle();
        if is_under_way {
            self.registration.heard_part();
        }
        self.deadlines.message(is_under_way, has_finished, now_ms);
        is_used_up
    }

    /// Leaves everything but the socket, and logs the end in one line. Only the first call has an effect.
    fn leave(&mut self, context: &WorkerContext) {
        let Some(mut endpoint) = self.endpoint.take() else { return };
        let reason = self.registration.status().end.unwrap_or(EndReason::GoingAway);
        endpoint.ends(&context.node, &reason);
        let by = if reason.is_started_by_server() { EndedBy::Server } else { EndedBy::Client };
        context.shard.metrics().count_close(reason.code(), by);
        let id = self.registration.id();
        let user = endpoint.user().unwrap_or("-");
        let duration_ms = context.shard.now_ms().saturating_sub(self.opened_ms);
        let Traffic { messages, bytes } = self.traffic;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    %id, user, endpoint = self.route.name(), reason = %reason.text(), code = reason.code(),
                    duration_ms, messages, bytes, bytes_sent = self.registration.bytes_sent(),
                    "connection ended"
                )
            };
        }
        if reason.is_server_fault() { line!(warn) } else { line!(debug) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // Each connection has one, besides its slot on the shard.
        assert!(size_of::<Connection>() <= 112, "{}", size_of::<Connection>());
    }
}
