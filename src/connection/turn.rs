//! The result of a turn, which tells what the connection waits for.

/// The result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The connection waits for its socket, for the shard or for a deadline.
    Waits,
    /// There is more to do, after the turns of other connections.
    Again,
    /// The connection has ended, and its socket may be closed.
    Over,
}
