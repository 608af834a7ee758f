//! The state that a shard keeps for each client, apart from the few fields that every delivery reads, which lie in a
//! dense table.

use std::collections::VecDeque;

use super::outbox::Outbox;
use super::probe::Probe;
use super::wheel::Tick;
use crate::clock::Moment;
use crate::few::Few;
use crate::names::{ConnectionId, UserId};
use crate::protocol::close::EndReason;
use crate::protocol::{Deflate, Dialect};
use crate::registry::delivery::LaneKind;
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
    /// The rooms that it is in.
    pub(super) topics: Option<Few<TopicId>>,
    /// The state that most clients do not have.
    pub(super) busy: Option<Box<Busy>>,
    /// The tick of the shard's timer wheel at which its connection is to be woken; the last one for none.
    pub(super) armed: Tick,
    /// Last sign of life from the client, in the shard's milliseconds.
    pub(super) heard: Moment,
    /// Last time the socket took bytes from the queue, in the shard's milliseconds. A sweep (one batch on its way
    /// through the members of a room) does not set it when it writes to the socket directly, past an empty queue.
    pub(super) sent: Moment,
    /// When it was registered, in seconds of the shard's time.
    since_s: u32,
    /// Number of pings and heartbeats that the client has not answered yet. The rate limit does not count the answers.
    pub(super) questions: u16,
    /// Its dialect, which no longer changes once it is in a room.
    pub(super) dialect: Dialect,
    /// Its use of compression, which no longer changes either.
    pub(super) deflate: Deflate,
    /// The bucket of long queues in which it is noted, counted from 1; 0 for none.
    pub(super) backlog: u8,
    /// The client is in the line of those to be written to.
    pub(super) is_dirty: bool,
    /// The client is in the line of those whose connections get a turn.
    pub(super) is_woken: bool,
    /// The socket takes no more bytes for now, or none yet because the handshake is not answered. The connection
    /// waits for the socket and then writes.
    pub(super) is_blocked: bool,
}

/// The state of a client for which something waits, which is asked whether it is alive, or which is ending. It stays
/// until the connection [rests](Client::rest), so that a client that speaks or is in several rooms does not allocate
/// one for each message.
#[derive(Debug)]
pub(super) struct Busy {
    /// Its queue of bytes to send.
    pub(super) outbox: Outbox,
    /// The reason for which the connection is ending. It is set once; after that only the last frames are queued.
    pub(super) end: Option<EndReason>,
    /// The ping that other tasks asked for to learn whether the client is alive, or the answer to it while that holds.
    pub(super) probe: Option<Box<Probe>>,
    /// Last time the socket took bytes from the queue, or was found to take no more, in the shard's milliseconds.
    pub(super) progress_ms: u64,
}

impl Client {
    pub(super) fn new(id: ConnectionId, now_ms: u64) -> Self {
        Self {
            id,
            user: None,
            topics: None,
            busy: None,
            armed: Tick::MAX,
            heard: Moment::at(now_ms),
            sent: Moment::at(now_ms),
            since_s: u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX),
            questions: 0,
            dialect: Dialect::Plain,
            deflate: Deflate::Off,
            backlog: 0,
            is_dirty: false,
            is_woken: false,
            // No frame may be written before the handshake's answer, status 101.
            is_blocked: true,
        }
    }

    /// Returns the rooms that it is in.
    pub(super) fn topics(&self) -> &[TopicId] {
        self.topics.as_ref().map_or(&[], Few::as_slice)
    }

    /// Notes that it is in another room.
    pub(super) fn enter(&mut self, topic: TopicId) {
        match &mut self.topics {
            Some(topics) => topics.push(topic),
            none => *none = Some(Few::One(topic)),
        }
    }

    /// Notes that it is in a room no longer.
    pub(super) fn leave(&mut self, topic: TopicId) {
        self.topics.take_if(|topics| !topics.retain(|known| *known != topic));
    }

    /// Returns the state that most clients do not have, and makes it if this one has none.
    pub(super) fn busy(&mut self, now_ms: u64) -> &mut Busy {
        self.busy.get_or_insert_with(|| {
            Box::new(Busy { outbox: Outbox::default(), end: None, probe: None, progress_ms: now_ms })
        })
    }

    /// Frees the memory of a client for which nothing waits, not even ciphertext that its socket has yet to take.
    /// Returns true when it has none left to be freed.
    pub(super) fn rest(&mut self) -> bool {
        if self.is_blocked {
            return self.busy.is_none();
        }
        self.busy.take_if(|busy| busy.outbox.is_empty() && busy.end.is_none() && busy.probe.is_none());
        self.busy.is_none()
    }

    /// Returns its queue of bytes to send; `None` when it is certainly empty.
    pub(super) fn outbox(&self) -> Option<&Outbox> {
        self.busy.as_ref().map(|busy| &busy.outbox)
    }

    /// Returns the reason for which the connection is ending.
    pub(super) fn end(&self) -> Option<&EndReason> {
        self.busy.as_ref()?.end.as_ref()
    }

    /// Returns the ping that asks whether it is alive, or the answer to it.
    pub(super) fn probe(&mut self) -> Option<&mut Probe> {
        self.busy.as_mut()?.probe.as_deref_mut()
    }

    /// True when nothing waits for it and nothing is partly written.
    pub(super) fn is_empty(&self) -> bool {
        self.outbox().is_none_or(Outbox::is_empty)
    }

    /// True when it must take its replies before its next command is read.
    pub(super) fn owes_much(&self) -> bool {
        self.outbox().is_some_and(Outbox::owes_much)
    }

    /// Returns the kind of lane that it belongs to.
    pub(super) fn lane(&self) -> LaneKind {
        LaneKind::new(self.dialect, self.deflate)
    }

    /// Returns how long ago it was registered, in milliseconds, to the second.
    pub(super) fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(u64::from(self.since_s) * 1_000)
    }

    /// True when a batch may be written at once: nothing waits or is partly written, the socket takes bytes, and the
    /// connection is not ending.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_blocked && self.busy.as_ref().is_none_or(|busy| busy.outbox.is_empty() && busy.end.is_none())
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
        self.outbox().map_or(0, |outbox| outbox.shared_bytes() + outbox.reply_bytes())
    }

    /// True when ending the client frees memory that nothing else would free soon. A client whose socket takes bytes is
    /// about to be written to, and one that is ending frees its queue in any case.
    pub(super) fn can_be_dropped(&self) -> bool {
        self.is_blocked && self.end().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_small_because_there_are_many() {
        assert!(size_of::<Option<Client>>() <= 64, "{}", size_of::<Client>());
    }
}
