//! The unfinished command of a connection of `throng.v1`: missed messages are still to be sent, a room is to be left,
//! or the answer of the engine, of other nodes or of a hook is waited for. No other command is taken meanwhile.

use super::replay::Replaying;
use crate::names::{Epoch, Offset, Position, RoomName};
use crate::node::{Delivery, Opening, Permission};

/// The one thing that a connection has to finish. It is boxed, because most connections have nothing to finish.
#[derive(Debug)]
pub(super) enum Pending {
    /// Missed messages are still to be sent.
    Replaying(Replaying),
    /// A room is to be left once the client's messages there are answered.
    Leaving(Leaving),
    /// A room is to be entered if the hook `join` permits it.
    Permitting(Permitting),
    /// A room is to be entered once the engine has opened it.
    Joining(Joining),
    /// A page of history is to be sent once the engine has read it.
    Asking(Asking),
    /// A new token is to be answered once the rooms that it does not allow are left.
    Renewing(Renewing),
    /// A private message is to be answered once the nodes of its recipient have answered.
    Sending(Sending),
}

/// A `leave` command that waits until the client's messages in the room are answered.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) room: RoomName,
    /// The command's `id`, which the answer repeats.
    pub(super) re: Option<Box<str>>,
}

/// A `join` command that waits for the hook.
#[derive(Debug)]
pub(super) struct Permitting {
    pub(super) room: RoomName,
    pub(super) resume: Option<Position>,
    pub(super) re: Option<Box<str>>,
    pub(super) permission: Permission,
}

/// A `token` command that waits until rooms are left.
#[derive(Debug)]
pub(super) struct Renewing {
    pub(super) re: Option<Box<str>>,
    pub(super) until_unix_ms: i64,
}

/// A `join` command that waits for the engine.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) room: RoomName,
    pub(super) resume: Option<Position>,
    pub(super) re: Option<Box<str>>,
    pub(super) opening: Opening,
}

/// The page that a `history` command asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct HistoryWish {
    pub(super) epoch: Option<Epoch>,
    pub(super) before: Option<Offset>,
    pub(super) limit: usize,
}

/// A `history` command that waits for the engine.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) room: RoomName,
    pub(super) page: HistoryWish,
    pub(super) re: Option<Box<str>>,
    pub(super) opening: Opening,
}

/// A `direct` command that waits for other nodes.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) re: Option<Box<str>>,
    pub(super) delivery: Delivery,
}
