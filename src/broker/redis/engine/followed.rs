//! A room that this node follows, with what waits for it.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::super::keys::RoomKeys;
use super::super::link::LinkId;
use super::super::requests::{Answer, Preparation, WaitingBytes};
use super::super::room::{Commands, Room, Waiting};
use super::super::script::publish;
use super::reading::Reading;
use super::sharing::Sharing;
use super::typing_rate::TypingRate;
use crate::broker::room::SharedRoom;
use crate::broker::{Local, Opener};
use crate::names::Epoch;

/// A message that waits to be appended.
pub(super) struct Draft<L: Local> {
    pub(super) message: L::Message,
    /// The message as the script gets it.
    pub(super) entry: publish::Message,
    /// When the message was submitted.
    pub(super) since: Instant,
    /// Counts the message among those that wait, until it is dropped.
    pub(super) _charge: WaitingBytes,
}

impl<L: Local> Waiting for Draft<L> {
    fn bytes(&self) -> usize {
        let (key, record) = &self.entry;
        let key = key.as_ref().map_or(0, |(user, key)| user.as_str().len() + key.as_str().len() + 1);
        record.len() + key
    }
}

/// A room that this node follows.
pub(super) struct Followed<L: Local> {
    pub(super) machine: Room<Draft<L>>,
    pub(super) keys: RoomKeys,
    /// The link to the server of the room; `None` while that is not known.
    pub(super) link: Option<LinkId>,
    /// The slot of the room's keys in a Redis Cluster.
    pub(super) slot: u16,
    /// The first reading of the map of slots that tells where the room is.
    pub(super) since_map: u64,
    pub(super) opener: Opener,
    /// The room on this node, while it is open there.
    pub(super) room: Option<SharedRoom<L>>,
    /// Connections that wait for the room to be opened.
    pub(super) waiters: SmallVec<[Preparation; 1]>,
    /// Connections that know a position which this node does not, each with the mark of the check that was begun for
    /// it, and the time when it is refused.
    pub(super) behind: SmallVec<[(u64, u64, Preparation); 1]>,
    /// Connections that wait for its history.
    pub(super) readers: SmallVec<[Answer; 1]>,
    /// How far the history was read, while it is being read.
    pub(super) reading: Option<Box<Reading<L>>>,
    /// The exchange of the room's users with other nodes.
    pub(super) sharing: Option<Box<Sharing>>,
    /// Limits how often this node tells the others that somebody is typing.
    pub(super) typing: TypingRate,
    /// The number from which the server derives the room's epoch when a new one begins.
    pub(super) epoch_seed: Epoch,
    /// The time under which the room stands in the engine's list of those with something to do.
    pub(super) due: Option<u64>,
}

impl<L: Local> Followed<L> {
    pub(super) fn new(
        machine: Room<Draft<L>>,
        keys: RoomKeys,
        link: Option<LinkId>,
        slot: u16,
        opener: Opener,
    ) -> Self {
        Self {
            machine,
            keys,
            link,
            slot,
            since_map: 0,
            opener,
            room: None,
            waiters: SmallVec::new(),
            behind: SmallVec::new(),
            readers: SmallVec::new(),
            reading: None,
            sharing: None,
            typing: TypingRate::default(),
            epoch_seed: Epoch::random(),
            due: None,
        }
    }

    /// Takes the end of the room's link, or its way to another one: pushes may be lost from now on.
    pub(super) fn link_down(&mut self, now: u64) -> Commands<Draft<L>> {
        if let Some(sharing) = &mut self.sharing {
            sharing.exchange.link_down();
        }
        self.machine.link_down(now)
    }

    /// Returns true when this is the room that is open on this node now.
    pub(super) fn is(&self, room: &SharedRoom<L>) -> bool {
        self.room.as_ref().is_some_and(|ours| Arc::ptr_eq(ours, room))
    }
}
