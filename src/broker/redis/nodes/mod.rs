//! The nodes of the cluster: a table in the engine, into which each node writes its beat.
//!
//! The script [`beat`] alone decides that a node is dead, by the engine's clock, and marks it in the table. So all
//! nodes learn the same, the dead node too. While the engine is away nobody beats and nobody dies. [`lease`] paces the
//! beats of the node itself and draws the conclusions; [`table`] keeps what the last beat returned. The dashboard shows
//! the table as it is on the [`board`].

mod answer;
pub mod beat;
pub mod board;
mod details;
pub mod lease;
pub mod live;
mod name;
pub mod table;
#[cfg(test)]
mod tests;
pub(super) mod text;

pub(super) use answer::{Fields, Outcome, outcome, yes_or_no};
pub use board::{Board, Overview, Report};
pub use details::{BadDetails, Details};
pub use lease::{Lease, LeaseEvent};
pub use name::NodeName;
pub use table::{LiveNodes, Node, NodeEvent, Nodes};

/// Time between two beats of a node, in milliseconds.
pub const BEAT_MS: u64 = 3_000;
/// Silence after which a node is dead, in milliseconds of the engine's clock. Three beats may be late or lost.
pub const LEASE_MS: u64 = 10_000;
/// Longest time between two beats of any nodes within which silence counts, in milliseconds. After a longer one the
/// engine was away, or all nodes were, and every node has a whole lease to beat again.
pub const GAP_MS: u64 = 5_000;
/// Life of the table after the last beat of any node, in seconds. A cluster that is down for a day begins a new table.
pub const TABLE_LIFE_S: u64 = 86_400;
/// Most nodes in the table. Each beat returns all of it: a thousand nodes are some 500 KiB.
pub const MAX_NODES: usize = 1_000;
