//! The state of a client, as its connection sees it.

use crate::protocol::close::EndReason;

/// The state of a client that its connection reads when it has a turn. Times are in the shard's milliseconds.
#[derive(Debug, Default)]
pub struct Status {
    /// The reason for which the connection is ending. Its close frame is queued or sent.
    pub end: Option<EndReason>,
    /// Nothing waits in the queue.
    pub is_empty: bool,
    /// Time when the oldest waiting frame was queued of those that end the connection when they become too old. Set
    /// while the socket takes no more.
    pub oldest_ms: Option<u64>,
    /// Last time the socket took bytes. Set while it takes no more.
    pub stalled_ms: Option<u64>,
    /// Last sign of life from the client.
    pub heard_ms: u64,
    /// Time until which a probe (a ping to learn whether the client is alive) waits for its answer, or the answer
    /// holds.
    pub probe_until_ms: Option<u64>,
    /// Milliseconds by which the shard's time is behind the clock, because its thread stood still.
    pub lost_ms: u64,
}
