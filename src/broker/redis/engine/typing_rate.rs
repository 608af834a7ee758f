//! Limits how often a node tells the others that somebody in a room is typing.

/// Most pushes of this node in one room within a second.
const MAX_PER_SECOND: u32 = 20;

/// Limits the pushes of a room.
#[derive(Debug, Default)]
pub(super) struct TypingRate {
    second: u64,
    count: u32,
}

impl TypingRate {
    pub(super) fn is_allowed(&mut self, now_ms: u64) -> bool {
        let second = now_ms / 1_000;
        if self.second != second {
            *self = Self { second, count: 0 };
        }
        self.count += 1;
        self.count <= MAX_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_pushes_so_many_a_second() {
        let mut rate = TypingRate::default();
        let allowed = |rate: &mut TypingRate, now| (0..50).filter(|_| rate.is_allowed(now)).count();
        assert_eq!(
            [allowed(&mut rate, 5_000), allowed(&mut rate, 5_999), allowed(&mut rate, 6_000)],
            [20, 0, 20]
        );
    }
}
