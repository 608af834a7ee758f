//! What a shard keeps for each client.

use std::collections::VecDeque;
use std::task::Waker;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::inbox::TopicId;
use super::outbox::Outbox;
use crate::names::{ConnectionId, UserId};
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;

/// How long a probed connection has to answer, in milliseconds.
pub const PROBE_MS: u64 = 2_000;

/// Somebody waits to hear whether this client is alive.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) answer: oneshot::Sender<bool>,
    pub(super) until_ms: u64,
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
}
