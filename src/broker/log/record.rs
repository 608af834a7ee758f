//! What is written of a message, and of its idempotency key.

use crate::broker::Position;
use crate::chat::keys::KEPT_MS;
use crate::names::{Key, Offset, RoomName, UserId};
use crate::protocol::frame::Frame;

/// A message on its way into the log, or out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it was said.
    pub room: RoomName,
    /// Its place there.
    pub position: Position,
    /// The oldest message that the room's history kept when this one came: what is before it is not recovered.
    pub first: Offset,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// Who said it.
    pub user: UserId,
    /// Its idempotency key.
    pub key: Option<Key>,
    /// The frame as members get it.
    pub frame: Frame,
}

/// An idempotency key under which a message was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentKey {
    /// Whose it is.
    pub user: UserId,
    /// The key.
    pub key: Key,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
}

impl SentKey {
    /// When it is forgotten, in milliseconds since the Unix epoch, as seen at `now_unix_ms`: what was sent before the
    /// clock was set back lies in the future, and counts as sent now.
    pub(super) fn until_ms(&self, now_unix_ms: u64) -> u64 {
        self.at_unix_ms.min(now_unix_ms).saturating_add(KEPT_MS)
    }
}

impl Record {
    pub(super) fn sent_key(&self) -> Option<SentKey> {
        let key = self.key.clone()?;
        Some(SentKey { user: self.user.clone(), key, at_unix_ms: self.at_unix_ms })
    }
}
