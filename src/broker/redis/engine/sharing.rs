//! The exchange of a room's users, and the table of nodes as it sees it.

use bytes::Bytes;

use super::super::batch::Incarnation;
use super::super::nodes::Nodes;
use super::super::presence::{Exchange, NodeTable, Standing};

/// The exchange of a room's users, and whether newcomers wait for it.
#[derive(Debug)]
pub(super) struct Sharing {
    pub(super) exchange: Exchange,
    /// When newcomers are let in although the users of other nodes are not known; `None` once newcomers are let in.
    pub(super) ready_by_ms: Option<u64>,
}

impl Sharing {
    /// Returns when something is due.
    pub(super) fn due(&self) -> Option<u64> {
        self.exchange.next_tick_ms().into_iter().chain(self.ready_by_ms).min()
    }
}

/// The table of nodes, as the exchanges see it.
pub(super) struct SeenNodes<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) version: u64,
}

impl NodeTable for SeenNodes<'_> {
    fn standing(&self, node: Incarnation) -> Standing {
        if self.nodes.get(node).is_some() {
            Standing::Live
        } else if self.nodes.all().any(|known| known.incarnation == node) {
            Standing::Dead
        } else {
            Standing::Unknown
        }
    }

    fn version(&self) -> u64 {
        self.version
    }
}

/// Returns true for a payload of an exchange.
pub(super) fn is_presence(payload: &Bytes) -> bool {
    payload.starts_with(b"p")
}
