//! What is due on a connection, seen to. Nothing counts as missed before the client was listened to once more.

use std::task::Context;

use super::deadlines::Due;
use super::{Connection, ReadSource, Reading};
use crate::endpoint::Endpoint;
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::protocol::event::v1;
use crate::protocol::frame::{self, OpCode};
use crate::registry::outbox::Kind;

impl Connection {
    /// Does what is due. `reading` is how far reading has come, here too.
    pub(super) fn see_to_deadlines(&mut self, cx: &mut Context<'_>, now_ms: u64, reading: &mut Reading) {
        if self.registration.is_ending() {
            return;
        }
        let mut has_looked = false;
        if self.is_endpoint_due(now_ms) {
            self.look_again(cx, now_ms, reading);
            has_looked = true;
            if self.is_endpoint_due(now_ms) {
                self.call(now_ms, Endpoint::due);
                self.registration.flush();
            }
        }
        // While its socket takes nothing, more pings would only wait with the rest.
        let registration = &self.registration;
        let sent_ms = || if registration.is_blocked() { now_ms } else { registration.sent_ms() };
        if self.deadlines.owes_sign(now_ms, sent_ms) {
            self.ask_for_life();
        }
        loop {
            let status = self.registration.status();
            match self.deadlines.due(now_ms, &status, &self.context.times) {
                None => return,
                Some(Due::Ping) => self.ask_for_life(),
                Some(_) if !has_looked => {
                    self.look_again(cx, now_ms, reading);
                    has_looked = true;
                }
                // Bytes still come: of a message, which has a deadline of its own. Or it is us who do not read on.
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

    /// Before a deadline counts as missed: takes what the kernel has of the client by now, and gives the client what
    /// its socket takes. When many sockets have something, as after a pause, the reactor has not told of all of them.
    fn look_again(&mut self, cx: &mut Context<'_>, now_ms: u64, reading: &mut Reading) {
        self.registration.flush();
        match self.poll_read(cx, now_ms, ReadSource::Kernel) {
            // The reactor will say when there is something, as before.
            Reading::Waiting => {}
            Reading::Paused => {
                *reading = Reading::Paused;
                self.hear_progress();
            }
            Reading::Interrupted => *reading = Reading::Interrupted,
        }
    }

    /// While nothing is read of the client, what it takes is its sign of life.
    pub(super) fn hear_progress(&mut self) {
        if self.registration.heard_by_progress() {
            self.deadlines.heard();
        }
    }

    /// Asks a silent client whether it is there: in `throng.v1` so that a browser's page, which sees no ping, hears
    /// that the server is there as well.
    fn ask_for_life(&self) {
        self.registration.ask();
        match self.registration.dialect() {
            Dialect::Plain => self.registration.control(Kind::Control, &frame::data(OpCode::Ping, b"")),
            Dialect::V1 => self.registration.reply(&v1::heartbeat()),
        }
        self.registration.flush();
    }
}
