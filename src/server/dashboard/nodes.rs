//! The rows of the table of nodes in the dashboard's feed.

use std::collections::BTreeMap;

use serde::Serialize;
use simd_json::OwnedValue;

use crate::broker::redis::nodes::{Node, Overview};

/// A node as the last beat of this node has shown it.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    name: &'a str,
    incarnation: String,
    version: &'a str,
    /// The addresses that it listens at.
    addresses: &'a str,
    /// Time since its last beat.
    age_ms: u64,
    /// False when the engine has declared it dead.
    is_live: bool,
    /// True for the node that sends this.
    is_this: bool,
    /// Its counters at its last beat.
    counters: BTreeMap<String, OwnedValue>,
}

/// Returns a row for each node, by name.
pub(super) fn rows(overview: &Overview, now_ms: u64) -> Vec<Row<'_>> {
    let mut rows: Vec<_> = overview.nodes.iter().map(|node| row(overview, node, now_ms)).collect();
    rows.sort_by_key(|row| row.name);
    rows
}

fn row<'a>(overview: &Overview, node: &'a Node, now_ms: u64) -> Row<'a> {
    let Node { name, incarnation, is_live, details, .. } = node;
    Row {
        name: name.as_str(),
        incarnation: incarnation.to_string(),
        version: details.version(),
        addresses: details.addresses(),
        age_ms: overview.age_ms(node, now_ms),
        is_live: *is_live,
        is_this: overview.own == Some(*incarnation),
        counters: flat(details.counters()),
    }
}

/// Returns the fields of a JSON object that are no objects or lists themselves; none of a text that is not such an
/// object. A node of another version may send other fields, which pass.
fn flat(json: &str) -> BTreeMap<String, OwnedValue> {
    let mut bytes = json.as_bytes().to_vec();
    let Ok(OwnedValue::Object(fields)) = simd_json::to_owned_value(&mut bytes) else {
        return BTreeMap::new();
    };
    let is_plain = |value: &OwnedValue| !matches!(value, OwnedValue::Object(_) | OwnedValue::Array(_));
    fields.into_iter().filter(|(_, value)| is_plain(value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::broker::redis::batch::Incarnation;
    use crate::broker::redis::nodes::Details;

    fn node(name: &str, incarnation: u64, beat_ms: u64, counters: &str) -> Node {
        Node {
            name: name.parse().unwrap(),
            incarnation: Incarnation(incarnation),
            joined_ms: 1,
            beat_ms,
            is_live: incarnation != 3,
            details: Details::new("9.1".into(), "[::1]:80".into(), counters.to_owned().into()).unwrap(),
        }
    }

    #[test]
    fn nodes_stand_by_name_with_the_age_of_their_beats() {
        let nodes = vec![
            node("b", 1, 900, r#"{"connections":7,"state":"draining","of_a_later_version":1.5}"#),
            node("c", 3, 1_200, "{}"),
            node("a", 2, 1_000, "{}"),
        ];
        let overview = Overview { nodes, own: Some(Incarnation(2)), engine_ms: 1_000, arrived_ms: 50 };
        let row = |name, incarnation, age_ms, is_live, is_this, counters: Value| {
            json!({
                "name": name, "incarnation": incarnation, "version": "9.1", "addresses": "[::1]:80",
                "age_ms": age_ms, "is_live": is_live, "is_this": is_this, "counters": counters,
            })
        };
        let counters = json!({"connections": 7, "state": "draining", "of_a_later_version": 1.5});
        let expected = json!([
            row("a", "0000000000000002", 20, true, true, json!({})),
            row("b", "0000000000000001", 120, true, false, counters),
            row("c", "0000000000000003", 20, false, false, json!({})),
        ]);
        assert_eq!(serde_json::to_value(rows(&overview, 70)).unwrap(), expected);
    }

    #[test]
    fn counters_that_are_no_flat_object_do_not_pass() {
        let mixed = r#"{"a":1,"b":{"c":2},"d":[3],"e":"\"<","f":null}"#;
        assert_eq!(serde_json::to_value(flat(mixed)).unwrap(), json!({"a": 1, "e": "\"<", "f": null}));
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(2_000), "]".repeat(2_000));
        for nothing in ["", "7", "[1]", "{\"a\":1", "{\"a\":1}}", "\"text\"", &deep] {
            assert!(flat(nothing).is_empty(), "{nothing}");
        }
    }
}
