//! Appends messages to a room and publishes them.

use bytes::Bytes;
use smallvec::smallvec;

use super::{BadReply, Call, Lives, Reply, Script, number};
use crate::broker::redis::batch::{Incarnation, MAX_MESSAGES, Record, decimal};
use crate::broker::redis::keys::RoomKeys;
use crate::names::{Epoch, Key, Offset, Position, UserId};

/// The script.
pub static PUBLISH: Script =
    Script::new("publish", concat!(include_str!("room.lua"), include_str!("publish.lua")));

/// One message of a call: the user and the idempotency key, if it has one, and the encoded message.
pub type Message = (Option<(UserId, Key)>, Record);

/// The arguments of a call beside its messages.
#[derive(Debug)]
pub struct PublishArgs {
    /// The calling run of the node.
    pub by: Incarnation,
    /// The number of the call: one more than that of the call before, from 1 in each room. A call that is sent again
    /// has the same number.
    pub number: u64,
    /// How many of the newest messages the stream keeps at least. Older ones are trimmed in whole nodes of the stream.
    /// At least the newest batch is kept.
    pub keep: u64,
    /// A random number, from which the script derives the epoch when a new one begins.
    pub epoch_seed: Epoch,
    /// How long the room's keys live when nothing refreshes them.
    pub room_ttl_ms: u64,
}

/// The effect of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishReply {
    /// The epoch in which the messages were appended. For a call that is sent again it is that of the first attempt,
    /// which can be among `lives`.
    pub epoch: Epoch,
    /// The offset of the first message that was appended.
    pub first: Offset,
    /// The offset of the last message that was appended; one less than `first` when all messages were duplicates.
    pub last: Offset,
    /// The duplicates in ascending order: the index in the call, and the position of the message that has the key.
    pub duplicates: Vec<(usize, Position)>,
    /// The room's earlier epochs.
    pub lives: Lives,
}

/// Builds a call with 1 to [`MAX_MESSAGES`] messages.
#[must_use]
pub fn call<'a>(
    keys: &RoomKeys,
    args: &PublishArgs,
    messages: impl ExactSizeIterator<Item = &'a Message>,
) -> Call {
    let mut all = Vec::with_capacity(6 + 2 * messages.len());
    all.extend([
        keys.channel(),
        Bytes::from(args.by.to_string()),
        number(args.number),
        number(args.keep.max(1)),
        Bytes::copy_from_slice(&args.epoch_seed.digits()),
        number(args.room_ttl_ms),
    ]);
    for (key, record) in messages {
        all.extend([key.as_ref().map_or_else(Bytes::new, field), record.bytes().clone()]);
    }
    Call { script: &PUBLISH, keys: smallvec![keys.meta(), keys.stream(), keys.presence()], args: all }
}

/// Returns the field of an idempotency key. A user id contains no zero byte, so no two keys have the same field.
fn field((user, key): &(UserId, Key)) -> Bytes {
    let parts = [user.as_str().as_bytes(), b"\0", key.as_str().as_bytes()];
    Bytes::from(parts.concat())
}

/// Reads the reply.
///
/// # Errors
/// [`BadReply`] when the reply is not one of this script.
pub fn reply(reply: &Reply) -> Result<PublishReply, BadReply> {
    let bad = |wanted| BadReply { script: PUBLISH.name, wanted };
    let Some([epoch, first, last, duplicates, lives]) = reply.array() else {
        return Err(bad("an array of 5"));
    };
    let first = first.offset().filter(|first| first.0 > 0).ok_or(bad("the first offset"))?;
    let most = first.0.saturating_add(MAX_MESSAGES as u64 - 1);
    let is_in_range = |last: &Offset| (first.0 - 1..=most).contains(&last.0);
    Ok(PublishReply {
        epoch: epoch.epoch().ok_or(bad("the epoch"))?,
        first,
        last: last.offset().filter(is_in_range).ok_or(bad("the last offset"))?,
        duplicates: duplicates.text().and_then(parse_duplicates).ok_or(bad("the list of duplicates"))?,
        lives: lives.lives().ok_or(bad("the list of earlier epochs"))?,
    })
}

/// Parses `INDEX=EPOCH:OFFSET,…`.
fn parse_duplicates(text: &str) -> Option<Vec<(usize, Position)>> {
    let mut duplicates: Vec<(usize, Position)> = Vec::new();
    for entry in text.split(',').filter(|_| !text.is_empty()) {
        let (index, position) = entry.split_once('=')?;
        let (epoch, offset) = position.split_once(':')?;
        let index = usize::try_from(decimal(index)?).ok()?;
        let offset = Offset(decimal(offset).filter(|offset| *offset > 0)?);
        let is_ascending = duplicates.last().is_none_or(|(before, _)| *before < index);
        if !is_ascending || index >= MAX_MESSAGES {
            return None;
        }
        duplicates.push((index, Position { epoch: epoch.parse().ok()?, offset }));
    }
    Some(duplicates)
}
