//! `[[rooms]]`: rules that change settings for rooms whose name matches a pattern.

use std::time::Duration;

use crate::names::units::{GIB, KIB};

use super::kind::{Choice, Count, Flag, Size, Time};
use super::list::Optional;
use super::schema::settings;
use super::tables::Row;
use super::text::PATTERN;
use super::types::QueuePolicy;

settings! {
    /// Settings for rooms whose name matches a pattern. Fields that are not set keep the general settings.
    RoomRule {
        /// Pattern of room names, in which `*` stands for any characters; the first rule that matches applies.
        pattern: String = String::new(), PATTERN, live;
        /// Replaces `queue.policy`.
        queue_policy: Option<QueuePolicy> = None, Optional(Choice(QueuePolicy::ALL)), live;
        /// Replaces `history.messages`; 0 to 1,000,000.
        history_messages: Option<usize> = None, Optional(Count(0, 1_000_000)), live;
        /// Replaces `history.bytes`; 1KiB to 1GiB. Memory: this much per matching room at worst.
        history_bytes: Option<usize> = None, Optional(Size(KIB, GIB)), live;
        /// Replaces `history.ttl`; 1ms to 30d.
        history_ttl: Option<Duration> = None, Optional(Time(1, 30 * 86_400_000)), live;
        /// Whether members are told who joins and leaves; true unless set.
        presence: Option<bool> = None, Optional(Flag), live;
    }
}

impl Row for RoomRule {
    const LIST: &'static str = "rooms";
    // Every lookup of a room's rule walks the whole list.
    const MOST: usize = 256;
    const REQUIRED: (&'static str, &'static str) = ("pattern", PATTERN.allowed);
}
