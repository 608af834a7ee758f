//! Bounds how many connections a node has at once (`limits.max_connections`).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::shared::Node;

/// Permission to be one of the `limits.max_connections` connections of a node. Dropping it makes room for another.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<Node>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

impl Node {
    /// Returns a permit for one more connection; `None` while `limits.max_connections` are held.
    #[must_use]
    pub fn connection_permit(self: &Arc<Self>) -> Option<ConnectionPermit> {
        // The permit exists before the count is checked: if there are too many, dropping it takes the count back.
        let permit = ConnectionPermit(Arc::clone(self));
        let before = self.connections.fetch_add(1, Relaxed);
        (before < self.config().limits.max_connections).then_some(permit)
    }
}
