//! Ends a connection: sends the close frame, shuts the writing side down, and drains the bytes that still come, so that
//! the peer reads the close code instead of a reset. Each step has a deadline.

use std::task::{Context, Poll};

use super::deadlines::TAIL_MS;
use super::parser::ParserPool;
use super::socket::{Socket, WriteProgress};
use crate::protocol::close::EndReason;
use crate::shard::Registration;
use crate::shard::outbox::Flush;

/// Longest time for the queue before the close frame to leave, as long as the client keeps reading.
const QUEUE_MS: u64 = 10_000;
/// Most reads in one poll, after which the task yields to other connections of the worker.
const READS_PER_POLL: usize = 4;

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

    /// Goes on with the current step. Ready when the socket may be closed.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Socket,
        registration: &Registration,
        parsers: &ParserPool,
    ) -> Poll<()> {
        let now_ms = registration.shard().tick();
        if let Step::Sending = self.step {
            match self.poll_send(cx, socket, registration, now_ms) {
                Poll::Ready(true) if socket.shutdown().is_ok() => {
                    self.step = Step::Draining { until_ms: now_ms + TAIL_MS };
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        let Step::Draining { until_ms } = self.step else { return Poll::Pending };
        if now_ms >= until_ms || drain(cx, socket, parsers) {
            return Poll::Ready(());
        }
        registration.arm(until_ms);
        Poll::Pending
    }

    /// Sends the rest of the queue; returns true when everything has left, false when it cannot leave.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        socket: &Socket,
        registration: &Registration,
        now_ms: u64,
    ) -> Poll<bool> {
        let polled = socket.poll_write_with(cx, || match registration.flush() {
            Flush::Blocked => WriteProgress::Blocked,
            Flush::Empty | Flush::Gone => WriteProgress::Done,
        });
        match polled {
            Poll::Ready(Ok(())) => {
                let status = registration.status();
                Poll::Ready(status.is_empty && status.end != Some(EndReason::PeerVanished))
            }
            Poll::Ready(Err(_)) => Poll::Ready(false),
            Poll::Pending => {
                let until_ms = self.send_until_ms(registration);
                if now_ms >= until_ms {
                    // The rest of a frame cannot leave. A reset tells the peer so; a close frame in the middle of
                    // another frame would be garbage.
                    socket.reset_on_close();
                    return Poll::Ready(false);
                }
                // Progress moves the deadline, so that the task has to wake before it.
                registration.arm(until_ms.min(now_ms + TAIL_MS));
                Poll::Pending
            }
        }
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

/// Reads and discards bytes; returns true at the end of the stream.
fn drain(cx: &mut Context<'_>, socket: &Socket, parsers: &ParserPool) -> bool {
    for _ in 0..READS_PER_POLL {
        let polled = parsers.scratch.fill(|buffer| socket.poll_read(cx, buffer));
        parsers.scratch.clear();
        match polled {
            Poll::Pending => return false,
            Poll::Ready(Ok(0) | Err(_)) => return true,
            Poll::Ready(Ok(_)) => {}
        }
    }
    cx.waker().wake_by_ref();
    false
}
