//! Queues and writes what clients are sent, counts it, and ends clients that cannot keep up.
//!
//! Every change of a client's queue goes through here, which keeps the shard's count of queued bytes exact. No method
//! blocks.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::backlog::Backlogs;
use super::batch::{Batch, BatchLimits};
use super::bounds::{Bounds, Overload};
use super::client::{Busy, Client};
use super::clients::{ClientMut, Clients};
use super::farewell;
use super::outbox::{Flush, Kind, Outbox, WriteCounts};
use super::time::ShardTime;
use super::wakes::Wakes;
use crate::clock::Moment;
use crate::metrics::{Counter, ShardMetrics};
use crate::protocol::close::{EndReason, Overflow};
use crate::protocol::frame::Frame;

/// Most connections that one check of the shard's budget ends. The next check ends more if these did not suffice.
const EVICTIONS: usize = 8;

/// The settings of a shard.
#[derive(Debug, Clone, Copy)]
pub struct ShardSettings {
    /// Bounds of each client's queue.
    pub bounds: Bounds,
    /// The policy beyond these bounds for private messages. Rooms set their own policies for their messages.
    pub overload: Overload,
    /// This shard's part of the node's budget of queued bytes. Beyond it, clients with the longest queues are ended.
    pub queue_budget: u64,
    /// Limits of a batch, in bytes and frames.
    pub batch: BatchLimits,
    /// Bytes of a frame from which it is compressed for the clients that have negotiated that.
    pub compress_from: usize,
    /// Time that the fan-out waits for more messages after the first has woken it.
    pub linger: Duration,
}

/// The outgoing side of a shard: settings, time and counters that queueing and writing need, and a record of the long
/// queues.
#[derive(Debug)]
pub(super) struct Egress {
    /// Index of the shard.
    pub(super) index: usize,
    pub(super) settings: ShardSettings,
    pub(super) time: ShardTime,
    pub(super) metrics: Arc<ShardMetrics>,
    /// The clients whose connections have something to do.
    pub(super) wakes: Wakes,
    backlogs: RefCell<Backlogs>,
}

impl Egress {
    /// Makes the outgoing side of the shard with this index.
    pub(super) fn new(
        index: usize,
        settings: ShardSettings,
        time: ShardTime,
        metrics: Arc<ShardMetrics>,
    ) -> Self {
        Self { index, settings, time, metrics, wakes: Wakes::default(), backlogs: RefCell::default() }
    }

    /// Changes a client's queue and updates the count of queued bytes and the record of long queues. `change` gets the
    /// shard's time in milliseconds.
    fn change_queue<R>(&self, client: &mut Client, change: impl FnOnce(&mut Busy, u64) -> R) -> R {
        let (before, now_ms) = (client.queued(), self.time.now_ms());
        let result = change(client.busy(now_ms), now_ms);
        let after = client.queued();
        let gauge: &Counter = &self.metrics.queue_bytes;
        if after > before {
            gauge.add((after - before) as u64);
            self.backlogs.borrow_mut().grown(client, after);
        } else {
            gauge.sub((before - after) as u64);
        }
        result
    }

    /// Queues the reply to the client's own command, unless the connection is ending.
    pub(super) fn queue_reply(&self, client: &mut Client, frame: &Frame) {
        if client.end().is_none() {
            self.change_queue(client, |busy, now_ms| busy.outbox.push(Kind::Reply, frame, now_ms));
        }
    }

    /// Queues the first event of a connection ahead of all that waits, unless the connection is ending.
    pub(super) fn queue_first(&self, client: &mut Client, frame: &Frame) {
        if client.end().is_none() {
            self.change_queue(client, |busy, now_ms| busy.outbox.push_ahead(Kind::Reply, frame, now_ms));
        }
    }

    /// Queues the answer to the handshake ahead of all that waits. Nothing may have been written before.
    pub(super) fn queue_head(&self, client: &mut Client, head: &[u8]) {
        self.change_queue(client, |busy, now_ms| busy.outbox.push_head(head, now_ms));
    }

    /// Queues a ping or pong. While the socket takes nothing, the frame is queued ahead of all that waits, and a pong
    /// replaces one that still waits.
    pub(super) fn queue_control(&self, client: &mut Client, kind: Kind, frame: &Frame) {
        let is_blocked = client.is_blocked;
        self.change_queue(client, |busy, now_ms| match is_blocked {
            true => busy.outbox.push_ahead(kind, frame, now_ms),
            false => busy.outbox.push(kind, frame, now_ms),
        });
    }

    /// Queues `frames` frames of a batch, which are its bytes in `part`, for a client, or applies the batch's policy
    /// when the queue is full. May write to the socket, so it must not be called under a lock.
    pub(super) fn offer(&self, client: &mut ClientMut<'_>, batch: &Rc<Batch>, part: Range<u32>, frames: u32) {
        let Range { start, end } = part;
        let (bytes, messages) = ((end - start) as usize, frames as usize);
        let bounds = &self.settings.bounds;
        let overflow =
            |client: &Client| client.outbox()?.overflow(bytes, messages, self.time.now_ms(), bounds);
        if overflow(client).is_some() {
            // Several rooms may have filled the queue since the last write, although the client is fast. So what its
            // socket takes is written before the policy applies.
            self.flush_now(client);
        }
        if client.end().is_some() {
            return;
        }
        if let Some(overflow) = overflow(client) {
            let mut is_full = true;
            match batch.overload {
                Overload::Disconnect => {
                    return self.end_client(client, EndReason::SlowConsumer(overflow));
                }
                Overload::DropNewest => {}
                Overload::DropOldest => {
                    let dropped = self.change_queue(client, |busy, now_ms| {
                        let dropped = busy.outbox.drop_oldest(bytes, messages, bounds, now_ms);
                        is_full = busy.outbox.is_full(bytes, messages, bounds);
                        dropped
                    });
                    self.metrics.messages_dropped.add(dropped);
                }
            }
            if is_full {
                let now_ms = self.time.now_ms();
                client.busy(now_ms).outbox.note_loss(batch, start, end, now_ms);
                return self.metrics.messages_dropped.add(u64::from(frames));
            }
        }
        self.change_queue(client, |busy, now_ms| {
            busy.outbox.push_part(batch, start, end, frames, now_ms);
        });
    }

    /// Queues the frames of a batch with these indices for a client, or applies the batch's policy when the queue is
    /// full. May write to the socket, so it must not be called under a lock.
    pub(super) fn offer_frames(&self, client: &mut ClientMut<'_>, batch: &Rc<Batch>, frames: Range<usize>) {
        if !frames.is_empty() {
            self.offer(client, batch, batch.part(&frames), frames.len() as u32);
        }
    }

    /// Queues the rest of a direct write (one past the client's empty queue), of which the socket did not take all, and
    /// wakes the connection to send it. `result` is the result of that write, and `push` must queue all its bytes:
    /// the written ones are then removed. An error of the socket ends the connection.
    pub(super) fn queue_rest(
        &self,
        mut client: ClientMut<'_>,
        result: io::Result<usize>,
        counts: &mut WriteCounts,
        push: impl FnOnce(&mut Outbox, u64),
    ) {
        counts.writes += 1;
        let written = match result {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Ok(0) | Err(_) => return self.end_client(&mut client, EndReason::PeerVanished),
            Ok(written) => written,
        };
        self.change_queue(&mut client, |busy, now_ms| {
            debug_assert!(busy.outbox.is_empty(), "waiting frames go first");
            push(&mut busy.outbox, now_ms);
            counts.bytes += written as u64;
            busy.outbox.advance(written, counts);
            busy.progress_ms = now_ms;
        });
        client.hot.bytes_sent += written as u64;
        client.is_blocked = true;
        self.wakes.add(&mut client);
    }

    /// Writes as much of the client's queue as its socket takes.
    pub(super) fn flush(&self, client: &mut ClientMut<'_>) -> Flush {
        if client.is_empty() && !client.hot.sink.has_tail() {
            client.is_blocked = false;
            return Flush::Empty;
        }
        let mut counts = WriteCounts::default();
        let was_blocked = client.is_blocked;
        let ClientMut { client: cold, hot } = client;
        let flushed = self.change_queue(cold, |busy, now_ms| {
            let flushed = busy.outbox.flush(&hot.sink, &mut counts);
            if counts.bytes > 0 || !was_blocked {
                busy.progress_ms = now_ms;
            }
            flushed
        });
        if counts.bytes > 0 {
            client.sent = Moment::at(self.time.now_ms());
        }
        client.is_blocked = flushed == Flush::Blocked;
        client.hot.bytes_sent += counts.bytes;
        self.count(&counts);
        if flushed == Flush::Gone {
            self.end_client(client, EndReason::PeerVanished);
        }
        flushed
    }

    /// Writes the queue of a client whose socket takes bytes, and wakes the connection if anything is left. Does
    /// nothing for a blocked client.
    pub(super) fn flush_now(&self, client: &mut ClientMut<'_>) {
        if !client.is_blocked && self.flush(client) == Flush::Blocked {
            self.wakes.add(client);
        }
    }

    /// Adds the counts of some writes to the shard's counters.
    pub(super) fn count(&self, counts: &WriteCounts) {
        self.metrics.writes.add(counts.writes);
        self.metrics.bytes_sent.add(counts.bytes);
        self.metrics.deliveries.add(counts.deliveries);
    }

    /// Begins the end of a connection: queues its last frames, tries to write them and wakes the connection. The
    /// rest of the queue is dropped if the client is too slow or has vanished. Only the first reason counts.
    pub(super) fn end_client(&self, client: &mut ClientMut<'_>, reason: EndReason) {
        if client.end().is_some() {
            return;
        }
        if let EndReason::SlowConsumer(_) = reason {
            self.metrics.slow_consumers_dropped.add(1);
        }
        let close = farewell::last_frames(client.dialect, &reason);
        let drops_queue = matches!(reason, EndReason::SlowConsumer(_) | EndReason::PeerVanished);
        let was_blocked = client.is_blocked;
        self.change_queue(client, |busy, now_ms| {
            busy.end = Some(reason);
            busy.probe = None;
            if drops_queue {
                busy.outbox.finish_now(close.as_deref(), now_ms);
            } else {
                busy.outbox.finish_after_queue(close.as_deref(), now_ms);
            }
        });
        if close.is_some() && !was_blocked {
            self.flush(client);
        }
        self.wakes.add(client);
    }

    /// Ends connections with the longest queues, at most [`EVICTIONS`] for each call, while this shard's queues exceed
    /// its part of the node's budget.
    pub(super) fn enforce_budget(&self, clients: &mut Clients) {
        self.backlogs.borrow_mut().tidy(clients);
        for _ in 0..EVICTIONS {
            if self.metrics.queue_bytes.get() <= self.settings.queue_budget {
                return;
            }
            let longest = self.backlogs.borrow_mut().longest(clients);
            let Some(mut client) = longest.and_then(|slot| clients.get_mut(slot)) else { return };
            self.end_client(&mut client, EndReason::SlowConsumer(Overflow::Node));
        }
    }

    /// Returns the record of clients with long queues, for tests.
    #[cfg(test)]
    pub(super) fn backlogs(&self) -> &RefCell<Backlogs> {
        &self.backlogs
    }
}
