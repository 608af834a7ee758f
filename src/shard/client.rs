//! The state that a shard keeps for each client, apart from what every delivery reads.

use std::collections::VecDeque;
use std::task::Waker;

use smallvec::SmallVec;

use super::outbox::Outbox;
use super::probe::Probe;
use crate::names::{ConnectionId, UserId};
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::registry::topic::TopicId;

/// Most answers that the server waits for: pings at the shortest interval there is, over a line with a delay of a
/// second.
const MAX_QUESTIONS: u16 = 1_000;

/// A client of a shard.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ConnectionId,
    /// Its user, for the operator to read; `None` outside of the chat.
    pub(super) user: Option<UserId>,
    /// Its dialect, which is settled before it is in any room.
    pub(super) dialect: Dialect,
    pub(super) outbox: Outbox,
    pub(super) waker: Option<Waker>,
    /// Why the connection is to end. It is set once, and nothing is queued after that.
    pub(super) end: Option<EndReason>,
    /// The open question whether it is alive, or the last answer while that holds.
    pub(super) probe: Option<Box<Probe>>,
    /// The rooms that it is in.
    pub(super) topics: SmallVec<[TopicId; 1]>,
    /// The tick for which it is filed in the wheel; `u64::MAX` when it is not.
    pub(super) armed: u64,
    /// Last sign of life, in the shard's milliseconds.
    pub(super) heard_ms: u64,
    /// Last time the socket took bytes while some were waiting.
    pub(super) progress_ms: u64,
    /// Last time the socket took something, apart from the sweeps of its rooms.
    pub(super) sent_ms: u64,
    /// Answers that the server has asked for and not got. The rate limit does not count them.
    pub(super) questions: u16,
    /// It is in the line of clients to be written to.
    pub(super) is_dirty: bool,
    /// The highest bucket of long queues that it is in, counted from 1.
    pub(super) backlog: u8,
    /// The socket takes no more, or nothing yet. The client's task waits until it does.
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
            questions: 0,
            is_dirty: false,
            backlog: 0,
            // Until the handshake is answered, because no frame may come before the 101.
            is_blocked: true,
        }
    }

    /// True when a batch may be written at once: nothing waits or is in flight, and the connection is open.
    pub(super) fn is_idle(&self) -> bool {
        self.outbox.is_empty() && !self.is_blocked && self.end.is_none()
    }

    /// Puts the client into the line of those to be written to, once, if its socket takes bytes.
    pub(super) fn line_up(&mut self, dirty: &mut VecDeque<u32>) {
        if !self.is_blocked && !std::mem::replace(&mut self.is_dirty, true) {
            dirty.push_back(self.id.slot() as u32);
        }
    }

    /// Counts a ping or heartbeat that is sent to it and asks for an answer.
    pub(super) fn count_question(&mut self) {
        self.questions = (self.questions + 1).min(MAX_QUESTIONS);
    }

    /// Wakes the client's task.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Returns the bytes in its queue.
    pub(super) fn queued(&self) -> usize {
        self.outbox.shared_bytes() + self.outbox.reply_bytes()
    }

    /// True when ending the client frees a queue that is behind. A client that is not blocked is about to be written
    /// to, and one that is ending frees its queue in any case.
    pub(super) fn can_be_dropped(&self) -> bool {
        self.is_blocked && self.end.is_none()
    }
}
