//! The links to all servers that have rooms: one server, or every master of a Redis Cluster.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::link::{Call, EventSender, LinkId, ServerLink, ServerSettings};
use super::super::topology::{SLOTS, SlotMap, slot_of};
use super::pacing::{PacedLink, Urgency};
use crate::config::Address;

/// Most names that are tried for a channel in a slot of a server. A server with a single slot needs 16,384 on average.
const PROBE_TRIES: u32 = 1 << 20;

/// How servers are reached.
#[derive(Debug, Clone)]
pub(in crate::broker::redis) struct Servers {
    /// The addresses of the configuration.
    pub(in crate::broker::redis) addresses: Vec<Address>,
    /// The settings that all servers have in common, and the address of the one server where there is no cluster.
    pub(in crate::broker::redis) common: ServerSettings,
    /// The name of the one server in logs and metrics, where there is no cluster.
    pub(in crate::broker::redis) name: String,
    /// Whether the keys are spread over the slots of a Redis Cluster.
    pub(in crate::broker::redis) is_cluster: bool,
}

impl Servers {
    /// Returns the settings of a server of the cluster.
    pub(in crate::broker::redis) fn at(&self, address: &Address) -> ServerSettings {
        ServerSettings { host: address.host.clone(), port: address.port, ..self.common.clone() }
    }
}

/// One link, and what is known of its server.
#[derive(Debug)]
struct Linked {
    address: Address,
    /// For logs and metrics.
    name: String,
    link: PacedLink,
    has_been_up: bool,
    /// Names the data that the server had when it was connected last.
    replication_id: String,
    /// The channel on which the link sees its own probes.
    probe_channel: Bytes,
}

/// The state of a link that has come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Up {
    /// The link was up before.
    pub(super) was_up: bool,
    /// The server may lack what the one before was told: it was restarted, or a replica has taken its place.
    pub(super) is_other_data: bool,
}

/// The links to all servers.
#[derive(Debug)]
pub(super) struct Links {
    servers: Servers,
    events: EventSender,
    links: BTreeMap<LinkId, Linked>,
    next_id: u32,
    map: Option<SlotMap>,
    /// The slot of the keys that all nodes share.
    common_slot: u16,
}

/// Servers that are used from now on, or no longer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) started: Vec<Address>,
    pub(super) ended: Vec<Address>,
    /// How many slots have another master than before; 0 after the first map.
    pub(super) moved: usize,
}

impl Links {
    /// Starts the link to the one server. In a cluster the links are started when the map of slots is known.
    /// `common_key` is one of the keys that all nodes share.
    pub(super) fn start(servers: Servers, common_key: &[u8], events: EventSender) -> Self {
        let common_slot = slot_of(common_key);
        let is_cluster = servers.is_cluster;
        let mut links = Self { servers, events, links: BTreeMap::new(), next_id: 0, map: None, common_slot };
        if !is_cluster {
            let ServerSettings { host, port, probe_channel, .. } = links.servers.common.clone();
            let name = links.servers.name.clone();
            links.begin(Address { host, port }, name, probe_channel);
        }
        links
    }

    fn begin(&mut self, address: Address, name: String, probe_channel: Bytes) {
        let id = LinkId(self.next_id);
        self.next_id += 1;
        let settings = ServerSettings { probe_channel: probe_channel.clone(), ..self.servers.at(&address) };
        let link = PacedLink::new(ServerLink::start(id, settings, self.events.clone()));
        let linked =
            Linked { address, name, link, has_been_up: false, replication_id: String::new(), probe_channel };
        self.links.insert(id, linked);
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Returns the map of the cluster's slots, once it is known.
    pub(super) fn map(&self) -> Option<&SlotMap> {
        self.map.as_ref()
    }

    /// Uses another map: ends the links to servers that have no slots any more, and starts those to new ones. Calls of
    /// an ended link are answered by events.
    pub(super) fn use_map(&mut self, map: SlotMap) -> Changes {
        let moved = self.map.as_ref().map_or(0, |before| before.moved(&map));
        let mut changes = Changes { moved, ..Changes::default() };
        self.links.retain(|_, linked| {
            let stays = map.masters().contains(&linked.address);
            if !stays {
                linked.link.down();
                changes.ended.push(linked.address.clone());
            }
            stays
        });
        for linked in self.links.values_mut() {
            if map.owner(slot_of(&linked.probe_channel)) != Some(&linked.address) {
                linked.probe_channel =
                    probe_channel(&self.servers.common.probe_channel, &linked.address, &map);
                linked.link.link().probe_on(linked.probe_channel.clone());
            }
        }
        for master in map.masters() {
            if !self.links.values().any(|linked| linked.address == *master) {
                changes.started.push(master.clone());
                let probe_channel = probe_channel(&self.servers.common.probe_channel, master, &map);
                self.begin(master.clone(), master.to_string(), probe_channel);
            }
        }
        self.map = Some(map);
        changes
    }

    /// Returns the link to the server that has a slot; `None` while no server is known to have it.
    pub(super) fn of_slot(&self, slot: u16) -> Option<LinkId> {
        let Some(map) = &self.map else {
            return self.links.keys().next().copied().filter(|_| !self.servers.is_cluster);
        };
        let owner = map.owner(slot)?;
        self.links.iter().find(|(_, linked)| linked.address == *owner).map(|(id, _)| *id)
    }

    /// Returns true while the link is up.
    pub(super) fn is_up(&self, link: Option<LinkId>) -> bool {
        self.get(link).is_some_and(|linked| linked.link.is_up())
    }

    /// Returns the links that are up.
    pub(super) fn all_up(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.links.iter().filter(|(_, linked)| linked.link.is_up()).map(|(id, _)| *id)
    }

    /// Returns the address of the server of a link.
    pub(super) fn address(&self, link: LinkId) -> Option<&Address> {
        self.links.get(&link).map(|linked| &linked.address)
    }

    /// Returns the name of the server of a link, for logs and metrics; `None` when the link is not used any more.
    pub(super) fn name(&self, link: LinkId) -> Option<&str> {
        self.links.get(&link).map(|linked| linked.name.as_str())
    }

    /// Notes that a link is up. Returns `None` when it is not used any more.
    pub(super) fn up(&mut self, link: LinkId, replication_id: &str) -> Option<Up> {
        let linked = self.links.get_mut(&link)?;
        linked.link.up();
        let is_other_data = linked.replication_id != replication_id;
        replication_id.clone_into(&mut linked.replication_id);
        Some(Up { was_up: std::mem::replace(&mut linked.has_been_up, true), is_other_data })
    }

    /// Notes that a link is down.
    pub(super) fn down(&mut self, link: LinkId) {
        if let Some(linked) = self.links.get_mut(&link) {
            linked.link.down();
        }
    }

    /// Sends a call as soon as its link has space for it. Without a link it is answered as one that was not sent.
    pub(super) fn call(&mut self, link: Option<LinkId>, tag: u64, call: Call, urgency: Urgency) {
        match link.and_then(|link| self.links.get_mut(&link)) {
            Some(linked) => linked.link.send(tag, call, urgency),
            None => self.events.refuse(tag),
        }
    }

    /// Sends calls that wait, as far as the links have space.
    pub(super) fn send_waiting(&mut self) {
        self.links.values_mut().for_each(|linked| linked.link.send_waiting());
    }

    /// Subscribes to a channel.
    pub(super) fn subscribe(&self, link: Option<LinkId>, channel: Bytes) {
        if let Some(linked) = self.get(link) {
            linked.link.link().subscribe(channel);
        }
    }

    /// Ends the subscription to a channel.
    pub(super) fn unsubscribe(&self, link: Option<LinkId>, channel: Bytes) {
        if let Some(linked) = self.get(link) {
            linked.link.link().unsubscribe(channel);
        }
    }

    /// Returns true while every server is connected that must be.
    pub(super) fn is_whole(&self) -> bool {
        let has_all = self.map.as_ref().map_or(!self.servers.is_cluster, |map| {
            map.masters().len() == self.links.len() && map.count(|_| true) == usize::from(SLOTS)
        });
        has_all && self.links.values().all(|linked| linked.link.is_up())
    }

    /// Returns true while the server of the keys that all nodes share is connected.
    pub(super) fn is_common_up(&self) -> bool {
        self.is_up(self.of_slot(self.common_slot))
    }

    /// Returns true while the node is of use: the server of the common keys is connected, and those of at least half of
    /// the slots.
    pub(super) fn is_available(&self) -> bool {
        let is_common_up = self.is_common_up();
        let Some(map) = &self.map else { return is_common_up };
        let up: Vec<&Address> =
            self.links.values().filter(|linked| linked.link.is_up()).map(|linked| &linked.address).collect();
        is_common_up && map.count(|address| up.contains(&address)) * 2 >= usize::from(SLOTS)
    }

    fn get(&self, link: Option<LinkId>) -> Option<&Linked> {
        self.links.get(&link?)
    }
}

/// Returns a channel whose name begins with that of `common`, in a slot of this master.
fn probe_channel(common: &Bytes, master: &Address, map: &SlotMap) -> Bytes {
    let start = common.strip_suffix(b"}").unwrap_or(common);
    let named = |number: u32| {
        let mut name = start.to_vec();
        name.extend_from_slice(format!("-{number}}}").as_bytes());
        Bytes::from(name)
    };
    let is_here = |name: &Bytes| map.owner(slot_of(name)) == Some(master);
    (0..PROBE_TRIES).map(named).find(is_here).unwrap_or_else(|| common.clone())
}
