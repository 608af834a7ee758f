//! `/ws/with-timeout`: echoes text `T` as `Echo: T`, and ends the connection after a time without a message. Control
//! frames do not count as messages.

use std::time::Duration;

use super::peer::Peer;
use crate::protocol::close::EndReason;
use crate::protocol::frame::{self, OpCode};

const PREFIX: &[u8] = b"Echo: ";

/// The inactivity timeout of one connection.
#[derive(Debug)]
pub struct WithTimeout {
    timeout_ms: u64,
    heard_ms: u64,
}

impl WithTimeout {
    /// Creates an endpoint that ends the connection after `timeout` without a message.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout_ms: timeout.as_millis() as u64, heard_ms: 0 }
    }

    pub(super) fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.heard_ms + self.timeout_ms
    }

    pub(super) fn text(&mut self, text: &[u8], peer: &Peer<'_>) {
        self.heard(peer.shard_ms());
        peer.reply(&frame::encode(OpCode::Text, PREFIX.len() + text.len(), |out| {
            out.extend_from_slice(PREFIX);
            out.extend_from_slice(text);
        }));
    }

    pub(super) fn due(&self, peer: &Peer<'_>) -> Result<(), EndReason> {
        if peer.shard_ms() < self.due_ms() {
            return Ok(());
        }
        peer.reply(&frame::text("Connection timed out due to inactivity"));
        Err(EndReason::Inactivity)
    }
}
