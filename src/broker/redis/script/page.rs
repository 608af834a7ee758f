//! Reads messages of a room from its stream.

use bytes::Bytes;
use smallvec::smallvec;

use super::{BadReply, Call, Reply, Script, number};
use crate::broker::redis::batch::Batch;
use crate::broker::redis::keys::RoomKeys;
use crate::names::Offset;

/// The script.
pub static PAGE: Script = Script::new("page", include_str!("page.lua"));

/// Most batches and bytes of a page. The batch that reaches the limit of bytes is still part of the page, so that every
/// page with messages to return has at least one batch.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// Most batches.
    pub batches: u64,
    /// Bytes after which no further batch is added.
    pub bytes: u64,
}

/// Builds a call for the batches with the messages at `from` and above. The first batch can begin below `from`.
#[must_use]
pub fn from(keys: &RoomKeys, from: Offset, limit: PageLimit) -> Call {
    call(keys, "from", from, limit)
}

/// Builds a call for the batches with the messages at `to` and below, the newest of them. The last batch can reach
/// beyond `to`, and is above it as a whole when the messages below were trimmed.
#[must_use]
pub fn to(keys: &RoomKeys, to: Offset, limit: PageLimit) -> Call {
    call(keys, "to", to, limit)
}

fn call(keys: &RoomKeys, direction: &'static str, bound: Offset, limit: PageLimit) -> Call {
    let direction = Bytes::from_static(direction.as_bytes());
    let args = vec![direction, number(bound.0), number(limit.batches.max(1)), number(limit.bytes.max(1))];
    Call { script: &PAGE, keys: smallvec![keys.stream()], args }
}

/// Reads the reply. The batches are in ascending order, in either direction of the call.
///
/// # Errors
/// [`BadReply`] when the reply is not one of this script, or when an entry of the stream is not a batch.
pub fn reply(reply: &Reply) -> Result<Vec<Batch>, BadReply> {
    let bad = |wanted| BadReply { script: PAGE.name, wanted };
    let entries = reply.array().ok_or(bad("an array of batches"))?;
    let mut batches =
        entries.iter().map(batch).collect::<Option<Vec<_>>>().ok_or(bad("a batch with its id"))?;
    if batches.first().zip(batches.last()).is_some_and(|(first, last)| first.first > last.first) {
        batches.reverse();
    }
    if !batches.is_sorted_by(|lower, upper| lower.last() < upper.first) {
        return Err(bad("batches in order"));
    }
    Ok(batches)
}

/// Reads an entry: its id, which is the offset of the last message, and the batch.
fn batch(entry: &Reply) -> Option<Batch> {
    let [id, content] = entry.array()? else { return None };
    let batch = Batch::parse(content.bytes()?).ok()?;
    let last = id.text()?.strip_suffix("-0")?;
    (last == batch.last().to_string()).then_some(batch)
}
