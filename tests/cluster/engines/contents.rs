//! A look into an engine: its keys and its subscribed channels.

use std::collections::BTreeSet;

use super::Engine;
use crate::support::resp::Reply;

/// A key of the engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// The key has a time after which it is removed.
    pub(crate) expires: bool,
    /// Number of fields of a hash; `None` for another type.
    pub(crate) fields: Option<i64>,
}

impl Engine {
    /// Returns every key of all masters, in order.
    #[track_caller]
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys = BTreeSet::new();
        for index in self.masters() {
            let server = self.server(index);
            for name in server.expect(&["KEYS", "*"]).texts() {
                // -2: it has expired since.
                let expires = match server.expect(&["TTL", &name]) {
                    Reply::Int(-2) => continue,
                    reply => reply != Reply::Int(-1),
                };
                let fields = match server.call(&["HLEN", &name]) {
                    Ok(Reply::Int(count)) => Some(count),
                    _ => None,
                };
                keys.insert(Key { name, expires, fields });
            }
        }
        keys.into_iter().collect()
    }

    /// Returns every channel that has a subscriber at any server.
    #[track_caller]
    pub(crate) fn channels(&self) -> BTreeSet<String> {
        let mut channels = BTreeSet::new();
        for index in 0..self.len() {
            for command in ["SHARDCHANNELS", "CHANNELS"] {
                channels.extend(self.server(index).expect(&["PUBSUB", command]).texts());
            }
        }
        // Sentinels talk to each other through the servers.
        channels.retain(|channel| !channel.starts_with("__sentinel__"));
        channels
    }
}
