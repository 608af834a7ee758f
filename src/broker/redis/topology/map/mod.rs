//! The map of hash slots to masters.

use std::collections::{BTreeMap, BTreeSet};

use super::super::script::Reply;
use super::slot::SLOTS;
use crate::config::Address;

/// Most servers of a map: the largest cluster that Redis is made for.
const MAX_SERVERS: usize = 1_000;
/// Stands for the owner of a slot that has none.
const NOBODY: u16 = u16::MAX;

/// The answer to `CLUSTER SHARDS` cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer to CLUSTER SHARDS is malformed: {0} was expected")]
pub struct BadMap(&'static str);

/// The masters of a Redis Cluster that have slots, and the slots of each.
#[derive(Debug, Clone)]
pub struct SlotMap {
    /// In ascending order.
    masters: Vec<Address>,
    /// For each slot the index of its master, or [`NOBODY`].
    owners: Vec<u16>,
    /// All servers of the cluster, in ascending order.
    servers: Vec<Address>,
}

impl SlotMap {
    /// Reads the answer to `CLUSTER SHARDS`, which came from `asked`. With `is_tls` the ports are those of TLS.
    ///
    /// # Errors
    /// The answer is malformed.
    pub fn parse(reply: &Reply, asked: &Address, is_tls: bool) -> Result<Self, BadMap> {
        let mut slots_of: BTreeMap<Address, Vec<(u16, u16)>> = BTreeMap::new();
        let mut servers = BTreeSet::new();
        for shard in reply.array().ok_or(BadMap("a list of shards"))? {
            let nodes = field(shard, "nodes").and_then(Reply::array).ok_or(BadMap("a list of nodes"))?;
            let mut masters = Vec::new();
            for node in nodes {
                let Some(address) = address(node, asked, is_tls)? else { continue };
                if text(node, "role") == Some("master") {
                    // Of two masters, the one that is not online has been replaced.
                    masters.push((text(node, "health") != Some("online"), address.clone()));
                }
                servers.insert(address);
            }
            let slots = field(shard, "slots").and_then(Reply::array).ok_or(BadMap("a list of slots"))?;
            let slots = ranges(slots)?;
            if let Some((_, master)) = masters.into_iter().min()
                && !slots.is_empty()
            {
                slots_of.entry(master).or_default().extend(slots);
            }
        }
        if servers.len() > MAX_SERVERS {
            return Err(BadMap("at most 1,000 servers"));
        }
        let mut owners = vec![NOBODY; SLOTS.into()];
        for (index, ranges) in slots_of.values().enumerate() {
            for &(first, last) in ranges {
                owners[first.into()..=last.into()].fill(index as u16);
            }
        }
        Ok(Self { masters: slots_of.into_keys().collect(), owners, servers: servers.into_iter().collect() })
    }

    /// Returns the masters that have slots.
    #[must_use]
    pub fn masters(&self) -> &[Address] {
        &self.masters
    }

    /// Returns all servers, replicas among them.
    #[must_use]
    pub fn servers(&self) -> &[Address] {
        &self.servers
    }

    /// Returns the master of a slot.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&Address> {
        self.masters.get(usize::from(*self.owners.get(usize::from(slot))?))
    }

    /// Returns how many slots belong to masters for which `is_counted` is true.
    #[must_use]
    pub fn count(&self, is_counted: impl Fn(&Address) -> bool) -> usize {
        let counted: Vec<bool> = self.masters.iter().map(is_counted).collect();
        self.owners.iter().filter(|owner| counted.get(usize::from(**owner)) == Some(&true)).count()
    }

    /// Returns how many slots have another owner in `next`.
    #[must_use]
    pub fn moved(&self, next: &Self) -> usize {
        (0..SLOTS).filter(|slot| self.owner(*slot) != next.owner(*slot)).count()
    }

    /// Returns true when every slot has the same owner in both.
    #[must_use]
    pub fn has_same_owners(&self, other: &Self) -> bool {
        self.masters == other.masters && self.owners == other.owners
    }
}

/// Reads the bounds of ranges, which follow one another in pairs.
fn ranges(bounds: &[Reply]) -> Result<Vec<(u16, u16)>, BadMap> {
    let bad = BadMap("pairs of slots");
    let slot = |reply: &Reply| {
        let number = reply.count().or_else(|| reply.text()?.parse().ok())?;
        u16::try_from(number).ok().filter(|slot| *slot < SLOTS)
    };
    let pair = |pair: &[Reply]| {
        let [first, last] = pair else { return Err(bad) };
        Ok((slot(first).ok_or(bad)?, slot(last).ok_or(bad)?))
    };
    let ranges: Vec<_> = bounds.chunks(2).map(pair).collect::<Result<_, _>>()?;
    if ranges.iter().any(|(first, last)| first > last) { Err(bad) } else { Ok(ranges) }
}

/// Returns the address of a node; `None` when it has no port of this kind.
fn address(node: &Reply, asked: &Address, is_tls: bool) -> Result<Option<Address>, BadMap> {
    let port = match field(node, if is_tls { "tls-port" } else { "port" }) {
        None => return Ok(None),
        Some(port) => port.count().or_else(|| port.text()?.parse().ok()),
    };
    let port = port.and_then(|port| u16::try_from(port).ok()).ok_or(BadMap("a port"))?;
    // `endpoint` is the address that the cluster is told to announce. A server that does not know it, as one that has
    // never met another, means the host that was asked.
    let host = match field(node, "endpoint") {
        None => text(node, "hostname").filter(|host| !host.is_empty()).or_else(|| text(node, "ip")),
        Some(Reply::Nil) => Some(""),
        Some(endpoint) => endpoint.text(),
    };
    let host = match host.ok_or(BadMap("an endpoint"))? {
        "" | "?" => asked.host.clone(),
        host => host.to_owned(),
    };
    Ok((port != 0).then_some(Address { host, port }))
}

/// Returns the value of a field of a map, which is a flat list in the second version of the protocol.
fn field<'a>(of: &'a Reply, name: &str) -> Option<&'a Reply> {
    let is_named = |key: &Reply| key.text() == Some(name);
    match of {
        Reply::Map(pairs) => pairs.iter().find(|(key, _)| is_named(key)).map(|(_, value)| value),
        Reply::Array(flat) => flat.chunks_exact(2).find(|pair| is_named(&pair[0])).map(|pair| &pair[1]),
        _ => None,
    }
}

fn text<'a>(of: &'a Reply, name: &str) -> Option<&'a str> {
    field(of, name).and_then(Reply::text)
}

#[cfg(test)]
mod tests;
