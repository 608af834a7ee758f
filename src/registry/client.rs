//! What a shard keeps for each client.

use std::collections::VecDeque;
use std::task::Waker;

use smallvec::{SmallVec, smallvec};
use tokio::sync::oneshot;

use super::inbox::TopicId;
use super::outbox::Outbox;
use crate::names::{ConnectionId, UserId};
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;

/// How long a probed connection has to answer, in milliseconds.
pub const PROBE_MS: u64 = 2_000;
/// How long the answer holds for whoever asks next, in milliseconds: nobody makes a client answer more often.
const ANSWER_HOLDS_MS: u64 = 1_000;
/// Most who wait for one answer, and most of one origin. A user who comes back over another line is one, behind a
/// shared address perhaps two; nobody else has a reason to ask. Further ones take it for alive.
const MAX_WAITING: usize = 8;
const MAX_WAITING_OF_ONE: usize = 2;
/// Most answers that the server waits for: pings at the shortest interval there is over a line of a second.
const MAX_ASKED: u16 = 1_000;

/// Whoever waits to hear whether a client is alive.
#[derive(Debug)]
pub struct Asker {
    /// Stands for the address that asks.
    pub from: u32,
    /// Dropped where there is no such client.
    pub answer: oneshot::Sender<bool>,
}

/// A question to a client, whether it is alive, and all who wait for the answer; for some time behind it, the answer.
#[derive(Debug)]
pub(super) struct Probe {
    waiting: SmallVec<[Asker; 1]>,
    is_answered: bool,
    /// Until when the client may answer, or its answer holds.
    pub(super) until_ms: u64,
}

impl Probe {
    pub(super) fn new(asker: Asker, now_ms: u64) -> Self {
        Self { waiting: smallvec![asker], is_answered: false, until_ms: now_ms + PROBE_MS }
    }

    /// Lets somebody else wait for the same answer, or tells it at once.
    pub(super) fn share(&mut self, asker: Asker) {
        self.waiting.retain(|waiting| !waiting.answer.is_closed());
        let of_one = self.waiting.iter().filter(|waiting| waiting.from == asker.from).count();
        if self.is_answered || self.waiting.len() >= MAX_WAITING || of_one >= MAX_WAITING_OF_ONE {
            let _ = asker.answer.send(true);
        } else {
            self.waiting.push(asker);
        }
    }

    /// The client gave a sign of life.
    pub(super) fn heard(&mut self, now_ms: u64) {
        if !self.is_answered {
            self.is_answered = true;
            self.until_ms = now_ms + ANSWER_HOLDS_MS;
            self.tell(true);
        }
    }

    /// Tells all who wait.
    pub(super) fn tell(&mut self, is_alive: bool) {
        for asker in self.waiting.drain(..) {
            // Who has gone meanwhile wants no answer.
            let _ = asker.answer.send(is_alive);
        }
    }
}

/// A client's slot.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ConnectionId,
    /// Whose it is, for the operator to read; `None` outside of the chat.
    pub(super) user: Option<UserId>,
    /// What it speaks; settled before it is in any room.
    pub(super) dialect: Dialect,
    pub(super) outbox: Outbox,
    pub(super) waker: Option<Waker>,
    /// Set once, when the connection is to end; nothing is queued after that.
    pub(super) end: Option<EndReason>,
    pub(super) probe: Option<Box<Probe>>,
    pub(super) topics: SmallVec<[TopicId; 1]>,
    /// The tick it is filed for in the wheel; `u64::MAX` when it is not.
    pub(super) armed: u64,
    /// Last sign of life, in the shard's milliseconds.
    pub(super) heard_ms: u64,
    /// Last time the socket took bytes while some were waiting.
    pub(super) progress_ms: u64,
    /// Last time the socket took something, the sweeps of its rooms apart.
    pub(super) sent_ms: u64,
    /// Answers that the server has asked for and not got: they cost the client nothing.
    pub(super) asked: u16,
    /// Stands in the list of clients to write to.
    pub(super) is_dirty: bool,
    /// The highest bucket of long queues that it stands in, counted from 1.
    pub(super) backlog: u8,
    /// The socket takes no more, or nothing yet; the client's task waits until it does.
    pub(super) is_blocked: bool,
}

impl Client {
    pub(super) fn new(id: ConnectionId, now_ms: u64) -> Self {
        Self {
            id,
            user: None,
            dialect: Dialect::Plain,
            outbox: Outbox::default(),
            waker: None,
            end: None,
            probe: None,
            topics: SmallVec::new(),
            armed: u64::MAX,
            heard_ms: now_ms,
            progress_ms: now_ms,
            sent_ms: now_ms,
            asked: 0,
            is_dirty: false,
            backlog: 0,
            // Until its handshake is answered: a frame must not come before the 101.
            is_blocked: true,
        }
    }

    /// True when a batch may be written at once: nothing waits or is in flight, and the connection is open.
    pub(super) fn is_idle(&self) -> bool {
        self.outbox.is_empty() && !self.is_blocked && self.end.is_none()
    }

    /// Puts the client in the line of those to be written to, once, if something can be.
    pub(super) fn line_up(&mut self, dirty: &mut VecDeque<u32>) {
        if !self.is_blocked && !std::mem::replace(&mut self.is_dirty, true) {
            dirty.push_back(self.id.slot() as u32);
        }
    }

    /// Counts a ping or heartbeat that is sent to it.
    pub(super) fn ask(&mut self) {
        self.asked = (self.asked + 1).min(MAX_ASKED);
    }

    /// Wakes the client's task.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Bytes in its queue.
    pub(super) fn queued(&self) -> usize {
        self.outbox.shared_bytes() + self.outbox.own_bytes()
    }

    /// True when its queue is behind and dropping it frees that: a client that is not blocked is about to be written
    /// to, and one that is ending frees its queue in any case.
    pub(super) fn can_be_dropped(&self) -> bool {
        self.is_blocked && self.end.is_none()
    }
}
