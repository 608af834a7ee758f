//! Typing in `throng.v1`: decides how often it is shown, and sends it to the other members.
//!
//! [`shard`](crate::shard) offers it to them.

use super::membership::Membership;
use crate::clock::Moment;
use crate::protocol::event::v1;
use crate::registry::inbox::Typist;

/// Time between two `typing` of one connection that are shown, in milliseconds. Those in between are dropped.
const PAUSE_MS: u64 = 500;

/// When a connection's next `typing` may be shown, in any of its rooms.
#[derive(Debug, Default)]
pub struct TypingPause {
    until: Option<Moment>,
}

impl TypingPause {
    /// Allows the next `typing` at once. Called when the connection has sent a message, which ends what was shown.
    pub fn end(&mut self) {
        self.until = None;
    }

    fn is_over(&mut self, now_ms: u64) -> bool {
        // A longer rest than a pause is a time of weeks ago.
        let lasts = |until: Moment| (1..=PAUSE_MS).contains(&until.ms(now_ms).saturating_sub(now_ms));
        let is_over = !self.until.is_some_and(lasts);
        if is_over {
            self.until = Some(Moment::at(now_ms + PAUSE_MS));
        }
        is_over
    }
}

impl Membership {
    /// Shows the other members that this user types, unless the connection's `pause` lasts. `now_ms` is the node's
    /// clock.
    pub fn show_typing(&self, pause: &mut TypingPause, now_ms: u64) {
        if pause.is_over(now_ms) {
            let frame = v1::typing(self.room.name(), &self.user);
            self.room.with(|state| self.node.registry.typing(&state.topic, &frame, Typist::Here(self.id)));
            if let Some(cluster) = self.node.engine.cluster() {
                cluster.typing(self.room.name(), &self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_is_shown_twice_a_second_and_at_once_behind_a_message() {
        let mut pause = TypingPause::default();
        let shown = [7, 8, 506, 507, 508, 1_007].map(|now_ms| pause.is_over(now_ms));
        assert_eq!(shown, [true, false, false, true, false, true]);
        pause.end();
        assert!(pause.is_over(1_008), "a message was said");
        let weeks_ms = 30 * 24 * 3_600_000;
        assert!(pause.is_over(1_008 + weeks_ms), "it is over for long");
    }
}
