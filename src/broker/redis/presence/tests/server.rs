//! A simulated engine: does what the scripts do, with the same arguments.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::{PUBLISH, READ, REMOVE};
use crate::broker::redis::script::{Call, Reply};

/// The hash of one room's presence.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) fields: BTreeMap<Bytes, Bytes>,
}

fn number(bytes: &Bytes) -> u64 {
    str::from_utf8(bytes).unwrap().parse().unwrap()
}

fn piece(field: &Bytes, number: &str) -> Bytes {
    [field, &b"\0"[..], number.as_bytes()].concat().into()
}

impl Server {
    /// Returns the number and the pieces of a node's entry.
    fn entry(&self, field: &Bytes) -> Option<(u64, u64)> {
        let entry = str::from_utf8(self.fields.get(field)?).unwrap();
        let parts: Vec<&str> = entry.split(' ').collect();
        Some((parts[0].parse().unwrap(), parts[3].parse().unwrap()))
    }

    /// Carries out a call. Returns the reply, and the payload that is pushed.
    pub(super) fn run(&mut self, call: &Call) -> (Reply, Option<Bytes>) {
        let args = &call.args;
        if call.script.name == READ.name {
            let pairs = self.fields.iter().flat_map(|(field, value)| [field, value]);
            return (Reply::Array(pairs.map(|bytes| Reply::Bytes(bytes.clone())).collect()), None);
        }
        if call.script.name == REMOVE.name {
            let mut stayed = 0;
            for pair in args[1..].chunks(2) {
                let entry = self.entry(&pair[0]);
                if entry.is_some_and(|(stored, _)| stored > number(&pair[1])) {
                    stayed += 1;
                    continue;
                }
                self.fields.remove(&pair[0]);
                (0..entry.map_or(0, |(_, pieces)| pieces)).for_each(|n| {
                    self.fields.remove(&piece(&pair[0], &n.to_string()));
                });
            }
            let payload = (stayed == 0 && !args[0].is_empty()).then(|| args[0].clone());
            return (Reply::Int(stayed), payload);
        }
        assert_eq!(call.script.name, PUBLISH.name);
        let (field, next, pieces) = (&args[0], number(&args[1]), number(&args[4]));
        let (stored, before) = self.entry(field).unwrap_or_default();
        if stored >= next || (!args[2].is_empty() && stored != number(&args[2])) {
            return (Reply::Int(stored as i64), None);
        }
        self.fields.insert(field.clone(), args[3].clone());
        for pair in args[7..].chunks(2) {
            self.fields.insert(piece(field, str::from_utf8(&pair[0]).unwrap()), pair[1].clone());
        }
        for n in pieces..before {
            self.fields.remove(&piece(field, &n.to_string()));
        }
        (Reply::Int(next as i64), Some(args[5].clone()))
    }
}
