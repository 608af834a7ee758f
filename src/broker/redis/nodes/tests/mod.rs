//! Tests of the nodes: the scripts on a real server, and the pure parts.

mod board;
mod lease;
mod scripts;
mod table;

use bytes::Bytes;

use super::{Details, Node, NodeName};
use crate::broker::redis::batch::Incarnation;

fn name(number: u64) -> NodeName {
    format!("n{number}").parse().unwrap()
}

fn details() -> Details {
    let counters = Bytes::from_static(b"{\"connections\":7}");
    Details::new("1.2.3".into(), "10.0.0.1:8080 [::1]:8080".into(), counters).unwrap()
}

fn node(number: u64, joined_ms: u64, is_live: bool) -> Node {
    let (name, incarnation) = (name(number), Incarnation(number));
    Node { name, incarnation, joined_ms, beat_ms: joined_ms, is_live, details: details() }
}
