//! The permits that are given out, by the address that holds them, and the choice of the one to revoke.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::revocation::Revocation;
use crate::admission::address::Net;

/// Age that a permit must have before it is revoked for another socket of its own address, or of an address with as
/// many permits: the request of a new connection is on its way when the connection is accepted.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// Most addresses, and most permits of each, that are searched for one to revoke. Those that cannot be revoked are
/// working on a request, which is over in a moment.
const MAX_GROUPS: usize = 8;
const MAX_SEARCHED: usize = 64;

/// The sockets whose permits are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::server) struct Group {
    pub(in crate::server) net: Net,
    /// True for a proxy: its sockets belong to many clients, and its permits are revoked last.
    pub(in crate::server) is_proxy: bool,
}

impl Group {
    /// Returns the group of a client, also of one that a proxy has named: should that be the proxy's own address, the
    /// proxy speaks for itself.
    pub(in crate::server) fn of_client(client: IpAddr) -> Self {
        Self { net: client.into(), is_proxy: false }
    }
}

/// A permit that is given out.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) revocation: Arc<Revocation>,
    pub(super) since: Instant,
}

/// The permits of a group by their ids, and therefore in the order in which they were given out.
type Permits = BTreeMap<u64, Issued>;

/// The group with the highest rank gives up a permit first: clients before proxies, then the group with the most
/// permits, then the group with the oldest one.
type Rank = (bool, usize, Reverse<u64>);

/// Permits by group, up to a maximum for all and for each.
#[derive(Debug)]
pub(super) struct PermitTable {
    pub(super) max: usize,
    max_of_group: usize,
    /// The group of each permit. The ids are ours, and need no hash that is hard to guess.
    pub(super) groups: FxHashMap<u64, Group>,
    /// The permits of each group that has any. Hashed with a random key, because clients choose their addresses.
    pub(super) permits: HashMap<Group, Permits>,
    pub(super) ranks: BTreeMap<Rank, Group>,
}

impl PermitTable {
    pub(super) fn new(max: usize, max_of_group: usize) -> Self {
        let (groups, permits, ranks) = Default::default();
        Self { max, max_of_group, groups, permits, ranks }
    }

    pub(super) fn is_full(&self) -> bool {
        self.groups.len() >= self.max
    }

    fn count_of(&self, group: Group) -> usize {
        self.permits.get(&group).map_or(0, BTreeMap::len)
    }

    pub(super) fn add(&mut self, id: u64, group: Group, issued: Issued) {
        self.groups.insert(id, group);
        self.change(group, |permits| permits.insert(id, issued));
    }

    /// Removes a permit; returns false when it is not in this table.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let group = self.groups.remove(&id);
        group.is_some_and(|group| self.change(group, |permits| permits.remove(&id)).is_some())
    }

    /// Moves a permit to another group; returns false when it is not in this table.
    pub(super) fn reassign(&mut self, id: u64, group: Group) -> bool {
        let Some(owner) = self.groups.get_mut(&id) else { return false };
        let before = std::mem::replace(owner, group);
        if let Some(issued) = self.change(before, |permits| permits.remove(&id)) {
            self.change(group, |permits| permits.insert(id, issued));
        }
        true
    }

    /// Changes the permits of a group, and updates the group's rank.
    fn change<R>(&mut self, group: Group, change: impl FnOnce(&mut Permits) -> R) -> R {
        let permits = self.permits.entry(group).or_default();
        if let Some(rank) = rank(group, permits) {
            self.ranks.remove(&rank);
        }
        let changed = change(permits);
        match rank(group, permits) {
            Some(rank) => drop(self.ranks.insert(rank, group)),
            None => drop(self.permits.remove(&group)),
        }
        changed
    }

    /// Returns true when a permit can be given to `group`, after one has been revoked if there was none left.
    pub(super) fn make_space(&mut self, group: Group, now: Instant) -> bool {
        let own = self.count_of(group);
        if own >= self.max_of_group && self.max_of_group < self.max {
            return false;
        }
        !self.is_full() || self.revoke_one(group, own, now)
    }

    /// Revokes the oldest revocable permit of the groups with the most permits. `own` is the number of permits that
    /// the asking group has.
    fn revoke_one(&mut self, asking: Group, own: usize, now: Instant) -> bool {
        let chosen = self.ranks.values().rev().take(MAX_GROUPS).find_map(|group| {
            let permits = self.permits.get(group)?;
            let is_own = *group == asking;
            let grace = if permits.len() > own && !is_own { Duration::ZERO } else { GRACE };
            // A socket that waits for another connection is revoked for its own group, or for a group that stays
            // smaller than its own.
            let or_other = permits.len() > 1 && (is_own || permits.len() > own + 1);
            let mut oldest = permits.iter().take(MAX_SEARCHED);
            let found = oldest
                .find(|(_, issued)| issued.since + grace <= now && issued.revocation.is_waiting(or_other));
            found.map(|(id, issued)| (*id, Arc::clone(&issued.revocation)))
        });
        chosen.is_some_and(|(id, revocation)| {
            revocation.revoke();
            self.remove(id)
        })
    }
}

pub(super) fn rank(group: Group, permits: &Permits) -> Option<Rank> {
    let (oldest, _) = permits.first_key_value()?;
    Some((!group.is_proxy, permits.len(), Reverse(*oldest)))
}
