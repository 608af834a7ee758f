//! The commands of a room to the engine, and how calls end.

use smallvec::SmallVec;

use super::super::batch::Batch;
use super::super::script::Lives;
use crate::names::{Offset, Position};

/// A message that waits to be appended.
pub trait Waiting {
    /// Returns the bytes that the message takes in a call, about which the queue is bounded.
    fn bytes(&self) -> usize;
}

/// Why a call has no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The call was not carried out, and the server does not know of it: it was not written, or the link was full.
    NotSent,
    /// The call may have been carried out: the link broke, or the answer did not come in time.
    Lost,
    /// The server answered with an error and has done nothing.
    Refused,
    /// The server's answer cannot be understood. The call may have been carried out.
    Unreadable,
}

/// How the publication of a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The message was appended, but this node could not read it any more when its turn came.
    Appended(Position),
    /// A message with the same idempotency key had been appended before, at this position.
    Duplicate(Position),
    /// The message was not appended, and will not be.
    Unavailable,
    /// Nobody knows whether the message was appended. The sender is among the members that `BeginAnew` disconnects.
    Unknown,
}

/// An instruction of a room's state machine to the engine. A list of them is carried out in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<D> {
    /// Subscribe to the room's channel.
    Subscribe,
    /// Unsubscribe from the room's channel.
    Unsubscribe,
    /// Call `sync`; the answer goes to `Room::synced` with this number.
    Sync {
        /// The number of the call.
        number: u64,
    },
    /// Read a page of the room's stream; the answer goes to `Room::filled` with this number.
    Fill {
        /// The number of the call.
        number: u64,
        /// The first offset that is wanted.
        from: Offset,
    },
    /// Call `publish` with the messages of `Room::call`; the answer goes to `Room::published` with this number.
    Publish {
        /// The number of the call, which is the same when a call is repeated.
        number: u64,
    },
    /// Append a batch to the room and deliver it to the members.
    Append {
        /// The messages, which follow the room's last offset. Their epoch may be an earlier one.
        batch: Batch,
        /// This node's own messages, for their acks: empty, or one for each message of the batch, in its order.
        own: Vec<D>,
    },
    /// Answer the sender of a message.
    Answer {
        /// The message.
        draft: D,
        /// How its publication ended.
        outcome: Outcome,
    },
    /// Continue the room in another epoch: everything that the members were shown has survived.
    Adopt {
        /// The new epoch with the room's last offset, which stays as it was.
        position: Position,
        /// The room's earlier epochs.
        lives: Lives,
    },
    /// Disconnect the members, who were shown messages that are lost, and begin the room anew at this position.
    BeginAnew {
        /// Where the room begins.
        position: Position,
        /// The room's earlier epochs.
        lives: Lives,
    },
    /// Tell the members that messages are missing: they were trimmed before this node could read them.
    Gap {
        /// The offset of the first missing message.
        from: Offset,
        /// The offset of the last missing message.
        to: Offset,
    },
    /// Let those in who wait for the room: it is followed from this position on.
    Opened {
        /// The room's last position.
        position: Position,
        /// The room's earlier epochs.
        lives: Lives,
    },
    /// Refuse those who wait for the room.
    NotOpened,
    /// Forget the room, unless it is opened again: nothing of it is left.
    Closed,
}

/// The commands that follow from one input.
pub type Commands<D> = SmallVec<[Command<D>; 4]>;

/// Returns the command that answers a sender.
pub(super) fn answer<D>(draft: D, outcome: Outcome) -> Command<D> {
    Command::Answer { draft, outcome }
}
