//! Messages of a batch with their positions, as the broker appends them.

use super::super::batch::{Batch, More};
use super::super::script::page::PageLimit;
use crate::broker::followed::Positioned;
use crate::broker::{Encoded, Local};
use crate::names::{Offset, Position, RoomName};
use crate::protocol::event::message_of_json;

/// The limits of one page of a stream.
pub(super) const PAGE: PageLimit = PageLimit { batches: 64, bytes: 64 * 1024 };

/// Returns the messages of a batch with their offsets, each with the position under which it was said.
pub(super) fn positions(batch: &Batch) -> impl Iterator<Item = (Position, usize)> + '_ {
    (0..batch.messages.len()).map(|index| {
        let offset = Offset(batch.first.0 + index as u64);
        (Position { epoch: batch.epoch, offset }, index)
    })
}

/// Encodes one message of a batch.
pub(super) fn positioned<L: Local>(
    room: &RoomName,
    batch: &Batch,
    at: Position,
    index: usize,
    sender_copy: Option<L::SenderCopy>,
) -> Positioned<L::SenderCopy> {
    let message = &batch.messages[index];
    let at_unix_ms = message.at_unix_ms;
    let more = More::json(message.more.as_deref());
    let at_position = (at.epoch, at.offset);
    let frame = message_of_json(&message.user, &message.text, more, room, at_position, at_unix_ms);
    Positioned { offset: at.offset, at_unix_ms, encoded: Encoded { frame, sender_copy } }
}
