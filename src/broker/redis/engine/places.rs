//! Places rooms at the servers of a Redis Cluster: reads the map of slots, and moves rooms whose slot has moved.

use std::mem;

use super::super::host::Host;
use super::super::link::{self, CallError, LinkId};
use super::super::script::Reply;
use super::super::topology::{SLOTS, SlotMap};
use super::calls::Subject;
use super::pacing::Urgency;
use super::seeds::{MapAnswer, NoMap};
use super::state::Engine;
use crate::names::RoomName;

impl<L: Host> Engine<L> {
    /// Reads the map if that is due.
    pub(super) fn read_map(&mut self, now: u64) {
        if self.map_due().is_none_or(|due| now < due) {
            return;
        }
        let up: Vec<LinkId> = self.links.all_up().collect();
        let (number, from) = self.refresh.begin(now, &up);
        match from {
            Some(_) => {
                let call = link::Call::command(["CLUSTER", "SHARDS"]);
                let subject = Subject::Map(number);
                self.calls.send_for(&mut self.links, from, subject, call, Urgency::Urgent);
            }
            None => self.seeds.ask(number, &self.links),
        }
    }

    /// Returns when the map is read next; `None` for a single server, which has no map.
    pub(super) fn map_due(&self) -> Option<u64> {
        let is_cluster = self.links.servers().is_cluster;
        is_cluster.then(|| self.refresh.due(self.links.is_whole())).flatten()
    }

    /// Takes the answer of a link to the question for the map.
    pub(super) fn map_answered(
        &mut self,
        number: u64,
        link: Option<LinkId>,
        result: Result<Reply, CallError>,
    ) {
        let address = link.and_then(|link| self.links.address(link)).cloned();
        let answer = match (address, result) {
            (Some(address), Ok(reply)) => Ok((address, reply)),
            (_, Err(error)) => Err(error.to_string().into()),
            (None, Ok(_)) => Err("the server is not used any more".to_owned().into()),
        };
        self.take_map(number, answer);
    }

    /// Uses the map that was read, and moves the rooms whose slots have moved.
    pub(super) fn take_map(&mut self, number: u64, answer: MapAnswer) {
        let now = self.clock.now_ms();
        let is_tls = self.links.servers().common.tls.is_some();
        let map = answer.and_then(|(address, reply)| {
            let map =
                SlotMap::parse(&reply, &address, is_tls).map_err(|error| format!("{address}: {error}"))?;
            // A server that was reset knows of no other one.
            if map.masters().is_empty() {
                Err(format!("{address}: no server has slots").into())
            } else {
                Ok(map)
            }
        });
        self.refresh.end(now, map.is_ok());
        let map = match map {
            Ok(map) => map,
            Err(NoMap { reason, is_lasting }) => return self.health.no_map(reason, is_lasting),
        };
        let missing = usize::from(SLOTS) - map.count(|_| true);
        if missing > 0 {
            self.health.no_map(format!("{missing} of the cluster's slots have no master"), false);
        }
        let is_same = self.links.map().is_some_and(|before| before.has_same_owners(&map));
        let changes = self.links.use_map(map);
        self.health.changed(&changes);
        self.note_availability(now);
        let unplaced = mem::take(&mut self.unplaced);
        let names = if is_same { unplaced.into_iter().collect() } else { self.names_of(|_| true) };
        for name in names {
            self.place(&name, number, now);
        }
    }

    /// Moves a room to the server that has its slot according to the reading of the map with this number.
    fn place(&mut self, name: &RoomName, number: u64, now: u64) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        let link = self.links.of_slot(followed.slot);
        if followed.since_map > number || link.is_none() && followed.link.is_none() {
            self.unplaced.insert(name.clone());
            return;
        }
        if followed.link == link {
            return;
        }
        // Mostly the server has ended the subscription of its own, or is gone.
        self.links.unsubscribe(followed.link, followed.keys.channel());
        followed.link = link;
        if link.is_none() {
            self.unplaced.insert(name.clone());
        }
        let is_up = self.links.is_up(link);
        self.with(name, |followed| followed.link_down(now));
        if is_up {
            self.link_up(name, now);
        }
    }

    /// Takes a room from the server that does not have its slot any more, until the map is read again.
    pub(super) fn displace(&mut self, name: &RoomName, from: LinkId, now: u64) {
        let since_map = self.refresh.want(Some(from));
        let Some(followed) = self.rooms.get_mut(name) else { return };
        followed.link = None;
        followed.since_map = since_map;
        self.unplaced.insert(name.clone());
        self.with(name, |followed| followed.link_down(now));
    }

    /// Tells the rest of the node whether the engine can be used.
    pub(super) fn note_availability(&self, now: u64) {
        self.health.set_available(self.links.is_available(), now);
        if self.links.is_whole() {
            self.health.set_whole();
        }
    }
}
