//! The checks behind a schedule: the nodes agree with the truth, and their members were told nothing else meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Entry, Snapshot};
use super::model::{Mover, World, user};
use super::world::Node;
use crate::broker::redis::script::Reply;
use crate::names::UserId;

impl World {
    /// Compares all nodes, and the entries that are stored, with the truth.
    pub(super) fn check(&self) -> Result<(), String> {
        let nodes = || self.nodes.iter().flatten();
        let truth: BTreeSet<UserId> = nodes().flat_map(|node| node.connections.keys().cloned()).collect();
        let sum: usize = nodes().map(|node| node.connections.len()).sum();
        let stored = self.server.fields.iter().flat_map(|(field, value)| [field, value]);
        let stored =
            Snapshot::parse(&Reply::Array(stored.map(|bytes| Reply::Bytes(bytes.clone())).collect()));
        let stored = stored.map_err(|error| error.to_string())?;
        let counted = stored.entries.iter().filter(|entry| entry.users.is_none()).count();
        let mut written = stored.entries.clone();
        written.iter_mut().for_each(|entry| entry.number = 0);
        let entry = |node: &Node| {
            let users = (counted == 0).then(|| node.connections.keys().cloned().collect());
            Entry { by: node.by, number: 0, count: node.connections.len(), users, names: Vec::new() }
        };
        let mut expected: Vec<Entry> = nodes().map(entry).filter(|entry| entry.count > 0).collect();
        expected.sort_by_key(|entry| entry.by);
        if stored.malformed > 0 || written != expected {
            return Err(format!("{written:?} is stored, {expected:?} expected"));
        }
        if counted != 0 && counted != stored.entries.len() {
            return Err(format!("{counted} of {} nodes tell numbers", stored.entries.len()));
        }
        for node in nodes() {
            if node.is_occupied == node.connections.is_empty() {
                return Err(format!("{:?} told that it is occupied: {}", node.by, node.is_occupied));
            }
        }
        let members = if counted > 0 { sum } else { truth.len() };
        for node in nodes().filter(|node| !node.presence.is_empty()) {
            if node.presence.members() != members || !node.is_settled() {
                return Err(format!("{:?} counts {}, not {members}", node.by, node.presence.members()));
            }
            let expected =
                if counted > 0 { node.connections.keys().cloned().collect() } else { truth.clone() };
            let listed: BTreeSet<UserId> =
                node.presence.page(&user("nobody", 0), None, 1_000).0.into_iter().collect();
            if listed != expected || counted == 0 && node.list.as_ref() != Some(&expected) {
                let by = node.by;
                return Err(format!("{by:?} lists {listed:?}, told {:?}, expected {expected:?}", node.list));
            }
        }
        if self.was_emptied { Ok(()) } else { self.check_told() }
    }

    /// Checks what was announced: no mover has left, and the users of a dead node left at most once, together.
    fn check_told(&self) -> Result<(), String> {
        for node in self.nodes.iter().flatten() {
            for Mover { user, .. } in &self.movers {
                if let Some((at_ms, _)) = node.told.iter().find(|(_, names)| names.left.contains(user)) {
                    return Err(format!("{:?} says at {at_ms} that {user} has left", node.by));
                }
            }
            self.check_flicker(node)?;
            // Residents of one node leave when it has died.
            let residents = node.told.iter().map(|(at_ms, names)| {
                let nodes = names.left.iter().filter_map(|user| user.as_str().strip_prefix("resident-"));
                (at_ms, nodes.filter_map(|name| name.split('-').next()).collect::<BTreeSet<&str>>())
            });
            let mut gone = BTreeSet::new();
            for (at_ms, nodes) in residents {
                if nodes.iter().any(|name| !gone.insert(*name)) {
                    return Err(format!(
                        "{:?} says at {at_ms} once more that users of {nodes:?} left",
                        node.by
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks that a user was not said to have left who stayed on one node, and was on no other for long.
    fn check_flicker(&self, node: &Node) -> Result<(), String> {
        let mut joined_ms: BTreeMap<&UserId, u64> = BTreeMap::new();
        for (at_ms, names) in &node.told {
            joined_ms.extend(names.joined.iter().map(|user| (user, *at_ms)));
            for user in &names.left {
                let Some(joined_ms) = joined_ms.remove(user) else { continue };
                let stays = self.nodes.iter().flatten().flat_map(|node| &node.stays).chain(&self.stays);
                let near = |(name, from, to): &&(UserId, u64, u64)| {
                    name == user && from <= at_ms && to.saturating_add(40_000) > joined_ms
                };
                if let [(_, from, to)] = stays.filter(near).collect::<Vec<_>>()[..]
                    && *from <= joined_ms
                    && to > at_ms
                {
                    return Err(format!("{:?} says at {at_ms} that {user} has left, who stays", node.by));
                }
            }
        }
        Ok(())
    }
}
