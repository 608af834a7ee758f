//! The state of the engine's thread.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::batch::Incarnation;
use super::super::keys::Keys;
use super::super::link::EventReceiver;
use super::super::requests::Requests;
use super::calls::Calls;
use super::followed::Followed;
use super::health::Health;
use super::links::Links;
use super::refresh::Refresh;
use super::seeds::Seeds;
use super::tasks::Tasks;
use crate::broker::Local;
use crate::broker::memory::Memory;
use crate::clock::Clock;
use crate::names::RoomName;

/// Everything that the thread owns.
pub(super) struct Engine<L: Local> {
    pub(super) broker: Arc<Memory<L>>,
    pub(super) requests: Arc<Requests<L>>,
    pub(super) health: Arc<Health>,
    pub(super) clock: Clock,
    pub(super) keys: Keys,
    pub(super) by: Incarnation,
    pub(super) links: Links,
    pub(super) events: EventReceiver,
    pub(super) refresh: Refresh,
    pub(super) seeds: Seeds,
    /// Rooms whose server is not known, until the map of slots is read again.
    pub(super) unplaced: FxHashSet<RoomName>,
    pub(super) settings: Settings,
    pub(super) rooms: FxHashMap<RoomName, Followed<L>>,
    /// When each room has something to do, in milliseconds of the node's clock. A room stands here once at most.
    pub(super) due: BTreeSet<(u64, RoomName)>,
    pub(super) calls: Calls,
    pub(super) tasks: Rc<Tasks<L>>,
    /// A number above those of all requests of rooms that are followed no more.
    pub(super) next_number: u64,
    /// A number above those of all publications of users in rooms that are shared no more.
    pub(super) next_presence: u64,
}

/// The settings that rooms need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) patience_ms: u64,
    pub(super) room_ttl_ms: u64,
}
