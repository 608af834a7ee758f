//! Typing in `throng.v1`: decides how often it is shown, and sends it to the other members.
//!
//! [`shard`](crate::shard) offers it to them.

use super::membership::Membership;
use crate::protocol::event::v1;
use crate::registry::inbox::Typist;

/// Time between two `typing` of one connection that are shown, in milliseconds. Those in between are dropped.
const PAUSE_MS: u64 = 500;

/// When a connection's next `typing` may be shown, in any of its rooms.
#[derive(Debug, Default)]
pub struct TypingPause {
    next_ms: u64,
}

impl TypingPause {
    /// Allows the next `typing` at once. Called when the connection has sent a message, which ends what was shown.
    pub fn end(&mut self) {
        self.next_ms = 0;
    }

    fn is_over(&mut self, now_ms: u64) -> bool {
        let is_over = now_ms >= self.next_ms;
        if is_over {
            self.next_ms = now_ms + PAUSE_MS;
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
    }
}
