//! The settings of rooms: the general ones, with the exceptions of the first rule whose pattern matches the room's
//! name.

use std::time::Duration;

use super::{history, presence};
use crate::config::{Config, QueuePolicy, RoomRule};
use crate::names::{self, RoomName};

/// The settings of one room, which hold for as long as it exists.
#[derive(Debug, Clone, Copy)]
pub struct RoomSettings {
    /// The bounds of the room's history.
    pub history: history::HistoryBounds,
    /// How joins and leaves are announced.
    pub presence: presence::PresenceRules,
    /// The treatment of a member that cannot keep up.
    pub queue_policy: QueuePolicy,
}

/// The settings of all rooms. Looked up when a room opens, which compares its name with 256 patterns at most.
#[derive(Debug)]
pub struct RoomRules {
    general: RoomSettings,
    rules: Box<[RoomRule]>,
}

impl RoomRules {
    /// Creates the rules of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let general = RoomSettings {
            history: history::HistoryBounds {
                messages: config.history.messages,
                bytes: config.history.bytes,
                ttl_ms: ms(config.history.ttl),
            },
            presence: presence::PresenceRules {
                is_announced: true,
                notice_limit: config.presence.notice_limit,
                count_only_above: config.presence.count_only_above,
                interval_ms: ms(config.presence.interval),
            },
            queue_policy: config.queue.policy,
        };
        Self { general, rules: config.rooms.clone().into() }
    }

    /// Returns the settings of a room.
    #[must_use]
    pub fn of(&self, room: &RoomName) -> RoomSettings {
        let mut settings = self.general;
        if let Some(rule) =
            self.rules.iter().find(|rule| names::matches_pattern(&rule.pattern, room.as_str()))
        {
            let history = &mut settings.history;
            history.messages = rule.history_messages.unwrap_or(history.messages);
            history.bytes = rule.history_bytes.unwrap_or(history.bytes);
            history.ttl_ms = rule.history_ttl.map_or(history.ttl_ms, ms);
            settings.presence.is_announced = rule.presence.unwrap_or(true);
            settings.queue_policy = rule.queue_policy.unwrap_or(settings.queue_policy);
        }
        settings
    }
}

/// Converts a time from the configuration, which is 30 days at most.
fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides_and_says_only_what_it_says() {
        let rule = |pattern: &str| RoomRule { pattern: pattern.into(), ..RoomRule::default() };
        let rooms = vec![
            RoomRule { history_messages: Some(0), presence: Some(false), ..rule("live-*") },
            RoomRule { queue_policy: Some(QueuePolicy::DropOldest), ..rule("live-tv") },
            RoomRule {
                history_ttl: Some(Duration::from_secs(1)),
                history_bytes: Some(1024),
                queue_policy: Some(QueuePolicy::DropNewest),
                ..rule("*-tv")
            },
        ];
        let rules = RoomRules::new(&Config { rooms, ..Config::default() });
        let of = |name: &str| rules.of(&name.parse().unwrap());

        let live = of("live-tv");
        assert_eq!((live.history.messages, live.presence.is_announced), (0, false));
        assert_eq!((live.history.bytes, live.queue_policy), (256 * 1024, QueuePolicy::Disconnect));
        let tv = of("old-tv");
        assert_eq!((tv.history.messages, tv.history.bytes, tv.history.ttl_ms), (256, 1024, 1000));
        assert_eq!((tv.presence.is_announced, tv.queue_policy), (true, QueuePolicy::DropNewest));
        let lobby = of("lobby");
        assert_eq!((lobby.history.messages, lobby.history.ttl_ms), (256, 600_000));
        assert_eq!((lobby.presence.notice_limit, lobby.presence.count_only_above), (100, 5000));
    }
}
