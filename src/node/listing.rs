//! The rooms that this node has found last for the list that everybody may see.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::protocol::event::Preview;

/// A room that everybody may see in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRow {
    /// Its name.
    pub room: String,
    /// Users in it now, on all nodes.
    pub members: usize,
    /// The beginning of its last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Preview>,
}

impl ListedRow {
    /// Adds what another node says about the room.
    pub(super) fn join(&mut self, other: &mut Self) {
        self.members = self.members.max(other.members);
        let time = |row: &Self| row.last.as_ref().map(|last| last.ts);
        if time(other) > time(self) {
            self.last = other.last.take();
        }
    }
}

/// The rooms that were found last; `None` before the first time.
pub(super) type Listing = Mutex<Option<Found>>;

/// The listed rooms of a node.
#[derive(Debug)]
pub(super) struct Found {
    /// The settings by which they were found.
    pub(super) config: Arc<Config>,
    /// When it is time to look again.
    pub(super) until: Instant,
    pub(super) rows: Vec<ListedRow>,
}
