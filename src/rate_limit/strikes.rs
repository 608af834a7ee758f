//! Counts what a client does wrong until its connection has to end.

/// Counts malformed input, or refusals, within a minute. It is kept to eight bytes because every connection has some of
/// these counters: whole seconds are exact enough, and 32 bits of them last 136 years.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Strikes {
    since_s: u32,
    count: u32,
}

impl Strikes {
    /// Counts one strike. Returns true when there are more than `limit` in the minute that began with the first of
    /// them.
    pub fn add(&mut self, now_ms: u64, limit: usize) -> bool {
        let now_s = (now_ms / 1000) as u32;
        if self.are_over(now_ms) {
            *self = Self { since_s: now_s, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count as usize > limit
    }

    /// Returns true when there are none, or the minute of the last ones is over.
    #[must_use]
    pub fn are_over(&self, now_ms: u64) -> bool {
        let now_s = (now_ms / 1000) as u32;
        self.count == 0 || now_s.saturating_sub(self.since_s) >= 60
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_are_forgiven_after_a_minute() {
        let mut strikes = Strikes::default();
        assert!(strikes.are_over(0) && !strikes.add(0, 2) && !strikes.add(1, 2));
        assert!(strikes.add(2, 2));
        assert!(!strikes.are_over(59_999) && strikes.are_over(60_002));
        assert!(!strikes.add(60_002, 2));
    }
}
