//! Ends a connection: sends the close frame, shuts the writing side down, and drains the bytes that still come, so that
//! the peer reads the close code instead of a reset. Each step has a deadline.

use std::io::ErrorKind;
use std::task::Poll;

use super::deadlines::TAIL_MS;
use super::parser::ParserPool;
use super::readiness::Readiness;
use super::turn::Turn;
use crate::protocol::close::EndReason;
use crate::shard::Registration;
use crate::shard::outbox::Flush;
use crate::shard::sink::Arrived;

/// Longest time for the queue before the close frame to leave, as long as the client keeps reading.
const QUEUE_MS: u64 = 10_000;
/// Most reads in one turn, after which other connections of the worker have theirs.
const READS_PER_TURN: usize = 4;

/// The current step of the end.
#[derive(Debug)]
enum Step {
    /// The queue and the close frame are being sent.
    Sending,
    /// The writing side is shut down; the peer has until `until_ms` to close its own.
    Draining { until_ms: u64 },
}

/// The end of one connection.
#[derive(Debug)]
pub(super) struct Closing {
    step: Step,
    began_ms: u64,
}

impl Closing {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { step: Step::Sending, began_ms: now_ms }
    }

    /// Goes on with the current step. The turn is over when the socket may be closed.
    pub(super) fn turn(
        &mut self,
        readiness: &mut Readiness,
        registration: &Registration,
        parsers: &ParserPool,
    ) -> Turn {
        let now_ms = registration.shard().tick();
        if let Step::Sending = self.step {
            match self.send(readiness, registration, now_ms) {
                Poll::Ready(true) if registration.shutdown().is_ok() => {
                    self.step = Step::Draining { until_ms: now_ms + TAIL_MS };
                }
                Poll::Ready(_) => return Turn::Over,
                Poll::Pending => return Turn::Waits,
            }
        }
        let Step::Draining { until_ms } = self.step else { return Turn::Waits };
        if now_ms >= until_ms {
            return Turn::Over;
        }
        registration.arm(until_ms);
        drain(readiness, registration, parsers)
    }

    /// Sends the rest of the queue; returns true when everything has left, false when it cannot leave.
    fn send(&self, readiness: &mut Readiness, registration: &Registration, now_ms: u64) -> Poll<bool> {
        if readiness.is_writable() {
            match registration.flush() {
                Flush::Blocked => readiness.clear_writable(),
                Flush::Empty | Flush::Gone => {
                    let status = registration.status();
                    return Poll::Ready(status.is_empty && status.end != Some(EndReason::PeerVanished));
                }
            }
        }
        let until_ms = self.send_until_ms(registration);
        if now_ms >= until_ms {
            // The rest of a frame cannot leave. A reset tells the peer so; a close frame in the middle of another frame
            // would be garbage.
            registration.reset_on_close();
            return Poll::Ready(false);
        }
        // Progress moves the deadline, so that the connection needs a turn before it.
        registration.arm(until_ms.min(now_ms + TAIL_MS));
        Poll::Pending
    }

    /// Returns the deadline for the queue: a second after the start for a slow consumer, and after the last progress
    /// for other clients.
    fn send_until_ms(&self, registration: &Registration) -> u64 {
        let status = registration.status();
        if matches!(status.end, Some(EndReason::SlowConsumer(_))) {
            return self.began_ms + TAIL_MS;
        }
        (status.stalled_ms.unwrap_or(0).max(self.began_ms) + TAIL_MS).min(self.began_ms + QUEUE_MS)
    }
}

/// Reads and discards bytes. The turn is over at the end of the stream.
fn drain(readiness: &mut Readiness, registration: &Registration, parsers: &ParserPool) -> Turn {
    for _ in 0..READS_PER_TURN {
        if !readiness.is_readable() {
            return Turn::Waits;
        }
        let read = parsers.scratch.fill(|buffer| readiness.read(registration, buffer));
        parsers.scratch.clear();
        match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Waits,
            Ok(Arrived { is_end: true, .. }) | Err(_) => return Turn::Over,
            Ok(_) => {}
        }
    }
    Turn::Again
}
