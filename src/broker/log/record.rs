//! The stored form of a message, and of its idempotency key.

use crate::broker::Position;
use crate::chat::keys::KEPT_MS;
use crate::names::{Key, Offset, RoomName, UserId};
use crate::protocol::frame::Frame;

/// A message that is written to the log, or was read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The message's room.
    pub room: RoomName,
    /// The message's position.
    pub position: Position,
    /// The oldest message in the room's history when this one came. Messages before it are not recovered.
    pub first: Offset,
    /// When the message came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The sender.
    pub user: UserId,
    /// The message's idempotency key.
    pub key: Option<Key>,
    /// The frame as members get it.
    pub frame: Frame,
}

/// An idempotency key under which a message was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentKey {
    /// The user whose key it is.
    pub user: UserId,
    /// The key.
    pub key: Key,
    /// When the message came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
}

impl SentKey {
    /// Returns when the key is forgotten, in milliseconds since the Unix epoch, as seen at `now_unix_ms`. A message
    /// that was sent before the clock was set back lies in the future, and counts as sent now.
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
