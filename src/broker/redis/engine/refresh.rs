//! When the map of a cluster's slots is read, and from which server. Pure.

use super::super::link::LinkId;

/// Shortest time between two readings.
const PAUSE_MS: u64 = 100;
/// Time until the next reading while a server or slot is missing: its replica will take its place.
const BROKEN_MS: u64 = 500;
/// Time until the next reading otherwise.
const WHOLE_MS: u64 = 30_000;

/// The readings of the map: one at a time.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    /// The number of the last reading that was begun.
    number: u64,
    is_under_way: bool,
    is_wanted: bool,
    /// The link whose server knows that the map has changed.
    from: Option<LinkId>,
    /// When the last reading was begun, and ended.
    last_ms: u64,
    turn: usize,
}

impl Refresh {
    /// Asks for a reading, preferably from the server of the link `from`. Returns the number of the first reading that
    /// knows of everything until now.
    pub(super) fn want(&mut self, from: Option<LinkId>) -> u64 {
        self.is_wanted = true;
        self.from = from.or(self.from);
        self.number + 1
    }

    /// Returns when the next reading is due; `None` while one is under way.
    pub(super) fn due(&self, is_whole: bool) -> Option<u64> {
        let pause = match (self.is_wanted, is_whole) {
            _ if self.number == 0 => 0,
            (true, _) => PAUSE_MS,
            (false, false) => BROKEN_MS,
            (false, true) => WHOLE_MS,
        };
        (!self.is_under_way).then_some(self.last_ms + pause)
    }

    /// Begins a reading. Returns its number and the link that is asked: the one that knows best, else those that are up
    /// in turn. Without any, the servers of the configuration are asked.
    pub(super) fn begin(&mut self, now: u64, up: &[LinkId]) -> (u64, Option<LinkId>) {
        self.number += 1;
        self.is_under_way = true;
        self.is_wanted = false;
        self.last_ms = now;
        self.turn = self.turn.wrapping_add(1);
        let from = self.from.take().filter(|from| up.contains(from));
        (self.number, from.or_else(|| up.get(self.turn % up.len().max(1)).copied()))
    }

    /// Ends a reading. One that failed is repeated.
    pub(super) fn end(&mut self, now: u64, is_read: bool) {
        self.is_under_way = false;
        self.is_wanted |= !is_read;
        self.last_ms = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: [LinkId; 3] = [LinkId(1), LinkId(2), LinkId(3)];

    #[test]
    fn readings_do_not_overlap_and_keep_their_distance() {
        let mut refresh = Refresh::default();
        assert_eq!(refresh.due(false), Some(0), "the first one is due at once");
        assert_eq!(refresh.begin(1_000, &[]), (1, None));
        assert_eq!(refresh.want(None), 2, "the reading under way may not know of it");
        assert_eq!(refresh.due(true), None);
        refresh.end(1_010, true);
        assert_eq!(refresh.due(true), Some(1_010 + PAUSE_MS));
        assert_eq!(refresh.begin(1_110, &UP).0, 2);
        refresh.end(1_111, true);
        assert_eq!(refresh.due(true), Some(1_111 + WHOLE_MS));
        assert_eq!(refresh.due(false), Some(1_111 + BROKEN_MS));
        assert_eq!(refresh.want(None), 3);
    }

    #[test]
    fn the_link_that_knows_is_asked_and_else_each_in_turn() {
        let mut refresh = Refresh::default();
        refresh.want(Some(LinkId(3)));
        refresh.want(None);
        assert_eq!(refresh.begin(0, &UP).1, Some(LinkId(3)));
        refresh.end(0, false);
        let asked = [0; 3].map(|now| refresh.begin(now, &UP).1.map_or(0, |id| id.0));
        assert!((1..=3).all(|id| asked.contains(&id)), "{asked:?}");
        refresh.want(Some(LinkId(9)));
        assert!(refresh.begin(0, &UP[..1]).1 == Some(LinkId(1)), "a link that is down cannot answer");
    }
}
