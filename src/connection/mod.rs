//! The task of one connection, from the first byte after the 101 to the last one of the close.
//!
//! The task is a small state machine. It is polled when its socket is ready, when the shard has queued something for
//! it, or when the shard's timer wheel wakes it. It owns no timer, and no read buffer while no message is under way.
//! Everything it sends goes through its outbox on the shard.

mod closing;
mod context;
pub mod deadlines;
mod due;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod parser;
mod reader;
mod scanner;
pub mod socket;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use self::closing::Closing;
pub use self::context::WorkerContext;
use self::deadlines::Deadlines;
use self::reader::{Charge, Incoming, Reader};
use self::socket::{Socket, WriteProgress};
use crate::endpoint::Endpoint;
use crate::metrics::EndedBy;
use crate::node::ConnectionPermit;
use crate::prefetch::prefetch;
use crate::protocol::close::EndReason;
use crate::rate_limit::Allowance;
use crate::shard::Registration;
use crate::shard::outbox::Flush;

/// Most reads in one poll, after which the task yields to other connections of the worker.
const READS_PER_POLL: usize = 2;
/// Most pages of missed messages in one poll.
const PAGES_PER_POLL: usize = 4;
/// Most messages and control frames in one poll.
const FRAMES_PER_POLL: usize = 256;

/// Facts about a connection that are known when it is admitted and needed when it ends.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The endpoint's name.
    pub endpoint: &'static str,
    /// Expiry of the client's token, in milliseconds since the Unix epoch; `None` without a token.
    pub until_unix_ms: Option<i64>,
    /// The permit that counts the connection among `limits.max_connections`.
    pub permit: ConnectionPermit,
}

/// Why reading stopped.
enum Reading {
    /// No bytes are there, and the task is woken when there are; or the connection ends.
    Waiting,
    /// There may be more bytes, but the task yields to other connections.
    Interrupted,
    /// The client has to read its answers first (back-pressure).
    Paused,
}

/// How a read finds out whether the socket has bytes.
#[derive(Debug, Clone, Copy)]
enum ReadSource {
    /// By the readiness that the reactor has recorded; the task is woken when there are bytes.
    Reactor,
    /// By asking the kernel.
    Kernel,
}

/// Received messages and bytes, for the log.
#[derive(Debug, Default)]
struct Traffic {
    messages: u64,
    bytes: u64,
}

/// The task of one connection: spawn it on the worker's runtime.
#[derive(Debug)]
pub struct Connection {
    // Fields are dropped in this order: rooms are left before the slot is given up. `None` once the connection is
    // ending, because it then is in no room and holds no user id.
    endpoint: Option<Endpoint>,
    registration: Registration,
    socket: Socket,
    context: Rc<WorkerContext>,
    reader: Reader,
    allowance: Allowance,
    deadlines: Deadlines,
    closing: Option<Closing>,
    info: Box<ConnectionInfo>,
    traffic: Traffic,
    opened_ms: u64,
    is_open: bool,
}

impl Connection {
    /// Creates the task of a connection whose handshake is done. `leftover` holds the bytes that followed the
    /// handshake.
    #[must_use]
    pub fn new(
        context: Rc<WorkerContext>,
        socket: Socket,
        registration: Registration,
        endpoint: Endpoint,
        info: ConnectionInfo,
        leftover: Bytes,
    ) -> Self {
        let now_ms = context.shard.tick();
        let expires_ms = info.until_unix_ms.map(|until_unix_ms| context.expires_ms(until_unix_ms));
        let deadlines = Deadlines::new(expires_ms, now_ms, &context.times, |most| fastrand::u64(..=most));
        let metrics = context.shard.metrics();
        metrics.connections.add(1);
        metrics.accepted.add(1);
        Self {
            endpoint: Some(endpoint),
            registration,
            socket,
            context,
            reader: Reader::new(leftover),
            allowance: Allowance::default(),
            deadlines,
            closing: None,
            info: Box::new(info),
            traffic: Traffic::default(),
            opened_ms: now_ms,
            is_open: false,
        }
    }

    /// Polls an open connection; ready when it has to end.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.prefetch();
        let now_ms = self.context.shard.tick();
        self.registration.set_waker(cx.waker());
        if !self.is_open {
            self.is_open = true;
            self.registration.open();
            self.call(now_ms, Endpoint::open);
            self.registration.flush();
        }
        if self.deadlines.has_expired(self.context.shard.clock_ms()) {
            self.registration.end(EndReason::TokenExpired);
        }
        self.depart(now_ms);
        self.go_on(now_ms);
        // Reading comes before deadlines, because bytes may have come in time although this poll is late.
        let mut reading = self.poll_read(cx, now_ms, ReadSource::Reactor);
        self.handle_deadlines(cx, now_ms, &mut reading);
        // Writing comes last, because everything before may have left bytes that the socket did not take.
        self.poll_backlog(cx);
        let status = self.registration.status();
        if status.end.is_some() {
            return Poll::Ready(());
        }
        let mut next_ms = self.deadlines.next_ms(&status, &self.context.times);
        if let Some(at_ms) = self.endpoint_due_ms() {
            next_ms = next_ms.min(at_ms);
        }
        self.registration.arm(next_ms);
        let may_go_on = match reading {
            Reading::Waiting => false,
            Reading::Interrupted => true,
            Reading::Paused => {
                self.note_progress();
                !self.registration.owes_much() && !self.endpoint.as_ref().is_some_and(Endpoint::is_waiting)
            }
        };
        if may_go_on {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Prefetches the memory that every poll reads.
    fn prefetch(&self) {
        prefetch(&self.registration);
        prefetch(&self.socket);
        prefetch(&self.reader);
        prefetch(&self.deadlines);
        prefetch(&self.traffic);
    }

    fn endpoint_due_ms(&self) -> Option<u64> {
        self.endpoint.as_ref().and_then(Endpoint::next_due_ms)
    }

    /// Leaves the rooms that an operator wants the client to leave.
    fn depart(&mut self, now_ms: u64) {
        for departure in self.registration.take_departures() {
            self.call(now_ms, |endpoint, peer| endpoint.depart(departure, peer));
            self.registration.flush();
        }
    }

    /// Goes on with an unfinished command, as long as the client reads its answers: of missed messages, at most
    /// [`PAGES_PER_POLL`] pages.
    fn go_on(&mut self, now_ms: u64) {
        for _ in 0..PAGES_PER_POLL {
            if !self.is_pending() || self.registration.owes_much() || self.registration.is_ending() {
                return;
            }
            self.call(now_ms, Endpoint::go_on);
            self.registration.flush();
        }
    }

    fn is_pending(&self) -> bool {
        self.endpoint.as_ref().is_some_and(Endpoint::is_pending)
    }

    /// Writes the queue, and registers the task to be woken when the socket can take more.
    fn poll_backlog(&mut self, cx: &mut Context<'_>) {
        while self.registration.is_blocked() {
            let registration = &self.registration;
            let polled = self.socket.poll_write_with(cx, || match registration.flush() {
                Flush::Blocked => WriteProgress::Blocked,
                Flush::Empty | Flush::Gone => WriteProgress::Done,
            });
            match polled {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.registration.end(EndReason::PeerVanished),
            }
        }
    }

    /// Reads and handles the bytes that are there.
    fn poll_read(&mut self, cx: &mut Context<'_>, now_ms: u64, source: ReadSource) -> Reading {
        let context = Rc::clone(&self.context);
        for _ in 0..READS_PER_POLL {
            if self.registration.is_ending() {
                return Reading::Waiting;
            }
            if self.is_stream() && (self.reader.has_held() || self.traffic.bytes > 0) {
                return self.end_talkative(&context);
            }
            if self.registration.owes_much() || self.is_pending() {
                return Reading::Paused;
            }
            if self.reader.has_held() {
                self.reader.unhold(&context.parsers);
            } else {
                match context.parsers.scratch.fill(|buffer| match source {
                    ReadSource::Reactor => self.socket.poll_read(cx, buffer),
                    ReadSource::Kernel => self.socket.read_now(buffer),
                }) {
                    Poll::Pending => return Reading::Waiting,
                    Poll::Ready(Ok(read)) if read > 0 => self.traffic.bytes += read as u64,
                    Poll::Ready(_) => {
                        self.registration.end(EndReason::PeerVanished);
                        return Reading::Waiting;
                    }
                }
            }
            if self.is_stream() {
                continue;
            }
            let is_used_up = self.handle_scratch(&context, now_ms);
            self.registration.flush();
            if !is_used_up {
                break;
            }
        }
        Reading::Interrupted
    }

    /// Handles the bytes in the scratch buffer; returns false when some of them are held back for the next poll.
    fn handle_scratch(&mut self, context: &WorkerContext, now_ms: u64) -> bool {
        let mut has_finished = false;
        let mut is_used_up = false;
        let asked = self.registration.asked();
        let limiter = context.node.limiter.read();
        let rate = limiter.as_ref().as_ref().map(|limiter| &limiter.frames);
        let mut frames = Charge { rate, asked, now_ms };
        for _ in 0..FRAMES_PER_POLL {
            match self.reader.next(&context.parsers, &context.limits, &mut frames) {
                Ok(Some((incoming, refused))) => {
                    has_finished |= matches!(incoming, Incoming::Text(_) | Incoming::Binary(_));
                    self.deadlines.heard();
                    self.registration.heard();
                    match refused {
                        Some(refused) => self.refuse(incoming, refused, now_ms),
                        None => self.handle(incoming, now_ms),
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
        if !self.reader.is_idle() {
            self.registration.heard_part();
        }
        self.reader.hold(&context.parsers);
        self.deadlines.message(!self.reader.is_idle(), has_finished, now_ms);
        is_used_up
    }

    /// Leaves everything but the socket, and logs the end in one line. Only the first call has an effect.
    fn leave(&mut self) {
        let Some(mut endpoint) = self.endpoint.take() else { return };
        let reason = self.registration.status().end.unwrap_or(EndReason::GoingAway);
        endpoint.ends(&self.context.node, &reason);
        let by = if reason.is_started_by_server() { EndedBy::Server } else { EndedBy::Client };
        self.context.shard.metrics().count_close(reason.code(), by);
        let id = self.registration.id();
        let user = endpoint.user().unwrap_or("-");
        let duration_ms = self.context.shard.now_ms().saturating_sub(self.opened_ms);
        let Traffic { messages, bytes } = self.traffic;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    %id, user, endpoint = self.info.endpoint, reason = %reason.text(), code = reason.code(),
                    duration_ms, messages, bytes, bytes_sent = self.registration.bytes_sent(),
                    "connection ended"
                )
            };
        }
        if reason.is_server_fault() { line!(warn) } else { line!(debug) }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if let Some(closing) = &mut this.closing {
                this.registration.set_waker(cx.waker());
                return closing.poll(cx, &this.socket, &this.registration, &this.context.parsers);
            }
            if this.poll_open(cx).is_pending() {
                return Poll::Pending;
            }
            this.leave();
            this.reader = Reader::default();
            this.closing = Some(Closing::new(this.context.shard.now_ms()));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leave();
        self.context.shard.metrics().connections.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_a_connection_is_small() {
        // Each idle connection has one, besides its slot and its registration with the reactor.
        assert!(size_of::<Connection>() <= 384, "{}", size_of::<Connection>());
    }
}
