//! Acts on the deadlines of a connection. A deadline counts as missed only after one more read.

use super::deadlines::Due;
use super::{Connection, ReadSource, Reading, WorkerContext};
use crate::endpoint::Endpoint;
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::protocol::event::v1;
use crate::protocol::frame::{self, Frame, OpCode};
use crate::protocol::sse;
use crate::shard::outbox::Kind;

impl Connection {
    /// Does everything that is due. `reading` is the result of the last read, and is updated by further ones.
    pub(super) fn handle_deadlines(&mut self, context: &WorkerContext, now_ms: u64, reading: &mut Reading) {
        if self.registration.is_ending() {
            return;
        }
        let mut has_read = false;
        if self.is_endpoint_due(now_ms) {
            self.read_once_more(context, now_ms, reading);
            has_read = true;
            if self.is_endpoint_due(now_ms) {
                self.call(context, now_ms, Endpoint::due);
                self.registration.flush();
            }
        }
        // While the socket takes nothing, further pings would only wait in the queue.
        let registration = &self.registration;
        let sent_ms = || if registration.is_blocked() { now_ms } else { registration.sent_ms() };
        if self.deadlines.must_send(now_ms, sent_ms) {
            self.probe_client();
        }
        loop {
            let status = self.registration.status();
            match self.deadlines.due(now_ms, &status, &context.times) {
                None => return,
                Some(Due::Ping) => self.probe_client(),
                Some(_) if !has_read => {
                    self.read_once_more(context, now_ms, reading);
                    has_read = true;
                }
                // Bytes of a message still come, which has a deadline of its own; or the server has stopped reading
                // for a reason other than a full queue.
                Some(Due::ProbeFailed | Due::End(EndReason::HeartbeatTimeout))
                    if matches!(reading, Reading::Interrupted)
                        || matches!(reading, Reading::Paused) && !self.registration.owes_much() =>
                {
                    return;
                }
                Some(Due::ProbeFailed) => self.registration.probe_failed(),
                Some(Due::End(reason)) => return self.registration.end(reason),
            }
        }
    }

    fn is_endpoint_due(&self, now_ms: u64) -> bool {
        self.endpoint_due_ms().is_some_and(|at_ms| now_ms >= at_ms)
    }

    /// Reads what the kernel has received by now, and writes what the socket takes, before a deadline counts as missed.
    /// When many sockets are ready, as after a pause of the process, the poller has not reported all of them.
    fn read_once_more(&mut self, context: &WorkerContext, now_ms: u64, reading: &mut Reading) {
        self.registration.flush();
        match self.read(context, now_ms, ReadSource::Kernel) {
            // The poller reports further bytes as before.
            Reading::Waiting => {}
            Reading::Paused => {
                *reading = Reading::Paused;
                self.note_progress();
            }
            Reading::Interrupted => *reading = Reading::Interrupted,
        }
    }

    /// Counts progress in writing as a sign of life, for a client from which nothing is read.
    pub(super) fn note_progress(&mut self) {
        if self.registration.heard_by_progress() {
            self.deadlines.heard();
        }
    }

    /// Asks a silent client for a sign of life: with a ping, or in `throng.v1` with a `heartbeat`, because pages in a
    /// browser see no pings and need to know that the server is alive as well. A reader of server-sent events is sent a
    /// comment.
    fn probe_client(&mut self) {
        let registration = &self.registration;
        match registration.dialect() {
            Dialect::Plain => {
                registration.ask();
                registration.control(Kind::Control, &frame::data(OpCode::Ping, b""));
            }
            Dialect::V1 => {
                registration.ask();
                registration.reply(&v1::heartbeat());
            }
            // Nothing answers a comment: the client is alive as long as its socket takes something now and then.
            Dialect::Sse => {
                registration.control(Kind::Control, &Frame::from_static(sse::COMMENT));
                registration.heard();
                self.deadlines.heard();
            }
        }
        self.registration.flush();
    }
}
