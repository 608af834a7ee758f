//! The answer of the API to `info`: the nodes with their counters.

use serde::Serialize;

use super::counters::{self, Counters};
use super::nodes::{self, Row};
use crate::node::Node;

/// The nodes and the engine that they share.
#[derive(Serialize)]
struct Info<'a> {
    /// The node that answers.
    node: &'a str,
    /// `memory` or `redis`.
    engine: &'static str,
    /// False when the engine has not answered for long.
    is_up: bool,
    nodes: Nodes<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Nodes<'a> {
    /// The table of nodes.
    Shared(Vec<Row<'a>>),
    /// The only node.
    Alone([Alone<'a>; 1]),
}

/// A node without an engine.
#[derive(Serialize)]
struct Alone<'a> {
    name: &'a str,
    version: &'static str,
    counters: Counters,
}

/// Returns the answer as JSON.
pub(in crate::server) fn json(node: &Node) -> String {
    let overview = node.overview();
    let nodes = match overview.as_deref() {
        Some(overview) => Nodes::Shared(nodes::rows(overview, node.now_ms())),
        None => Nodes::Alone([Alone {
            name: &node.config().node,
            version: env!("CARGO_PKG_VERSION"),
            counters: counters::of(node),
        }]),
    };
    let engine = node.config().engine.name();
    let info = Info { node: &node.config().node, engine, is_up: node.can_publish(), nodes };
    // No value of these types fails.
    simd_json::serde::to_string(&info).unwrap_or_default()
}
