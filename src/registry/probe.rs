//! The question to a connection whether it is alive, as the asker sees it.

use tokio::sync::oneshot;

/// Longest time that a probed connection has to answer, in milliseconds.
pub const PROBE_MS: u64 = 2_000;

/// A task that waits to hear whether a connection is alive.
#[derive(Debug)]
pub struct Asker {
    /// Stands for the address on whose behalf the question is asked.
    pub from: u32,
    /// Gets the answer. It is dropped when there is no such connection.
    pub answer: oneshot::Sender<bool>,
}
