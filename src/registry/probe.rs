//! The asker's side of a probe, which is a ping to learn whether a connection is alive.

use tokio::sync::oneshot;

/// Time that a connection has to answer a probe, in milliseconds.
pub const PROBE_MS: u64 = 2_000;

/// A task that waits to hear whether a connection is alive.
#[derive(Debug)]
pub struct Asker {
    /// A hash of the address on behalf of which the task asks.
    pub from: u32,
    /// Gets true when the connection is alive, and false when no answer came in time. It is dropped unused when the
    /// connection is gone or ending.
    pub answer: oneshot::Sender<bool>,
}
