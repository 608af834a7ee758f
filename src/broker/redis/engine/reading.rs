//! How far the history of a room was read, and what was found so far.

use super::super::batch::Batch;
use super::positioned::{positioned, positions};
use crate::broker::Local;
use crate::broker::followed::Positioned;
use crate::broker::room::SharedRoom;
use crate::names::{Offset, RoomName};

/// The reading of one room's history.
pub(super) struct Reading<L: Local> {
    pub(super) room: SharedRoom<L>,
    /// The offset above those that are read next.
    pub(super) before: Offset,
    /// The messages that were read so far, newest first.
    pub(super) messages: Vec<Positioned<L::SenderCopy>>,
    pub(super) bytes: usize,
}

impl<L: Local> Reading<L> {
    /// Takes a page. Returns true when another one is needed.
    pub(super) fn take(&mut self, name: &RoomName, page: &[Batch]) -> bool {
        let bounds = self.room.with(|state| state.settings().history);
        let before = self.before;
        for batch in page.iter().rev() {
            let positions: Vec<_> = positions(batch).filter(|(at, _)| at.offset < self.before).collect();
            for (at, index) in positions.into_iter().rev() {
                let message = positioned::<L>(name, batch, at, index, None);
                self.bytes += message.encoded.frame.len();
                self.messages.push(message);
                let is_full = self.messages.len() >= bounds.messages || self.bytes >= bounds.bytes;
                if is_full || at.offset <= Offset(1) {
                    return false;
                }
                self.before = at.offset;
            }
        }
        self.before < before
    }
}
