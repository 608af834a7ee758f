//! The state that a shard keeps for each client, apart from the few fields that every delivery reads, which lie in a
//! dense table.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::outbox::Outbox;
use super::probe::Probe;
use crate::names::{ConnectionId, UserId};
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::registry::topic::TopicId;

/// Most unanswered pings and heartbeats that are counted: with the shortest interval that the configuration allows, one
/// millisecond, these are the ones on their way over a line with a delay of a second.
const MAX_QUESTIONS: u16 = 1_000;

/// A client of a shard.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ConnectionId,
    /// Its user, for the operator's list of slow clients; `None` while the client has none.
    pub(super) user: Option<UserId>,
    /// Its dialect, which no longer changes once it is in a room.
    pub(super) dialect: Dialect,
    /// Its queue of bytes to send.
    pub(super) outbox: Outbox,
    /// The reason for which the connection is ending. It is set once; after that only the last frames are queued.
    /// Boxed, because most connections have none.
    pub(super) end: Option<Box<EndReason>>,
    /// The ping that other tasks asked for to learn whether the client is alive, or the answer to it while that holds.
    pub(super) probe: Option<Box<Probe>>,
    /// The rooms that it is in.
    pub(super) topics: SmallVec<[TopicId; 1]>,
    /// The tick of the shard's timer wheel at which its connection is to be woken; `u64::MAX` for none.
    pub(super) armed: u64,
    /// Last sign of life from the client, in the shard's milliseconds.
    pub(super) heard_ms: u64,
    /// Last time the socket took bytes from the queue, or was found to take no more, in the shard's milliseconds.
    pub(super) progress_ms: u64,
    /// Last time the socket took bytes from the queue, in the shard's milliseconds. A sweep (one batch on its way
    /// through the members of a room) does not set it when it writes to the socket directly, past an empty queue.
    pub(super) sent_ms: u64,
    /// Number of pings and heartbeats that the client has not answered yet. The rate limit does not count the answers.
    pub(super) questions: u16,
    /// When it was registered, in seconds of the shard's time.
    since_s: u32,
    /// The client is in the line of those to be written to.
    pub(super) is_dirty: bool,
    /// The client is in the line of those whose connections get a turn.
    pub(super) is_woken: bool,
    /// The bucket of long queues in which it is noted, counted from 1; 0 for none.
    pub(super) backlog: u8,
    /// The socket takes no more bytes for now, or none yet because the handshake is not answered. The connection
    /// waits for the socket and then writes.
    pub(super) is_blocked: bool,
}

impl Client {
    pub(super) fn new(id: ConnectionId, now_ms: u64) -> Self {
        Self {
            id,
            user: None,
            dialect: Dialect::Plain,
            outbox: Outbox::default(),
            end: None,
            probe: None,
            topics: SmallVec::new(),
            armed: u64::MAX,
            heard_ms: now_ms,
            progress_ms: now_ms,
            sent_ms: now_ms,
            questions: 0,
            since_s: u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX),
            is_dirty: false,
            is_woken: false,
            backlog: 0,
            // No frame may be written before the handshake's answer, status 101.
            is_blocked: true,
        }
    }

    /// Returns how long ago it was registered, in milliseconds, to the second.
    pub(super) fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(u64::from(self.since_s) * 1_000)
    }

    /// True when a batch may be written at once: nothing waits or is partly written, the socket takes bytes, and the
    /// connection is not ending.
    pub(super) fn is_idle(&self) -> bool {
        self.outbox.is_empty() && !self.is_blocked && self.end.is_none()
    }

    /// Puts the client into the line `dirty` of those to be written to, unless it is there or its socket takes nothing.
    pub(super) fn line_up(&mut self, dirty: &mut VecDeque<u32>) {
        if !self.is_blocked && !std::mem::replace(&mut self.is_dirty, true) {
            dirty.push_back(self.id.slot() as u32);
        }
    }

    /// Counts a ping or heartbeat that is sent to the client and asks for an answer.
    pub(super) fn count_question(&mut self) {
        self.questions = (self.questions + 1).min(MAX_QUESTIONS);
    }

    /// Returns the bytes of fan-out, private messages and replies in the client's queue.
    pub(super) fn queued(&self) -> usize {
        self.outbox.shared_bytes() + self.outbox.reply_bytes()
    }

    /// True when ending the client frees memory that nothing else would free soon. A client whose socket takes bytes is
    /// about to be written to, and one that is ending frees its queue in any case.
    pub(super) fn can_be_dropped(&self) -> bool {
        self.is_blocked && self.end.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_small_because_there_are_many() {
        assert!(size_of::<Client>() <= 176, "{}", size_of::<Client>());
    }
}
