//! An engine in memory that answers the scripts of the directory and of the nodes as a real one does. Its clock stands
//! still unless a test moves it. That it is true to the scripts is tested against a real server.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::broker::redis::script::{Call, Reply};

/// A connection in the entry of a user.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Connection {
    since: u64,
    node: String,
    session: String,
}

/// The entry of a user. Connections are named by `INCARNATION:CONNECTION`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Entry {
    holders: BTreeMap<String, Connection>,
    replaced: BTreeMap<String, Connection>,
    /// The missing tokens, since when they are missing, and when none are.
    bucket: Option<(u64, u64, u64)>,
    until_ms: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Node {
    incarnation: String,
    joined: u64,
    at: u64,
    is_live: bool,
    details: String,
}

/// The table of nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Table {
    id: String,
    last: u64,
    since: u64,
    nodes: BTreeMap<String, Node>,
}

/// The engine.
#[derive(Debug, Default)]
pub(super) struct Imitation {
    pub(super) now_ms: u64,
    /// Forgets connections that were replaced at once, as an engine must not.
    pub(super) forgets_replaced: bool,
    users: BTreeMap<Bytes, Entry>,
    table: Option<Table>,
}

impl Imitation {
    /// Runs a script.
    pub(super) fn call(&mut self, call: &Call) -> Reply {
        let args: Vec<&str> = call.args.iter().map(|arg| std::str::from_utf8(arg).unwrap()).collect();
        self.users.retain(|_, entry| entry.until_ms > self.now_ms);
        match call.script.name {
            "beat" => self.beat(&args),
            "remove" => self.remove(&args),
            "claim" => self.claim(&call.keys[0], &args),
            "release" => self.release(&call.keys[0], &args),
            "find" => self.find(&call.keys[0], &args),
            other => panic!("no imitation of {other}"),
        }
    }

    /// Forgets everything, as a server does that is restarted without its data.
    pub(super) fn lose_all(&mut self) {
        self.users.clear();
        self.table = None;
    }

    /// Returns the names of the fields of all entries, in order.
    pub(super) fn fields(&self) -> Vec<String> {
        let names = |entry: &Entry| {
            let holders = entry.holders.keys().map(|id| format!("c:{id}"));
            let replaced = entry.replaced.keys().map(|id| format!("r:{id}"));
            let bucket = entry.bucket.map(|_| "b".to_owned());
            bucket.into_iter().chain(holders).chain(replaced).collect::<Vec<_>>()
        };
        self.users.values().flat_map(names).collect()
    }

    /// Returns each node's incarnation and whether it is live.
    pub(super) fn nodes(&self) -> Vec<(String, bool)> {
        let nodes = self.table.iter().flat_map(|table| table.nodes.values());
        nodes.map(|node| (node.incarnation.clone(), node.is_live)).collect()
    }

    /// Takes the entry of a user out, without the connections of dead nodes.
    fn entry(&mut self, key: &Bytes, live: &str, as_of: u64, margin: u64, own: &str) -> Entry {
        let mut entry = self.users.remove(key).unwrap_or_default();
        let counts = |id: &String, connection: &mut Connection| {
            let incarnation = &id[..16];
            incarnation == own
                || live.contains(&format!(",{incarnation},"))
                || connection.since + margin >= as_of
        };
        entry.holders.retain(counts);
        entry.replaced.retain(counts);
        entry
    }

    /// Puts an entry back, unless nothing is left.
    fn keep(&mut self, key: &Bytes, mut entry: Entry) {
        if entry.holders.is_empty() && entry.replaced.is_empty() {
            let Some((.., full)) = entry.bucket.filter(|(.., full)| *full > self.now_ms) else { return };
            entry.until_ms = self.now_ms + (full - self.now_ms).div_ceil(1_000) * 1_000;
        }
        self.users.insert(key.clone(), entry);
    }

    fn claim(&mut self, key: &Bytes, args: &[&str]) -> Reply {
        let [own, node, session, shown, policy, incumbent, live, as_of, margin, life, most] = args else {
            panic!("{args:?}")
        };
        let (as_of, margin) = (as_of.parse().unwrap(), margin.parse().unwrap());
        let mut entry = self.entry(key, live, as_of, margin, &own[..16]);
        let now = self.now_ms;
        if entry.replaced.contains_key(*own) {
            self.keep(key, entry);
            return Reply::Array(vec![text("gone")]);
        }
        if !entry.holders.contains_key(*own) {
            let mut order: Vec<String> = entry.holders.keys().cloned().collect();
            order.sort_by_key(|id| (entry.holders[id].since, id.clone()));
            let known = order.iter().find(|id| !shown.is_empty() && entry.holders[*id].session == *shown);
            let out: Vec<String> = match (known, *policy) {
                (Some(id), _) => vec![id.clone()],
                (None, "allow") => Vec::new(),
                (None, "replace") => order.clone(),
                (None, _) => match order.iter().find(|id| id != incumbent) {
                    Some(id) => {
                        let reply = Reply::Array(vec![text("held"), text(id), text(&entry.holders[id].node)]);
                        self.keep(key, entry);
                        return reply;
                    }
                    None => order.clone(),
                },
            };
            if entry.holders.len() + entry.replaced.len() >= most.parse().unwrap() {
                self.keep(key, entry);
                return Reply::Array(vec![text("full")]);
            }
            for id in out {
                let connection = entry.holders.remove(&id).unwrap();
                entry.replaced.insert(id, Connection { session: "-".into(), ..connection });
            }
            let connection = Connection { since: now, node: (*node).into(), session: (*session).into() };
            entry.holders.insert((*own).into(), connection);
        }
        entry.bucket = entry.bucket.filter(|(.., full)| *full > now);
        let (missing, at, _) = entry.bucket.unwrap_or((0, now, 0));
        let mut reply =
            vec![text("claimed"), Reply::Int(missing as i64), Reply::Int(now.saturating_sub(at) as i64)];
        reply.extend(entry.replaced.iter().flat_map(|(id, connection)| [text(id), text(&connection.node)]));
        if self.forgets_replaced {
            entry.replaced.clear();
        }
        entry.until_ms = now + life.parse::<u64>().unwrap() * 1_000;
        self.keep(key, entry);
        Reply::Array(reply)
    }

    fn release(&mut self, key: &Bytes, args: &[&str]) -> Reply {
        let [own, missing, full_in] = args else { panic!("{args:?}") };
        let (missing, full_in): (u64, u64) = (missing.parse().unwrap(), full_in.parse().unwrap());
        let mut entry = self.users.remove(key).unwrap_or_default();
        if missing > 0 {
            entry.bucket = Some((missing, self.now_ms, self.now_ms + full_in));
        }
        let was_holder = entry.holders.remove(*own).is_some();
        entry.replaced.remove(*own);
        self.keep(key, entry);
        Reply::Int(was_holder.into())
    }

    fn find(&mut self, key: &Bytes, args: &[&str]) -> Reply {
        let [live, as_of, margin] = args else { panic!("{args:?}") };
        let entry = self.entry(key, live, as_of.parse().unwrap(), margin.parse().unwrap(), "");
        let mut holders: Vec<_> = entry.holders.clone().into_iter().collect();
        holders.sort_by_key(|(id, connection)| (connection.since, id.clone()));
        self.keep(key, entry);
        Reply::Array(holders.iter().flat_map(|(id, holder)| [text(id), text(&holder.node)]).collect())
    }

    fn beat(&mut self, args: &[&str]) -> Reply {
        let [name, incarnation, is_first, seen, new_id, lease, gap, _, most, details] = args else {
            panic!("{args:?}")
        };
        let (lease, gap, now): (u64, u64, u64) = (lease.parse().unwrap(), gap.parse().unwrap(), self.now_ms);
        let is_first = *is_first == "1";
        let new = || Table { id: (*new_id).into(), since: now, ..Table::default() };
        let mut table = self.table.clone().unwrap_or_else(new);
        if now < table.last || now - table.last > gap {
            table.since = now;
        }
        let since = table.since;
        let silence = |node: &Node| now - node.at.min(now).max(since);
        let status = |status| vec![text(status), Reply::Int(now as i64)];
        let mut joined = now;
        match table.nodes.get(*name) {
            Some(own) if own.incarnation == *incarnation => {
                if !own.is_live || silence(own) >= lease {
                    return Reply::Array(status("dead"));
                }
                joined = own.joined;
            }
            Some(_) if !is_first => return Reply::Array(status("dead")),
            Some(own) if own.is_live && silence(own) < lease => {
                let rest = vec![Reply::Int((lease - silence(own)) as i64), Reply::Int(own.at as i64)];
                table.last = now;
                self.table = Some(table);
                return Reply::Array([status("held"), rest].concat());
            }
            None if !is_first && table.id == *seen => return Reply::Array(status("dead")),
            None if table.nodes.len() >= most.parse().unwrap() => return Reply::Array(status("full")),
            Some(_) | None => {}
        }
        for node in table.nodes.values_mut() {
            node.is_live &= silence(node) < lease;
            node.at = node.at.min(now);
        }
        let details = (*details).to_owned();
        let own = Node { incarnation: (*incarnation).into(), joined, at: now, is_live: true, details };
        table.nodes.insert((*name).into(), own);
        table.last = now;
        let mut reply = status("ok");
        reply.push(text(&table.id));
        for (name, Node { incarnation, joined, at, is_live, details }) in &table.nodes {
            let state = if *is_live { "l" } else { "d" };
            reply.push(text(name));
            reply.push(text(&format!("{incarnation} {joined} {at} {state}\n{details}")));
        }
        self.table = Some(table);
        Reply::Array(reply)
    }

    fn remove(&mut self, args: &[&str]) -> Reply {
        let [name, incarnation, leaves] = args else { panic!("{args:?}") };
        let nodes = self.table.as_mut().map(|table| &mut table.nodes);
        let is_removed = |node: &Node| node.incarnation == *incarnation && (!node.is_live || *leaves == "1");
        let Some(nodes) = nodes.filter(|nodes| nodes.get(*name).is_some_and(is_removed)) else {
            return Reply::Int(0);
        };
        nodes.remove(*name);
        Reply::Int(1)
    }
}

fn text(text: &str) -> Reply {
    Reply::Bytes(text.to_owned().into())
}
