//! The task of an upgraded connection: the connection, and the counts that it holds until its end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::worker::handle::ConnectionCount;
use crate::admission::limits::AddressLease;
use crate::connection::Connection;

/// Runs a connection to its end, and then takes it out of the counts of its address and of its worker.
///
/// This is a struct with a `poll` of its own because an `async` block would hold the connection twice: once captured,
/// and once awaited. Every idle connection has one of these.
pub(super) struct Established {
    // Fields are dropped in this order: the connection first.
    connection: Connection,
    _counts: (Option<AddressLease>, ConnectionCount),
}

impl Established {
    pub(super) fn new(connection: Connection, lease: Option<AddressLease>, count: ConnectionCount) -> Self {
        Self { connection, _counts: (lease, count) }
    }
}

impl Future for Established {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.connection).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that the runtime adds to a future: header 32, scheduler 8, id 8, the stage's tag 8, trailer 48.
    const AROUND: usize = 104;
    /// The size of a task is rounded up to a multiple of this, so that no two share a pair of cache lines.
    const TASK_STEP: usize = 128;

    #[test]
    fn a_task_and_all_it_holds_are_four_steps_long() {
        let task = (size_of::<Established>() + AROUND).next_multiple_of(TASK_STEP);
        assert!(task <= 4 * TASK_STEP, "{task}: the future alone has {}", size_of::<Established>());
        let rest = size_of::<Established>() - size_of::<Connection>();
        assert!(rest <= 48, "{rest} bytes beside the connection, which is held once");
    }
}
