//! Publications of other nodes that wait until the room has been read.

use super::payload::Payload;

/// Most bytes of payloads that wait. Beyond it all are dropped, and the room is read once more.
const MAX_WAITING_BYTES: usize = 256 * 1024;

/// The publications that wait, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    payloads: Vec<Payload>,
    bytes: usize,
}

impl Waiting {
    /// Adds a publication of `len` bytes. Returns false when there were too many, so that all were dropped.
    pub(super) fn push(&mut self, payload: Payload, len: usize) -> bool {
        self.bytes += len;
        if self.bytes > MAX_WAITING_BYTES {
            self.clear();
            return false;
        }
        self.payloads.push(payload);
        true
    }

    /// Takes all that wait.
    pub(super) fn take(&mut self) -> Vec<Payload> {
        self.bytes = 0;
        std::mem::take(&mut self.payloads)
    }

    /// Drops all that wait.
    pub(super) fn clear(&mut self) {
        self.take();
    }
}
