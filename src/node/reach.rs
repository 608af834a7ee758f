//! Reaches connections of this node for others: to learn whether they are alive, and to give them private messages.

use std::pin::pin;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::timeout;

use crate::names::{ConnectionId, UserId};
use crate::protocol::event::Content;
use crate::protocol::frame::Frame;
use crate::registry::Registry;
use crate::registry::probe::PROBE_MS;
use crate::registry::share::Share;

/// Longest wait for the incumbent's answer to a ping, in steps. If this process stands still, one step runs out at
/// most, and the incumbent has the others to answer in.
const PROBE_PATIENCE: [Duration; 12] = [Duration::from_millis((PROBE_MS + 1_000) / 12); 12];

/// Bytes that a frame has around its text, roughly.
const AROUND_TEXT: usize = 150;

/// The connections that get a message, each with the part of its queue that the sender takes up.
pub(super) type Recipients = SmallVec<[(ConnectionId, Share); 2]>;

/// Pings an incumbent on behalf of a new connection from `address`. Returns false when no answer comes in time.
pub(super) async fn is_alive(registry: &Registry, incumbent: ConnectionId, address: u32) -> bool {
    let mut answer = pin!(registry.is_alive(incumbent, address));
    for step in PROBE_PATIENCE {
        let answered = timeout(step, answer.as_mut()).await.ok();
        if let Some(is_alive) = answered {
            return is_alive;
        }
    }
    // The incumbent's shard keeps the time and no longer answers: the node is stopping.
    true
}

/// Returns those connections whose shards have space for the message, and in whose queues the sender has not used up
/// its share.
pub(super) fn with_space(
    registry: &Registry,
    from: &UserId,
    connections: impl IntoIterator<Item = ConnectionId>,
    content: &Content<'_>,
) -> Recipients {
    let max_len = content.max_len();
    let bytes = content.text.len() + content.more_len() + AROUND_TEXT;
    let with_space = connections.into_iter().filter(|id| registry.has_space_for(*id, max_len));
    with_space.filter_map(|id| Some((id, registry.shares.take(id, from, bytes)?))).collect()
}

/// Sends a message to its recipients, and returns their number.
pub(super) fn send(registry: &Registry, recipients: Recipients, frame: &Frame) -> usize {
    let delivered = recipients.len();
    recipients.into_iter().for_each(|(id, share)| registry.send(id, frame, Some(share)));
    delivered
}
