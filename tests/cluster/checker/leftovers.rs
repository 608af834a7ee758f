//! The check that nothing is left over when all clients and nodes have left: keys, subscriptions, tasks.

use std::collections::{BTreeMap, BTreeSet};

use crate::engines::PREFIX;
use crate::engines::contents::Key;

/// Gauges of a node that must be zero when its last client has left.
const GAUGES: &[&str] = &[
    "throng_connections",
    "throng_queue_bytes",
    "throng_engine_waiting_bytes",
    "throng_engine_calls_in_flight",
];

/// Returns what is left in the engine and must not be.
///
/// Allowed are the keys of rooms and of users that the engine removes by itself, and the table of nodes without nodes.
/// The presence of a room and the connections of a user go with the last member and the last connection.
pub(crate) fn in_engine(keys: &[Key], channels: &BTreeSet<String>) -> Vec<String> {
    let keys = keys.iter().filter(|key| !is_allowed(key)).map(|key| format!("key {key:?}"));
    keys.chain(channels.iter().map(|channel| format!("channel {channel}"))).collect()
}

fn is_allowed(key: &Key) -> bool {
    let Some(rest) = key.name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    match rest {
        "{all}:x" => true,
        "{all}:n" => false,
        // The rest of a user's rate bucket, one field, outlives the connections.
        _ if rest.starts_with("u:") => {
            key.expires && key.fields.is_none_or(|fields| fields <= 1 || rest.contains(":k:"))
        }
        _ if rest.starts_with('{') => key.expires && !rest.ends_with("}:w"),
        _ => false,
    }
}

/// Returns the gauges of a node that are not zero.
pub(crate) fn in_node(metrics: &BTreeMap<String, f64>) -> Vec<String> {
    let is_one = |series: &str| GAUGES.contains(&series.split('{').next().unwrap_or(series));
    let left = metrics.iter().filter(|(series, value)| is_one(series) && **value != 0.0);
    left.map(|(series, value)| format!("{series} is {value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, expires: bool, fields: Option<i64>) -> Key {
        Key { name: name.to_owned(), expires, fields }
    }

    #[test]
    fn keys_that_go_by_themselves_are_allowed() {
        let keys = [
            key("throng:{room}:m", true, Some(5)),
            key("throng:{room}:s", true, None),
            key("throng:{room}:k:7", true, Some(40)),
            key("throng:u:{bob}", true, Some(1)),
            key("throng:u:{bob}:k:7", true, Some(9)),
            key("throng:{all}:x", false, None),
        ];
        assert_eq!(in_engine(&keys, &BTreeSet::new()), [""; 0]);
    }

    #[test]
    fn everything_else_is_left_over() {
        for left in [
            key("throng:{room}:m", false, Some(5)),
            key("throng:{room}:w", true, Some(1)),
            key("throng:u:{bob}", true, Some(2)),
            key("throng:{all}:n", false, Some(1)),
            key("other", true, None),
        ] {
            assert_eq!(in_engine(std::slice::from_ref(&left), &BTreeSet::new()).len(), 1, "{left:?}");
        }
        let channels = BTreeSet::from(["throng:{room}".to_owned()]);
        assert_eq!(in_engine(&[], &channels), ["channel throng:{room}"]);
    }

    #[test]
    fn gauges_must_be_zero() {
        let metrics =
            |value| BTreeMap::from([("throng_connections".to_owned(), value), ("other".to_owned(), 3.0)]);
        assert!(in_node(&metrics(0.0)).is_empty());
        assert_eq!(in_node(&metrics(2.0)), ["throng_connections is 2"]);
    }
}
