//! The directory of users: which connections of which nodes hold a user id. One hash for each user in the engine.
//!
//! An entry counts as long as its node is live ([`LiveNodes`](super::nodes::LiveNodes)), so nothing is refreshed to
//! show that a user is there, and all users of a dead node are free at once. A connection that was replaced stays in
//! the entry, marked, until its node has released it. Each later claim names it again, so no connection is forgotten
//! because a message to its node, or the node that sent it, was lost.
//!
//! Fields of dead nodes are removed by the next script that reads the entry, and entries that nobody reads expire:
//! a node repeats the claim of each of its connections within [`REPEAT_MS`], which lets the entry live for another
//! [`ENTRY_LIFE_S`]. Two hundred thousand users are 111 calls a second. The repetition also restores entries that the
//! engine has lost, and finds connections that were replaced without hearing of it. A search through all keys after a
//! death would load the servers when they have the most to do, and heal nothing.
//!
//! Where webhooks are told who is online, each node has a list of the users of whom it tells ([`told_users`]). It has
//! another slot than the entries, so it holds at least the users of whom the node has told; a user who is elsewhere is
//! found in the entry.

pub mod claim;
pub mod find;
pub mod once;
mod owner;
pub mod release;
mod session;
#[cfg(test)]
pub(super) mod tests;
pub mod told;
pub mod told_users;

pub use owner::Owner;
pub(super) use owner::{connection_bits, connection_of_bits};
pub use session::SessionHash;

/// Life of an entry after the last claim, repeated ones included, in seconds.
pub const ENTRY_LIFE_S: u64 = 7_200;
/// Time within which a node repeats the claim of each of its connections, in milliseconds: a quarter of an entry's
/// life, so that some repetitions may fail.
pub const REPEAT_MS: u64 = ENTRY_LIFE_S * 1_000 / 4;
/// Most that the clocks of two servers of the engine may differ, in milliseconds. The list of live nodes has the time
/// of one server, the entry of a user that of another.
pub const CLOCK_MARGIN_MS: u64 = 5_000;
/// Most connections of one user, over all nodes. Each script reads all of them.
pub const MAX_CONNECTIONS: usize = 1_000;

/// Tokens that are missing in the rate bucket of a user who was on another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spent {
    /// Thousandths of a token that were missing then.
    pub missing: u64,
    /// Milliseconds that have passed since.
    pub age_ms: u64,
}
