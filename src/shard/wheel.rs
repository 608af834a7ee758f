//! A coarse timer wheel: one for each shard, instead of a timer for each connection. It tells which clients to wake,
//! and the connection decides what is due.
//!
//! A client may be filed more than once. The caller remembers the tick of the entry that counts and skips entries of
//! other ticks, which are stale.

/// Length of a tick in milliseconds. Deadlines are met to this precision, never early.
pub const TICK_MS: u64 = 50;
/// Slots of the wheel, one for each tick of a turn (51.2 s). An entry that is further away stays in its slot for
/// another turn.
const SLOTS: usize = 1024;

/// Names a client: its slot on the shard.
type Key = u32;
/// A tick, counted from the beginning of the shard's time. Their number lasts for six years.
pub type Tick = u32;

/// A timer wheel.
#[derive(Debug)]
pub struct Wheel {
    /// Entries, each a key and its tick, in the slot of the tick modulo the number of slots.
    slots: Vec<Vec<(Key, Tick)>>,
    /// The first tick that has not been taken yet.
    next: Tick,
    /// Number of entries in all slots.
    filed: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { slots: vec![Vec::new(); SLOTS], next: 0, filed: 0 }
    }
}

/// Returns the first tick that begins at or after `at_ms`.
pub(super) fn tick_of(at_ms: u64) -> Tick {
    Tick::try_from(at_ms.div_ceil(TICK_MS)).unwrap_or(Tick::MAX)
}

impl Wheel {
    /// Schedules `key` to become due once the shard's time is `at_ms`. Returns the tick of the entry, which tells it
    /// from other entries of the same key.
    pub fn file(&mut self, key: Key, at_ms: u64) -> Tick {
        let tick = tick_of(at_ms).max(self.next);
        self.slots[tick as usize % SLOTS].push((key, tick));
        self.filed += 1;
        tick
    }

    /// True when nothing is filed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filed == 0
    }

    /// Moves the keys that are due by `now_ms` into `due`, with their ticks.
    pub fn advance(&mut self, now_ms: u64, due: &mut Vec<(Key, Tick)>) {
        let until = Tick::try_from(now_ms / TICK_MS).unwrap_or(Tick::MAX - 1);
        // After a long standstill one turn suffices: it visits every slot.
        let turns = (until + 1).saturating_sub(self.next).min(SLOTS as Tick);
        for tick in (until + 1).saturating_sub(turns)..=until {
            let slot = &mut self.slots[tick as usize % SLOTS];
            let before = due.len();
            slot.retain(|&(key, at)| {
                let is_due = at <= until;
                if is_due {
                    due.push((key, at));
                }
                !is_due
            });
            self.filed -= due.len() - before;
            if slot.is_empty() && slot.capacity() > 64 {
                *slot = Vec::new();
            }
        }
        self.next = self.next.max(until + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_fires_early_and_everything_fires() {
        let mut wheel = Wheel::default();
        let mut due = Vec::new();
        let near = wheel.file(1, 120);
        let far = wheel.file(2, 200_000);
        wheel.advance(119, &mut due);
        assert!(due.is_empty());
        wheel.advance(150, &mut due);
        assert_eq!(due, [(1, near)]);
        due.clear();
        wheel.advance(199_999, &mut due);
        assert!(due.is_empty());
        wheel.advance(200_000, &mut due);
        assert_eq!(due, [(2, far)]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn an_entry_in_the_past_fires_at_the_next_tick() {
        let mut wheel = Wheel::default();
        let mut due = Vec::new();
        wheel.advance(1000, &mut due);
        let tick = wheel.file(7, 10);
        wheel.advance(1050, &mut due);
        assert_eq!(due, [(7, tick)]);
    }
}
