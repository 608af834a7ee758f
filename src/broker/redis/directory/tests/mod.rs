//! Tests of the directory: its scripts on a real server, and a model of three nodes.

mod difference;
mod imitation;
mod model;
mod scripts;
pub(in crate::broker::redis) mod server;

use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::directory::Owner;
use crate::broker::redis::nodes::LiveNodes;
use crate::names::{ConnectionId, UserId};

/// Makes connection `number` of node `node`.
fn owner(node: u64, number: usize) -> Owner {
    Owner {
        node: format!("n{node}").parse().unwrap(),
        incarnation: Incarnation(node),
        connection: ConnectionId::new(0, number, 1),
    }
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

/// Makes the list of live nodes, as of the end of time: an entry of any other node is dead.
fn live(nodes: &[u64]) -> LiveNodes {
    let list = nodes.iter().map(|node| format!("{},", Incarnation(*node))).collect::<String>();
    LiveNodes { as_of_ms: 1 << 50, list: format!(",{list}").into() }
}
