//! The table of nodes as the last beat returned it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use super::details::Details;
use super::name::NodeName;
use super::text::{hex, parse_hex};
use crate::broker::redis::batch::Incarnation;

/// The id of a table of nodes. The engine has another one after it has lost its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableId(pub u64);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0))
    }
}

impl FromStr for TableId {
    type Err = ();

    /// Parses the 16 digits that `Display` writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, ()> {
        parse_hex(text).map(Self).ok_or(())
    }
}

/// A node in the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The time of its first beat, in Unix milliseconds of the engine's clock.
    pub joined_ms: u64,
    /// The time of its last beat, by the same clock.
    pub beat_ms: u64,
    /// False when the engine has declared it dead.
    pub is_live: bool,
    /// The details that it tells about itself; empty if its version is another one.
    pub details: Details,
}

/// The table that a beat returned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// The time of the beat, in Unix milliseconds of the engine's clock.
    pub now_ms: u64,
    /// The id of the table.
    pub id: TableId,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Number of entries that could not be read.
    pub unknown: usize,
}

/// A change of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeEvent {
    /// A node is live that was not before.
    Joined(NodeName, Incarnation),
    /// A node is no longer live: it was declared dead, or it left.
    Died(NodeName, Incarnation),
}

/// The live incarnations, in the form in which scripts get them, and the time as of which they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LiveNodes {
    /// The time of the table, in Unix milliseconds of the engine's clock.
    pub as_of_ms: u64,
    /// `,INCARNATION,INCARNATION,`: a script finds an incarnation with its commas.
    pub list: Bytes,
}

/// The nodes of the cluster, as of the last beat of this node that the engine has acknowledged.
#[derive(Debug, Default)]
pub struct Nodes {
    by_incarnation: BTreeMap<Incarnation, Node>,
    live: Arc<LiveNodes>,
}

impl Nodes {
    /// Takes over a table and returns what has changed: first the nodes that died, then those that joined.
    pub fn apply(&mut self, table: Table) -> Vec<NodeEvent> {
        let new: BTreeMap<Incarnation, Node> =
            table.nodes.into_iter().map(|node| (node.incarnation, node)).collect();
        let is_live = |nodes: &BTreeMap<_, Node>, by: &Incarnation| nodes.get(by).is_some_and(|n| n.is_live);
        let died = self.live().filter(|node| !is_live(&new, &node.incarnation));
        let mut events: Vec<NodeEvent> =
            died.map(|node| NodeEvent::Died(node.name.clone(), node.incarnation)).collect();
        let joined = new.values().filter(|n| n.is_live && !is_live(&self.by_incarnation, &n.incarnation));
        events.extend(joined.map(|node| NodeEvent::Joined(node.name.clone(), node.incarnation)));
        self.by_incarnation = new;
        let mut list = String::from(",");
        self.live().for_each(|node| list.extend([&node.incarnation.to_string(), ","]));
        self.live = Arc::new(LiveNodes { as_of_ms: table.now_ms, list: list.into() });
        events
    }

    /// Returns the live nodes.
    pub fn live(&self) -> impl Iterator<Item = &Node> {
        self.by_incarnation.values().filter(|node| node.is_live)
    }

    /// Returns all nodes, with those that are dead and not removed yet.
    pub fn all(&self) -> impl Iterator<Item = &Node> {
        self.by_incarnation.values()
    }

    /// Returns the live incarnations as scripts get them.
    #[must_use]
    pub fn live_list(&self) -> &Arc<LiveNodes> {
        &self.live
    }

    /// Returns the live node of an incarnation.
    #[must_use]
    pub fn get(&self, incarnation: Incarnation) -> Option<&Node> {
        self.by_incarnation.get(&incarnation).filter(|node| node.is_live)
    }

    /// True when the incarnation is the oldest live node, which removes the entries of the dead.
    #[must_use]
    pub fn is_oldest(&self, incarnation: Incarnation) -> bool {
        let oldest = self.live().min_by_key(|node| (node.joined_ms, node.incarnation));
        oldest.is_some_and(|node| node.incarnation == incarnation)
    }

    /// Returns the dead nodes whose entries the node `own` has to remove: all of them if it is the oldest live node.
    pub fn to_remove(&self, own: Incarnation) -> impl Iterator<Item = (&NodeName, Incarnation)> {
        let is_oldest = self.is_oldest(own);
        let dead = self.by_incarnation.values().filter(move |node| is_oldest && !node.is_live);
        dead.map(|node| (&node.name, node.incarnation))
    }
}
